//! The layouts in which people have their data, each from a small file, and what is said of records that
//! do not fit.

#![cfg(feature = "dataset")]
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use blip2_io::dataset::{ChoiceAnswers, Columns, Dataset, DatasetError, OnBroken};
use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// A folder with pictures of these names.
fn folder(pictures: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in pictures {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_pixel(4, 4, Rgb([1, 2, 3]))
            .save(path)
            .unwrap();
    }
    folder
}

/// What is read of a file with this text beside its pictures.
fn read(
    folder: &TempDir,
    name: &str,
    text: impl AsRef<[u8]>,
    reader: impl FnOnce(&Path, &Path) -> Result<Dataset, DatasetError>,
) -> Result<Dataset, DatasetError> {
    let file = folder.path().join(name);
    fs::write(&file, text).unwrap();
    reader(&file, folder.path())
}

/// Each example on a line: its id, its question, its answers.
fn shown(data: &Dataset) -> Vec<String> {
    let line = |example: &blip2_io::dataset::Example| {
        let question = example.question.as_deref().unwrap_or("-");
        format!("{} {question} {}", example.id, example.answers.join("|"))
    };
    data.examples().iter().map(line).collect()
}

/// What was left out.
fn left_out(data: &Dataset) -> String {
    let said: Vec<String> = data.broken().iter().map(ToString::to_string).collect();
    let said = said.join("\n");
    for word in [
        "untagged",
        "invalid type",
        "expected",
        "missing field",
        "variant",
    ] {
        assert!(!said.contains(word), "{said}");
    }
    said
}

const SKIP: OnBroken = OnBroken::Skip;

#[test]
fn lines_and_lists_are_told_apart_and_their_columns_have_any_name() {
    let folder = folder(&["a.png", "b.png"]);
    let columns = Columns::default()
        .with_question(Some("q".into()))
        .with_answer(Some("a".into()))
        .with_image(Some("img".into()));
    let records = [
        r#"{"q": "what?", "a": "röt", "img": "a.png"}"#,
        r#"{"caption": ["a dog", "one dog"], "img": "b.png"}"#,
        r#"{"q": "how many?", "a": 2, "img": {"path": "b.png", "bytes": null}}"#,
    ];
    // A byte-order mark and Windows's line ends.
    let lines = format!("\u{feff}{}\r\n", records.join("\r\n"));
    let list = format!("\u{feff}[{}]", records.join(",\n"));
    for text in [lines, list] {
        let data = read(&folder, "data", text, |file, pictures| {
            Dataset::json_records(file, pictures, &columns, OnBroken::Fail)
        });
        let all: Vec<String> = shown(&data.unwrap());
        let said: Vec<&str> = all
            .iter()
            .map(|line| line.split_once(['0', '1', '2', '3']).unwrap().1)
            .collect();
        assert_eq!(said, [" what? röt", " - a dog|one dog", " how many? 2"]);
    }
}

#[test]
fn lavis_s_lists_are_read() {
    let folder = folder(&["val2014/c.png"]);
    let text = r#"[
        {"image": "val2014/c.png", "caption": "a dog", "image_id": "coco_1"},
        {"image": "val2014/c.png", "caption": ["a dog", "a cat"], "image_id": 7, "instance_id": "3"},
        {"image": "val2014/c.png", "question": "what?", "question_id": 9, "answer": ["net", "net", "cage"], "dataset": "vqa"},
        {"image": "val2014/c.png", "question": "what?", "answer": ["net", "cage"], "weight": [0.75, 0.25]},
        {"image": "val2014/c.png", "question": "what?", "choices": ["x", "y"], "correct_choice_idx": 1, "direct_answers": ["z"]}]"#;
    let data = read(&folder, "lavis.json", text, |file, pictures| {
        Dataset::json_lines(file, pictures, OnBroken::Fail)
    });
    let data = data.unwrap();
    let all = shown(&data);
    assert_eq!(
        all[..3],
        ["coco_1 - a dog", "3 - a dog|a cat", "9 what? net|net|cage"]
    );
    let nets = data.examples()[3]
        .answers
        .iter()
        .filter(|own| *own == "net");
    assert_eq!((nets.count(), data.examples()[3].answers.len()), (8, 11));
    assert_eq!((all[4].as_str(), data.choices()), ("index 4 what? y", 1));
}

