//! Models by their ids, and adapters, from the command line.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use blip2_testing::fixture;

/// Runs the program with a cache of its own and without the user's settings.
fn blip2(cache: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    for name in [
        "BLIP2_MODEL",
        "HF_HUB_CACHE",
        "HF_TOKEN",
        "HF_ENDPOINT",
        "HF_HUB_OFFLINE",
    ] {
        command.env_remove(name);
    }
    command.env("HF_HOME", cache).args(arguments);
    command.envs(variables.iter().copied());
    command.output().unwrap()
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn works(output: &Output) -> String {
    let (out, err) = texts(output);
    assert!(output.status.success(), "{err}");
    out
}

#[track_caller]
fn fails(output: &Output, parts: &[&str]) {
    let (_, err) = texts(output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    for part in parts {
        assert!(err.contains(part), "`{err}` does not say `{part}`");
    }
}

fn picture() -> String {
    fixture("images/rgb_97x61.png")
        .to_str()
        .unwrap()
        .to_string()
}

/// Puts a fixture into a cache as Python does.
fn cached(cache: &Path, id: &str, name: &str) {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let model = cache
        .join("hub")
        .join(format!("models--{}", id.replace('/', "--")));
    let snapshot = model.join("snapshots").join(commit);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::write(model.join("refs/main"), commit).unwrap();
    for (file, bytes) in files(name) {
        fs::write(snapshot.join(file), bytes).unwrap();
    }
}

fn files(name: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(fixture(name)).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.path().is_file());
    files
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_model_that_python_downloaded_is_opened_by_its_id_without_the_network() {
    let cache = tempfile::tempdir().unwrap();
    cached(cache.path(), "owner/small", "blip2_opt");
    let offline = [("HF_HUB_OFFLINE", "1")];
    let answer = |model: &str| {
        let arguments = ["answer", &picture(), "what?", "--model", model];
        blip2(cache.path(), &offline, &arguments)
    };
    let by_id = works(&answer("owner/small"));
    assert_eq!(
        by_id,
        works(&answer(fixture("blip2_opt").to_str().unwrap()))
    );
    let pinned = "owner/small@0123456789abcdef0123456789abcdef01234567";
    assert_eq!(by_id, works(&answer(pinned)));
    fails(
        &answer("owner/other"),
        &[
            "owner/other",
            "no such folder",
            "blip2 download owner/other",
        ],
    );
    fails(
        &answer("owner/small@v2"),
        &["owner/small@v2", "no such revision", "but main;"],
    );

    let listed = works(&blip2(cache.path(), &offline, &["models"]));
    assert!(
        listed.contains("owner/small") && listed.contains("01234567"),
        "{listed}"
    );
    let json = works(&blip2(cache.path(), &offline, &["models", "--json"]));
    let line: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(
        (&line["id"], &line["refs"][0]),
        (&"owner/small".into(), &"main".into())
    );
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(works(&blip2(elsewhere.path(), &offline, &["models"])), "");
}

#[test]
fn an_adapter_is_put_on_by_folder_by_id_and_alone() {
    let cache = tempfile::tempdir().unwrap();
    // The adapter names its base `blip2_opt`, which the cache has by that id.
    cached(cache.path(), "blip2_opt", "blip2_opt");
    cached(cache.path(), "owner/adapter", "peft/opt_list");
    let offline = [("HF_HUB_OFFLINE", "1")];
    let caption = |more: &[&str]| {
        let picture = picture();
        let mut arguments = vec!["caption", &picture, "--prompt", "what color is the bus"];
        arguments.extend(more);
        blip2(cache.path(), &offline, &arguments)
    };
    let base = fixture("blip2_opt");
    let base = base.to_str().unwrap();
    let adapter = fixture("peft/opt_list");
    let adapter = adapter.to_str().unwrap();
    let plain = works(&caption(&["--model", base]));
    let adapted = works(&caption(&["--model", base, "--adapter", adapter]));
    assert_ne!(plain, adapted);
    assert_eq!(
        adapted,
        works(&caption(&["--model", base, "--adapter", "owner/adapter"]))
    );
    assert_eq!(adapted, works(&caption(&["--model", "owner/adapter"])));
    for precision in ["bf16", "int8", "int4"] {
        works(&caption(&[
            "--model",
            base,
            "--adapter",
            adapter,
            "--precision",
            precision,
        ]));
    }
    fails(
        &caption(&["--model", base, "--adapter", base]),
        &["adapter_config.json"],
    );
    let itr = fixture("peft/itr");
    let itr = itr.to_str().unwrap();
    fails(
        &caption(&["--model", base, "--adapter", itr]),
        &["matches nothing"],
    );
    let arguments = [
        "match",
        &picture(),
        "a bus",
        "--model",
        "x",
        "--adapter",
        itr,
    ];
    let retrieval = fixture("blip2_itr");
    let mut arguments = arguments.map(str::to_string);
    arguments[4] = retrieval.to_str().unwrap().into();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    works(&blip2(cache.path(), &offline, &arguments));
}

#[cfg(feature = "hub")]
#[test]
fn a_model_is_downloaded_by_its_id_and_then_there() {
    use blip2_testing::hub::Hub;

    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(files("blip2_opt"));
    let variables = [("HF_ENDPOINT", hub.address()), ("HF_TOKEN", "hf_secret")];
    let answer = |variables: &[(&str, &str)]| {
        let arguments = ["answer", &picture(), "what?", "--model", "owner/model"];
        blip2(cache.path(), variables, &arguments)
    };
    hub.set(|state| state.refuses = Some((401, "GatedRepo")));
    let refused = answer(&variables);
    fails(&refused, &["owner/model", "gated", "accept its terms"]);
    assert!(!texts(&refused).1.contains("hf_secret"));
    hub.set(|state| state.refuses = None);
    let first = works(&answer(&variables));
    assert_eq!(first, works(&answer(&[("HF_HUB_OFFLINE", "1")])));
    let folder = works(&blip2(
        cache.path(),
        &variables,
        &["download", "owner/model@main"],
    ));
    assert!(Path::new(folder.trim()).join("config.json").is_file());
    let offline = [("HF_HUB_OFFLINE", "1")];
    let refused = blip2(cache.path(), &offline, &["download", "owner/model"]);
    fails(&refused, &["HF_HUB_OFFLINE"]);
}
