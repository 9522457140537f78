//! Files that are packed, as their first bytes say.

/// By what a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packed {
    /// By a program for single files, of this name.
    By(&'static str),
    /// As an archive of files, which a workbook of Excel is, too.
    Zip,
}

/// As many bytes as tell.
pub(super) const FIRST: u64 = 6;

/// By what a file that begins so is packed; no text and no archive begins so.
pub(super) fn packed(first: &[u8]) -> Option<Packed> {
    let kinds: [(&[u8], Packed); 5] = [
        (b"\x1f\x8b", Packed::By("gzip")),
        (b"\x28\xb5\x2f\xfd", Packed::By("zstd")),
        (b"\xfd7zXZ", Packed::By("xz")),
        (b"BZh", Packed::By("bzip2")),
        (b"PK\x03\x04", Packed::Zip),
    ];
    let mut kinds = kinds.into_iter();
    kinds
        .find(|(magic, _)| first.starts_with(magic))
        .map(|(_, packed)| packed)
}

impl Packed {
    /// What is said of it where a text is due.
    pub(super) fn way_out(self) -> String {
        match self {
            Self::By(program) => format!(
                "it is compressed by {program}, and a plain text is due: unpack it (`{program} -d`)"
            ),
            Self::Zip => "it is a zip archive, or an Excel file, and a plain text is due: unpack it, or save \
                          it as CSV"
                .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_told_from_texts() {
        assert_eq!(packed(b"\x1f\x8b\x08"), Some(Packed::By("gzip")));
        assert_eq!(packed(b"PK\x03\x04\x14"), Some(Packed::Zip));
        for text in ["", "{", "PK,name\n", "BZ"] {
            assert_eq!(packed(text.as_bytes()), None, "{text}");
        }
    }
}
