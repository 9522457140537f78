//! The files of a table, in the order of their names.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::super::{
    DatasetError,
    below::common,
    quote::{quoted, shortened},
};

/// What the hub calls parts of a data set, where a folder is called so.
const SPLITS: [&str; 6] = ["train", "validation", "valid", "val", "test", "dev"];

/// How deep below a folder files are looked for.
const DEEPEST: usize = 6;

/// The files that `paths` are, or that stand in them and below, as far as they are of `split`.
pub(super) fn tables(paths: &[PathBuf], split: Option<&str>) -> Result<Vec<PathBuf>, DatasetError> {
    let named: Vec<PathBuf> = paths
        .iter()
        .filter(|path| !path.is_dir())
        .cloned()
        .collect();
    let is_wanted = match split {
        Some(split) => named_of(&named, split)?,
        None => named.iter().cloned().collect(),
    };
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(below(path, split)?),
            false if is_wanted.contains(path) => files.push(path.clone()),
            false => {}
        }
    }
    Ok(files)
}

/// Those of some files that were named which are of a split.
fn named_of(files: &[PathBuf], split: &str) -> Result<BTreeSet<PathBuf>, DatasetError> {
    let within = common(files);
    // The folder that they are in may be called by the split.
    let above = within.parent().unwrap_or(&within);
    let of = |file: &PathBuf| split_of(above, file);
    let wanted: BTreeSet<PathBuf> = files
        .iter()
        .filter(|file| of(file).as_deref() == Some(split))
        .cloned()
        .collect();
    match wanted.is_empty() && !files.is_empty() {
        false => Ok(wanted),
        true => {
            let at = match files {
                [one] => one,
                _ => &within,
            };
            let reason = no_split(split, &files.iter().filter_map(of).collect());
            Err(DatasetError::format(at, reason))
        }
    }
}

/// What is said where no file is of a split; `found` are the splits that there are.
fn no_split(split: &str, found: &BTreeSet<String>) -> String {
    match found.is_empty() {
        true => format!(
            "no file is named as one of the split {0}, such as `{0}-00000-of-00001.parquet`: leave `split` \
             out to read all of them",
            shortened(split, 60)
        ),
        false => format!("it has no split {}, but {}", quoted(split), listed(found)),
    }
}

fn listed(splits: &BTreeSet<String>) -> String {
    let named: Vec<String> = splits.iter().map(|name| quoted(name)).collect();
    named.join(", ")
}

fn below(folder: &Path, split: Option<&str>) -> Result<Vec<PathBuf>, DatasetError> {
    let mut all = Vec::new();
    collect(folder, DEEPEST, &mut all)?;
    all.sort();
    if all.is_empty() {
        let reason = "it has no file that ends in `.parquet`";
        return Err(DatasetError::format(folder, reason));
    }
    let of = |file: &PathBuf| split_of(folder, file);
    let found: BTreeSet<String> = all.iter().filter_map(of).collect();
    let Some(split) = split else {
        if found.len() > 1 {
            let reason = format!("it has the splits {}: say which by `split`", listed(&found));
            return Err(DatasetError::format(folder, reason));
        }
        return Ok(all);
    };
    all.retain(|file| of(file).as_deref() == Some(split));
    if all.is_empty() {
        return Err(DatasetError::format(folder, no_split(split, &found)));
    }
    Ok(all)
}

fn collect(folder: &Path, deepest: usize, files: &mut Vec<PathBuf>) -> Result<(), DatasetError> {
    let failed = |source| DatasetError::unread(folder.to_path_buf(), source);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // A link to a folder may lead back here; one to a file is how the hub's cache is made.
        if entry.file_type().map_err(failed)?.is_dir() {
            if deepest > 0 && !is_hidden {
                collect(&path, deepest - 1, files)?;
            }
        } else if !is_hidden && path.extension().is_some_and(|ending| ending == "parquet") {
            files.push(path);
        }
    }
    Ok(())
}

/// The split that a file is of, as the hub names files: `train-00000-of-00002.parquet`,
/// `train.parquet`, `train/0000.parquet`.
fn split_of(folder: &Path, file: &Path) -> Option<String> {
    let stem = file.file_stem()?.to_string_lossy().into_owned();
    let sharded = stem.split_once('-').filter(|(_, rest)| {
        let mut numbers = rest.split("-of-");
        let digits = |part: &str| part.len() >= 4 && part.bytes().all(|b| b.is_ascii_digit());
        numbers.next().is_some_and(digits)
    });
    if let Some((split, _)) = sharded {
        return Some(split.into());
    }
    let known = |name: &str| SPLITS.contains(&name).then(|| name.to_string());
    let first = stem.split(['-', '_', '.']).next().unwrap_or_default();
    known(first).or_else(|| {
        let inside = file.parent()?.strip_prefix(folder).ok()?;
        let mut names = inside.iter().rev();
        names.find_map(|name| known(&name.to_string_lossy()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_known_by_the_names_that_the_hub_gives() {
        for (file, split) in [
            ("data/train-00000-of-00002.parquet", Some("train")),
            ("data/testA-00000-of-00001-0123abcd.parquet", Some("testA")),
            ("train.parquet", Some("train")),
            ("val_0.parquet", Some("val")),
            ("default/validation/0000.parquet", Some("validation")),
            ("0000.parquet", None),
            ("my-table.parquet", None),
        ] {
            let found = split_of(Path::new("/f"), &Path::new("/f").join(file));
            assert_eq!(found.as_deref(), split, "{file}");
        }
    }

    #[test]
    fn a_split_chooses_among_files_that_were_named() {
        let all = |names: &[&str]| -> Vec<PathBuf> { names.iter().map(PathBuf::from).collect() };
        let sharded = all(&[
            "d/train-00000-of-00002.parquet",
            "d/test-00000-of-00001.parquet",
            "d/train-00001-of-00002.parquet",
        ]);
        let train = tables(&sharded, Some("train")).unwrap();
        assert_eq!(train, [sharded[0].clone(), sharded[2].clone()]);
        assert_eq!(tables(&sharded, None).unwrap(), sharded);
        // By the folder, of some files or of all.
        let below = all(&["d/train/0000.parquet", "d/test/0000.parquet"]);
        assert_eq!(tables(&below, Some("test")).unwrap(), below[1..]);
        assert_eq!(tables(&below[..1], Some("train")).unwrap(), below[..1]);
        for (files, split, said) in [
            (
                &sharded,
                "nonsense",
                "no split `nonsense`, but `test`, `train`",
            ),
            (&all(&["d/a.parquet"]), "train", "leave `split` out"),
        ] {
            let error = tables(files, Some(split)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_folder_of_several_splits_wants_one_to_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        for name in [
            "train-00001-of-00002",
            "train-00000-of-00002",
            "test-00000-of-00001",
        ] {
            fs::write(data.join(format!("{name}.parquet")), "").unwrap();
        }
        fs::write(folder.path().join("README.md"), "").unwrap();
        let found = |split| tables(&[folder.path().to_path_buf()], split);
        let error = found(None).unwrap_err().to_string();
        assert!(error.contains("the splits `test`, `train`: say"), "{error}");
        let train = found(Some("train")).unwrap();
        assert!(train[0].ends_with("train-00000-of-00002.parquet") && train.len() == 2);
        let error = found(Some("dev")).unwrap_err().to_string();
        assert!(
            error.contains("no split `dev`, but `test`, `train`"),
            "{error}"
        );
    }
}