#[test]
fn what_does_not_fit_is_said_in_words() {
    let folder = folder(&["a.png"]);
    let lines = [
        r#"{"question": "?", "answer": "ok", "image": "a.png"}"#,
        r#"{"question": {"en": "?"}, "answer": "x", "image": "a.png"}"#,
        r#"{"question": "?", "answer": [["x"]], "image": "a.png"}"#,
        r#"{"Question": "?", "Answer": "x", "image": "a.png"}"#,
        r#"{"question": "?", "answer": true, "image": "a.png"}"#,
        r#"{"question": "?", "answer": "x", "image": ["a.png", "b.png"]}"#,
        r#"{"question": "?", "answer": "x", "image": "https://example.org/a.png"}"#,
        r#"{"question": "?", "answer": "x", "image": "../secret.png"}"#,
        "{\"question\": \"?\", \"answer\": \"x\", \"image\": \"\\u001b[31m.png\"}",
        "{'question': '?'}",
        r#"["question", "answer"]"#,
        r#"{"question": "?", "answer": NaN}"#,
        r#"{"question": "?""#,
    ];
    let data = read(&folder, "d.jsonl", lines.join("\n"), |file, pictures| {
        Dataset::json_lines(file, pictures, SKIP)
    });
    let said = left_out(&data.unwrap());
    for words in [
        "d.jsonl, line 2: `question` is an object with the keys `en`, where a text or a number would fit",
        "line 3: `answer[0]` is a list of 1, where a text, a number",
        "line 4: it has neither `question` nor `caption`; its keys are `Question`, `Answer`, `image`; name",
        "line 5: `answer` is true, where",
        "line 6: its `image` is a list of 2, and an example is of one",
        "line 7: its picture is `https://example.org/a.png`, and not a file: download it",
        "line 8: its picture `../secret.png` is outside of",
        "line 9: there is no picture",
        "line 10: it is no JSON from column 2 on, which is `'question': '?'}`: JSON has texts between double",
        "line 11: it is a list of 2, where an object `{…}` is due",
        "line 12: it is no JSON from column 29 on, which is `NaN}`: JSON writes null",
        "line 13: it is no JSON: it ends too early",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "{said}");
}

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
            "an object `{…}` with `images` and `annotations` is due, and the file is a list",
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

#[test]
fn tables_are_read_with_their_quotes_and_their_empty_cells() {
    let folder = folder(&["a.png"]);
    let text = "\u{feff}image,question,answer,caption\r\n\
                a.png,\"what, there?\",red,\r\n\
                a.png,,,\"a \"\"dog\"\"\nover two lines\"\r\n\
                a.png,how many?,\"[\"\"2\"\", \"\"two\"\"]\",\r\n\
                a.png,short\r\n\
                ,what?,red,\r\n";
    let data = read(&folder, "d.csv", text, |file, pictures| {
        Dataset::csv(file, pictures, &Columns::default(), None, SKIP)
    });
    let data = data.unwrap();
    assert_eq!(
        shown(&data),
        [
            "line 2 what, there? red",
            "line 3 - a \"dog\"\nover two lines",
            "line 5 how many? 2|two"
        ]
    );
    let said = left_out(&data);
    assert!(
        said.contains("line 6: it has 2 cells, and the first line names 4 columns"),
        "{said}"
    );
    assert!(said.contains("line 7: it names no picture"), "{said}");

    let columns = Columns::default().with_image(Some("file".into()));
    let data = read(
        &folder,
        "d.tsv",
        "file\ttext\na.png\ta dog, one\n",
        |file, pictures| Dataset::csv(file, pictures, &columns, None, SKIP),
    );
    assert_eq!(shown(&data.unwrap()), ["line 2 - a dog, one"]);
    let twice = read(
        &folder,
        "d.csv",
        "image,image\na.png,b\n",
        |file, pictures| Dataset::csv(file, pictures, &columns, Some(b','), SKIP),
    );
    assert!(
        twice
            .unwrap_err()
            .to_string()
            .contains("names the column `image` twice")
    );
    let latin = read(
        &folder,
        "d.csv",
        b"file,text\na.png,r\xf6t\na.png,red\n",
        |file, pictures| Dataset::csv(file, pictures, &columns, None, SKIP),
    );
    assert!(left_out(&latin.unwrap()).contains("is not UTF-8"));
}

