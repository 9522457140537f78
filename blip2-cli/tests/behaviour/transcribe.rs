//! `blip2 transcribe`: recordings in, texts out.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn model() -> String {
    blip2_testing::fixture("granite_speech")
        .display()
        .to_string()
}

fn sound(name: &str) -> String {
    format!("{}/{name}.wav", model())
}

fn transcribe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .arg("transcribe")
        .args(arguments)
        .env_remove("BLIP2_SPEECH_MODEL")
        .output()
        .unwrap()
}

#[track_caller]
fn fails(arguments: &[&str], code: i32, parts: &[&str]) -> String {
    let output = transcribe(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn said(arguments: &[&str]) -> String {
    fails(arguments, 0, &[])
}

/// The tokens that the reference writes after a prompt about the second of the fixture's sounds.
#[test]
fn a_recording_has_the_references_tokens() {
    let golden = fs::read(Path::new(&model()).join("golden.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let read = golden["input_ids_single"][0].as_array().unwrap().len();
    for (case, beams) in [("greedy", "1"), ("beam3", "3")] {
        let case = &golden["gen_single"][case];
        let tokens = case["kwargs"]["max_new_tokens"].to_string();
        let prompt = golden["prompts"][1].as_str().unwrap();
        let own = [
            &sound("noise_713ms"),
            "--prompt",
            prompt,
            "--model",
            &model(),
            "--json",
        ];
        let more = ["--max-new-tokens", &tokens, "--beams", beams];
        let line: Value = serde_json::from_str(&said(&[&own[..], &more].concat())).unwrap();
        assert_eq!(line["sound"], sound("noise_713ms"));
        let found = line["tokens"].as_array().unwrap();
        let found: Vec<&Value> = found.iter().map(|token| &token["id"]).collect();
        let expected = &case["sequences"][0].as_array().unwrap()[read..];
        assert!(found.len() > 3);
        assert!(
            found.iter().zip(expected).all(|(found, id)| *found == id),
            "{line}"
        );
    }
}

/// A line for each of several, also where one of them cannot be read.
#[test]
fn many_recordings_have_a_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.wav");
    fs::write(&broken, "fLaC\0\0\0\x22").unwrap();
    let broken = broken.display().to_string();
    let sounds = [&*sound("chirp_1300ms"), &broken, &sound("noise_713ms")];
    let model = model();
    let more = [
        "--model",
        &model,
        "--max-new-tokens",
        "4",
        "--question",
        "what is it?",
    ];
    let arguments = [&sounds[..], &more].concat();
    let told = [&*broken, "FLAC", "1 of 3 recordings have no text"];
    let lines = fails(&arguments, 1, &told);
    let names: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(names, [sounds[0], sounds[2]]);
    let lines = fails(&[&arguments[..], &["--json"]].concat(), 1, &told);
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines[1]["error"].as_str().unwrap().contains("FLAC"));
    assert!(lines[2]["text"].is_string() && lines[2]["sound"] == sounds[2]);
}

#[test]
fn what_makes_no_sense_is_told_in_options() {
    let (model, sound) = (model(), sound("noise_713ms"));
    let of = |more: &[&'static str]| [&[&*sound, "--model", &*model][..], more].concat();
    fails(&of(&["--beams", "0"]), 2, &["--beams"]);
    fails(&of(&["--max-new-tokens", "0"]), 2, &["--max-new-tokens"]);
    fails(
        &of(&["--prompt", "what?"]),
        2,
        &["<|audio|>", "exactly once"],
    );
    fails(&of(&["--prompt", ""]), 2, &["exactly once"]);
    let empty = fails(&of(&["--question", "  "]), 2, &["question", "leave it out"]);
    assert!(empty.is_empty());
    let token = of(&["--question", "<|audio|> what?"]);
    fails(&token, 2, &["special token", "--prompt"]);
    fails(&[&*sound], 2, &["--model"]);
    let other = blip2_testing::fixture("blip2_opt").display().to_string();
    fails(
        &[&*sound, "--model", &other],
        1,
        &["`blip2 answer` or `blip2 caption`"],
    );
    // And the other way.
    let picture = blip2_testing::workspace().join("examples/images/red-triangle.png");
    let answer = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .arg("answer")
        .arg(picture)
        .args(["what?", "--model", &model])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&answer.stderr);
    assert!(error.contains("`blip2 transcribe`"), "{error}");
}

/// A command line that makes no sense is told of once, and not with each recording.
#[test]
fn a_prompt_is_checked_before_the_recordings() {
    let (model, sound) = (model(), sound("noise_713ms"));
    let arguments = [&*sound, &sound, "--model", &model, "--prompt", "what?"];
    let output = transcribe(&arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert_eq!(error.matches("exactly once").count(), 1, "{error}");
    assert!(output.stdout.is_empty() && !error.contains(&sound));
}

#[test]
fn a_text_that_is_cut_says_so() {
    let (model, sound) = (model(), sound("chirp_1300ms"));
    let output = transcribe(&[&sound, "--model", &model, "--max-new-tokens", "1"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    assert!(
        error.contains(&format!(
            "{sound}: the text is cut: --max-new-tokens allows 1 "
        )),
        "{error}"
    );

    // Without anything that ends a text, the context does, or what is given to so long a recording.
    let folder = blip2_testing::copy("granite_speech");
    edit(folder.path(), "generation_config.json", |config| {
        config["eos_token_id"] = 1_000_000.into();
    });
    let endless = folder.path().display().to_string();
    fails(
        &[&sound, "--model", &endless],
        0,
        &["the text is cut", "context is full", "into parts"],
    );
    edit(folder.path(), "config.json", |config| {
        config["text_config"]["max_position_embeddings"] = 500.into();
    });
    let told = ["the text is cut", "200 tokens", "--max-new-tokens"];
    fails(&[&sound, "--model", &endless, "--json"], 0, &told);
}

fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
}

#[test]
fn a_chat_template_that_is_not_known_names_the_way_out() {
    let folder = blip2_testing::copy("granite_speech");
    let template = "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}";
    fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    let (model, sound) = (folder.path().display().to_string(), sound("noise_713ms"));
    let arguments = [&*sound, "--model", &model, "--max-new-tokens", "4"];
    fails(&arguments, 1, &["chat template", "--prompt"]);
    let prompt = ["--prompt", "USER: <|audio|>what?\n ASSISTANT:"];
    said(&[&arguments[..], &prompt].concat());
}

#[cfg(unix)]
#[test]
fn names_that_would_break_a_line_are_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("a\tb\nc.wav");
    fs::copy(sound("noise_713ms"), &odd).unwrap();
    let broken = folder.path().join("d\ne.wav");
    fs::write(&broken, "fLaC\0\0\0\x22").unwrap();
    let [odd, broken] = [odd, broken].map(|path| path.display().to_string());
    let (model, sound) = (model(), sound("noise_713ms"));
    let lines = fails(
        &[&odd, &sound, &broken, "--model", &model],
        1,
        &["d\\ne.wav: ", "FLAC"],
    );
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("a\\tb\\nc.wav\t"), "{lines:?}");
    assert!(lines.iter().all(|line| line.matches('\t').count() == 1));
}

/// In its matrices, the folder needs it no longer.
#[test]
fn an_adapter_is_given_by_an_option_and_can_be_merged() {
    let adapted = blip2_testing::fixture("granite_speech_lora");
    let adapted = adapted.display().to_string();
    let plain = blip2_testing::copy("granite_speech_lora");
    let adapter = tempfile::tempdir().unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::rename(plain.path().join(name), adapter.path().join(name)).unwrap();
    }
    let out = tempfile::tempdir().unwrap();
    let merged = out.path().join("merged").display().to_string();
    let [plain_name, adapter_name] = [&plain, &adapter].map(|at| at.path().display().to_string());
    let sound = sound("noise_713ms");
    let of = |more: &[&str]| {
        let own = [&*sound, "--max-new-tokens", "6", "--model"];
        said(&[&own[..], more].concat())
    };
    fails(&[&sound, "--model", &plain_name], 1, &["as an adapter"]);
    let expected = of(&[&adapted]);
    assert_eq!(of(&[&plain_name, "--adapter", &adapter_name]), expected);

    let merge = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(["merge", &adapted, "--adapter", &adapter_name, "-o", &merged])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&merge.stderr);
    assert_eq!(merge.status.code(), Some(0), "{error}");
    assert_eq!(of(&[&merged]), expected);
    let merged = Path::new(&merged);
    assert!(!merged.join("adapter_config.json").exists());
    let config: Value =
        serde_json::from_slice(&fs::read(merged.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["has_lora_adapter"], false);
}

#[test]
fn a_sound_where_a_picture_is_due_names_the_command_that_hears_it() {
    for (command, question) in [("answer", Some("what?")), ("caption", None)] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_blip2"));
        program
            .arg(command)
            .arg(sound("noise_713ms"))
            .args(question);
        let output = program.env_remove("BLIP2_MODEL").output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("`blip2 transcribe`"), "{error}");
    }
}
