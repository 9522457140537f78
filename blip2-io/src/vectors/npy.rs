//! NumPy's files.

use std::path::Path;

use super::error::VectorError;

/// What every such file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";
/// The longest header that is read: a few dimensions take a hundred letters.
const LONGEST: usize = 1 << 16;

/// What stands before the numbers of a NumPy file of `f32`: version 1.0 of
/// <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>, padded so that they begin
/// at a multiple of 64 bytes.
///
/// ```
/// let head = blip2_io::vectors::npy_head(&[3, 256]);
/// assert!(head.starts_with(b"\x93NUMPY\x01\x00") && head.len() % 64 == 0);
/// ```
pub fn npy_head(shape: &[usize]) -> Vec<u8> {
    const BEFORE: usize = 10;
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}), }}");
    let padding = (BEFORE + text.len() + 1).next_multiple_of(64) - BEFORE - text.len() - 1;
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    let mut head = b"\x93NUMPY\x01\x00".to_vec();
    // A few dimensions are far from 65,536 letters.
    head.extend((text.len() as u16).to_le_bytes());
    head.extend(text.into_bytes());
    head
}

/// The shape of a file's array, and where its numbers begin: little-endian `f32` in C's order, as many
/// as the shape has.
pub(super) fn read_head(path: &Path, file: &[u8]) -> Result<(Vec<usize>, usize), VectorError> {
    let fault = |reason: String| VectorError::Format {
        path: path.to_path_buf(),
        reason,
    };
    if !file.starts_with(MAGIC) {
        return Err(fault("it does not begin as NumPy's files do".into()));
    }
    let short = || fault("it is cut short".into());
    let (length, begin) = match file.get(6..12).ok_or_else(short)? {
        [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 10),
        [2 | 3, _, a, b, c, d] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
        [version, ..] => return Err(fault(format!("its format {version} is not known"))),
        [] => return Err(short()),
    };
    if length > LONGEST {
        return Err(fault(format!("its header has {length} bytes")));
    }
    let end = begin + length;
    let text = file.get(begin..end).ok_or_else(short)?;
    let text = std::str::from_utf8(text).map_err(|_| fault("its header is no text".into()))?;
    let kind = value(text, "descr").unwrap_or_default();
    if kind.trim_matches(['\'', '"']) != "<f4" {
        return Err(fault(format!(
            "it holds numbers of the type {kind}; save it as float32: numpy.save(…, \
             array.astype(\"<f4\"))"
        )));
    }
    if value(text, "fortran_order") != Some("False") {
        return Err(fault(
            "its numbers stand column by column; save numpy.ascontiguousarray of it".into(),
        ));
    }
    let shape = shape(text).ok_or_else(|| fault("its header tells no shape".into()))?;
    let numbers = shape
        .iter()
        .try_fold(size_of::<f32>(), |bytes, size| bytes.checked_mul(*size));
    let due = numbers.and_then(|bytes| bytes.checked_add(end));
    match due {
        Some(due) if due == file.len() => Ok((shape, end)),
        _ => Err(fault(format!(
            "it has {} bytes, which are not those of numbers of the shape {shape:?}",
            file.len()
        ))),
    }
}

/// The value of a key of the header, which is a dictionary of Python's.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("'{key}':"))?;
    let rest = rest.trim_start();
    let end = rest.find([',', '}'])?;
    rest.get(..end).map(str::trim)
}

fn shape(text: &str) -> Option<Vec<usize>> {
    let (_, rest) = text.split_once("'shape':")?;
    let (_, rest) = rest.split_once('(')?;
    let (sizes, _) = rest.split_once(')')?;
    let sizes = sizes
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty());
    sizes.map(|size| size.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_what_numpy_reads() {
        for shape in [&[3][..], &[0, 2], &[10, 257, 1408], &[123_456, 32, 256]] {
            let head = npy_head(shape);
            assert_eq!(
                (head.len() % 64, &head[..8]),
                (0, &b"\x93NUMPY\x01\x00"[..])
            );
            let length = u16::from_le_bytes([head[8], head[9]]);
            assert_eq!(usize::from(length) + 10, head.len());
            let text = String::from_utf8_lossy(&head[10..]).into_owned();
            assert!(text.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': ("));
            assert!(
                text.ends_with('\n') && text.trim_end().ends_with("), }"),
                "{text}"
            );
        }
        assert!(npy_head(&[3]).windows(5).any(|part| part == b"(3, )"));
    }

    #[test]
    fn what_is_written_is_read_and_what_is_spoilt_is_refused() {
        let path = Path::new("a.npy");
        let mut file = npy_head(&[2, 3]);
        file.extend([0; 24]);
        assert_eq!(
            read_head(path, &file).unwrap(),
            (vec![2, 3], file.len() - 24)
        );
        for cut in 0..file.len() {
            assert!(read_head(path, &file[..cut]).is_err(), "cut at {cut}");
        }
        let head = String::from_utf8_lossy(&file[10..]).into_owned();
        for (from, to, says) in [
            ("<f4", "<f8", "float32"),
            ("False", "True ", "ascontiguousarray"),
            ("(2, 3, )", "(2, 4, )", "not those of numbers"),
            ("(2, 3, )", "(2, x, )", "no shape"),
            ("(2, 3, )", "(9999999999999999999999, )", "no shape"),
            ("'shape'", "'shopo'", "no shape"),
        ] {
            let mut other = file[..10].to_vec();
            other.extend(head.replace(from, to).into_bytes());
            other.resize(file.len(), 0);
            let error = read_head(path, &other).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("a.npy"), "{error}");
        }
    }
}
