//! What the fuzz targets share: folders of a whole model in memory or on disk, of which one file is
//! the fuzzer's.

use std::{fs, path::Path, path::PathBuf, sync::LazyLock};

use blip2_io::CheckpointFolder;
use tempfile::TempDir;

/// Checkpoints of every kind of model.
pub const KINDS: [&str; 8] = [
    "blip2_opt",
    "blip2_t5",
    "blip2_itr",
    "instructblip_llama",
    "instructblip_t5",
    "instructblipvideo_t5",
    "blip1_vqa",
    "clip_vision",
];

/// Names and contents of files.
pub type Named = Vec<(String, Vec<u8>)>;

/// The small files of [`KINDS`], read once: an input should cost what the library does with it.
static SMALL: LazyLock<Vec<Named>> = LazyLock::new(|| KINDS.map(read_small).into());

/// A file or folder of the repository's fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(name)
}

/// The first byte chooses one of several; the rest is the input.
pub fn chosen<'a, T: Copy>(bytes: &'a [u8], from: &[T]) -> Option<(T, &'a [u8])> {
    let (first, rest) = bytes.split_first()?;
    Some((*from.get(usize::from(*first) % from.len())?, rest))
}

/// The small files of one of [`KINDS`], in the order of their names, without weights and goldens.
pub fn small_files(kind: &str) -> Named {
    let place = KINDS.iter().position(|known| *known == kind);
    SMALL[place.expect("one of KINDS")].clone()
}

fn read_small(kind: &str) -> Named {
    let mut files = Vec::new();
    for entry in fs::read_dir(fixture(kind)).expect("a fixture") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.expect("a name").to_string();
        if name.ends_with(".json") && !name.starts_with("golden") {
            files.push((name, fs::read(&path).expect("a file")));
        }
    }
    files.sort();
    files
}

/// A folder in memory of these files.
pub fn in_memory(files: &[(String, Vec<u8>)]) -> CheckpointFolder {
    let files = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()));
    CheckpointFolder::in_memory("fuzzed", files)
}

/// A folder on disk that holds these files, for what is read from files alone.
pub fn on_disk(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    folder
}
