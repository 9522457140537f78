//! Feature vectors in files, against the reference's.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use blip2_testing::{assert_close, fixture};
use safetensors::SafeTensors;
use serde_json::Value;

/// The pictures that the goldens were made of.
const PICTURES: [&str; 2] = ["images/rgb_97x61.png", "images/rgb_640x427.jpg"];

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

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn golden(model: &str, key: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(fixture(model).join("golden.safetensors")).unwrap();
    let goldens = SafeTensors::deserialize(&bytes).unwrap();
    let found = goldens.tensor(key).unwrap();
    (found.shape().to_vec(), blip2_testing::view::floats(&found))
}

/// The shape and the numbers of a NumPy file.
fn npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let head = std::str::from_utf8(&bytes[10..end]).unwrap();
    assert!(head.contains("'descr': '<f4'") && head.contains("'fortran_order': False"));
    let shape = head
        .split_once("'shape': (")
        .unwrap()
        .1
        .split_once(')')
        .unwrap()
        .0;
    let shape = shape
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty());
    let shape: Vec<usize> = shape.map(|size| size.parse().unwrap()).collect();
    let numbers = bytes[end..].chunks_exact(4);
    let numbers: Vec<f32> = numbers
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect();
    assert_eq!(shape.iter().product::<usize>(), numbers.len());
    (shape, numbers)
}

#[test]
fn features_of_pictures_are_the_references() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("features.npy");
    let pictures = PICTURES.map(|name| text(&fixture(name)).to_string());
    for (model, goldens, features, key) in [
        (
            "blip2_opt",
            "blip2_model_opt",
            "vision",
            "image_features.last_hidden_state",
        ),
        (
            "blip2_opt",
            "blip2_model_opt",
            "pooled",
            "image_features.pooler_output",
        ),
        (
            "blip2_opt",
            "blip2_model_opt",
            "queries",
            "qformer_features",
        ),
        ("blip2_opt", "blip2_opt", "language", "language_projection"),
        (
            "blip2_itr",
            "blip2_itr",
            "vision",
            "vision.last_hidden_state",
        ),
        ("blip2_itr", "blip2_itr", "projected", "itc.image_embeds"),
        (
            "blip1_itr",
            "blip1_itr",
            "vision",
            "vision.last_hidden_state",
        ),
        ("blip1_itr", "blip1_itr", "pooled", "vision.pooler_output"),
        (
            "blip1_vqa",
            "blip1_vqa",
            "vision",
            "vision.last_hidden_state",
        ),
        (
            "blip1_caption",
            "blip1_caption",
            "pooled",
            "vision.pooler_output",
        ),
    ] {
        let folder = fixture(model);
        let embed = |pictures: &[&str]| {
            let options = ["--model", text(&folder), "--features", features];
            let output = ["--output", text(&file)];
            succeeds(&[&["embed"], pictures, &options, &output].concat());
            npy(&file)
        };
        let what = format!("{model} {features}");
        let (expected_shape, expected) = golden(goldens, key);
        let (_, second) = embed(&[&pictures[1]]);
        let (shape, found) = embed(&[&pictures[0], &pictures[1]]);
        assert_eq!(shape, expected_shape, "{what}");
        // The second is a JPEG, whose pixels are not quite those of the reference's decoder.
        let size = found.len() / 2;
        assert_close(&what, &found[..size], &expected[..size], 1e-4);
        assert_close(&what, &found[size..], &second, 1e-5);
    }
    let names: Vec<String> =
        serde_json::from_str(&fs::read_to_string(file.with_extension("names.json")).unwrap())
            .unwrap();
    assert_eq!(names, pictures);
}

