//! The pages of the program itself: of the files that its code runs from.

use std::collections::BTreeMap;

use super::kilobytes;

/// The bytes in memory of the files from which code runs, by the text of `/proc/self/smaps`; not what was
/// written over them, which is the process's own.
///
/// How many of a program's pages there are is the system's choice: it reads around what runs, by as much as the
/// file lies together in its cache, and takes pages back when memory is short.
pub(super) fn pages(smaps: &str) -> u64 {
    let mut files: BTreeMap<File<'_>, Pages> = BTreeMap::new();
    let mut file = None;
    for line in smaps.lines() {
        if let Some((of, runs)) = mapping(line) {
            file = of;
            if let Some(of) = of {
                files.entry(of).or_default().runs |= runs;
            }
        } else if let Some(pages) = file.and_then(|of| files.get_mut(&of)) {
            pages.resident += kilobytes(line, "Rss").unwrap_or(0);
            pages.written += kilobytes(line, "Anonymous").unwrap_or(0);
        }
    }
    let run = files.values().filter(|pages| pages.runs);
    run.map(|pages| pages.resident.saturating_sub(pages.written))
        .sum()
}

/// A device and a number on it.
type File<'a> = (&'a str, &'a str);

/// What is in memory of a file.
#[derive(Default)]
struct Pages {
    runs: bool,
    resident: u64,
    written: u64,
}

/// Of a line that begins a mapping, such as `7f00-7f10 r-xp 00000000 fe:00 1234 /lib/libc.so`: its file, if it
/// has one, and whether code runs from it.
fn mapping(line: &str) -> Option<(Option<File<'_>>, bool)> {
    let mut fields = line.split_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    let (_offset, device, number) = (fields.next()?, fields.next()?, fields.next()?);
    let (start, end) = range.split_once('-')?;
    u64::from_str_radix(start, 16).ok()?;
    u64::from_str_radix(end, 16).ok()?;
    Some((
        (number != "0").then_some((device, number)),
        permissions.contains('x'),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_code_runs_from_count_and_not_what_was_written_over_them() {
        let mappings = [
            // The program: what it reads, what it runs, and its variables, one page of which was written.
            ("5600-5700 r--p 00000000 fe:00 11 /bin/blip2", 100, 0),
            ("5700-5900 r-xp 00100000 fe:00 11 /bin/blip2", 300, 0),
            ("5900-5a00 rw-p 00300000 fe:00 11 /bin/blip2", 20, 4),
            ("5a00-5b00 rw-p 00000000 00:00 0", 5000, 5000),
            ("5b00-5c00 rw-p 00000000 00:00 0 [heap]", 700, 700),
            // Weights of the same number on another device, and a library with a space in its name.
            ("7000-7100 r--p 00000000 fe:01 11 /weights", 9000, 0),
            ("7100-7200 r-xp 00000000 fe:01 12 /a library.so", 40, 0),
            ("7200-7300 r-xp 00000000 00:00 0 [vdso]", 8, 0),
        ];
        let text: String = mappings
            .iter()
            .map(|(header, rss, anonymous)| {
                format!("{header}\nSize: 9999 kB\nRss: {rss} kB\nAnonymous: {anonymous} kB\nVmFlags: rd mr\n")
            })
            .collect();
        assert_eq!(pages(&text), (100 + 300 + 16 + 40) << 10);
        assert_eq!(pages(""), 0);
    }
}
