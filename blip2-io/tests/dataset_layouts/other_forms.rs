//! Files of another form than was said, and what is in the way of reading one.

use std::{fs, path::Path};

use blip2_io::dataset::{ChoiceAnswers, Columns, Dataset, DatasetError, OnBroken};

use crate::helpers::{SKIP, folder, left_out, read, shown};

#[test]
fn files_of_another_form_are_told_apart() {
    let folder = folder(&["a.png"]);
    type Reader = fn(&Path, &Path) -> Result<Dataset, DatasetError>;
    let coco: Reader = |file, pictures| Dataset::coco_captions(file, pictures, SKIP);
    let vizwiz: Reader = |file, pictures| Dataset::vizwiz(file, pictures, false, SKIP);
    let gqa: Reader = |file, pictures| Dataset::gqa(file, pictures, false, SKIP);
    let lines: Reader = |file, pictures| Dataset::json_lines(file, pictures, SKIP);
    for (reader, text, said) in [
        (
            coco,
            "[]",
            "an object `{…}` with `images` is due, and the file is a list",
        ),
        (coco, r#"{"annotations": []}"#, "it has no list `images`"),
        (
            coco,
            r#"{"images": {}, "annotations": []}"#,
            "`images` is no list",
        ),
        (
            coco,
            r#"{"images": [] "annotations": []}"#,
            "it is no JSON from line 1, column 15 on",
        ),
        (
            vizwiz,
            "{}",
            "a list `[…]` of records is due, and the file is an object",
        ),
        (
            vizwiz,
            "id,question\n",
            "the file is no JSON: it begins with `id,question",
        ),
        (gqa, "", "the file is empty"),
        (lines, "\u{feff}[{}", "it ends too early"),
        (
            lines,
            "{\r\n  \"data\": []\n}",
            "an object over several lines, where an object a line, or a list",
        ),
    ] {
        let error = read(&folder, "f.json", text, reader)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(said) && error.contains("f.json"),
            "{text}: {error}"
        );
    }
    let utf16 = [0xff, 0xfe, b'{', 0];
    let error = read(&folder, "f.json", utf16, lines)
        .unwrap_err()
        .to_string();
    assert!(error.contains("UTF-16"), "{error}");
}

/// What is in a picture's place is told as what it is.
#[cfg(unix)]
#[test]
fn what_is_no_picture_is_told_as_what_it_is() {
    let folder = folder(&["a.png"]);
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("empty")).unwrap();
    fs::create_dir(at("notes")).unwrap();
    fs::write(at("notes/a.txt"), "").unwrap();
    std::os::unix::fs::symlink(at("nowhere.png"), at("link.png")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.png")).unwrap();
    let lines = [
        r#"{"caption": "a", "image": "empty"}"#,
        r#"{"caption": "a", "video": "notes"}"#,
        r#"{"caption": "a", "image": "link.png"}"#,
        r#"{"caption": "a", "image": "socket.png"}"#,
        r#"{"caption": "a", "image": "none.png"}"#,
        r#"{"caption": "a", "image": "a.png/b.png"}"#,
        r#"{"caption": "a", "image": ""}"#,
        r#"{"caption": "a", "image": "."}"#,
        r#"{"caption": "a", "image": "empty/../a.png"}"#,
    ];
    let data = read(&folder, "d.jsonl", lines.join("\n"), |file, pictures| {
        Dataset::json_lines(file, pictures, SKIP)
    });
    let data = data.unwrap();
    assert_eq!(shown(&data), ["line 9 - a"]);
    let said = left_out(&data);
    for (line, words) in [
        (1, "empty is a folder without a picture"),
        (2, "notes is a folder without a picture"),
        (3, "link.png is a link to a file that does not exist"),
        (4, "socket.png is a pipe, a socket or a device"),
        (5, "there is no picture"),
        (6, "there is no picture"),
        (7, "the name of its picture is empty"),
        (8, "its picture `.` is the pictures' folder itself"),
    ] {
        let own = said.lines().nth(line - 1).unwrap();
        assert!(
            own.contains(&format!("line {line}: ")) && own.contains(words),
            "{own}"
        );
    }
}

