//! The layouts of published data sets.

use std::{fs, path::Path};

use blip2_io::dataset::{ChoiceAnswers, Dataset, DatasetError, OnBroken};

use crate::helpers::{SKIP, folder, left_out, read, shown};

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
    let error = karpathy("test", true).unwrap_err().to_string();
    assert!(
        error.contains("`test` was asked for: leave it out"),
        "{error}"
    );
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

    let bars = "image_name| comment_number| comment\n10.jpg| 0| A \"dog\" .\n10.jpg| 1| One dog .\nbroken.jpg| A cow .\n20.jpg| 0   A cow .\n";
    let token = "10.jpg#0\tA \"dog\" .\n10.jpg#1\tOne dog .\n20.jpg#0\tA cow .\nbroken line\n";
    let commas = "image,caption\n10.jpg,\"A \"\"dog\"\" .\"\n10.jpg,One dog .\n20.jpg,A cow .\n../x.jpg,A hen .\n";
    for (name, text, said) in [
        (
            "results.csv",
            bars,
            "line 4: it is `broken.jpg|A cow .`, where a picture's name, a number",
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

#[test]
fn pictures_that_nobody_described_are_read_where_all_are() {
    let folder = folder(&["1.jpg", "2.jpg"]);
    for rest in ["", r#", "annotations": []"#] {
        let text = format!(
            r#"{{"images": [{{"id": 20, "file_name": "2.jpg"}}, {{"id": 3, "file_name": "1.jpg"}}]{rest}}}"#
        );
        let data = read(&folder, "image_info.json", text, |file, pictures| {
            Dataset::coco_captions(file, pictures, OnBroken::Fail)
        });
        let data = data.unwrap().captions_by_picture();
        assert_eq!(shown(&data), ["3 - ", "20 - "]);
        assert!(data.examples().iter().all(|own| own.answers.is_empty()));
    }
    let text = r#"{"data": [{"image_id": "2", "image_path": "2.jpg"}, {"image_id": "1"}]}"#;
    let data = read(&folder, "TextCaps_test.json", text, |file, pictures| {
        Dataset::textcaps(file, pictures, OnBroken::Fail)
    });
    assert_eq!(shown(&data.unwrap()), ["2 - ", "1 - "]);
    let lines = "{\"image\": \"1.jpg\", \"image_id\": 7}\n{\"image\": \"2.jpg\"}\n\
                 {\"image\": \"2.jpg\", \"Caption\": \"a dog\"}\n";
    let data = read(&folder, "t.jsonl", lines, |file, pictures| {
        Dataset::json_lines(file, pictures, SKIP)
    });
    let data = data.unwrap();
    assert_eq!(shown(&data), ["7 - ", "line 2 - "]);
    // A key that may be a caption is one that was not found.
    assert!(left_out(&data).contains("line 3: it has neither `question` nor `caption`"));
}

/// One folder below, as the archives of pictures unpack.
#[test]
fn pictures_are_found_in_the_folders_that_they_are_published_in() {
    let folder = folder(&[
        "train2014/COCO_train2014_000000000007.jpg",
        "val2017/000000000042.jpg",
        "train_images/0054.jpg",
        "val/VizWiz_val_00000001.jpg",
        "images/2370799.jpg",
        "flickr30k-images/10.jpg",
    ]);
    type Reader = fn(&Path, &Path) -> Result<Dataset, DatasetError>;
    let cases: [(&str, Reader); 7] = [
        (
            r#"{"images": [{"id": 7, "file_name": "COCO_train2014_000000000007.jpg"}], "annotations": [{"image_id": 7, "caption": "a"}]}"#,
            |file, pictures| Dataset::coco_captions(file, pictures, OnBroken::Fail),
        ),
        (
            r#"[{"image_id": 42, "question_id": "q", "question": "What?", "choices": ["a", "b"], "correct_choice_idx": 1}]"#,
            |file, pictures| {
                Dataset::a_okvqa(file, pictures, ChoiceAnswers::Choice, OnBroken::Fail)
            },
        ),
        (
            r#"{"questions": [{"image_id": 42, "question_id": 1, "question": "What?"}]}"#,
            |file, pictures| Dataset::vqa_v2(file, None, pictures, OnBroken::Fail),
        ),
        (
            r#"{"data": [{"image_id": "0054", "question_id": 1, "question": "What?"}]}"#,
            |file, pictures| Dataset::textvqa(file, pictures, OnBroken::Fail),
        ),
        (
            r#"[{"image": "VizWiz_val_00000001.jpg", "question": "What?"}]"#,
            |file, pictures| Dataset::vizwiz(file, pictures, false, OnBroken::Fail),
        ),
        (
            r#"{"1": {"imageId": "2370799", "question": "What?", "answer": "a"}}"#,
            |file, pictures| Dataset::gqa(file, pictures, false, OnBroken::Fail),
        ),
        (
            "image_name| comment_number| comment\n10.jpg| 0| A dog .\n",
            |file, pictures| Dataset::flickr30k(file, pictures, OnBroken::Fail),
        ),
    ];
    for (text, reader) in cases {
        let data = read(&folder, "d", text, reader);
        assert_eq!(data.unwrap().len(), 1, "{text}");
    }
}
