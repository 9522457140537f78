//! What is there is kept, and what was made is written, whatever hinders something beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::helpers::{blip2, config, data, errors, model, run, text};

const LORA: &str = "[train]
[lora]
rank = 4
targets = [\"q_proj\", \"v_proj\"]
[recipe]
steps = 4
batch = 4
save_every = 2
";

/// The pictures and questions, and a file that trains adapters on them.
fn place(more: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let path = config(folder.path(), "run", more);
    (folder, path)
}

fn edit(path: &Path, from: &str, to: &str) {
    let before = fs::read_to_string(path).unwrap();
    assert!(before.contains(from), "{from}: {before}");
    fs::write(path, before.replace(from, to)).unwrap();
}

/// A training that must end well.
fn trained(path: &Path) -> String {
    let output = run(&["train", text(path)]);
    assert!(output.status.success(), "{}", errors(&output));
    errors(&output)
}

fn refused(arguments: &[&str], because: &str) -> String {
    let output = run(arguments);
    let said = errors(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains(because), "{because}: {said}");
    said
}

/// Files that a data set finds in its folder are read as much as those that the settings name.
#[test]
fn an_evaluation_writes_onto_no_file_that_its_folders_hold() {
    let (folder, _) = place("");
    let at = |name: &str| folder.path().join(name);
    let lines = fs::read_to_string(at("train.jsonl")).unwrap();
    let records = lines.lines().filter_map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        let picture = format!("{}/image.png", record["pid"].as_u64()?);
        Some(json!({"file_name": picture, "question": "?", "answer": record["answer"]}))
    });
    let records: String = records.map(|record| format!("{record}\n")).collect();
    fs::write(at("pictures/metadata.jsonl"), &records).unwrap();
    fs::create_dir_all(at("items/7")).unwrap();
    fs::copy(at("pictures/1/image.png"), at("items/7/image.png")).unwrap();
    let item = r#"{"question": "?", "choices": ["a", "b"], "answer": 0}"#;
    fs::write(at("items/7/data.json"), item).unwrap();

    for (kind, folder, files) in [
        (
            "imagefolder",
            "pictures",
            ["metadata.jsonl", "metadata.csv"],
        ),
        ("iconqa-test", "items", ["7/data.json", "7/../7/data.json"]),
    ] {
        let settings = format!(
            "model = \"{}\"\n[validation]\nscore = \"exact-match\"\n[validation.data]\nkind = \"{kind}\"\n\
             folder = \"{folder}\"\n",
            model().display()
        );
        fs::write(at("eval.toml"), settings).unwrap();
        let (config, of_folder) = (at("eval.toml"), at(folder));
        for file in files.map(|name| of_folder.join(name)) {
            let before = fs::read(&file).ok();
            for option in ["--answers", "--results"] {
                refused(
                    &["eval", text(&config), option, text(&file)],
                    "would be written over",
                );
            }
            assert_eq!(fs::read(&file).ok(), before);
        }
        // Nor onto one another, by whatever name.
        let again = of_folder.join("../both.jsonl");
        refused(
            &[
                "eval",
                text(&config),
                "--answers",
                text(&at("both.jsonl")),
                "--results",
                text(&again),
            ],
            "a file of their own",
        );
        // A folder of results would be one more of the records.
        if kind == "iconqa-test" {
            let settings = fs::read_to_string(&config).unwrap();
            let data = "[data]\nkind = \"iconqa-test\"\nfolder = \"items\"\n[lora]\nrank = 2\n\
                        targets = [\"q_proj\"]\n[recipe]\nsteps = 1\nbatch = 1\n";
            for out in ["items/out", "items"] {
                let settings = format!("out = \"{out}\"\n{settings}{data}");
                fs::write(at("train.toml"), settings).unwrap();
                for more in [&["--dry-run"][..], &[]] {
                    let train = at("train.toml");
                    refused(
                        &[&["train", text(&train)][..], more].concat(),
                        "would be written onto what is read",
                    );
                }
            }
            assert!(!at("items/out").exists());
        }
        // Beside them there is room.
        let free = at("answers.jsonl");
        let output = run(&["eval", text(&config), "--answers", text(&free)]);
        assert!(output.status.success(), "{}", errors(&output));
    }
}