/// A folder that is not there is told once, and not of each picture.
#[test]
fn a_pictures_folder_that_is_not_there_is_told_once() {
    let folder = folder(&["a.png"]);
    let file = folder.path().join("d");
    fs::write(&file, "").unwrap();
    let none = folder.path().join("no-such-folder");
    type Reader = fn(&Path, &Path) -> Result<Dataset, DatasetError>;
    let readers: [Reader; 11] = [
        |file, pictures| Dataset::json_lines(file, pictures, SKIP),
        |file, pictures| Dataset::csv(file, pictures, &Columns::default(), None, SKIP),
        |file, pictures| Dataset::vqa_v2(file, None, pictures, SKIP),
        |file, pictures| Dataset::a_okvqa(file, pictures, ChoiceAnswers::Choice, SKIP),
        |file, pictures| Dataset::vizwiz(file, pictures, false, SKIP),
        |file, pictures| Dataset::gqa(file, pictures, false, SKIP),
        |file, pictures| Dataset::textvqa(file, pictures, SKIP),
        |file, pictures| Dataset::coco_captions(file, pictures, SKIP),
        |file, pictures| Dataset::karpathy(file, pictures, "train", false, SKIP),
        |file, pictures| Dataset::textcaps(file, pictures, SKIP),
        |file, pictures| Dataset::flickr30k(file, pictures, SKIP),
    ];
    for reader in readers {
        let error = reader(&file, &none).unwrap_err();
        assert!(matches!(error, DatasetError::Read { .. }), "{error:?}");
        let error = error.to_string();
        assert!(
            error.contains("no-such-folder: there is no such folder"),
            "{error}"
        );
        let error = reader(&file, &file).unwrap_err().to_string();
        assert!(error.contains("it is no folder"), "{error}");
    }
}

#[test]
fn tables_with_another_delimiter_are_told_which() {
    let folder = folder(&["a.png"]);
    let read_by = |name: &str, text: &str, delimiter| {
        read(&folder, name, text, |file, pictures| {
            Dataset::csv(file, pictures, &Columns::default(), delimiter, SKIP)
        })
    };
    for (name, text, delimiter, said) in [
        (
            "d.csv",
            "image;question;answer\na.png;what, now?;a\n",
            None,
            "`delimiter = \";\"`",
        ),
        (
            "d.csv",
            "image;q, or what is asked;caption\na.png;x;a\n",
            None,
            "`delimiter = \";\"`",
        ),
        (
            "d.csv",
            "\"image\";\"caption\"\r\n\"a.png\";\"a\"\r\n",
            None,
            "`delimiter = \";\"`",
        ),
        (
            "d.csv",
            "image\tcaption\na.png\ta\n",
            None,
            "`delimiter = \"\\t\"`",
        ),
        (
            "d.csv",
            "\r\n\nimage|caption\na.png|a\n",
            None,
            "`delimiter = \"|\"`",
        ),
        (
            "d.tsv",
            "image,caption\na.png,a\n",
            None,
            "`delimiter = \",\"`",
        ),
        (
            "d.csv",
            "image,caption\na.png,a\n",
            Some(b';'),
            "`delimiter = \",\"`",
        ),
    ] {
        let error = read_by(name, text, delimiter).unwrap_err().to_string();
        assert!(
            error.contains(said) && !error.contains("columns`"),
            "{error}"
        );
    }
    // Other names are not a question of what stands between them.
    let error = read_by("d.csv", "file;x;y\na.png;b;c\n", None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("name the right ones by `columns`"),
        "{error}"
    );
    let data = read_by("d.csv", "image;caption\na.png;a, b\n", Some(b';')).unwrap();
    assert_eq!(shown(&data), ["line 2 - a, b"]);
}

#[test]
fn packed_files_are_told_as_that() {
    let folder = folder(&["a.png"]);
    for (name, bytes, said) in [
        (
            "d.jsonl.gz",
            &b"\x1f\x8b\x08\x00\x00"[..],
            "compressed by gzip",
        ),
        ("d.jsonl", b"\x28\xb5\x2f\xfd\x00", "compressed by zstd"),
        (
            "d.csv",
            b"PK\x03\x04\x14\x00",
            "a zip archive, or an Excel file",
        ),
    ] {
        let lines = read(&folder, name, bytes, |file, pictures| {
            Dataset::json_lines(file, pictures, SKIP)
        });
        let table = read(&folder, name, bytes, |file, pictures| {
            Dataset::csv(file, pictures, &Columns::default(), None, SKIP)
        });
        let coco = read(&folder, name, bytes, |file, pictures| {
            Dataset::coco_captions(file, pictures, SKIP)
        });
        for error in [lines, table, coco].map(Result::unwrap_err) {
            let error = error.to_string();
            assert!(
                error.contains(said) && error.contains("unpack it"),
                "{error}"
            );
        }
    }
}

