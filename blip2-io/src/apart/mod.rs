//! What is written is nothing that is read.

mod folders;
mod same;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub use folders::{check_folders_apart, check_keeps};

use crate::error::IoError;
use same::is_same;

/// How the files are called that make a folder a checkpoint, by what they begin or end with.
const BEGIN: [&str; 4] = ["model", "pytorch_model", "adapter_model", "tokenizer"];
const END: [&str; 3] = [".json", ".model", ".txt"];

/// Refuses to write a file at `output` where that is what is read from `input`: the same file by any of its
/// names, or, of a folder, one of its files, or a file that would make it another checkpoint.
///
/// ```
/// use blip2_io::check_apart;
///
/// assert!(check_apart("../fixtures/blip2_opt/config.json", "../fixtures/blip2_opt").is_err());
/// assert!(check_apart("../fixtures/packed.safetensors", "../fixtures/blip2_opt").is_ok());
/// ```
///
/// # Errors
///
/// [`IoError::OntoInput`] naming both.
pub fn check_apart(output: impl AsRef<Path>, input: impl AsRef<Path>) -> Result<(), IoError> {
    let (output, input) = (output.as_ref(), input.as_ref());
    let Ok(read) = fs::canonicalize(input) else {
        return Ok(());
    };
    let onto = match fs::canonicalize(output) {
        Ok(written) => {
            written.starts_with(&read) || is_same(&written, &read) || is_linked(&written, &read)
        }
        Err(_) => would_be_of(output, &read),
    };
    match onto {
        true => Err(IoError::OntoInput {
            output: output.to_path_buf(),
            input: input.to_path_buf(),
        }),
        false => Ok(()),
    }
}

/// Whether a file that is not there yet would be read as part of a folder.
fn would_be_of(output: &Path, folder: &Path) -> bool {
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let is_part = BEGIN.iter().any(|begin| name.starts_with(begin))
        || END.iter().any(|end| name.ends_with(end));
    is_part && fs::canonicalize(parent).is_ok_and(|parent| parent == folder)
}

/// Whether a file is one of a folder's by another name: by a link in it, as in the hub's cache.
fn is_linked(file: &Path, folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files = entries.filter_map(|entry| fs::canonicalize(entry.path()).ok());
    files.any(|other| other.is_file() && (other == file || is_same(&other, file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_read_is_known_by_any_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("m/qformer_tokenizer")).unwrap();
        for file in [
            "m/config.json",
            "m/qformer_tokenizer/tokenizer.json",
            "p.pack",
        ] {
            fs::write(at(file), "{}").unwrap();
        }
        let onto = |output: &str, input: &str| check_apart(at(output), at(input)).is_err();
        for output in [
            "m/config.json",
            "m/../m/config.json",
            "m/qformer_tokenizer/tokenizer.json",
            "m/model.safetensors",
            "m/model-00001-of-00002.safetensors",
            "m/generation_config.json",
            "m",
        ] {
            assert!(onto(output, "m"), "{output}");
        }
        for output in [
            "q.pack",
            "m/int8.safetensors",
            "other/model.safetensors",
            "config.json",
        ] {
            assert!(!onto(output, "m"), "{output}");
        }
        assert!(onto("p.pack", "p.pack") && !onto("q.pack", "p.pack"));
        // An id of the hub is no file.
        assert!(check_apart(at("q.pack"), "owner/name").is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_either_way() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("m")).unwrap();
        fs::create_dir_all(at("blobs")).unwrap();
        fs::write(at("blobs/a"), "{}").unwrap();
        symlink(at("blobs/a"), at("m/model.safetensors")).unwrap();
        symlink(at("m/model.safetensors"), at("out.pack")).unwrap();
        fs::hard_link(at("blobs/a"), at("hard.pack")).unwrap();
        for output in ["out.pack", "hard.pack", "blobs/a"] {
            assert!(check_apart(at(output), at("m")).is_err(), "{output}");
        }
        assert!(check_apart(at("hard.pack"), at("out.pack")).is_err());
    }
}