/// A file that cannot be written is told before anything is asked; names that stand for something else, too.
#[test]
fn an_evaluation_looks_first_where_it_writes() {
    let (folder, path) = place("");
    let at = |name: &str| folder.path().join(name);
    let eval = |option: &str, file: &str, because: &str| {
        let output = run(&["eval", text(&path), option, file]);
        let said = errors(&output);
        assert!(
            !output.status.success() && said.contains(because),
            "{because}: {said}"
        );
        // No question was asked.
        assert!(output.stdout.is_empty(), "{said}");
    };
    eval("--answers", text(&at("nowhere/a.csv")), "make it first");
    fs::create_dir(at("other")).unwrap();
    eval("--answers", text(&at("other")), "it is a folder");
    eval("--answers", "-", "/dev/stdout");
    eval("--sheet", text(&at("sheet.jpg")), ".png");
    // Without ids, and with one that two questions have, no server finds a question.
    let record = |picture: usize, more: &str| {
        format!(
            "{{\"image\": \"{picture}/image.png\", \"question\": \"?\", \"answer\": \"red\"{more}}}\n"
        )
    };
    let records = |more| {
        (0..8)
            .map(|picture| record(picture, more))
            .collect::<String>()
    };
    fs::write(at("train.jsonl"), records("")).unwrap();
    eval("--results", text(&at("r.json")), "`question_id`");
    // A picture's number is no question's.
    fs::write(at("train.jsonl"), records(", \"image_id\": 5")).unwrap();
    eval("--results", text(&at("r.json")), "ids are its `image_id`");
    fs::write(at("train.jsonl"), records(", \"question_id\": 5")).unwrap();
    eval("--results", text(&at("r.json")), "more than one example");
    assert!(!at("r.json").exists());

    // A table is one in large letters, too.
    let table = at("answers.CSV");
    let output = run(&["eval", text(&path), "--answers", text(&table)]);
    assert!(output.status.success(), "{}", errors(&output));
    let table = fs::read_to_string(table).unwrap();
    assert!(table.starts_with("id,question,answer,right,"), "{table}");
}

/// The model may be named by the command alone, and by nobody.
#[test]
fn an_evaluation_is_told_of_its_model_beside_the_file() {
    let (_folder, path) = place("");
    let line = format!("model = \"{}\"\n", model().display());
    edit(&path, &line, "");
    let own = model();
    let output = run(&["eval", text(&path), "--model", text(&own)]);
    assert!(output.status.success(), "{}", errors(&output));
    for verb in ["eval", "train"] {
        refused(&[verb, text(&path)], "the file has no `model`");
    }
}

#[test]
fn what_cannot_be_written_as_a_model_is_not_trained() {
    let (folder, path) = place(LORA);
    let packed = folder.path().join("packed.safetensors");
    let own = model();
    let output = run(&[
        "pack",
        text(&own),
        "--precision",
        "int8",
        "-o",
        text(&packed),
    ]);
    assert!(output.status.success(), "{}", errors(&output));
    edit(&path, text(&own), text(&packed));
    for more in [&["--dry-run"][..], &[]] {
        refused(&[&["train", text(&path)], more].concat(), "a packed file");
    }
    assert!(!folder.path().join("run").exists());
}

/// What is drawn of a training, and what is told of it, costs it nothing.
#[test]
fn a_curve_that_cannot_be_written_hinders_no_state_and_no_model() {
    let (folder, path) = place(LORA);
    let run_folder = folder.path().join("run");
    fs::create_dir_all(run_folder.join("states/curve.svg/full")).unwrap();
    let said = trained(&path);
    assert!(said.contains("metrics and curve are not written"), "{said}");
    assert_eq!(said.matches("curve.svg").count(), 1, "told once: {said}");
    for file in [
        "states/step-000000004/trained.safetensors",
        "states/metrics.jsonl",
        "model/model.safetensors",
        "adapter/adapter_model.safetensors",
        "curve.svg",
    ] {
        assert!(run_folder.join(file).is_file(), "{file}: {said}");
    }
}