#[test]
fn hugging_face_s_folders_are_read() {
    let folder = folder(&["train/1.png", "train/2.png"]);
    let train = folder.path().join("train");
    let read = |folder: &Path| Dataset::image_folder(folder, &Columns::default(), OnBroken::Fail);
    let error = read(&train).unwrap_err().to_string();
    assert!(
        error.contains("neither metadata.jsonl nor metadata.csv"),
        "{error}"
    );
    let lines = "{\"file_name\": \"1.png\", \"text\": \"a dog\"}\n{\"file_name\": \"2.png\", \"text\": \"a cat\", \"label\": 3}\n";
    fs::write(train.join("metadata.jsonl"), lines).unwrap();
    let data = read(&train).unwrap();
    assert_eq!(shown(&data), ["line 1 - a dog", "line 2 - a cat"]);
    let error = read(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("below: give") && error.contains("train"),
        "{error}"
    );
    fs::remove_file(train.join("metadata.jsonl")).unwrap();
    fs::write(
        train.join("metadata.csv"),
        "file_name,question,answer\n1.png,what?,dog\n",
    )
    .unwrap();
    assert_eq!(shown(&read(&train).unwrap()), ["line 2 what? dog"]);
    fs::write(train.join("metadata.jsonl"), lines).unwrap();
    assert!(read(&train).unwrap_err().to_string().contains("both"));
}

#[test]
fn karpathy_s_splits_are_read() {
    let folder = folder(&["val2014/a.png", "b.png", "c.png"]);
    let text = r#"{"dataset": "coco", "images": [
        {"filepath": "val2014", "filename": "a.png", "split": "train", "cocoid": 5, "sentids": [1],
         "sentences": [{"raw": "A dog. ", "tokens": ["a", "dog"]}, {"raw": "One dog."}]},
        {"filename": "b.png", "split": "restval", "imgid": 6, "sentences": [{"raw": "A cat."}]},
        {"filename": "c.png", "split": "test", "imgid": 7, "sentences": [{"raw": "A cow."}]},
        {"filename": "c.png", "split": "train", "imgid": 8}]}"#;
    let karpathy = |split: &str, restval| {
        read(&folder, "dataset_coco.json", text, |file, pictures| {
            Dataset::karpathy(file, pictures, split, restval, SKIP)
        })
    };
    let train = karpathy("train", false).unwrap();
    assert_eq!(shown(&train), ["5 - A dog.|One dog."]);
    assert!(left_out(&train).contains("images, index 3: it has no `sentences`; its keys are"));
    assert_eq!(shown(&karpathy("train", true).unwrap()).len(), 2);
    for no_folder in ["", " ", ".", "./"] {
        let text = format!(
            r#"{{"images": [{{"filepath": "{no_folder}", "filename": "b.png", "split": "train", "sentences": [{{"raw": "A cat."}}]}}]}}"#
        );
        let data = read(&folder, "k.json", text, |file, pictures| {
            Dataset::karpathy(file, pictures, "train", false, OnBroken::Fail)
        });
        assert_eq!(shown(&data.unwrap()), ["images, index 0 - A cat."]);
    }
    assert_eq!(shown(&karpathy("test", false).unwrap()), ["7 - A cow."]);
    let error = karpathy("validation", false).unwrap_err().to_string();
    assert!(
        error.contains("`validation`; there are `restval` (1), `test` (1), `train` (2)"),
        "{error}"
    );
}

