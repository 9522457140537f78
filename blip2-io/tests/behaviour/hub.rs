//! Downloads from a hub on loopback that cuts, lies, moves and refuses.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use blip2_io::{
    ErrorKind, IoError, cached_models,
    hub::{Download, DownloadEvent, HubCache, ModelId},
};
use blip2_testing::{
    assert_says,
    hub::{Hub, sha256},
};

const ID: &str = "owner/model";

fn id() -> ModelId {
    ID.parse().unwrap()
}

/// Some tenths of a megabyte, so that it comes in several pieces.
fn weights() -> Vec<u8> {
    (0..300_000u64).map(|n| ((n * n) >> 7) as u8).collect()
}

fn files() -> Vec<(String, Vec<u8>)> {
    let file = |name: &str, bytes: &[u8]| (name.to_string(), bytes.to_vec());
    vec![
        file("config.json", b"{}"),
        file("README.md", b"read me"),
        file("tf_model.h5", b"no"),
        file("pytorch_model.bin", b"no"),
        file("qformer_tokenizer/tokenizer.json", b"{ }"),
        ("model.safetensors".into(), weights()),
    ]
}

fn download(hub: &Hub, cache: &Path) -> Download {
    let download = Download::of_environment();
    download
        .endpoint(hub.address())
        .cache(HubCache::at(cache))
        .token("hf_secret")
}

fn asked(hub: &Hub, part: &str) -> Vec<String> {
    let requests = hub.state().requests;
    requests
        .into_iter()
        .filter(|head| head.contains(part))
        .collect()
}

#[test]
fn a_model_comes_as_python_keeps_it_and_only_what_it_needs() {
    let (hub, cache) = (Hub::new(files()), tempfile::tempdir().unwrap());
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let folder = download(&hub, cache.path())
        .progress(move |event| {
            if let DownloadEvent::Done { name } = event {
                heard.lock().unwrap().push(name.to_string());
            }
        })
        .fetch(&id())
        .unwrap();
    let model = cache.path().join("models--owner--model");
    assert_eq!(folder, model.join("snapshots").join("a".repeat(40)));
    assert_eq!(
        fs::read_to_string(model.join("refs/main")).unwrap(),
        "a".repeat(40)
    );
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    assert!(folder.join("qformer_tokenizer/tokenizer.json").is_file());
    assert!(model.join("blobs").join(sha256(&weights())).is_file());
    let wanted = [
        "config.json",
        "qformer_tokenizer/tokenizer.json",
        "model.safetensors",
    ];
    assert_eq!(*events.lock().unwrap(), wanted);
    for left in ["README.md", "tf_model.h5", "pytorch_model.bin"] {
        assert!(asked(&hub, left).is_empty(), "{left}");
    }
    assert_eq!(HubCache::at(cache.path()).find_whole(&id()), Some(folder));

    // What is there is not asked for again, by whatever name.
    hub.set(|state| state.requests.clear());
    let tag = id().at("v1.0").unwrap();
    download(&hub, cache.path()).fetch(&tag).unwrap();
    assert!(asked(&hub, "resolve").is_empty());
    assert!(model.join("refs/v1.0").is_file());
    let listed = cached_models(&HubCache::at(cache.path())).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].id.name(), listed[0].bytes), (ID, 300_005));
    assert_eq!(listed[0].refs, ["main", "v1.0"]);
}

