//! Which pictures a command line means.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::Failure;

/// What a folder's pictures end in.
const EXTENSIONS: [&str; 10] = [
    "png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm",
];

/// Files as they are, the pictures of folders, and what glob patterns match.
pub(crate) fn expand(arguments: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for argument in arguments {
        if argument.is_dir() {
            paths.extend(pictures_in(argument)?);
        } else if argument.exists() {
            paths.push(argument.clone());
        } else {
            let text = argument.to_string_lossy();
            let matches = glob::glob(&text).map_err(Failure::refused)?;
            let before = paths.len();
            for path in matches {
                let path = path.map_err(Failure::work)?;
                if is_picture(&path) {
                    paths.push(path);
                }
            }
            if paths.len() == before {
                return Err(Failure::Work(format!(
                    "{text}: no such file or folder, and no picture matches it as a pattern"
                )));
            }
        }
    }
    Ok(paths)
}

fn pictures_in(folder: &Path) -> Result<BTreeSet<PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| Failure::Work(format!("{}: {error}", folder.display())))?;
    let paths: BTreeSet<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_picture(path))
        .collect();
    if paths.is_empty() {
        let endings = EXTENSIONS.join(", ");
        return Err(Failure::Work(format!(
            "{}: holds no picture (file names that end in {endings})",
            folder.display()
        )));
    }
    Ok(paths)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|found| {
        EXTENSIONS
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known))
    }) && path.is_file()
}