#[test]
fn questions_of_vizwiz_gqa_and_a_okvqa_are_read() {
    let folder = folder(&["v.jpg", "2370799.jpg", "000000000042.jpg"]);
    let text = r#"[
        {"image": "v.jpg", "question": "What is it?", "answer_type": "other", "answerable": 1,
         "answers": [{"answer": "basil", "answer_confidence": "yes"}, {"answer": "herb", "answer_confidence": "maybe"}]},
        {"image": "v.jpg", "question": "And this?", "answers": [{"answer": "unanswerable"}], "answerable": 0},
        {"image": "v.jpg", "question": "And that?", "answers": [{"answer_confidence": "yes"}]}]"#;
    let vizwiz = |only| {
        let reader = |file: &Path, pictures: &Path| Dataset::vizwiz(file, pictures, only, SKIP);
        read(&folder, "vizwiz.json", text, reader).unwrap()
    };
    assert_eq!(
        shown(&vizwiz(false)),
        [
            "v.jpg What is it? basil|herb",
            "v.jpg And this? unanswerable"
        ]
    );
    assert_eq!(vizwiz(true).len(), 1);
    let said = left_out(&vizwiz(false));
    assert!(
        said.contains("index 2: `answers[0]` is an object with the keys `answer_confidence`"),
        "{said}"
    );

    let text = r#"{"07333408": {"imageId": "2370799", "question": "What is it?", "answer": "pipe", "fullAnswer": "It is a pipe."},
        "x\u001b": {"imageId": "../secret", "question": "What?", "answer": "pipe"},
        "y": {"question": "What?"}}"#;
    let gqa = |full| {
        let reader = |file: &Path, pictures: &Path| Dataset::gqa(file, pictures, full, SKIP);
        read(&folder, "gqa.json", text, reader).unwrap()
    };
    assert_eq!(shown(&gqa(false)), ["07333408 What is it? pipe"]);
    assert_eq!(shown(&gqa(true)), ["07333408 What is it? It is a pipe."]);
    let said = left_out(&gqa(false));
    assert!(
        said.contains("question `x\\u{1b}`: its picture `../secret.jpg` is outside"),
        "{said}"
    );
    assert!(
        said.contains("question `y`: it has no `imageId`; its keys are `question`"),
        "{said}"
    );

    let text = r#"[{"split": "train", "image_id": 42, "question_id": "q1", "question": "What?",
        "choices": ["cat", "dog"], "correct_choice_idx": 1, "direct_answers": ["hound", "dog"]},
        {"image_id": 42, "question": "What?", "choices": ["cat"], "correct_choice_idx": 4},
        {"image_id": 42, "question_id": "q3", "question": "Test?", "choices": ["cat"]}]"#;
    let a_okvqa = |answers| {
        let reader = |file: &Path, pictures: &Path| Dataset::a_okvqa(file, pictures, answers, SKIP);
        read(&folder, "aokvqa.json", text, reader).unwrap()
    };
    let choice = a_okvqa(ChoiceAnswers::Choice);
    assert_eq!(shown(&choice), ["q1 What? dog", "q3 Test? "]);
    assert_eq!(choice.choices(), 2);
    let said = left_out(&choice);
    assert!(
        said.contains("index 1: its `correct_choice_idx` is the number 4, which is none of its 1"),
        "{said}"
    );
    assert_eq!(
        shown(&a_okvqa(ChoiceAnswers::Direct))[0],
        "q1 What? hound|dog"
    );
}

