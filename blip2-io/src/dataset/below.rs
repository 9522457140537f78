//! Pictures that are below their folder, and nowhere else.

use std::path::{Component, Path, PathBuf};

use super::quote::quoted;

/// The picture of a name in a record, below `folder`.
pub(super) fn located(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let name = name.trim();
    if name.starts_with("http://") || name.starts_with("https://") || name.starts_with("data:") {
        return Err(format!(
            "its picture is {}, and not a file: download it, and give its name",
            quoted(name)
        ));
    }
    inside(folder, name).ok_or_else(|| format!("its picture {} {OUTSIDE}", quoted(name)))
}

/// What is said of a picture that [`inside`] does not give.
const OUTSIDE: &str = "is outside of the pictures' folder";

/// A path below a folder, and nowhere else: a data set is a file of strangers, and must not open what
/// lies beside its pictures.
fn inside(folder: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let stays = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    stays.then(|| folder.join(path))
}

/// The folder that all files are in.
pub(super) fn common(files: &[PathBuf]) -> PathBuf {
    let first = files.first().map(PathBuf::as_path);
    let first = first.unwrap_or(Path::new(""));
    let mut above = first.ancestors().skip(1);
    let all = above.find(|folder| files.iter().all(|file| file.starts_with(folder)));
    all.unwrap_or(Path::new("")).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_by_the_folder_that_they_are_in() {
        let all = ["a/b/1.tar", "a/c/2.tar"].map(PathBuf::from);
        assert_eq!(common(&all), Path::new("a"));
    }
}