/// A list that pandas wrote as a text is no answer, in no kind of file.
#[test]
fn lists_that_pandas_wrote_as_texts_are_refused() {
    let folder = folder(&["a.png"]);
    for column in ["answers", "answer", "caption", "choices"] {
        let question = if column == "caption" { "" } else { "what?" };
        let (said, table) = (
            format!("`{column}` is the text `['a', 'b']`, a list as Python writes it"),
            format!("image,question,{column}\na.png,{question},\"['a', 'b']\"\n"),
        );
        let line = match question {
            "" => format!(r#"{{"image": "a.png", "{column}": "['a', 'b']"}}"#),
            _ => format!(r#"{{"image": "a.png", "question": "what?", "{column}": "['a', 'b']"}}"#),
        };
        let table = read(&folder, "d.csv", table, |file, pictures| {
            Dataset::csv(file, pictures, &Columns::default(), None, OnBroken::Fail)
        });
        let line = read(&folder, "d.jsonl", line, |file, pictures| {
            Dataset::json_lines(file, pictures, OnBroken::Fail)
        });
        for error in [table, line].map(Result::unwrap_err) {
            let error = error.to_string();
            assert!(
                error.contains(&said) && error.contains("json.dumps"),
                "{error}"
            );
        }
    }
}

/// A moving picture is told with what a data set can have in its place.
#[test]
fn a_moving_picture_is_told_in_words_of_pictures() {
    let folder = folder(&["a.png"]);
    let mut encoder =
        image::codecs::gif::GifEncoder::new(fs::File::create(folder.path().join("a.gif")).unwrap());
    let frame = || image::Frame::new(image::RgbaImage::new(4, 4));
    encoder.encode_frames([frame(), frame()]).unwrap();
    drop(encoder);
    let data = read(
        &folder,
        "d.jsonl",
        r#"{"caption": "a", "image": "a.gif"}"#,
        |file, pictures| Dataset::json_lines(file, pictures, SKIP),
    );
    let faults = data.unwrap().faults(1, |_| None, |_| true).unwrap();
    assert!(
        faults[&0].contains("animated GIF; save one frame of it as a picture"),
        "{}",
        faults[&0]
    );
    assert!(!faults[&0].contains("::"), "{}", faults[&0]);
}

#[test]
fn lines_that_end_otherwise_are_told() {
    let folder = folder(&["a.png"]);
    let line = r#"{"caption": "a", "image": "a.png"}"#;
    let reader = |file: &Path, pictures: &Path| Dataset::json_lines(file, pictures, SKIP);
    let error = read(&folder, "d.jsonl", [line; 2].join("\r"), reader).unwrap_err();
    assert!(
        error.to_string().contains("carriage returns alone"),
        "{error}"
    );
    for end in ["\r\n", "\n"] {
        let data = read(&folder, "d.jsonl", [line; 2].join(end), reader).unwrap();
        assert_eq!(data.len(), 2);
    }
    // Of files that were joined each may have had a mark.
    let text = format!("\u{feff}{line}\n\u{feff}{line}\n");
    let data = read(&folder, "d.jsonl", text, reader).unwrap();
    assert_eq!((data.len(), data.broken().len()), (2, 0));
    let wide: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = read(&folder, "d.jsonl", wide, reader).unwrap_err();
    assert!(error.to_string().contains("it is UTF-16"), "{error}");
}

/// In plain words, and without the numbers of the system.
#[test]
fn files_that_are_not_there_are_told_in_words() {
    let folder = folder(&["a.png"]);
    let at = |name: &str| folder.path().join(name);
    let lines = |file: &Path| Dataset::json_lines(file, folder.path(), SKIP);
    let shards = |file: &Path| Dataset::web_dataset(&[file.into()], &Columns::default(), SKIP);
    for (found, said) in [
        (lines(&at("none.jsonl")), "there is no such file"),
        (lines(folder.path()), "it is a folder, and a file is due"),
        (shards(&at("none.tar")), "there is no such file"),
        (
            shards(folder.path()),
            "it is a folder, and an archive is due",
        ),
        (
            Dataset::image_folder(at("a.png"), &Columns::default(), SKIP),
            "where a folder is due",
        ),
        (
            Dataset::iconqa_test(at("none"), SKIP),
            "there is no such file or folder",
        ),
    ] {
        let error = found.unwrap_err().to_string();
        assert!(
            error.contains(said) && !error.contains("os error"),
            "{error}"
        );
    }
}