#[test]
fn a_cut_is_taken_up_where_it_was() {
    for whole in [false, true] {
        let (hub, cache) = (Hub::new(files()), tempfile::tempdir().unwrap());
        hub.set(|state| {
            state.cuts = 3;
            state.whole = whole;
        });
        let folder = download(&hub, cache.path()).fetch(&id()).unwrap();
        assert_eq!(
            fs::read(folder.join("model.safetensors")).unwrap(),
            weights()
        );
        let ranges = asked(&hub, "range: bytes=").len() + asked(&hub, "Range: bytes=").len();
        assert!(ranges > 0, "whole: {whole}");
    }
    // By a later run: what an earlier one left is not asked for again.
    let (hub, cache) = (Hub::new(files()), tempfile::tempdir().unwrap());
    let blobs = cache.path().join("models--owner--model/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let partial = blobs.join(format!("{}.incomplete", sha256(&weights())));
    fs::write(&partial, &weights()[..123_456]).unwrap();
    download(&hub, cache.path()).fetch(&id()).unwrap();
    let heads = asked(&hub, "GET /owner/model/resolve")
        .concat()
        .to_ascii_lowercase();
    assert!(heads.contains("range: bytes=123456-"), "{heads}");
    assert!(!partial.exists());
}

#[test]
fn what_its_hash_does_not_promise_is_not_kept() {
    let (hub, cache) = (Hub::new(files()), tempfile::tempdir().unwrap());
    // One lie on the way, and one that an earlier run left.
    hub.set(|state| state.lies = true);
    let refused = download(&hub, cache.path()).fetch(&id());
    assert!(matches!(
        &refused,
        Err(IoError::Hub {
            kind: ErrorKind::Malformed,
            ..
        })
    ));
    assert_says(
        refused,
        &["config.json", "SHA-256", &sha256(b"{}"), "not kept"],
    );
    let model = cache.path().join("models--owner--model");
    assert_eq!(fs::read_dir(model.join("blobs")).unwrap().count(), 0);
    assert_eq!(HubCache::at(cache.path()).find(&id()), None);

    hub.set(|state| state.lies = false);
    let partial = model
        .join("blobs")
        .join(format!("{}.incomplete", sha256(&weights())));
    fs::write(&partial, vec![7; 1000]).unwrap();
    let refused = download(&hub, cache.path()).fetch(&id());
    assert_says(refused, &["model.safetensors", "SHA-256"]);
    assert!(!partial.exists());
    download(&hub, cache.path()).fetch(&id()).unwrap();
}

#[test]
fn a_revision_that_moves_is_not_mixed() {
    let (hub, cache) = (Hub::new(files()), tempfile::tempdir().unwrap());
    let first = download(&hub, cache.path()).fetch(&id()).unwrap();
    // The revision is another commit now, with another file: the old stands as it was.
    hub.set(|state| {
        state.commit = "c".repeat(40);
        state
            .files
            .insert("config.json".into(), b"{\"new\": 1}".to_vec());
    });
    let second = download(&hub, cache.path()).fetch(&id()).unwrap();
    assert_ne!(first, second);
    assert_eq!(fs::read(first.join("config.json")).unwrap(), b"{}");
    assert_eq!(
        fs::read(second.join("config.json")).unwrap(),
        b"{\"new\": 1}"
    );
    assert_eq!(HubCache::at(cache.path()).find(&id()), Some(second));
    let pinned = id().at(&"a".repeat(40)).unwrap();
    assert_eq!(HubCache::at(cache.path()).find(&pinned), Some(first));

    hub.set(|state| state.moves = true);
    let other = tempfile::tempdir().unwrap();
    let refused = download(&hub, other.path()).fetch(&id());
    assert_says(refused, &["config.json", &"b".repeat(40), &"c".repeat(40)]);
}

#[test]
fn refusals_say_what_to_do() {
    let (hub, cache) = (Hub::new(files()), tempfile::tempdir().unwrap());
    for (status, code, parts) in [
        (
            401,
            "GatedRepo",
            &["gated", "accept its terms at", "/owner/model", "token"][..],
        ),
        (403, "GatedRepo", &["gated", "accept its terms at"]),
        (401, "RepoNotFound", &["no model of this id", "token"]),
        (404, "RevisionNotFound", &["no revision `main`"]),
        (404, "RepoNotFound", &["no such model"]),
        (429, "", &["too many requests"]),
    ] {
        hub.set(|state| state.refuses = Some((status, code)));
        let refused = download(&hub, cache.path()).fetch(&id());
        let Err(error) = refused else {
            panic!("{status} is no refusal");
        };
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hf_secret"), "{text}");
        assert_says(Err::<(), _>(error), parts);
    }
    hub.set(|state| state.refuses = Some((401, "GatedRepo")));
    let without = download(&hub, cache.path()).token("").fetch(&id());
    assert_says(without, &["HF_TOKEN"]);

    hub.set(|state| {
        state.refuses = None;
        state.files.remove("model.safetensors");
        state.files.remove("pytorch_model.bin");
    });
    let refused = download(&hub, cache.path()).fetch(&id());
    assert_says(refused, &["owner/model", "no weights"]);
    let gone = Download::of_environment()
        .endpoint("http://127.0.0.1:9")
        .cache(HubCache::at(cache.path()));
    assert_says(gone.fetch(&id()), &["cannot be reached", "HF_ENDPOINT"]);
}

#[test]
fn the_token_is_told_to_the_hub_alone() {
    let (hub, other) = (Hub::new(files()), Hub::new(files()));
    let cache = tempfile::tempdir().unwrap();
    hub.set(|state| state.elsewhere = Some(other.address().to_string()));
    let folder = download(&hub, cache.path()).fetch(&id()).unwrap();
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    let told = |hub: &Hub| {
        let requests = hub.state().requests;
        assert!(!requests.is_empty());
        requests
            .iter()
            .filter(|head| head.contains("hf_secret"))
            .count()
    };
    assert_eq!(told(&hub), hub.state().requests.len());
    assert_eq!(told(&other), 0);
}

#[test]
fn an_index_brings_its_shards_and_none_from_elsewhere() {
    let index =
        |shard: &str| format!(r#"{{"weight_map": {{"a": "one.safetensors", "b": "{shard}"}}}}"#);
    let mut all = files();
    all.retain(|(name, _)| name != "model.safetensors");
    all.push((
        "model.safetensors.index.json".into(),
        index("two.safetensors").into(),
    ));
    all.push(("one.safetensors".into(), b"1".to_vec()));
    all.push(("two.safetensors".into(), b"2".to_vec()));
    let (hub, cache) = (Hub::new(all), tempfile::tempdir().unwrap());
    let folder = download(&hub, cache.path()).fetch(&id()).unwrap();
    assert_eq!(fs::read(folder.join("two.safetensors")).unwrap(), b"2");
    assert_eq!(
        HubCache::at(cache.path()).find_whole(&id()),
        Some(folder.clone())
    );
    fs::remove_file(folder.join("one.safetensors")).unwrap();
    assert_eq!(HubCache::at(cache.path()).find_whole(&id()), None);

    hub.set(|state| {
        let name = "model.safetensors.index.json".to_string();
        state.files.insert(name, index("../../../evil").into());
    });
    let other = tempfile::tempdir().unwrap();
    assert_says(download(&hub, other.path()).fetch(&id()), &["evil"]);
}

#[test]
fn downloads_at_once_do_not_collide() {
    let (hub, cache) = (Hub::new(files()), tempfile::tempdir().unwrap());
    hub.set(|state| state.cuts = 4);
    thread::scope(|scope| {
        let fetches: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| download(&hub, cache.path()).fetch(&id()).unwrap()))
            .collect();
        for fetch in fetches {
            let folder = fetch.join().unwrap();
            assert_eq!(
                fs::read(folder.join("model.safetensors")).unwrap(),
                weights()
            );
        }
    });
    // But for cuts, each content came once.
    let gets = asked(&hub, "GET /owner/model/resolve").len();
    assert!(gets <= 3 + 4, "{gets}");
}
