//! Pictures that are below their folder, and nowhere else.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::{DatasetError, quote::quoted};

/// Refuses a folder of pictures that is none, which would else be said of each of its pictures.
pub(super) fn folder_is_there(folder: &Path) -> Result<(), DatasetError> {
    // An empty name is the folder that the program runs in.
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    match fs::metadata(folder) {
        Ok(_) => Err(DatasetError::format(
            folder,
            "it is no folder, and pictures are looked for in it",
        )),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Err(DatasetError::Read {
            path: folder.to_path_buf(),
            source: io::Error::new(
                io::ErrorKind::NotFound,
                "there is no such folder, and pictures are looked for in it (`pictures`)",
            ),
        }),
        Err(source) => Err(DatasetError::unread(folder.to_path_buf(), source)),
    }
}

/// The picture of a name in a record, below `folder`: a data set is a file of strangers, and must not open
/// what lies beside its pictures.
pub(super) fn located(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let name = name.trim();
    if name.is_empty() {
        return Err("the name of its picture is empty".into());
    }
    if name.contains("://") || name.starts_with("data:") {
        return Err(format!(
            "its picture is {}, and not a file: download it, and give its name",
            quoted(name)
        ));
    }
    let path = Path::new(name);
    let within = match path.has_root() || path.is_absolute() {
        true => absolute(folder, path),
        false => plain(path),
    };
    match within {
        Some(within) if within.as_os_str().is_empty() => Err(format!(
            "its picture {} is the pictures' folder itself",
            quoted(name)
        )),
        Some(within) => Ok(folder.join(within)),
        None => Err(format!(
            "its picture {} is outside of the pictures' folder: give it relative to that (`pictures`)",
            quoted(name)
        )),
    }
}

/// The folders that COCO's pictures are published in.
pub(super) const COCO: [&str; 7] = [
    "train2017",
    "val2017",
    "test2017",
    "train2014",
    "val2014",
    "test2014",
    "test2015",
];

/// Where the picture of a name may be: below `folder`, or below one of these folders in it, by which a data
/// set is published.
pub(super) fn located_in(
    folder: &Path,
    below: &[&str],
    name: &str,
) -> Result<Vec<PathBuf>, String> {
    let mut files = vec![located(folder, name)?];
    for below in below {
        files.push(located(&folder.join(below), name)?);
    }
    Ok(files)
}

/// The way from the folder to a path that begins at the root, if that is below it.
fn absolute(folder: &Path, path: &Path) -> Option<PathBuf> {
    let wanted = rooted(path)?;
    let below = |folder: &Path| wanted.strip_prefix(folder).ok().map(Path::to_path_buf);
    let named = std::path::absolute(match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    });
    let named = named.ok().and_then(|folder| rooted(&folder));
    if let Some(within) = named.as_deref().and_then(below) {
        return Some(within);
    }
    // One of both may be named by a link.
    let real = folder.canonicalize().ok()?;
    below(&real).or_else(|| {
        let wanted = wanted.canonicalize().ok()?;
        wanted.strip_prefix(&real).ok().map(Path::to_path_buf)
    })
}

/// A path that begins at the root, without `.` and `..`.
fn rooted(path: &Path) -> Option<PathBuf> {
    let (mut root, mut rest) = (PathBuf::new(), PathBuf::new());
    for part in path.components() {
        match part {
            Component::Prefix(_) | Component::RootDir => root.push(part),
            other => rest.push(other),
        }
    }
    Some(root.join(plain(&rest)?))
}

/// A path that begins nowhere, without `.` and `..`; none if it leads out of where it begins.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut within = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => within.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !within.pop() {
                    return None;
                }
            }
            Component::Prefix(_) | Component::RootDir => return None,
        }
    }
    Some(within)
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

    #[test]
    fn names_are_of_files_below_the_folder() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a").join("pictures");
        fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        for (name, within) in [
            ("x.png".to_string(), Some("x.png")),
            (" ./b//./x.png".into(), Some("b/x.png")),
            ("b/../x.png".into(), Some("x.png")),
            (at("a/pictures/b/x.png"), Some("b/x.png")),
            (at("a/./other/../pictures/x.png"), Some("x.png")),
            (at("a/pictures/../secret.png"), None),
            (at("a/pictures-2/x.png"), None),
            (at("x.png"), None),
            ("../x.png".into(), None),
            ("b/../../x.png".into(), None),
            ("/../x.png".into(), None),
        ] {
            let found = located(&folder, &name);
            match within {
                Some(within) => assert_eq!(found.unwrap(), folder.join(within), "{name}"),
                None => assert!(found.unwrap_err().contains("give it relative"), "{name}"),
            }
        }
        for (name, said) in [
            (" ", "is empty"),
            (".", "the pictures' folder itself"),
            ("b/..", "the pictures' folder itself"),
            ("s3://bucket/x.png", "and not a file"),
            ("data:image/png;base64,AA", "and not a file"),
        ] {
            assert!(located(&folder, name).unwrap_err().contains(said), "{name}");
        }
    }

    #[test]
    fn a_relative_folder_has_absolute_names() {
        let name = std::path::absolute("src/x.png").unwrap();
        let found = |folder: &str| located(Path::new(folder), &name.display().to_string());
        assert_eq!(found("src").unwrap(), Path::new("src/x.png"));
        assert_eq!(found("").unwrap(), Path::new("src/x.png"));
        assert_eq!(
            found("../x/../blip2-io/src").unwrap().file_name(),
            name.file_name()
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_a_link_names_is_the_folder() {
        let home = tempfile::tempdir().unwrap();
        let (real, link) = (home.path().join("real"), home.path().join("link"));
        fs::create_dir(&real).unwrap();
        fs::write(real.join("x.png"), "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        for (folder, other) in [(&real, &link), (&link, &real)] {
            let name = other.join("x.png").display().to_string();
            assert_eq!(located(folder, &name).unwrap(), folder.join("x.png"));
        }
    }
}
