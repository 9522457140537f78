//! The numbers of a TIFF's directories (TIFF 6.0, section 2).

/// Where the place of the first directory stands.
pub(super) const FIRST: usize = 4;

/// The type of numbers of 16 bits.
const SHORT: u16 = 3;

/// Where an entry of a directory stands, or what comes behind the last one.
pub(super) fn entry(directory: usize, number: usize) -> Option<usize> {
    directory.checked_add(2 + 12 * number)
}

/// In which order a file's numbers have their bytes.
#[derive(Clone, Copy)]
pub(super) enum Numbers {
    Little,
    Big,
}

impl Numbers {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.first_chunk()? {
            b"II*\0" => Some(Self::Little),
            b"MM\0*" => Some(Self::Big),
            _ => None,
        }
    }

    pub(super) fn short(self, bytes: &[u8], place: usize) -> Option<u16> {
        let found = *bytes.get(place..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(found),
            Self::Big => u16::from_be_bytes(found),
        })
    }

    pub(super) fn long(self, bytes: &[u8], place: usize) -> Option<u32> {
        let found = *bytes.get(place..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(found),
            Self::Big => u32::from_be_bytes(found),
        })
    }

    /// The one number of an entry, which stands in it.
    pub(super) fn value(self, bytes: &[u8], entry: usize) -> Option<u32> {
        match self.short(bytes, entry + 2)? {
            SHORT => self.short(bytes, entry + 8).map(u32::from),
            _ => self.long(bytes, entry + 8),
        }
    }

    /// Writes a number of 32 bits.
    pub(super) fn put_long(self, bytes: &mut [u8], place: usize, number: u32) -> Option<()> {
        *bytes.get_mut(place..)?.first_chunk_mut()? = match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        };
        Some(())
    }

    /// Gives the first directory's `tag`, which is one number of 16 bits, another value.
    pub(super) fn put_tag(self, bytes: &mut [u8], tag: u16, value: u16) -> Option<()> {
        let directory = usize::try_from(self.long(bytes, FIRST)?).ok()?;
        let count = usize::from(self.short(bytes, directory)?);
        let mut entries = (0..count).map_while(|number| entry(directory, number));
        let at = entries.find(|&at| self.short(bytes, at) == Some(tag))?;
        if self.short(bytes, at + 2)? != SHORT {
            return None;
        }
        *bytes.get_mut(at + 8..)?.first_chunk_mut()? = match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        };
        Some(())
    }
}
