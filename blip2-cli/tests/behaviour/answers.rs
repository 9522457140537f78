//! Many questions: about one picture, and of a table.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/images");
const COLOR: &str = "what color is the shape?";
const SHAPE: &str = "what shape is in the image?";

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(arguments)
        .env_remove("BLIP2_MODEL")
        .output()
        .unwrap()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn example(name: &str) -> String {
    format!("{EXAMPLES}/{name}.png")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn many_questions_have_an_answer_a_line() {
    let picture = example("red-triangle");
    assert_eq!(
        succeeds(&["answer", &picture, COLOR, SHAPE]),
        "red\ntriangle\n"
    );
    let told = succeeds(&["answer", &picture, COLOR, SHAPE, "--json"]);
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&told[0]["question"], &told[0]["text"]),
        (&COLOR.into(), &"red".into())
    );
    assert!(told[1]["tokens"].is_array() && told[1]["timings"]["vision"].is_null());

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("questions.txt");
    fs::write(&file, format!("{COLOR}\r\n\n  {SHAPE}")).unwrap();
    let asked = succeeds(&[
        "answer",
        &picture,
        "--questions",
        text(&file),
        "--batch",
        "1",
    ]);
    assert_eq!(asked, "red\ntriangle\n");
    let yes_no = [
        "is there a triangle in the image?",
        "is there a circle in the image?",
    ];
    let asked = [&["answer", &picture][..], &yes_no, &["--yes-no"]].concat();
    assert_eq!(succeeds(&asked), "yes\nno\n");
}

#[test]
fn a_question_without_sense_keeps_its_line() {
    let picture = example("red-triangle");
    let output = run(&["answer", &picture, COLOR, " ", SHAPE]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "red\n\ntriangle\n"
    );
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("1 of 3 questions have no answer"), "{error}");
}

#[test]
fn given_answers_are_trimmed_and_may_hold_commas() {
    let picture = example("red-triangle");
    let given = "blue , 'red', \"teal, or green\"";
    let ranked = succeeds(&["answer", &picture, COLOR, "--one-of", given]);
    let first: Vec<&str> = ranked
        .lines()
        .map(|line| line.split('\t').next().unwrap())
        .collect();
    assert_eq!((first.len(), first[0]), (3, "red"));
    assert!(
        first.contains(&"teal, or green") && first.contains(&"blue"),
        "{ranked}"
    );
    let several = succeeds(&["answer", &picture, COLOR, COLOR, "--one-of", given]);
    assert_eq!(several, "red\nred\n");
}

/// A folder with a table and pictures beside it.
fn table(form: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let names = ["red-triangle", "blue-circle"];
    for name in names {
        fs::copy(example(name), folder.path().join(format!("{name}.png"))).unwrap();
    }
    let rows = [
        (names[0], COLOR),
        (names[0], SHAPE),
        ("gone", COLOR),
        (names[1], COLOR),
        (names[1], "what shape, \"if any\", is in the image?"),
        (names[0], COLOR),
    ];
    let mut lines = String::new();
    if form == "csv" {
        lines.push_str("id,image,question\n");
    }
    for (n, (name, question)) in rows.iter().enumerate() {
        lines.push_str(&match form {
            "csv" => format!("{n},{name}.png,\"{}\"\n", question.replace('"', "\"\"")),
            _ => {
                serde_json::json!({ "image": format!("{name}.png"), "question": question })
                    .to_string()
                    + "\n"
            }
        });
    }
    fs::write(folder.path().join(format!("asked.{form}")), lines).unwrap();
    folder
}

#[test]
fn a_table_is_answered_and_gone_on_with() {
    for form in ["csv", "jsonl"] {
        let folder = table(form);
        let asked = folder.path().join(format!("asked.{form}"));
        let answers = folder.path().join(format!("answers.{form}"));
        let command = [
            "answer",
            "--table",
            text(&asked),
            "--output",
            text(&answers),
            "--batch",
            "1",
        ];
        assert_eq!(run(&command).status.code(), Some(1), "a picture is gone");
        let whole = fs::read_to_string(&answers).unwrap();
        assert_eq!(
            whole.lines().count(),
            6 + usize::from(form == "csv"),
            "{whole}"
        );
        for cut in [1, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            fs::write(&answers, &whole[..cut]).unwrap();
            assert_eq!(run(&command).status.code(), Some(1));
            assert_eq!(fs::read_to_string(&answers).unwrap(), whole, "cut at {cut}");
        }
        assert!(whole.contains("red") && whole.contains("triangle") && whole.contains("blue"));
        assert!(whole.contains("gone.png: "), "{whole}");
    }
}

#[test]
fn a_table_is_answered_on_standard_output() {
    let folder = table("csv");
    let asked = folder.path().join("asked.csv");
    let output = run(&["answer", "--table", text(&asked), "--one-of", "red, blue"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).unwrap();
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told.len(), 6);
    assert_eq!(
        (&told[0]["answer"], &told[3]["answer"]),
        (&"red".into(), &"blue".into())
    );
    assert!(told[2]["error"].is_string() && told[0]["confidence"].is_number());
}

#[test]
fn a_table_without_sense_is_refused_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("asked.csv");
    for (content, said) in [
        (
            "image,question\na.png,what?\nb.png,\n",
            "line 3: there is no `question`",
        ),
        ("picture,question\na.png,what?\n", "there is no `image`"),
        ("image,question\na.png\n", "asked.csv: "),
    ] {
        fs::write(&table, content).unwrap();
        let output = run(&["answer", "--table", text(&table)]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(said), "{error}");
    }
    for arguments in [
        &["answer", "a.png", "what?", "--table", "t.csv"][..],
        &["answer", "a.png", "what?", "--questions", "q.txt"],
        &["answer", "a.png", "what?", "--output", "beside"],
        &["answer"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
