//! Quotes of a table of text, watched while it is read.

/// Where a reader is, as far as quotes go. It follows the bytes as `csv` does, which says nothing of a quote
/// that the file's end closes.
#[derive(Debug)]
pub(super) struct Quotes {
    delimiter: u8,
    at: At,
    line: u64,
    /// The line in which the last cell in quotes begins.
    begun: u64,
    /// Where a quote begins that is not closed where it should be.
    fault: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Begin,
    Plain,
    Quoted,
    /// Behind a quote that closes the cell, or is the first of two.
    Closed,
}

impl Quotes {
    /// From a line on.
    pub(super) fn new(delimiter: u8, line: u64) -> Self {
        Self {
            delimiter,
            at: At::Begin,
            line,
            begun: line,
            fault: None,
        }
    }

    pub(super) fn pass(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.step(byte);
            self.line += u64::from(byte == b'\n');
        }
    }

    fn step(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            (At::Begin, b'"') => {
                self.begun = self.line;
                At::Quoted
            }
            (At::Quoted, b'"') => At::Closed,
            (At::Quoted, _) | (At::Closed, b'"') => At::Quoted,
            (_, b'\n' | b'\r') => At::Begin,
            (_, other) if other == self.delimiter => At::Begin,
            (At::Closed, other) => {
                // The quote of another cell closed one of lines above, and its text follows.
                if self.line > self.begun && !other.is_ascii_whitespace() {
                    self.fault.get_or_insert(self.begun);
                }
                At::Plain
            }
            _ => At::Plain,
        };
    }

    /// The file is over.
    pub(super) fn end(&mut self) {
        if self.at == At::Quoted {
            self.fault.get_or_insert(self.begun);
        }
    }

    /// The line of a quote that is never closed, or closed by that of another cell.
    pub(super) fn fault(&self) -> Option<u64> {
        self.fault
    }

    /// The line of the quote in which the reader is.
    pub(super) fn open(&self) -> Option<u64> {
        (self.at == At::Quoted).then_some(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_that_is_not_closed_is_told_by_its_line() {
        for (text, due) in [
            ("a,b\n\"x\",\"y\n\"\"z\"\"\"\n", None),
            ("a\nb \"c\n\"d\" e\n", None),
            ("a\n\"b\n", Some(2)),
            ("a\nb,\"c\nd\ne,\"f\ng\n", Some(2)),
            ("a\nb,\"\"\"c\n", Some(2)),
        ] {
            let mut quotes = Quotes::new(b',', 1);
            quotes.pass(text.as_bytes());
            quotes.end();
            assert_eq!(quotes.fault(), due, "{text}");
        }
    }
}