#[test]
fn captions_of_textcaps_and_flickr_are_gathered_by_picture() {
    let folder = folder(&["0054.jpg", "train/1.jpg", "10.jpg", "20.jpg"]);
    let text = r#"{"dataset_name": "textcaps", "data": [
        {"image_id": "0054", "caption_str": "a sign"}, {"image_id": "1", "image_path": "train/1.jpg", "reference_strs": ["x", "y"]},
        {"image_id": "0054", "caption_str": "a shop sign"}, {"image_id": "1", "image_path": "train/1.jpg", "reference_strs": ["x", "y"]},
        {"image_id": 5}]}"#;
    let data = read(&folder, "TextCaps.json", text, |file, pictures| {
        Dataset::textcaps(file, pictures, SKIP)
    });
    let data = data.unwrap();
    assert_eq!(shown(&data), ["0054 - a sign|a shop sign", "1 - x|y"]);
    assert!(left_out(&data).contains("data, index 4: it has no `caption_str`"));
    let text = r#"{"data": [{"question": "what?", "image_id": "0054", "question_id": 3, "answers": ["nokia", "nokia"]}]}"#;
    let data = read(&folder, "TextVQA.json", text, |file, pictures| {
        Dataset::textvqa(file, pictures, OnBroken::Fail)
    });
    assert_eq!(shown(&data.unwrap()), ["3 what? nokia|nokia"]);

    let bars = "image_name| comment_number| comment\n10.jpg| 0| A \"dog\" .\n10.jpg| 1| One dog .\n20.jpg| 4   A cow .\n20.jpg| 0| A cow .\n";
    let token = "10.jpg#0\tA \"dog\" .\n10.jpg#1\tOne dog .\n20.jpg#0\tA cow .\nbroken line\n";
    let commas = "image,caption\n10.jpg,\"A \"\"dog\"\" .\"\n10.jpg,One dog .\n20.jpg,A cow .\n../x.jpg,A hen .\n";
    for (name, text, said) in [
        (
            "results.csv",
            bars,
            "line 4: it is `20.jpg|4   A cow .`, where a picture's name, a number",
        ),
        (
            "results.token",
            token,
            "line 4: it is `broken line`, where a picture's name and a caption",
        ),
        (
            "captions.txt",
            commas,
            "line 5: its picture `../x.jpg` is outside",
        ),
    ] {
        let data = read(&folder, name, text, |file, pictures| {
            Dataset::flickr30k(file, pictures, SKIP)
        });
        let data = data.unwrap();
        assert_eq!(
            shown(&data),
            ["10.jpg - A \"dog\" .|One dog .", "20.jpg - A cow ."],
            "{name}"
        );
        assert!(
            left_out(&data).contains(said),
            "{name}: {}",
            left_out(&data)
        );
    }
}

