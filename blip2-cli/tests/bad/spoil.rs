//! The files of a case.

use std::{fs, path::Path};

use blip2_testing::{fixture, workspace};
use serde_json::Value;
use tempfile::TempDir;

use crate::manifest::{Case, Group};

/// A folder with the group's files, spoilt as the case says.
pub(crate) fn prepared(group: &Group, case: &Case) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    if let Some(name) = &group.fixture {
        copy(&fixture(name), &at("model"));
    }
    for (name, from) in &group.copy {
        write(&at(name), &read(&workspace().join(from)));
    }
    for (name, text) in &group.text {
        write(&at(name), text.as_bytes());
    }
    spoil(folder.path(), case);
    folder
}

fn spoil(folder: &Path, case: &Case) {
    let at = |name: &str| folder.join(name);
    if let Some(name) = &case.remove {
        match at(name).is_dir() {
            true => fs::remove_dir_all(at(name)).unwrap(),
            false => fs::remove_file(at(name)).unwrap(),
        }
    }
    if let Some([from, to]) = &case.rename {
        fs::rename(at(from), at(to)).unwrap();
    }
    for (name, from) in &case.put {
        write(&at(name), &read(&workspace().join("bad/files").join(from)));
    }
    for (name, text) in &case.text {
        write(&at(name), text.as_bytes());
    }
    if let Some(name) = &case.file {
        let path = at(name);
        let content = if path.exists() {
            read(&path)
        } else {
            Vec::new()
        };
        write(&path, &changed(content, case));
    }
}

fn changed(mut content: Vec<u8>, case: &Case) -> Vec<u8> {
    if let Some(length) = case.cut {
        assert!(content.len() > length, "{}: it is shorter", case.name);
        content.truncate(length);
    }
    if let Some((offset, digits)) = &case.bytes {
        for (n, pair) in digits.as_bytes().chunks(2).enumerate() {
            let pair = std::str::from_utf8(pair).unwrap();
            content[offset + n] = u8::from_str_radix(pair, 16).unwrap();
        }
    }
    if let Some(key) = &case.key {
        content = with_key(&content, key, case.to.as_deref());
    }
    if let Some(old) = &case.replace {
        let text = String::from_utf8(content).unwrap();
        assert!(text.contains(old), "{}: `{old}` is not there", case.name);
        content = text.replace(old, &case.with).into_bytes();
    }
    if let Some((text, times)) = &case.repeat {
        content = [text.repeat(*times).as_bytes(), &content].concat();
    }
    content
}

/// JSON whose key has another value, as it is written, or is gone.
fn with_key(json: &[u8], key: &str, to: Option<&str>) -> Vec<u8> {
    const HERE: &str = "@the new value@";
    let mut root: Value = serde_json::from_slice(json).unwrap();
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap();
    let parent = parts.into_iter().fold(&mut root, |value, part| {
        let value = match part.parse::<usize>() {
            Ok(number) if value.is_array() => value.get_mut(number),
            _ => value.get_mut(part),
        };
        value.unwrap_or_else(|| panic!("{key}: there is no {part}"))
    });
    match (to, last.parse::<usize>()) {
        (Some(_), Ok(number)) if parent.is_array() => parent[number] = HERE.into(),
        (Some(_), _) => parent[last] = HERE.into(),
        (None, _) => {
            let gone = parent.as_object_mut().unwrap().remove(last);
            assert!(gone.is_some(), "there is no {key}");
        }
    }
    let text = root.to_string();
    text.replace(&format!("\"{HERE}\""), to.unwrap_or_default())
        .into_bytes()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
