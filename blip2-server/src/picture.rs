//! Pictures and videos as requests bring them.

use std::fmt;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::error::ApiError;

/// What tells a picture's bytes from all others. It is a cryptographic one, since whoever could make two
/// pictures of one digest would have one of them answered for the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// Of the digests of all files, so that no two lists of files are alike.
    pub(crate) fn of(files: &[impl AsRef<[u8]>]) -> Self {
        let mut all = Sha256::new();
        for file in files {
            all.update(Sha256::digest(file));
        }
        Self(all.finalize().into())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

/// A picture file's bytes, which nobody has decoded yet; of a video those of an animated file, or of a
/// picture for each frame.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) files: Vec<Bytes>,
    pub(crate) digest: Digest,
}

impl Upload {
    pub(crate) fn new(files: Vec<Bytes>) -> Self {
        let digest = Digest::of(&files);
        Self { files, digest }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.files.iter().map(Bytes::len).sum();
        write!(f, "Upload({:?}, {bytes} bytes)", self.digest)
    }
}

/// What a request says where a picture is due.
#[derive(Debug)]
pub(crate) enum Source {
    /// The picture itself.
    Data(Bytes),
    /// That it is at an `http` or `https` URL.
    Remote,
}

/// Reads a `data:` URL, or tells that it is another's.
///
/// # Errors
///
/// For what is neither: paths of files above all, which are never read.
pub(crate) fn source(url: &str, param: &str) -> Result<Source, ApiError> {
    let begins = |scheme: &str| {
        let begin = url.get(..scheme.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    if begins("data:") {
        let rest = url.get("data:".len()..).unwrap_or_default();
        return Ok(Source::Data(decode_data(rest, param)?.into()));
    }
    if begins("http://") || begins("https://") {
        return Ok(Source::Remote);
    }
    Err(ApiError::invalid(
        "a picture is given as a data: URL, such as data:image/png;base64,… ; file names are not read",
    )
    .with_param(param))
}

/// With padding and without, as browsers and programs write it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of what follows `data:` (RFC 2397). Pictures come as base64; the media type is not believed,
/// since the bytes themselves say what they are.
fn decode_data(rest: &str, param: &str) -> Result<Vec<u8>, ApiError> {
    let fault = |text: &str| ApiError::invalid(text).with_param(param);
    let (head, data) = rest
        .split_once(',')
        .ok_or_else(|| fault("the data: URL has no comma before its data"))?;
    if !head.to_ascii_lowercase().ends_with(";base64") {
        return Err(fault(
            "the data: URL is not in base64: write data:image/png;base64,…",
        ));
    }
    let decoded = BASE64.decode(data).or_else(|_| BASE64.decode(plain(data)));
    decoded.map_err(|_| fault("the data: URL is no valid base64"))
}

/// Base64 as it is by the standard, of what is broken into lines, percent-encoded or in the alphabet of URLs.
fn plain(data: &str) -> Vec<u8> {
    let mut bytes = data.bytes();
    let mut plain = Vec::with_capacity(data.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => match (hex(bytes.next()), hex(bytes.next())) {
                (Some(high), Some(low)) => 16 * high + low,
                // Which is no base64.
                _ => b'%',
            },
            byte => byte,
        };
        match byte {
            byte if byte.is_ascii_whitespace() => {}
            b'-' => plain.push(b'+'),
            b'_' => plain.push(b'/'),
            byte => plain.push(byte),
        }
    }
    plain
}

fn hex(digit: Option<u8>) -> Option<u8> {
    let digit = char::from(digit?).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(url: &str) -> Result<Vec<u8>, String> {
        match source(url, "image") {
            Ok(Source::Data(bytes)) => Ok(bytes.to_vec()),
            Ok(Source::Remote) => Err(format!("remote {url}")),
            Err(error) => Err(error.message().into()),
        }
    }

    #[test]
    fn data_urls_are_read_with_padding_and_without() {
        for url in [
            "data:image/png;base64,aGk=",
            "data:image/png;base64,aGk",
            "DATA:;BASE64,aGk=",
            "data:text/plain;charset=utf-8;base64, aGk= ",
            "data:image/png;base64,aG\r\nk=\n",
            "data:image/png;base64,aGk%3D",
            "data:image/png;base64,aGk%3d%0A",
        ] {
            assert_eq!(bytes(url).unwrap(), b"hi", "{url}");
        }
    }

    #[test]
    fn both_alphabets_of_base64_are_read() {
        let expected = [0xfb, 0xef, 0xff];
        for url in [
            "data:;base64,++//",
            "data:;base64,--__",
            "data:;base64,%2b%2B//",
        ] {
            assert_eq!(bytes(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn nothing_else_is_a_picture() {
        for (url, says) in [
            ("data:image/png,aGk", "not in base64"),
            ("data:image/png;base64", "comma"),
            ("data:image/png;base64,a*k", "no valid base64"),
            ("data:image/png;base64,aGk%3", "no valid base64"),
            ("data:image/png;base64,aGk%zz", "no valid base64"),
            ("/etc/passwd", "file names are not read"),
            ("file:///etc/passwd", "file names are not read"),
            ("", "file names are not read"),
            ("HTTPS://h/x.png", "remote"),
        ] {
            let told = bytes(url).unwrap_err();
            assert!(told.contains(says), "{url}: {told}");
        }
    }

    #[test]
    fn digests_tell_bytes_apart() {
        assert_eq!(Digest::of(&["a"]), Digest::of(&["a"]));
        let lists: [&[&str]; 5] = [&["a"], &["b"], &["a", "b"], &["b", "a"], &["ab"]];
        for (n, list) in lists.iter().enumerate() {
            for other in &lists[..n] {
                assert_ne!(Digest::of(list), Digest::of(other));
            }
        }
    }
}
