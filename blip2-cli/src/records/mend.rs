//! How much of a file of records is whole.

use std::io::{self, BufRead};

/// The number of bytes up to the end of the last whole record. A record ends with its line; one of a
/// table of quoted cells only where no quote is open, since a cell may hold lines. A quote within a
/// cell is doubled, so that it opens none.
pub(super) fn whole(mut file: impl BufRead, is_quoted: bool) -> io::Result<u64> {
    let (mut at, mut whole) = (0, 0);
    let mut is_open = false;
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(whole);
        }
        for byte in bytes {
            at += 1;
            match byte {
                b'"' if is_quoted => is_open = !is_open,
                b'\n' if !is_open => whole = at,
                _ => {}
            }
        }
        let read = bytes.len();
        file.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_cut_anywhere_is_found() {
        let rows = [
            "image,caption\n",
            "a.png,\"two\nlines, \"\"so\"\"\"\n",
            "b.png,x\n",
        ];
        let text = rows.concat();
        let ends: Vec<usize> = rows
            .iter()
            .scan(0, |end, row| {
                *end += row.len();
                Some(*end)
            })
            .collect();
        for cut in 0..=text.len() {
            let expected = ends.iter().rfind(|end| **end <= cut).copied().unwrap_or(0);
            let found = whole(&text.as_bytes()[..cut], true).unwrap();
            assert_eq!(found, expected as u64, "cut at {cut}");
        }
        assert_eq!(whole(&b"{\"a\": \"\n"[..], false).unwrap(), 8);
    }
}
