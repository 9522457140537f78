//! The data that people have, from its file to the trained model.

use std::{fs, path::Path};

use super::helpers::{data, errors, losses, model, run, text};

/// A training's file over the pictures that [`data`] made.
fn training(folder: &Path, name: &str, data: &str, validation: &str, recipe: &str) -> String {
    let file = folder.join(format!("{name}.toml"));
    let text = format!(
        "model = {:?}\nout = {name:?}\n[data]\n{data}\n[validation]\nscore = \"exact-match\"\n\
         before = false\n[validation.data]\n{validation}\n[train]\nparts = [\"language_projection\"]\n\
         [recipe]\nbatch = 2\nsave_every = 2\n{recipe}\n",
        model()
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_string()
}

/// The eight questions as a shard of WebDataset, and as a table.
fn shard_and_table(folder: &Path) {
    data(folder);
    let lines = fs::read_to_string(folder.join("train.jsonl")).unwrap();
    let mut tar = tar::Builder::new(fs::File::create(folder.join("t-00.tar")).unwrap());
    let mut table = String::from("q;a;img\n");
    for (number, line) in lines.lines().take(8).enumerate() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let picture = format!("pictures/{number}/image.png");
        tar.append_path_with_name(folder.join(&picture), format!("{number}.png"))
            .unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(line.len() as u64);
        tar.append_data(&mut header, format!("{number}.json"), line.as_bytes())
            .unwrap();
        let [question, answer] = ["question", "answer"].map(|key| record[key].as_str().unwrap());
        table += &format!("{question};{answer};{number}/image.png\n");
    }
    tar.finish().unwrap();
    fs::write(folder.join("val.csv"), table).unwrap();
}

const TABLE: &str = "kind = \"csv\"\nfile = \"val.csv\"\npictures = \"pictures\"\ndelimiter = \";\"\n\
                     columns = { question = \"q\", answer = \"a\", image = \"img\" }";

/// Shards are trained on in the order of a buffer; a run that ends halfway goes on along the same curve;
/// and a table is what is evaluated.
#[test]
fn shards_are_trained_on_and_a_table_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    shard_and_table(folder.path());
    let shards = "kind = \"webdataset\"\nshards = \"t-{00..00}.tar\"";
    let recipe = |steps: usize| {
        format!("steps = {steps}\nlr = 1e-4\nschedule = \"constant\"\nshuffle_buffer = 3")
    };
    let whole = training(folder.path(), "whole", shards, TABLE, &recipe(6));
    let output = run(&["train", &whole]);
    assert!(output.status.success(), "{}", errors(&output));
    for steps in [2, 6] {
        let parted = training(folder.path(), "parted", shards, TABLE, &recipe(steps));
        let output = run(&["train", &parted]);
        assert!(output.status.success(), "{}", errors(&output));
    }
    let [whole_losses, parted] = ["whole", "parted"].map(|out| losses(&folder.path().join(out)));
    assert_eq!(whole_losses, parted);
    let answers = folder.path().join("answers.jsonl");
    let trained = folder.path().join("whole/model");
    let output = run(&[
        "eval",
        &whole,
        "--model",
        text(&trained),
        "--answers",
        text(&answers),
    ]);
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(fs::read_to_string(&answers).unwrap().lines().count(), 8);
}

/// A table of the hub is trained on; a run that ends halfway goes on along the same curve.
#[test]
fn tables_are_trained_on_and_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let table = |split: &str| {
        let files = blip2_testing::fixture("tables/vqa");
        format!("kind = \"parquet\"\nfiles = {files:?}\nsplit = {split:?}")
    };
    let recipe = |steps: usize| format!("steps = {steps}\nlr = 1e-4\nschedule = \"constant\"");
    let write = |out: &str, steps: usize| {
        let (data, held_out) = (table("train"), table("validation"));
        training(folder.path(), out, &data, &held_out, &recipe(steps))
    };
    let whole = write("whole", 6);
    let output = run(&["train", &whole]);
    assert!(output.status.success(), "{}", errors(&output));
    for steps in [2, 6] {
        let output = run(&["train", &write("parted", steps)]);
        assert!(output.status.success(), "{}", errors(&output));
    }
    let [whole_losses, parted] = ["whole", "parted"].map(|out| losses(&folder.path().join(out)));
    assert_eq!(whole_losses, parted);
    let trained = folder.path().join("whole/model");
    let output = run(&["eval", &whole, "--model", text(&trained)]);
    assert!(output.status.success(), "{}", errors(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("of 2 examples"), "{said}");

    let no_split = table("train").replace("split = \"train\"", "");
    let file = training(folder.path(), "run", &no_split, &no_split, "steps = 1");
    let told = errors(&run(&["train", &file]));
    assert!(
        told.contains("the splits `train`, `validation`: say which"),
        "{told}"
    );
}

/// Whatever the kind, what does not fit is named by file and place, in words.
#[test]
fn records_that_do_not_fit_are_named_in_words() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "d.jsonl",
        "{\"question\": \"?\", \"answer\": {\"en\": 1}, \"pid\": 0}\n",
    );
    write("d.csv", "question,answer\nwhat?,red\n");
    write("d.json", "{\"images\": [{\"split\": \"train\"}]}");
    write(
        "l.json",
        "[{\"image\": \"0/image.png\", \"question\": [1]}]",
    );
    let in_file = |kind: &str, file: &str, more: &str| {
        format!("kind = {kind:?}\nfile = {file:?}\npictures = \"pictures\"\n{more}")
    };
    for (data, said) in [
        (
            in_file("json-lines", "d.jsonl", ""),
            "d.jsonl, line 1: `answer` is an object with the keys `en`",
        ),
        (
            in_file("json-lines", "l.json", ""),
            "l.json, index 0: `question` is a list of 1",
        ),
        (
            in_file("csv", "d.csv", ""),
            "d.csv, line 2: it names no picture",
        ),
        (
            in_file("karpathy", "d.json", "split = \"train\""),
            "d.json, images, index 0: it has no `filename`",
        ),
        (
            in_file("vizwiz", "l.json", ""),
            "l.json, index 0: `question` is a list of 1",
        ),
        (
            in_file("a-okvqa", "l.json", ""),
            "l.json, index 0: `question` is a list of 1",
        ),
        (
            in_file("gqa", "l.json", ""),
            "l.json: an object `{…}` is due, and the file is a list",
        ),
        (
            in_file("textcaps", "d.json", ""),
            "d.json: it has no list `data`",
        ),
        (
            "kind = \"imagefolder\"\nfolder = \"pictures\"".into(),
            "neither metadata.jsonl nor metadata.csv",
        ),
        (
            "kind = \"webdataset\"\nshards = [\"no-*.tar\"]".into(),
            "there is no file `no-*.tar`",
        ),
        (
            "kind = \"webdataset\"\nshards = 7".into(),
            "the name of a file",
        ),
        (
            in_file("csv", "d.csv", "delimiter = \"é\""),
            "[data] delimiter",
        ),
    ] {
        let file = training(folder.path(), "run", &data, &data, "steps = 1");
        let output = run(&["train", "--dry-run", &file]);
        let told = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{data}\n{told}");
        assert!(told.contains(said), "{data}\n{told}");
        assert!(!told.contains("untagged"), "{told}");
    }
}
