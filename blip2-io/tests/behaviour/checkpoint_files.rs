//! Weight files: whole and sharded ones, and every way in which they can be broken.

use blip2_io::{Checkpoint, IoError};
use blip2_testing::{Stored, assert_says, f32s, folder, raw_safetensors, safetensors};
use burn::tensor::DType;
use safetensors::Dtype;

const FILE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn open(files: &[(&str, Vec<u8>)]) -> Result<Checkpoint, IoError> {
    Checkpoint::open(folder(files).path())
}

fn tensors() -> [Stored; 2] {
    [
        f32s("a.weight", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        f32s("b.bias", &[3], &[5.0, 6.0, 7.0]),
    ]
}

fn index(entries: &[(&str, &str)]) -> Vec<u8> {
    let map: serde_json::Map<_, _> = entries
        .iter()
        .map(|(tensor, shard)| (tensor.to_string(), (*shard).into()))
        .collect();
    serde_json::to_vec(&serde_json::json!({ "metadata": {}, "weight_map": map })).unwrap()
}

#[test]
fn one_file() {
    let checkpoint = open(&[(FILE, safetensors(&tensors()))]).unwrap();
    assert_eq!(
        checkpoint.names().collect::<Vec<_>>(),
        ["a.weight", "b.bias"]
    );
    assert_eq!((checkpoint.len(), checkpoint.size()), (2, 28));
    assert!(!checkpoint.is_empty());
    assert_eq!(checkpoint.shape("a.weight"), Some(&[2, 2][..]));
    assert_eq!(checkpoint.dtype("a.weight"), Some(DType::F32));
    assert_eq!(checkpoint.shape("c"), None);
}

#[test]
fn shards_equal_one_file() {
    let [a, b] = tensors();
    let whole = open(&[(FILE, safetensors(&tensors()))]).unwrap();
    let sharded = open(&[
        ("model-00001-of-00002.safetensors", safetensors(&[a])),
        ("model-00002-of-00002.safetensors", safetensors(&[b])),
        (
            INDEX,
            index(&[
                ("a.weight", "model-00001-of-00002.safetensors"),
                ("b.bias", "model-00002-of-00002.safetensors"),
            ]),
        ),
    ])
    .unwrap();
    assert!(whole.names().eq(sharded.names()));
    assert_eq!(whole.size(), sharded.size());
    assert_eq!(whole.fingerprint(&[""], ""), sharded.fingerprint(&[""], ""));
}

#[test]
fn a_tensor_in_two_shards_is_taken_from_the_one_that_the_index_names() {
    let twice = |value| safetensors(&[f32s("a", &[1], &[value])]);
    let shards = |home| {
        open(&[
            ("1.safetensors", twice(1.0)),
            ("2.safetensors", twice(2.0)),
            (INDEX, index(&[("a", home), ("b", "2.safetensors")])),
        ])
    };
    assert_says(shards("1.safetensors"), &["tensor `b`", "2.safetensors"]);
    let shards = |home, other| {
        let b = safetensors(&[f32s("a", &[1], &[2.0]), f32s("b", &[1], &[0.0])]);
        let files = [(home, twice(1.0)), (other, b)];
        let index = (INDEX, index(&[("a", home), ("b", other)]));
        open(&[files[0].clone(), files[1].clone(), index]).unwrap()
    };
    let expected = open(&[(FILE, twice(1.0))]).unwrap().fingerprint(&["a"], "");
    for (home, other) in [
        ("1.safetensors", "2.safetensors"),
        ("2.safetensors", "1.safetensors"),
    ] {
        assert_eq!(shards(home, other).fingerprint(&["a"], ""), expected);
    }
}

#[test]
fn every_float_format_and_buffers_of_integers() {
    let stored = |name, dtype, bytes| (name, dtype, vec![1], vec![0; bytes]);
    let checkpoint = open(&[(
        FILE,
        safetensors(&[
            stored("f64", Dtype::F64, 8),
            stored("f32", Dtype::F32, 4),
            stored("f16", Dtype::F16, 2),
            stored("bf16", Dtype::BF16, 2),
            stored("position_ids", Dtype::I64, 8),
            stored("counts", Dtype::I32, 4),
        ]),
    )])
    .unwrap();
    for (name, dtype) in [
        ("f64", DType::F64),
        ("f32", DType::F32),
        ("f16", DType::F16),
        ("bf16", DType::BF16),
        ("position_ids", DType::I64),
        ("counts", DType::I32),
    ] {
        assert_eq!(checkpoint.dtype(name), Some(dtype), "{name}");
    }
}

#[test]
fn a_format_that_holds_no_weights() {
    let quantised = ("fc.weight", Dtype::F8_E4M3, vec![4], vec![0; 4]);
    assert_says(
        open(&[(FILE, safetensors(&[quantised]))]),
        &[FILE, "`fc.weight`", "F8_E4M3", "F32, F16 or BF16"],
    );
}

#[test]
fn no_folder() {
    assert_says(Checkpoint::open("nowhere"), &["nowhere", "no such folder"]);
}

#[test]
fn no_weights() {
    assert_says(
        open(&[]),
        &["model.safetensors is missing", "or pytorch_model.bin"],
    );
}

#[test]
fn a_truncated_file() {
    let whole = safetensors(&tensors());
    // Within the length, within the header, within the data.
    for length in [0, 5, 8, 40, whole.len() - 1] {
        assert_says(
            open(&[(FILE, whole[..length].to_vec())]),
            &[FILE, "not a whole safetensors file", "save it again"],
        );
    }
}

#[test]
fn a_file_with_something_behind_its_end() {
    let mut longer = safetensors(&tensors());
    longer.push(0);
    assert_says(open(&[(FILE, longer)]), &[FILE, "not a whole safetensors"]);
}

#[test]
fn a_header_that_claims_to_be_enormous() {
    for length in [u64::MAX, 1 << 40] {
        let bytes = [&length.to_le_bytes()[..], b"{}"].concat();
        assert_says(open(&[(FILE, bytes)]), &[FILE, "not a whole safetensors"]);
    }
}

#[test]
fn a_corrupt_header() {
    for header in [
        "not json",
        r#"{"a":{"dtype":"F32","shape":[1]}}"#,
        r#"{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
    ] {
        let bytes = raw_safetensors(header, &[0; 4]);
        assert_says(open(&[(FILE, bytes)]), &[FILE, "not a whole safetensors"]);
    }
}

#[test]
fn offsets_that_do_not_fit() {
    for header in [
        // Beyond the end, backwards, of another size than the shape, overlapping, overflowing.
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
            "b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}"#,
    ] {
        let bytes = raw_safetensors(header, &[0; 4]);
        assert_says(open(&[(FILE, bytes)]), &[FILE, "not a whole safetensors"]);
    }
}

#[test]
fn an_index_that_leads_out_of_its_folder() {
    for shard in [
        "../model.safetensors",
        "/etc/passwd",
        "sub/model.safetensors",
        "sub\\model.safetensors",
        "..",
        ".",
        "",
    ] {
        assert_says(
            open(&[(INDEX, index(&[("a", shard)]))]),
            &[INDEX, &format!("`{shard}` is not a plain file name")],
        );
    }
}

#[test]
fn a_shard_that_is_missing() {
    let [a, _] = tensors();
    let result = open(&[
        ("1.safetensors", safetensors(&[a])),
        (
            INDEX,
            index(&[("a.weight", "1.safetensors"), ("b.bias", "2.safetensors")]),
        ),
    ]);
    assert_says(result, &["2.safetensors is missing", "download all shards"]);
}

#[test]
fn a_tensor_that_no_shard_holds() {
    let [a, _] = tensors();
    let result = open(&[
        ("1.safetensors", safetensors(&[a])),
        (
            INDEX,
            index(&[("a.weight", "1.safetensors"), ("c", "1.safetensors")]),
        ),
    ]);
    assert_says(
        result,
        &[INDEX, "tensor `c`", "1.safetensors, which does not hold it"],
    );
}

#[test]
fn a_broken_shard_is_named() {
    let result = open(&[
        ("1.safetensors", b"broken".to_vec()),
        (INDEX, index(&[("a", "1.safetensors")])),
    ]);
    assert_says(result, &["1.safetensors: not a whole safetensors file"]);
}

#[test]
fn an_index_that_is_none() {
    let text = br#"{ "weight_map": { "a": 1 } }"#.to_vec();
    assert_says(
        open(&[(INDEX, text)]),
        &[
            INDEX,
            "weight_map.a: the number `1` stands where a text is due",
        ],
    );
    assert_says(
        open(&[(INDEX, b"{}".to_vec())]),
        &[INDEX, "`weight_map` is missing"],
    );
}

/// The hub's cache is made of links to files elsewhere, so links are followed: only a name in the
/// index is not trusted.
#[cfg(unix)]
#[test]
fn links_are_followed() {
    let blobs = folder(&[("blob", safetensors(&tensors()))]);
    let snapshot = folder::<&str>(&[]);
    std::os::unix::fs::symlink(blobs.path().join("blob"), snapshot.path().join(FILE)).unwrap();
    assert_eq!(Checkpoint::open(snapshot.path()).unwrap().len(), 2);
}

/// An index that was kept when the model was saved again, and one that puts a tensor into the wrong shard.
#[test]
fn an_index_that_knows_too_much_or_another_place() {
    let one = safetensors(&[f32s("a", &[2], &[1.0, 2.0])]);
    let two = safetensors(&[f32s("b", &[1], &[3.0])]);
    let index = |map: &str| format!("{{\"weight_map\": {{{map}}}}}").into_bytes();
    let open = |map: &str| {
        let index = index(map);
        let files = [
            ("model-00001-of-00002.safetensors", &one),
            ("model-00002-of-00002.safetensors", &two),
            ("model.safetensors.index.json", &index),
        ];
        let folder = folder(&files);
        Checkpoint::open(folder.path())
            .map(|checkpoint| checkpoint.names().map(String::from).collect::<Vec<_>>())
    };
    let [first, second] = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];
    let both = ["a".to_string(), "b".to_string()];
    let left_over = format!(r#""a": "{first}", "b": "{second}", "lm_head.weight": "{second}""#);
    assert_eq!(open(&left_over).unwrap(), both);
    let elsewhere = format!(r#""a": "{second}", "b": "{first}""#);
    assert_eq!(open(&elsewhere).unwrap(), both);
    let promised = format!(r#""a": "{first}", "b": "{second}", "c": "{second}""#);
    assert_says(open(&promised), &["`c`", second, "different checkpoints"]);
}

/// A stray shard gives way to a whole file of the other format, and alone is told.
#[test]
fn a_set_that_is_not_whole_gives_way() {
    let shard = safetensors(&[f32s("a", &[1], &[1.0])]);
    let torch = blip2_testing::TorchFile::of_safetensors(&shard, |_| true).zip();
    let stray = ("model-00001-of-00003.safetensors", &shard);
    let whole = folder(&[stray, ("pytorch_model.bin", &torch)]);
    assert_eq!(Checkpoint::open(whole.path()).unwrap().len(), 1);
    let alone = folder(&[stray]);
    assert_says(Checkpoint::open(alone.path()), &["model-00002-of-00003"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_file_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("model.safetensors");
    std::os::unix::fs::symlink(folder.path().join("blob"), link).unwrap();
    assert_says(
        Checkpoint::open(folder.path()),
        &["a link to a file that is gone"],
    );
}
