//! Paths as seen from another folder.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// A folder from which paths are told.
pub(super) struct Relative {
    /// Whether it is the working directory, from which paths are told already.
    is_here: bool,
    /// Its absolute path, where `..` from it leads to what stands before it.
    folder: Option<PathBuf>,
}

impl Relative {
    pub(super) fn to(folder: &Path) -> Self {
        Self {
            is_here: folder.as_os_str().is_empty() || folder == Path::new("."),
            folder: plain(folder).filter(|folder| is_real(folder)),
        }
    }

    /// The path of a file as seen from the folder. One that was given as absolute stays so, and where links or
    /// `..` are in the way it becomes so.
    pub(super) fn name(&self, path: &Path) -> PathBuf {
        if self.is_here || path.is_absolute() {
            return path.to_path_buf();
        }
        let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let (Some(folder), Some(file)) = (&self.folder, plain(path)) else {
            return absolute();
        };
        let shared = folder
            .components()
            .zip(file.components())
            .take_while(|(one, other)| one == other)
            .count();
        let up = folder
            .components()
            .skip(shared)
            .map(|_| Component::ParentDir);
        up.chain(file.components().skip(shared)).collect()
    }
}

/// The absolute path, if there is no `..` in it.
fn plain(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let is_plain = path.components().all(|part| part != Component::ParentDir);
    is_plain.then_some(path)
}

/// Whether no link is on the way to a folder, as far as it is there.
fn is_real(folder: &Path) -> bool {
    let there = folder.ancestors().find_map(|above| {
        let real = fs::canonicalize(above).ok()?;
        Some(real == above)
    });
    there.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_from_the_folder_to_the_file() {
        let file = Path::new("photos/a.png");
        for (folder, due) in [
            ("", "photos/a.png"),
            ("out", "../photos/a.png"),
            ("./out/deep", "../../photos/a.png"),
            ("photos", "a.png"),
        ] {
            assert_eq!(Relative::to(Path::new(folder)).name(file), Path::new(due));
        }
        let above = Relative::to(Path::new("../other")).name(file);
        assert!(above.is_absolute() && above.ends_with(file));
        let absolute = std::path::absolute(file).unwrap();
        assert_eq!(Relative::to(Path::new("out")).name(&absolute), absolute);
    }
}
