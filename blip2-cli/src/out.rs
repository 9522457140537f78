//! Standard output and standard error, either of which may be closed or full.
//!
//! `println!` panics where whoever reads has gone; a program in a pipeline ends quietly then. And what
//! is printed may come from a file, whose escape codes are no orders to the terminal.

use std::{
    fmt::{self, Write as _},
    io::{self, ErrorKind, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::Failure;

/// Whether nothing is written any more.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Writes nothing from now on: of several processes that do the same work one speaks for all.
pub(crate) fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Writes to standard output: as it is where no terminal obeys what stands in it.
pub(crate) fn write(text: fmt::Arguments<'_>) -> Result<(), Failure> {
    if SILENT.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    let text = match stdout.is_terminal() {
        true => escaped(text.to_string()),
        false => text.to_string(),
    };
    stdout.write_all(text.as_bytes()).map_err(failed)
}

/// A text without control characters, but for those that lay it out, and without those that turn the
/// direction of what follows or take no place: they are written as JSON has them, as what is printed may be JSON.
pub(crate) fn escaped(text: String) -> String {
    let orders = |char: char| {
        char.is_control() && !matches!(char, '\n' | '\t')
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(orders) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match orders(char) {
            // A `String` takes all that is written to it.
            true => write!(shown, "\\u{:04x}", u32::from(char)).unwrap_or_default(),
            false => shown.push(char),
        }
    }
    shown
}

/// Writes what is still held back to standard output.
pub(crate) fn flush() -> Result<(), Failure> {
    io::stdout().lock().flush().map_err(failed)
}

fn failed(error: io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::Work(format!("standard output: {error}")),
    }
}

/// Writes a note to standard error; where nobody can be told, nobody is.
pub(crate) fn note(text: fmt::Arguments<'_>) {
    if SILENT.load(Ordering::Relaxed) {
        return;
    }
    let _ = io::stderr()
        .lock()
        .write_all(escaped(text.to_string()).as_bytes());
}

/// A line of standard output. What goes wrong with it ends the function that calls it.
macro_rules! say {
    ($($text:tt)*) => {
        crate::out::write(format_args!("{}\n", format_args!($($text)*)))?
    };
}

/// A line of standard error.
macro_rules! note {
    ($($text:tt)*) => {
        crate::out::note(format_args!("{}\n", format_args!($($text)*)))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_gives_the_terminal_no_orders() {
        let plain = "two\tcolumns\nand a line, \u{e9}\u{4e2d}";
        assert_eq!(escaped(plain.into()), plain);
        let shown = escaped("a\u{1b}[2Kb\r\u{7f}\u{9b}c".into());
        assert_eq!(shown, r"a\u001b[2Kb\u000d\u007f\u009bc");
        let text = "gpj\u{202e}x\u{7f}\u{feff}";
        let json = escaped(serde_json::to_string(text).unwrap());
        assert_eq!(json, r#""gpj\u202ex\u007f\ufeff""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn who_has_gone_is_no_failure_and_a_full_disk_is() {
        let error = |kind| failed(io::Error::from(kind));
        assert!(matches!(error(ErrorKind::BrokenPipe), Failure::Closed));
        assert!(matches!(error(ErrorKind::StorageFull), Failure::Work(_)));
    }
}