#[test]
fn questions_and_annotations_that_do_not_fit_are_named_in_their_files() {
    let folder = folder(&["000000000001.jpg"]);
    let questions = r#"{"questions": [{"image_id": 1, "question": "?", "question_id": 1}, {"image_id": -1, "question": "?", "question_id": 2}, 7]}"#;
    let annotations = folder.path().join("a.json");
    let text = r#"{"annotations": [{"question_id": 1, "answers": [{"answer": "x"}]}, {"question_id": 2, "answers": 5.5}, {"answers": []}]}"#;
    fs::write(&annotations, text).unwrap();
    let data = read(&folder, "q.json", questions, |file, pictures| {
        Dataset::vqa_v2(file, Some(&annotations), pictures, SKIP)
    });
    let data = data.unwrap();
    assert_eq!(shown(&data), ["1 ? x"]);
    let said = left_out(&data);
    for words in [
        "a.json, annotations, index 2: it has no `question_id`",
        "q.json, questions, index 1: `image_id` is the number -1, where a whole number",
        "q.json, questions, index 2: it is the number 7, where an object is due",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
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

/// A right choice that is a place and the words of another means the same in every kind of file: what the
/// others' do, and nothing where these do not tell.
#[test]
fn a_right_choice_is_a_place_or_the_words_in_every_kind_of_file() {
    let folder = folder(&["a.png"]);
    let three = r#"["1","2","3"]"#;
    for (other, due) in [
        (None, None),
        // Others are told by places.
        (Some((r#"["x","y"]"#, "1")), Some("2")),
        // Others are told by words.
        (Some((r#"["x","y"]"#, "\"y\"")), Some("1")),
    ] {
        for right in ["1", "\"1\""] {
            let records = [Some((three, right)), other].into_iter().flatten();
            let lines: Vec<String> = records
                .clone()
                .map(|(choices, right)| {
                    format!(
                        r#"{{"image":"a.png","question":"?","choices":{choices},"answer":{right}}}"#
                    )
                })
                .collect();
            let rows: Vec<String> = records
                .map(|(choices, right)| {
                    let choices = choices.replace('"', "\"\"");
                    format!("a.png,?,\"{choices}\",{}", right.trim_matches('"'))
                })
                .collect();
            let rows = format!("image,question,choices,answer\n{}\n", rows.join("\n"));
            let lines = read(&folder, "d.jsonl", lines.join("\n"), |file, pictures| {
                Dataset::json_lines(file, pictures, OnBroken::Fail)
            });
            let rows = read(&folder, "d.csv", rows, |file, pictures| {
                Dataset::csv(file, pictures, &Columns::default(), None, OnBroken::Fail)
            });
            for data in [lines, rows] {
                match (data, due) {
                    (Ok(data), Some(due)) => assert_eq!(data.examples()[0].answers, [due]),
                    (Err(error), None) => {
                        let error = error.to_string();
                        assert!(
                            error.contains("as a place, counted from 0, another"),
                            "{error}"
                        );
                    }
                    (data, due) => panic!("{right}: {data:?}, {due:?}"),
                }
            }
        }
    }
    // Those who are told both ways leave it open, and are read themselves.
    let mixed = [
        format!(r#"{{"image":"a.png","question":"?","choices":{three},"answer":1}}"#),
        r#"{"image":"a.png","question":"?","choices":["x","y"],"answer":0}"#.into(),
        r#"{"image":"a.png","question":"?","choices":["x","y"],"answer":"y"}"#.into(),
        format!(r#"{{"image":"a.png","question":"?","choices":{three},"correct_choice_idx":1}}"#),
        format!(r#"{{"image":"a.png","question":"?","choices":{three},"answer":["1"]}}"#),
        format!(
            r#"{{"image":"a.png","question":"?","choices":{three},"answer":1,"ques_type":"choose_txt"}}"#
        ),
    ];
    let data = read(&folder, "d.jsonl", mixed.join("\n"), |file, pictures| {
        Dataset::json_lines(file, pictures, SKIP)
    });
    let data = data.unwrap();
    let answers: Vec<String> = data
        .examples()
        .iter()
        .map(|own| own.answers.concat())
        .collect();
    assert_eq!(answers, ["x", "y", "2", "1", "2"]);
    assert_eq!((data.choices(), data.broken().len()), (5, 1));
    assert!(left_out(&data).contains("d.jsonl, line 1: its `answer` is `1`"));
}

/// IconQA and A-OKVQA tell places, whatever their choices say.
#[test]
fn kinds_that_tell_places_go_on_telling_them() {
    let folder = folder(&["7/image.png", "000000000042.jpg"]);
    let text = r#"{"question": "how many?", "choices": ["1", "2", "3"], "answer": 1}"#;
    fs::write(folder.path().join("7/data.json"), text).unwrap();
    let data = Dataset::iconqa_test(folder.path(), OnBroken::Fail).unwrap();
    assert_eq!(shown(&data), ["7 how many? 2"]);
    let text = r#"[{"image_id": 42, "question_id": "q", "question": "how many?", "choices": ["1", "2", "3"],
        "correct_choice_idx": 1, "direct_answers": ["two"]}]"#;
    let data = read(&folder, "aokvqa.json", text, |file, pictures| {
        Dataset::a_okvqa(file, pictures, ChoiceAnswers::Choice, OnBroken::Fail)
    });
    assert_eq!(shown(&data.unwrap()), ["q how many? 2"]);
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