/// Rows that are spoilt are left out of what goes on, and no others are.
#[test]
fn metrics_go_on_from_what_can_be_read_of_them() {
    let (folder, path) = place(LORA);
    let run_folder = folder.path().join("run");
    trained(&path);
    let of_states = run_folder.join("states/metrics.jsonl");
    let lines = fs::read_to_string(&of_states).unwrap();
    let spoilt = lines.replace("\"step\":1", "\"st") + "{\"step\":4,";
    fs::write(&of_states, spoilt).unwrap();
    edit(&path, "steps = 4", "steps = 6");
    let said = trained(&path);
    assert!(
        said.contains("line 2 and 1 more of it is damaged"),
        "{said}"
    );
    let steps = |file: &Path| -> Vec<u64> {
        let text = fs::read_to_string(file).unwrap();
        let rows = text.lines().map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            row["step"].as_u64().unwrap()
        });
        rows.collect()
    };
    assert_eq!(steps(&of_states), [0, 2, 3, 4, 5]);
    let of_run = run_folder.join("metrics.jsonl");
    assert_eq!(steps(&of_run), [0, 1, 2, 3, 4, 5], "it had the row");

    // Of those that are gone the rest is told where the run is told.
    fs::remove_file(&of_states).unwrap();
    fs::write(run_folder.join("metrics.jsonl"), &lines).unwrap();
    edit(&path, "steps = 6", "steps = 8");
    trained(&path);
    assert_eq!(steps(&of_states), [6, 7]);
    assert_eq!(steps(&run_folder.join("metrics.jsonl")), [0, 1, 2, 3, 6, 7]);

    edit(&path, "steps = 8", "steps = 3");
    let said = trained(&path);
    assert!(
        said.contains("3 steps are asked for, and 8 were made"),
        "{said}"
    );
}

/// What a training did not begin it does not replace.
#[test]
fn a_model_without_states_is_replaced_by_no_training() {
    let (folder, path) = place(LORA);
    let run_folder = folder.path().join("run");
    trained(&path);
    let weights = run_folder.join("model/model.safetensors");
    let before = fs::read(&weights).unwrap();
    fs::remove_dir_all(run_folder.join("states")).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        refused(
            &[&["train", text(&path)], more].concat(),
            "holds what was trained before",
        );
    }
    assert!(fs::read(&weights).unwrap() == before);
    fs::remove_dir_all(run_folder.join("model")).unwrap();
    fs::remove_dir_all(run_folder.join("adapter")).unwrap();
    trained(&path);
}

#[test]
fn blocks_that_are_not_there_are_named() {
    let (_folder, path) = place(&LORA.replace("rank = 4", "rank = 4\nlayers = [0, 99]"));
    refused(
        &["train", text(&path)],
        "[lora] layers: 99 is the number of a block in which no layer is among the targets",
    );
}

#[test]
fn a_score_of_questions_is_refused_for_captions() {
    let (folder, path) = place("");
    let lines = (0..8).map(|picture| {
        let captions: Vec<_> = (0..5).map(|n| format!("a dog {picture} {n}")).collect();
        format!(
            "{}\n",
            json!({"image": format!("{picture}/image.png"), "caption": captions})
        )
    });
    fs::write(folder.path().join("train.jsonl"), lines.collect::<String>()).unwrap();
    edit(&path, "exact-match", "vqa");
    refused(&["eval", text(&path)], "the data has captions alone");
}

