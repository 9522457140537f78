//! PyTorch's own files: both formats, views, shards, and what must not be opened.

use std::fs;

use blip2_io::{Checkpoint, CheckpointFolder, CheckpointWeights, ErrorKind, IoError};
use blip2_kernels::{Bias, Weights};
use blip2_testing::{
    CompressionMethod, TorchFile, TorchView, assert_says, f32s, fixture, folder, safetensors,
    zipped,
};
use burn::tensor::{DType, Device, TensorData};
use safetensors::Dtype;

const BIN: &str = "pytorch_model.bin";

fn open(files: &[(&str, Vec<u8>)]) -> Result<Checkpoint, IoError> {
    Checkpoint::open(folder(files).path())
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Every tensor's numbers, as they are stored.
fn all(checkpoint: &Checkpoint) -> Vec<(String, TensorData)> {
    let tensors = checkpoint.names();
    tensors
        .map(|name| (name.to_string(), checkpoint.tensor(name).unwrap()))
        .collect()
}

#[test]
fn both_formats_hold_what_the_safetensors_file_holds() {
    let file = fs::read(fixture("blip2_opt/model.safetensors")).unwrap();
    let saved = TorchFile::of_safetensors(&file, |_| true);
    let expected = open(&[("model.safetensors", file)]).unwrap();
    for content in [saved.zip(), saved.legacy()] {
        let found = open(&[(BIN, content)]).unwrap();
        assert_eq!(all(&found), all(&expected));
        assert!(found.names().all(|name| found.as_bytes(name).is_none()));
        assert_eq!(found.size(), expected.size());
        found.verify_finite().unwrap();
        assert_eq!(
            found.fingerprint(&["vision_model"], ""),
            expected.fingerprint(&["vision_model"], "")
        );
    }
}

#[test]
fn every_format_of_numbers() {
    let mut saved = TorchFile::default();
    saved.push("f64", Dtype::F64, &[1], &1.5f64.to_le_bytes());
    saved.push(
        "f16",
        Dtype::F16,
        &[1],
        &half::f16::from_f32(1.5).to_le_bytes(),
    );
    saved.push(
        "bf16",
        Dtype::BF16,
        &[1],
        &half::bf16::from_f32(1.5).to_le_bytes(),
    );
    saved.push("i64", Dtype::I64, &[1], &7i64.to_le_bytes());
    for content in [saved.zip(), saved.legacy()] {
        let found = open(&[(BIN, content)]).unwrap();
        for (name, dtype) in [
            ("f64", DType::F64),
            ("f16", DType::F16),
            ("bf16", DType::BF16),
        ] {
            assert_eq!(found.dtype(name), Some(dtype));
            let value = found.tensor(name).unwrap().convert::<f32>();
            assert_eq!(value.as_slice::<f32>().unwrap(), &[1.5], "{name}");
        }
        assert_eq!(found.dtype("i64"), Some(DType::I64));
    }
}

#[test]
fn views_of_one_storage_are_gathered() {
    let mut saved = TorchFile::default();
    saved.push(
        "whole",
        Dtype::F32,
        &[2, 3],
        &bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    );
    let view = |name: &str, offset, shape: &[usize], strides: &[usize]| TorchView {
        name: name.into(),
        storage: 0,
        offset,
        shape: shape.to_vec(),
        strides: strides.to_vec(),
    };
    saved.views.push(view("transposed", 0, &[3, 2], &[1, 3]));
    saved.views.push(view("row", 3, &[3], &[1]));
    saved.views.push(view("tied", 0, &[2, 3], &[3, 1]));
    for content in [saved.zip(), saved.legacy()] {
        let found = open(&[(BIN, content)]).unwrap();
        let values = |name| found.tensor(name).unwrap().try_to_vec::<f32>().unwrap();
        assert_eq!(values("transposed"), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(values("row"), [4.0, 5.0, 6.0]);
        assert_eq!(values("tied"), values("whole"));
    }
}

#[test]
fn a_layer_is_made_of_it() {
    let mut saved = TorchFile::default();
    saved.push("fc.weight", Dtype::F32, &[1, 2], &bytes(&[2.0, 3.0]));
    let checkpoint = open(&[(BIN, saved.zip())]).unwrap();
    let (source, device) = (CheckpointWeights::new(&checkpoint), Device::flex());
    Weights::new(&source, &device).linear("fc", 2, 1, Bias::Without);
    assert!(source.finish(&[]).unwrap().unused.is_empty());
}

#[test]
fn safetensors_win() {
    let mut saved = TorchFile::default();
    saved.push("old", Dtype::F32, &[1], &bytes(&[1.0]));
    let new = safetensors(&[f32s("new", &[1], &[2.0])]);
    for file in ["model.safetensors", "model-00001-of-00001.safetensors"] {
        let found = open(&[(file, new.clone()), (BIN, saved.zip())]).unwrap();
        assert_eq!(found.names().collect::<Vec<_>>(), ["new"]);
    }
}

/// Two shards of a file.
fn shards() -> [TorchFile; 2] {
    let [mut a, mut b] = [TorchFile::default(), TorchFile::default()];
    a.push("a", Dtype::F32, &[1], &bytes(&[1.0]));
    b.push("b", Dtype::F32, &[1], &bytes(&[2.0]));
    [a, b]
}

const FIRST: &str = "pytorch_model-00001-of-00002.bin";
const SECOND: &str = "pytorch_model-00002-of-00002.bin";

#[test]
fn shards_with_and_without_their_index() {
    let [a, b] = shards();
    let index = format!(r#"{{ "weight_map": {{ "a": "{FIRST}", "b": "{SECOND}" }} }}"#);
    let mut files = vec![(FIRST, a.zip()), (SECOND, b.legacy())];
    assert_eq!(open(&files).unwrap().len(), 2);
    files.push(("pytorch_model.bin.index.json", index.into_bytes()));
    assert_eq!(open(&files).unwrap().len(), 2);
    files.remove(1);
    assert_says(open(&files), &[SECOND, "download all shards"]);
}

#[test]
fn what_is_cut_short_is_refused() {
    let [a, _] = shards();
    for whole in [a.zip(), a.legacy()] {
        for length in 0..whole.len() {
            let file = folder(&[(BIN, whole[..length].to_vec())]);
            let Err(error) = Checkpoint::open(file.path()) else {
                // Only the numbers are cut.
                continue;
            };
            assert_eq!(error.kind(), ErrorKind::Malformed, "{length}: {error}");
            assert!(error.to_string().contains(BIN), "{error}");
        }
    }
}

/// A zip of a pickle alone.
fn pickled(pickle: &[u8], method: CompressionMethod) -> Vec<u8> {
    zipped(&[("model/data.pkl".into(), pickle.to_vec())], method)
}

#[test]
fn no_code_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let proof = folder.path().join("proof");
    let command = format!("touch {}", proof.display());
    let call = format!("\x28cos\nsystem\n(S'{command}'\ntR.");
    let dict = format!("(S'a.weight'\ncos\nsystem\n(S'{command}'\ntRd.");
    for pickle in [call, dict] {
        for file in [
            pickled(pickle.as_bytes(), CompressionMethod::Stored),
            pickle.clone().into_bytes(),
        ] {
            fs::write(folder.path().join(BIN), file).unwrap();
            // A call that is not known is kept by its name alone, which is no tensor.
            if let Ok(found) = Checkpoint::open(folder.path()) {
                assert!(found.is_empty());
            }
            assert!(!proof.exists());
        }
    }
}

#[test]
fn bombs_are_refused_before_they_fill_the_memory() {
    let mut endless = vec![b'N'; 40 << 20];
    endless.push(b'.');
    let many = [&b"\x80\x02"[..], &endless].concat();
    let string = [
        &b"\x80\x02X"[..],
        &(48u32 << 20).to_le_bytes(),
        &endless,
        &[b'.'; 9 << 20],
    ]
    .concat();
    for pickle in [many, string] {
        let file = pickled(&pickle, CompressionMethod::Deflated);
        assert!(file.len() < 100_000);
        assert_says(
            open(&[(BIN, file)]),
            &[BIN, "longer than that of any checkpoint"],
        );
    }
    // A view of one number repeated, and a storage that the file does not hold.
    for (shape, strides) in [(1 << 40, 0), (1 << 62, 1), (1 << 20, 1)] {
        let mut saved = TorchFile::default();
        saved.push("a", Dtype::F32, &[1], &bytes(&[1.0]));
        saved.views[0].shape = vec![shape];
        saved.views[0].strides = vec![strides];
        for content in [saved.zip(), saved.legacy()] {
            assert_says(open(&[(BIN, content)]), &[BIN]);
        }
    }
}

#[test]
fn files_in_memory_are_safetensors() {
    let [a, _] = shards();
    let folder = CheckpointFolder::in_memory("memory", [(BIN, a.zip())]);
    assert_says(folder.checkpoint(), &["memory", "in memory", "safetensors"]);
}
