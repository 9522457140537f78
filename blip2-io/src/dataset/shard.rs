//! Archives of many samples (`tar`), whose members are read where they lie.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    DatasetError,
    packed::{FIRST, Packed, packed},
};
use crate::regular::open_regular;

/// How many bytes are a member's last ones.
const END: u64 = 4096;

/// A member of a tar archive: where in the file it lies.
#[derive(Debug, Clone)]
pub struct ShardMember {
    shard: Arc<Path>,
    name: String,
    offset: u64,
    size: u64,
}

impl ShardMember {
    /// The archive.
    pub fn shard(&self) -> &Path {
        &self.shard
    }

    /// What errors call it.
    pub(super) fn path(&self) -> PathBuf {
        self.shard.join(&self.name)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its bytes, of which there may be `limit`. The archive is opened for each member: there may be
    /// more of them than files may be open.
    pub(super) fn read(&self, limit: u64) -> Result<Vec<u8>, DatasetError> {
        if self.size > limit {
            let reason = format!("it has {} bytes, and {limit} are the limit", self.size);
            return Err(DatasetError::format(&self.path(), reason));
        }
        self.bytes()
            .map_err(|source| DatasetError::unread(self.path(), source))
    }

    /// How many bytes it has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Its last bytes, which differ where pictures do: they are compressed, or a checksum.
    pub(super) fn end(&self) -> io::Result<Vec<u8>> {
        let before = self.size.saturating_sub(END);
        self.part(before, self.size - before)
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        self.part(0, self.size)
    }

    /// So many of its bytes, from the one of this number on.
    fn part(&self, before: u64, size: u64) -> io::Result<Vec<u8>> {
        let mut file = open_regular(&self.shard)?;
        file.seek(SeekFrom::Start(self.offset.saturating_add(before)))?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(size).read_to_end(&mut bytes)?;
        match bytes.len() as u64 == size {
            true => Ok(bytes),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// What of an archive cannot be used.
pub(super) struct Unusable {
    pub(super) name: String,
    pub(super) reason: String,
}

/// Hands out the files of an archive in their order, by their headers alone: what is in them is passed
/// over.
pub(super) fn members(
    path: &Path,
    mut each: impl FnMut(Result<ShardMember, Unusable>),
) -> Result<(), DatasetError> {
    let failed = |source| DatasetError::unread(path.to_path_buf(), source);
    if path.is_dir() {
        let reason =
            "it is a folder, and an archive is due: name those in it (`shards = \"…/*.tar\"`)";
        return Err(DatasetError::format(path, reason));
    }
    let mut file = open_regular(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if let Some(packed) = packed_file(&mut file).map_err(failed)? {
        let how = match packed {
            Packed::By(program) => format!("compressed by {program}"),
            Packed::Zip => "a zip archive".into(),
        };
        let reason = format!(
            "it is {how}, and pictures are read where they lie: unpack it to a plain `.tar` (pictures are \
             compressed already)"
        );
        return Err(DatasetError::format(path, reason));
    }
    let shard: Arc<Path> = path.into();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek().map_err(failed)? {
        let entry = entry.map_err(|error| {
            let reason = format!("it is no tar archive, or a damaged one: {error}");
            DatasetError::format(path, reason)
        })?;
        let kind = entry.header().entry_type();
        if !kind.is_file() {
            continue;
        }
        let member = ShardMember {
            shard: Arc::clone(&shard),
            name: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
            offset: entry.raw_file_position(),
            size: entry.size(),
        };
        let end = member.offset.checked_add(member.size);
        each(match end.is_some_and(|end| end <= length) {
            true => Ok(member),
            false => Err(Unusable {
                name: member.name,
                reason: "the archive ends before it does, as if it were cut off".into(),
            }),
        });
    }
    Ok(())
}

/// By what a file is packed.
fn packed_file(file: &mut File) -> io::Result<Option<Packed>> {
    let mut first = Vec::new();
    file.by_ref().take(FIRST).read_to_end(&mut first)?;
    file.rewind()?;
    Ok(packed(&first))
}
