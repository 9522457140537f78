//! Where the fixtures are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A file or folder of the workspace's `fixtures/`.
pub fn fixture(name: impl AsRef<Path>) -> PathBuf {
    workspace().join("fixtures").join(name)
}

/// The workspace's folder: of the package that is being tested, as cargo says when it runs the test.
/// What was compiled in may be another checkout that shares the target folder.
pub fn workspace() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    package.parent().map(Path::to_path_buf).unwrap_or(package)
}

/// The text of a fixture.
#[track_caller]
pub fn text(name: &str) -> String {
    let path = fixture(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A fixture's JSON.
#[track_caller]
pub fn json(name: &str) -> serde_json::Value {
    serde_json::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A copy of a fixture's checkpoint without its goldens, to be spoilt.
#[track_caller]
pub fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        let is_golden = entry.file_name().to_string_lossy().starts_with("golden");
        if !is_golden && entry.path().is_file() {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    folder
}

/// Turns the `tokenizer.json` of a byte-level OPT in a folder into what it was published as before:
/// `vocab.json` and `merges.txt`.
pub fn publish_as_before(folder: &Path) {
    let path = folder.join("tokenizer.json");
    let tokenizer: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let model = &tokenizer["model"];
    fs::write(folder.join("vocab.json"), model["vocab"].to_string()).unwrap();
    let merges = model["merges"].as_array().unwrap().iter();
    let lines = merges.map(|pair| {
        format!(
            "{} {}\n",
            pair[0].as_str().unwrap(),
            pair[1].as_str().unwrap()
        )
    });
    let lines: String = ["#version: 0.2\n".to_string()]
        .into_iter()
        .chain(lines)
        .collect();
    fs::write(folder.join("merges.txt"), lines).unwrap();
    fs::remove_file(path).unwrap();
    let path = folder.join("tokenizer_config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["add_bos_token"] = true.into();
    config["tokenizer_class"] = "GPT2Tokenizer".into();
    fs::write(path, config.to_string()).unwrap();
}
