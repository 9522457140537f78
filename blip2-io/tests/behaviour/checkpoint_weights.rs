//! What a model gets from a checkpoint, what it costs, and the account of it.

use std::{fs, ops::Range};

use blip2_io::{
    Checkpoint, CheckpointWeights, IoError, LoadReport,
    checkpoint::{Misshapen, Missing, WeightPlan},
};
use blip2_kernels::{Bias, Precision, Role, TensorRequest, WeightSource, Weights};
use blip2_testing::{Stored, assert_says, f32s, folder, raw_safetensors, safetensors};
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{bf16, f16};
use safetensors::Dtype;
use tempfile::TempDir;

const FILE: &str = "model.safetensors";

fn open(tensors: &[Stored]) -> (TempDir, Checkpoint) {
    let folder = folder(&[(FILE, safetensors(tensors))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    (folder, checkpoint)
}

fn request<'a>(
    name: &'a str,
    shape: &'a [usize],
    role: Role,
    device: &'a Device,
) -> TensorRequest<'a> {
    TensorRequest {
        name,
        shape,
        role,
        precision: Precision::AsStored,
        device,
        packs: false,
    }
}

fn addresses(data: &TensorData) -> Range<*const u8> {
    data.as_bytes().as_ptr_range()
}

/// A tensor that is held as stored is no copy: every request, and the tensor that Burn makes of
/// it, is at the same place in memory.
#[test]
fn a_tensor_held_as_stored_is_a_view_into_the_file() {
    let (_keep, checkpoint) = open(&[f32s("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]);
    let source = CheckpointWeights::new(&checkpoint);
    let device = Device::flex();
    let request = request("w", &[2, 3], Role::Matrix, &device);
    let data = source.tensor(&request).unwrap();
    let place = addresses(&data);
    assert_eq!(addresses(&source.tensor(&request).unwrap()), place);
    let tensor = Tensor::<2>::from_data(data, (&device, DType::F32));
    assert_eq!(addresses(&tensor.into_data()), place);
}

/// Burn computes in place on tensors that nobody shares: it must copy a view first.
#[test]
fn computing_in_place_does_not_write_into_the_file() {
    let values: Vec<f32> = (0..256).map(|n| n as f32).collect();
    let (folder, checkpoint) = open(&[f32s("w", &[256], &values)]);
    let before = fs::read(folder.path().join(FILE)).unwrap();
    let source = CheckpointWeights::new(&checkpoint);
    let device = Device::flex();
    let tensor = || {
        let request = request("w", &[256], Role::Matrix, &device);
        let data = source.tensor(&request).unwrap();
        Tensor::<1>::from_data(data, (&device, DType::F32))
    };
    let sum = tensor() + 1.0;
    assert_eq!(sum.into_data().try_to_vec::<f32>().unwrap()[255], 256.0);
    let product = tensor().mul(tensor());
    assert_eq!(product.into_data().try_to_vec::<f32>().unwrap()[3], 9.0);
    let assigned = tensor().slice_assign(burn::tensor::s![0..256], tensor() * -1.0);
    assert_eq!(assigned.into_data().try_to_vec::<f32>().unwrap()[2], -2.0);
    let relu = burn::tensor::activation::relu(tensor() - 10.0);
    assert_eq!(relu.into_data().try_to_vec::<f32>().unwrap()[4], 0.0);
    assert_eq!(tensor().into_data().try_to_vec::<f32>().unwrap(), values);
    assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), before);
}

/// A file whose header has an odd length puts its numbers where the processor cannot read them.
#[test]
fn a_tensor_out_of_line_is_copied() {
    let numbers = [1.5f32, -2.5].map(f32::to_le_bytes).concat();
    let mut header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#.to_string();
    while header.len() % 4 != 1 {
        header.push(' ');
    }
    let folder = folder(&[(FILE, raw_safetensors(&header, &numbers))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let source = CheckpointWeights::new(&checkpoint);
    let device = Device::flex();
    let data = source
        .tensor(&request("w", &[2], Role::Matrix, &device))
        .unwrap();
    assert_eq!(data.try_to_vec::<f32>().unwrap(), [1.5, -2.5]);
}

fn stored_as(dtype: Dtype) -> Stored {
    let values = [1.5f32, -0.25];
    let bytes: Vec<u8> = match dtype {
        Dtype::F64 => values
            .iter()
            .flat_map(|v| f64::from(*v).to_le_bytes())
            .collect(),
        Dtype::F16 => values
            .iter()
            .flat_map(|v| f16::from_f32(*v).to_le_bytes())
            .collect(),
        Dtype::BF16 => values
            .iter()
            .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
            .collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    ("w", dtype, vec![2], bytes)
}

/// Matrices follow the precision; what is computed with directly is `f32`.
#[test]
fn formats_follow_role_and_precision() {
    let device = Device::flex();
    for (stored, as_stored) in [
        (Dtype::F64, DType::F32),
        (Dtype::F32, DType::F32),
        (Dtype::F16, DType::F16),
        (Dtype::BF16, DType::BF16),
    ] {
        let (_keep, checkpoint) = open(&[stored_as(stored)]);
        let source = CheckpointWeights::new(&checkpoint);
        for (precision, matrix) in [
            (Precision::AsStored, as_stored),
            (Precision::F32, DType::F32),
            (Precision::Bf16, DType::BF16),
            (Precision::F16, DType::F16),
        ] {
            for role in [
                Role::Matrix,
                Role::Embedding,
                Role::Dense,
                Role::Bias,
                Role::Scale,
            ] {
                let request = TensorRequest {
                    precision,
                    ..request("w", &[2], role, &device)
                };
                let data = source.tensor(&request).unwrap();
                let held = match role {
                    Role::Matrix | Role::Embedding => matrix,
                    _ => DType::F32,
                };
                assert_eq!(data.dtype(), held, "{stored:?} {precision} {role:?}");
                let values: Vec<f32> = data.convert::<f32>().try_to_vec().unwrap();
                assert_eq!(values, [1.5, -0.25]);
            }
        }
    }
}

/// A model of three tensors, of a checkpoint that holds one of them.
fn faulty() -> (TempDir, Checkpoint) {
    open(&[
        f32s("right.weight", &[2, 2], &[0.0; 4]),
        f32s("square.weight", &[2, 3], &[0.0; 6]),
        ("whole.weight", Dtype::I64, vec![2, 2], vec![0; 32]),
        f32s("old_name.lost.weight", &[5], &[0.0; 5]),
        f32s("embeddings.position_ids", &[1], &[0.0]),
        f32s("extra.weight", &[7], &[0.0; 7]),
    ])
}

fn ask(source: &dyn WeightSource) {
    let device = Device::flex();
    let weights = Weights::new(source, &device);
    let _ = weights.param::<2>("right.weight", [2, 2], Role::Matrix);
    let _ = weights.param::<2>("square.weight", [3, 2], Role::Matrix);
    let _ = weights.param::<2>("whole.weight", [2, 2], Role::Matrix);
    let _ = weights.param::<1>("lost.weight", [5], Role::Scale);
    let _ = weights.param::<1>("gone.bias", [9], Role::Bias);
    // A table that serves twice is asked for twice, and is one fault.
    let _ = weights.param::<1>("gone.bias", [9], Role::Bias);
    let _ = weights.param::<2>("square.weight", [3, 2], Role::Matrix);
}

fn report(checkpoint: &Checkpoint, ignorable: &[&str]) -> LoadReport {
    let source = CheckpointWeights::new(checkpoint);
    ask(&source);
    match source.finish(ignorable) {
        Err(IoError::Weights { report, .. }) => *report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_faults_are_listed_together() {
    let (_keep, checkpoint) = faulty();
    let report = report(&checkpoint, &["position_ids"]);
    assert!(!report.is_complete());
    assert_eq!(
        report.missing,
        [
            Missing {
                name: "gone.bias".into(),
                shape: vec![9],
                suggestion: None
            },
            Missing {
                name: "lost.weight".into(),
                shape: vec![5],
                suggestion: Some("old_name.lost.weight".into())
            },
        ]
    );
    assert_eq!(
        report.misshapen,
        [
            Misshapen {
                name: "square.weight".into(),
                expected: vec![3, 2],
                found: "[2, 3]".into()
            },
            Misshapen {
                name: "whole.weight".into(),
                expected: vec![2, 2],
                found: "I64, which is no format for weights".into()
            },
        ]
    );
    assert_eq!(report.unused, ["extra.weight", "old_name.lost.weight"]);
}

#[test]
fn the_error_says_it_all() {
    let (_keep, checkpoint) = faulty();
    let source = CheckpointWeights::new(&checkpoint);
    ask(&source);
    assert_says(
        source.finish(&["position_ids"]),
        &[
            "2 missing, 2 misshapen, 2 unused",
            "missing: gone.bias [9]",
            "missing: lost.weight [5] (the file has old_name.lost.weight)",
            "misshapen: square.weight should be [3, 2], the file has [2, 3]",
            "misshapen: whole.weight should be [2, 2], the file has I64",
            "unused: extra.weight",
        ],
    );
}

#[test]
fn a_plan_reports_what_a_load_would() {
    let (_keep, checkpoint) = faulty();
    let plan = WeightPlan::new(&checkpoint);
    ask(&plan);
    assert_eq!(plan.report(&[]), report(&checkpoint, &[]));
}

#[test]
fn unused_tensors_are_reported_and_no_error() {
    let (_keep, checkpoint) = open(&[f32s("a", &[1], &[0.0]), f32s("b", &[1], &[0.0])]);
    let source = CheckpointWeights::new(&checkpoint);
    let device = Device::flex();
    let _ = Weights::new(&source, &device).param::<1>("a", [1], Role::Bias);
    let report = source.finish(&[]).unwrap();
    assert_eq!(report.unused, ["b"]);
    assert!(report.is_complete());
    let text = report.to_string();
    assert!(
        text.starts_with("every tensor is there, and 1 unused"),
        "{text}"
    );
    let report = source.finish(&["b"]).unwrap();
    assert_eq!(report.to_string(), "every tensor is there and used");
}

#[test]
fn the_likeliest_name_is_suggested() {
    let (_keep, checkpoint) = open(&[
        f32s("vision.layers.0.norm.weight", &[4], &[0.0; 4]),
        f32s("vision.layers.1.norm.weight", &[4], &[0.0; 4]),
        f32s("vision.layers.1.other.weight", &[4], &[0.0; 4]),
        f32s("text.layers.1.norm.weight", &[8], &[0.0; 8]),
    ]);
    let plan = WeightPlan::new(&checkpoint);
    let device = Device::flex();
    let _ = Weights::new(&plan, &device).param::<1>(
        "vision.encoder.layers.1.norm.weight",
        [4],
        Role::Scale,
    );
    let report = plan.report(&[]);
    let suggestion = report.missing[0].suggestion.as_deref();
    assert_eq!(suggestion, Some("vision.layers.1.norm.weight"));
}

#[test]
fn a_prefix_can_be_renamed() {
    let (_keep, checkpoint) = open(&[
        f32s("module.a.weight", &[1], &[1.0]),
        f32s("module.b", &[1], &[2.0]),
        f32s("b", &[1], &[3.0]),
    ]);
    let checkpoint = checkpoint.with_alias("module.", "");
    let names: Vec<_> = checkpoint.names().collect();
    // A name that is taken stays with its tensor.
    assert_eq!(names, ["a.weight", "b", "module.b"]);
    let source = CheckpointWeights::new(&checkpoint);
    let device = Device::flex();
    let value = |name| {
        let data = source.tensor(&request(name, &[1], Role::Bias, &device));
        data.unwrap().try_to_vec::<f32>().unwrap()[0]
    };
    assert_eq!((value("a.weight"), value("b")), (1.0, 3.0));
}

#[test]
fn optional_parts_are_seen() {
    let (_keep, checkpoint) = open(&[f32s("head.weight", &[1], &[0.0])]);
    let source = CheckpointWeights::new(&checkpoint);
    let plan = WeightPlan::new(&checkpoint);
    for source in [&source as &dyn WeightSource, &plan] {
        assert!(source.contains("head.weight"));
        assert!(!source.contains("head.bias"));
    }
    assert!(WeightPlan::without_checkpoint().contains("anything"));
}

#[test]
fn a_plan_counts_parameters_and_bytes() {
    let (_keep, checkpoint) = open(&[
        ("fc.weight", Dtype::BF16, vec![32, 2], vec![0; 128]),
        ("fc.bias", Dtype::BF16, vec![32], vec![0; 64]),
    ]);
    let plan = WeightPlan::new(&checkpoint);
    let device = Device::flex();
    let weights = Weights::new(&plan, &device);
    // As large packed as not: whole panels of 32 outputs.
    let _ = weights.linear("fc", 2, 32, Bias::With);
    let _ = weights
        .with_precision(Precision::F32)
        .param::<2>("fc.weight", [32, 2], Role::Matrix);
    let tensors = plan.tensors();
    let parameters: Vec<_> = tensors.iter().map(|tensor| tensor.parameters()).collect();
    assert_eq!(parameters, [64, 32, 64]);
    let bytes = |precision| -> Vec<_> {
        let bytes = tensors
            .iter()
            .map(|tensor| tensor.bytes(precision, &device));
        bytes.collect()
    };
    // A bias is always f32, and a part that insists on a precision keeps it.
    assert_eq!(bytes(Precision::AsStored), [128, 128, 256]);
    assert_eq!(bytes(Precision::F32), [256, 128, 256]);
    assert_eq!(tensors[0].stored, Some(DType::BF16));
    assert!(plan.report(&[]).is_complete());
}

#[test]
fn numbers_that_are_none_are_found() {
    let (_keep, checkpoint) = open(&[f32s("a", &[2], &[1.0, f32::MAX])]);
    checkpoint.verify_finite().unwrap();
    for fault in [f32::NAN, f32::INFINITY] {
        let (_keep, checkpoint) = open(&[
            f32s("a", &[2], &[1.0, 2.0]),
            f32s("b.weight", &[2], &[1.0, fault]),
        ]);
        assert_says(
            checkpoint.verify_finite(),
            &["`b.weight`", "NaN or infinity"],
        );
    }
}

#[test]
fn a_fingerprint_changes_with_any_weight() {
    let print = |tensors: &[Stored], prefixes: &[&str]| open(tensors).1.fingerprint(prefixes, "");
    let model = |last| {
        [
            f32s("text.w", &[2], &[1.0, last]),
            f32s("vision.w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        ]
    };
    let original = print(&model(2.0), &[""]);
    assert_eq!(original, print(&model(2.0), &[""]));
    // The smallest change of one weight, another shape, another name, another format.
    assert_ne!(original, print(&model(2.0f32.next_up()), &[""]));
    let [text, mut vision] = model(2.0);
    vision.2 = vec![4, 1];
    assert_ne!(original, print(&[text.clone(), vision.clone()], &[""]));
    vision.2 = vec![2, 2];
    vision.0 = "vision.v";
    assert_ne!(original, print(&[text.clone(), vision.clone()], &[""]));
    (vision.0, vision.1, vision.2) = ("vision.w", Dtype::BF16, vec![8]);
    assert_ne!(original, print(&[text, vision], &[""]));
    // Of the parts that are asked for only.
    let vision = print(&model(2.0), &["vision."]);
    assert_eq!(vision, print(&model(9.0), &["vision."]));
    assert_ne!(vision, original);
}
