//! What the encoder does beside computing the right numbers.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use blip2_audio::{
    AudioError, ConformerConfig, ConformerEncoder, ConformerOptions, Precision, RandomWeights,
    Weights,
};
use blip2_io::ErrorKind;
use blip2_testing::difference;
use burn::tensor::{DType, Device, Distribution, Tensor};
use common::{FIXTURES, Fixture};

fn small() -> ConformerConfig {
    ConformerConfig::default()
        .with_input_dim(10)
        .with_num_layers(3)
        .with_hidden_dim(16)
        .with_feedforward_mult(2)
        .with_num_heads(2)
        .with_output_dim(5)
        .with_context_size(4)
        .with_max_pos_emb(6)
        .with_conv_kernel_size(3)
}

fn encoder(config: &ConformerConfig, device: &Device) -> ConformerEncoder {
    let source = RandomWeights::new(1, 0.3);
    ConformerEncoder::load(config, &Weights::new(&source, device)).unwrap()
}

fn encode(encoder: &ConformerEncoder, features: Tensor<3>) -> Tensor<3> {
    let output = encoder.forward(features, &ConformerOptions::default());
    output.unwrap().last_hidden_state
}

fn length(x: Tensor<3>) -> f32 {
    x.square().sum().sqrt().into_scalar()
}

fn noise(shape: [usize; 3], device: &Device) -> Tensor<3> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let encoder = fixture.encoder(Precision::F32);
        let features = fixture.input_features();
        let together = encode(&encoder, features.clone());
        for row in 0..2 {
            let alone = encode(&encoder, features.clone().narrow(0, row, 1));
            let error = difference(together.clone().narrow(0, row, 1), alone);
            assert_eq!(error, 0.0, "{name} row {row}");
        }
    }
}

/// A batch of more recordings than go through the layers together.
#[test]
fn a_large_batch_is_every_recording_of_it() {
    let (config, device) = (small(), Device::flex());
    let encoder = encoder(&config, &device);
    let frames = 9;
    let recordings = 2 * blip2_kernels::rows_at_once(&device).unwrap() / frames + 3;
    let features = noise([recordings, frames, 10], &device);
    let run = |hidden_states| {
        let options = ConformerOptions::default().with_hidden_states(hidden_states);
        let output = encoder.forward(features.clone(), &options).unwrap();
        output.last_hidden_state
    };
    assert_eq!(difference(run(false), run(true)), 0.0);
}

/// More blocks than are taken at a time: whatever is far from a frame does not reach it.
#[test]
fn a_long_recording_is_heard_block_by_block() {
    let device = Device::flex();
    let encoder = encoder(&small().with_num_layers(1), &device);
    // Blocks of 4 frames, and a convolution that sees one frame on either side.
    let long = noise([1, 4 * 40 + 3, 10], &device);
    let whole = encode(&encoder, long.clone());
    assert_eq!(whole.dims(), [1, 163, 16]);
    for start in [4 * 10, 4 * 15, 4 * 38] {
        let part = encode(&encoder, long.clone().narrow(1, start, 8));
        let [found, expected] = [part.narrow(1, 1, 6), whole.clone().narrow(1, start + 1, 6)];
        assert_eq!(difference(found, expected), 0.0, "{start}");
    }
}

/// Every frame of a block hears the others, before and after it.
#[test]
fn a_frame_hears_its_block_and_its_neighbours() {
    let device = Device::flex();
    let encoder = encoder(&small().with_num_layers(1), &device);
    let features = noise([1, 12, 10], &device);
    let before = encode(&encoder, features.clone());
    let louder = features.clone().narrow(1, 5, 1) * 2.0;
    let changed = features.slice_assign([0..1, 5..6, 0..10], louder);
    let after = encode(&encoder, changed);
    let heard: Vec<bool> = (0..12)
        .map(|frame| {
            let [a, b] = [&before, &after].map(|x| x.clone().narrow(1, frame, 1));
            difference(a, b) > 0.0
        })
        .collect();
    // The block of frame 5 is 4 to 7, and the convolution's neighbours are 3 and 8.
    let expected: Vec<bool> = (0..12).map(|frame| (3..=8).contains(&frame)).collect();
    assert_eq!(heard, expected);
}

/// How far the last hidden state is from the reference's with narrow weights: the length of the difference,
/// over that of the golden. The fixtures' layers are a few dozen numbers wide, so that errors average out
/// less than in any published checkpoint.
#[test]
fn narrow_weights_are_near() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let golden = fixture.golden("encoder.last_hidden_state");
        for (precision, most) in [
            (Precision::AsStored, 1e-6),
            (Precision::F16, 2e-3),
            (Precision::Bf16, 2e-2),
            (Precision::Int8, 5e-2),
            (Precision::Int4, 0.3),
        ] {
            let encoder = fixture.encoder(precision);
            let found = encode(&encoder, fixture.input_features());
            assert_eq!(found.dtype(), DType::F32);
            let error = length(found - golden.clone()) / length(golden.clone());
            eprintln!("{name} {precision}: {error:.1e}");
            assert!(error <= most, "{name} {precision}: {error}");
        }
    }
}

#[test]
fn narrow_features_are_computed_with_in_f32() {
    let device = Device::flex();
    let encoder = encoder(&small(), &device);
    let features = noise([2, 9, 10], &device).cast(DType::BF16);
    let narrow = encode(&encoder, features.clone());
    let wide = encode(&encoder, features.cast(DType::F32));
    assert_eq!(difference(narrow, wide), 0.0);
}

/// The reference adds the characters behind layer `num_layers / 2`, which of one layer is none.
#[test]
fn a_single_layer_is_not_conditioned() {
    let device = Device::flex();
    let run = |layers: usize, characters: usize| {
        let config = small().with_num_layers(layers).with_output_dim(characters);
        encode(
            &encoder(&config, &device),
            Tensor::ones([1, 9, 10], &device),
        )
    };
    assert_eq!(difference(run(1, 5), run(1, 7)), 0.0);
    assert!(difference(run(2, 5), run(2, 7)) > 0.0);
}

#[test]
fn wrong_features_are_refused() {
    let device = Device::flex();
    let encoder = encoder(&small(), &device);
    let refused = |shape| {
        let features = Tensor::zeros(shape, &device);
        encoder
            .forward(features, &ConformerOptions::default())
            .unwrap_err()
    };
    let error = refused([1, 9, 5]);
    assert!(matches!(
        error,
        AudioError::Width {
            found: 5,
            expected: 10
        }
    ));
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(
        error
            .to_string()
            .contains("has 5 numbers but the encoder reads 10")
    );
    let error = refused([0, 9, 10]);
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "features of shape [0, 9, 10] are no recordings of shape [batch, frames, input_dim]: the \
         batch is empty"
    );
    assert!(
        refused([1, 0, 10])
            .to_string()
            .contains("there is no frame")
    );
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let device = Device::flex();
    let source = RandomWeights::new(1, 0.3);
    let config = small().with_context_size(7);
    let error = ConformerEncoder::load(&config, &Weights::new(&source, &device)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("encoder_config.context_size = 7")
    );
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
