//! Lists of records with names of any kind, and tables.

use std::{fs, path::Path};

use blip2_io::dataset::{Columns, Dataset, OnBroken};

use crate::helpers::{SKIP, folder, left_out, read, shown};

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