#[cfg(unix)]
#[test]
fn where_nothing_can_be_written_is_told_before_the_first_step() {
    let (folder, path) = place(LORA);
    std::os::unix::fs::symlink("far/away", folder.path().join("run")).unwrap();
    refused(
        &["train", text(&path), "--dry-run"],
        "a link to what is not there",
    );
    fs::remove_file(folder.path().join("run")).unwrap();

    let line = format!(
        "ulimit -f 100; exec {} train {} --dry-run",
        env!("CARGO_BIN_EXE_blip2"),
        path.display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &line])
        .output()
        .unwrap();
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`ulimit -f`"), "{said}");
}

/// What is used is not always what can be merged, and then it is said why.
#[test]
fn a_tied_head_is_not_merged_and_it_is_said_why() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("merged");
    for (base, adapter) in [
        ("blip2_opt", "opt_head"),
        ("blip2_opt", "opt_head_saved"),
        ("blip2_opt", "opt_head_dora"),
        ("blip2_opt", "opt_tokens"),
        ("blip2_t5", "t5_shared"),
        ("blip2_t5_tied", "t5_tied_shared"),
        ("blip1_vqa", "blip1_vqa_head"),
        ("blip1_vqa", "blip1_vqa_words"),
    ] {
        let base = blip2_testing::fixture(base);
        let adapter = blip2_testing::fixture(format!("peft/{adapter}"));
        let merge = [
            "merge",
            text(&base),
            "--adapter",
            text(&adapter),
            "-o",
            text(&out),
        ];
        refused(&merge, "`tie_word_embeddings`");
        assert!(!out.exists());
    }
}

/// An adapter that is in the model already would count twice.
#[test]
fn an_adapter_on_another_model_is_told() {
    let (folder, path) = place(LORA);
    edit(&path, "steps = 4", "steps = 4\nlr = 0.01");
    trained(&path);
    let [own, merged, adapter] = [
        model(),
        folder.path().join("run/model"),
        folder.path().join("run/adapter"),
    ];
    let copied = folder.path().join("copied");
    fs::create_dir(&copied).unwrap();
    for file in fs::read_dir(&own).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copied.join(file.file_name())).unwrap();
    }
    for (model, is_other) in [(&own, false), (&copied, false), (&merged, true)] {
        let eval = [
            "eval",
            text(&path),
            "--model",
            text(model),
            "--adapter",
            text(&adapter),
        ];
        let output = run(&eval);
        let said = errors(&output);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("is put on another model"), is_other, "{said}");
    }
}

/// A last state is saved whatever its number: more steps go on from there.
#[test]
fn recipes_that_are_longer_go_on() {
    let (folder, path) =
        place("[train]\nparts = [\"language_projection\"]\n[recipe]\nsteps = 3\nbatch = 4\n");
    let file = fs::read_to_string(&path).unwrap();
    let (before, after) = file.split_once("[validation]").unwrap();
    let (_, after) = after.split_once("[train]").unwrap();
    fs::write(&path, format!("{before}[train]{after}")).unwrap();
    trained(&path);
    let state = |step: usize| folder.path().join(format!("run/states/step-{step:09}"));
    assert!(state(3).is_dir());
    edit(&path, "steps = 3", "steps = 5");
    trained(&path);
    assert!(state(5).is_dir());
}

/// An adapter finds its base from wherever it is opened.
#[cfg(unix)]
#[test]
fn an_adapter_names_its_base_by_where_it_is() {
    let (folder, path) = place(LORA);
    let base = folder.path().join("base");
    std::os::unix::fs::symlink(model(), &base).unwrap();
    edit(&path, text(&model()), "base");
    let output = blip2()
        .current_dir(folder.path())
        .args(["train", "run.toml"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    let adapter = folder.path().join("run/adapter");
    let config = fs::read(adapter.join("adapter_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let named = Path::new(config["base_model_name_or_path"].as_str().unwrap());
    assert!(named.is_absolute(), "{}", named.display());
    assert_eq!(
        fs::canonicalize(named).unwrap(),
        fs::canonicalize(base).unwrap()
    );
}
