//! What is written is nothing that is read, and what is no number is told by name.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use blip2_testing::{copy, fixture, picture};

fn blip2(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command.current_dir(folder).args(arguments);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// A folder with a model, a packed one, pictures, an index of them and an adapter.
fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (from, to) in [
        ("blip2_opt", "m"),
        ("blip2_itr", "r"),
        ("blip2_t5", "other"),
        ("peft/opt_list", "adapter"),
    ] {
        fs::create_dir(at(to)).unwrap();
        for entry in fs::read_dir(fixture(from)).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                fs::copy(entry.path(), at(to).join(entry.file_name())).unwrap();
            }
        }
    }
    fs::create_dir(at("photos")).unwrap();
    for n in 0..2 {
        picture(n).save(at(&format!("photos/{n}.png"))).unwrap();
    }
    for arguments in [
        &["pack", "m", "--precision", "int8", "-o", "p.pack"][..],
        &["index", "add", "my.idx", "photos", "--model", "r"],
    ] {
        let output = blip2(folder.path(), arguments);
        assert!(output.status.success(), "{}", said(&output));
    }
    folder
}

/// Every file below a folder, but for locks.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_none_or(|end| end != "lock") {
            let name = path.to_string_lossy().into_owned();
            found.insert(name, fs::read(path).unwrap());
        }
    }
    found
}

#[test]
fn nothing_is_written_over_what_is_read() {
    let folder = place();
    let before = files(folder.path());
    let refused = |arguments: &[&str], code: i32, part: &str| {
        let output = blip2(folder.path(), arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
        let after = files(folder.path());
        assert!(after == before, "{arguments:?} changed files");
    };
    for output in [
        "m/model.safetensors",
        "m/config.json",
        "m/pytorch_model.bin",
    ] {
        let pack = ["pack", "m", "--precision", "int4", "-o", output];
        refused(&pack, 2, "would write over m");
    }
    let pack = ["pack", "p.pack", "--precision", "int4", "-o", "p.pack"];
    refused(&pack, 2, "would write over p.pack");
    let search = ["index", "search", "my.idx", "a", "--model", "r", "--sheet"];
    let sheet = |path| [&search[..], &[path]].concat();
    refused(&sheet("my.idx"), 2, "would write over my.idx");
    refused(&sheet("photos/1.png"), 2, "would write over photos/1.png");
    let export = ["index", "export", "my.idx", "-o", "my.idx"];
    refused(&export, 2, "would write over my.idx");
    let embed = [
        "embed",
        "photos",
        "--model",
        "r",
        "-o",
        "r/model.safetensors",
    ];
    refused(&embed, 2, "would write over r");
    let merge = ["merge", "m", "--adapter", "adapter", "-o", "other"];
    refused(&merge, 1, "holds a model already");
}

/// The last number of the last tensor.
fn spoil(folder: &Path) {
    let path = folder.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    let folder = copy("blip2_itr");
    spoil(folder.path());
    let photos = tempfile::tempdir().unwrap();
    picture(0).save(photos.path().join("0.png")).unwrap();
    let model = folder.path().to_str().unwrap();
    for (arguments, part) in [
        (
            &["pack", model, "-o", "spoilt.pack"][..],
            "holds NaN or infinity",
        ),
        (&["inspect", model, "--numbers"], "holds NaN or infinity"),
    ] {
        let output = blip2(photos.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(part), "{}", said(&output));
    }
    assert!(!photos.path().join("spoilt.pack").exists());
    let whole = blip2(photos.path(), &["inspect", model]);
    assert!(whole.status.success(), "{}", said(&whole));
}

#[cfg(unix)]
#[test]
fn a_caption_stands_beside_a_picture_of_any_name() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let folder = tempfile::tempdir().unwrap();
    let name = |bytes: &[u8]| folder.path().join(OsStr::from_bytes(bytes));
    for file in [&b"a.png"[..], b"caf\xe9.png"] {
        picture(1)
            .save_with_format(name(file), image::ImageFormat::Png)
            .unwrap();
    }
    let caption = ["caption", ".", "--output", "beside"];
    for _ in 0..2 {
        let output = blip2(folder.path(), &caption);
        assert!(output.status.success(), "{}", said(&output));
    }
    let texts = [&b"a.txt"[..], b"caf\xe9.txt"].map(|file| fs::read(name(file)).unwrap());
    assert_eq!(texts[0], texts[1]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);

    // A table has no such name: that row has an error, and the others go on.
    #[cfg(feature = "tables")]
    {
        let output = blip2(folder.path(), &["map", ".", "--caption", "-o", "t.jsonl"]);
        assert!(output.status.success(), "{}", said(&output));
        let rows = fs::read_to_string(folder.path().join("t.jsonl")).unwrap();
        let has_error = |row: &str| !row.contains("\"error\":null");
        assert_eq!(
            (
                rows.lines().count(),
                rows.lines().filter(|row| has_error(row)).count()
            ),
            (2, 1),
            "{rows}"
        );
    }
}
