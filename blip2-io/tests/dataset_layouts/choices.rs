//! Choices: their words and their places.

use std::fs;

use blip2_io::dataset::{ChoiceAnswers, Columns, Dataset, OnBroken};

use crate::helpers::{SKIP, folder, left_out, read, shown};

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
