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