#[test]
fn texts_are_the_references_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("blip2_itr");
    let about = blip2_testing::json("blip2_itr/golden.json");
    let texts: Vec<&str> = about["texts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_str().unwrap())
        .collect();
    let (shape, expected) = golden("blip2_itr", "itc.text_embeds");
    let embed = [
        "embed",
        "--model",
        text(&model),
        "--text",
        texts[0],
        "--text",
        texts[1],
    ];

    let file = folder.path().join("texts.safetensors");
    succeeds(&[&embed[..], &["-o", text(&file)]].concat());
    let bytes = fs::read(&file).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    let found = read.tensor("features").unwrap();
    assert_eq!(found.shape(), shape);
    assert_close(
        "safetensors",
        &blip2_testing::view::floats(&found),
        &expected,
        1e-4,
    );

    let lines = folder.path().join("texts.jsonl");
    succeeds(&[&embed[..], &["-o", text(&lines)]].concat());
    let told = fs::read_to_string(&lines).unwrap();
    assert_eq!(told, succeeds(&embed), "standard output has the same lines");
    let rows: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((rows.len(), &rows[1]["text"]), (2, &texts[1].into()));
    let found = rows
        .iter()
        .flat_map(|row| row["features"].as_array().unwrap());
    let found: Vec<f32> = found.map(|value| value.as_f64().unwrap() as f32).collect();
    assert_close("lines", &found, &expected, 1e-4);

    let list = folder.path().join("texts.txt");
    fs::write(&list, texts.join("\n")).unwrap();
    let file = folder.path().join("texts.npy");
    succeeds(&[
        "embed",
        "--model",
        text(&model),
        "--texts",
        text(&list),
        "-o",
        text(&file),
    ]);
    assert_eq!(npy(&file).0, shape);
}

#[test]
fn a_picture_that_cannot_be_read_leaves_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    fs::create_dir_all(photos.join("more")).unwrap();
    fs::copy(fixture(PICTURES[0]), photos.join("a.png")).unwrap();
    fs::write(photos.join("b.png"), "no picture").unwrap();
    fs::copy(fixture(PICTURES[0]), photos.join("more/c.png")).unwrap();
    let file = folder.path().join("f.npy");
    let output = run(&["embed", text(&photos), "--recursive", "-o", text(&file)]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("1 of 3 pictures have no features"),
        "{error}"
    );
    assert_eq!(npy(&file).0[0], 2);
    let names = fs::read_to_string(folder.path().join("f.names.json")).unwrap();
    assert!(names.contains("a.png") && names.contains("c.png") && !names.contains("b.png"));
}

#[test]
fn what_a_model_does_not_have_is_refused() {
    let picture = fixture(PICTURES[0]);
    let embed = |model: &str, more: &[&str]| {
        let model = fixture(model);
        let arguments = [&["embed", "--model", text(&model)], more].concat();
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = embed("blip2_opt", &[text(&picture), "--features", "projected"]);
    assert!(said.contains("--features queries, or language"), "{said}");
    let said = embed(
        "instructblip_t5",
        &[text(&picture), "--features", "queries"],
    );
    assert!(said.contains("read the question"), "{said}");
    assert!(embed("blip2_opt", &["--text", "a dog"]).contains("retrieval"));
    assert!(embed("instructblipvideo_t5", &[text(&picture)]).contains("videos"));
    embed("blip2_opt", &[text(&picture), "-o", "features.txt"]);
}

/// An interrupt leaves what there is, unless a file stands there already, which may have all.
#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_was_computed() {
    use std::{
        io::{BufRead, BufReader, Read},
        process::Stdio,
    };
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("000.png"), "no picture").unwrap();
    for n in 1..400 {
        let copy = photos.join(format!("{n:03}.png"));
        fs::copy(fixture("images/rgb_97x61.png"), copy).unwrap();
    }
    let output = folder.path().join("features.npy");
    let model = fixture("blip2_itr");
    let embed = ["embed", text(&photos), "--model", text(&model), "-o"];
    let embed = [&embed[..], &[text(&output), "--batch", "2"]].concat();
    let interrupted = || {
        let mut process = Command::new(env!("CARGO_BIN_EXE_blip2"))
            .args(&embed)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // That the first is no picture is told on the way.
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("000.png"), "{line}");
        let id = process.id().to_string();
        let told = Command::new("kill").args(["-INT", &id]).status();
        assert!(told.unwrap().success());
        said.read_to_string(&mut line).unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(130), "{line}");
        line
    };
    let said = interrupted();
    assert!(said.contains(" of 400 pictures"), "{said}");
    let (shape, _) = npy(&output);
    let names: Vec<String> =
        serde_json::from_slice(&fs::read(folder.path().join("features.names.json")).unwrap())
            .unwrap();
    assert_eq!(shape[0], names.len());
    assert!((1..399).contains(&names.len()), "{}", names.len());
    let before = fs::read(&output).unwrap();
    let said = interrupted();
    assert!(said.contains("stays as it was"), "{said}");
    assert_eq!(fs::read(&output).unwrap(), before);
}
