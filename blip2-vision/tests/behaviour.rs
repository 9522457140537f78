//! What the tower does beside computing the right numbers.

mod common;

use std::{cell::RefCell, collections::HashMap};

use blip2_kernels::{Precision, RandomWeights, TensorRequest, WeightSource, Weights, rows_at_once};
use blip2_testing::{difference, largest};
use blip2_vision::{Blip2VisionConfig, Keep, VisionError, VisionModel, VisionOptions};
use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Device, Distribution, Tensor, TensorData},
};
use common::{FIXTURES, Fixture};

fn any_size() -> VisionOptions {
    VisionOptions::default().with_interpolate_pos_encoding(true)
}

fn small() -> Blip2VisionConfig {
    Blip2VisionConfig::default()
        .with_hidden_size(16)
        .with_intermediate_size(32)
        .with_num_hidden_layers(2)
        .with_num_attention_heads(2)
        .with_image_size(12)
        .with_patch_size(4)
}

fn small_model(config: &Blip2VisionConfig, device: &Device) -> Result<VisionModel, VisionError> {
    VisionModel::load(config, &Weights::new(&RandomWeights::new(1, 0.3), device))
}

fn noise(shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let model = fixture.model();
        let encode = |pixel_values| {
            let output = model.forward(pixel_values, &VisionOptions::default());
            output.unwrap().last_hidden_state
        };
        let together = encode(fixture.pixel_values());
        for row in 0..2 {
            let alone = encode(fixture.pixel_values().narrow(0, row, 1));
            let error = difference(together.clone().narrow(0, row, 1), alone);
            assert!(error <= 1e-5, "{name} row {row}: {error}");
        }
    }
}

/// A batch of more pictures than go through the layers together.
#[test]
fn a_large_batch_is_every_picture_of_it() {
    let (config, device) = (small(), Device::flex());
    let model = small_model(&config, &device).unwrap();
    let tokens = 10;
    let pictures = 2 * rows_at_once(&device).unwrap() / tokens + 3;
    let pixels = noise([pictures, 3, 12, 12], &device);
    let run = |options| model.forward(pixels.clone(), &options).unwrap();
    let in_groups = run(VisionOptions::default()).last_hidden_state;
    let together = run(VisionOptions::default().with_keep(Keep::HIDDEN_STATES));
    assert_eq!(in_groups.dims(), [pictures, tokens, 16]);
    assert_eq!(difference(in_groups, together.last_hidden_state), 0.0);
}

#[test]
fn nothing_is_kept_unless_asked_for() {
    let fixture = Fixture::open("blip2_opt");
    let model = fixture.model();
    let run = |options| model.forward(fixture.pixel_values(), &options).unwrap();
    let bare = run(VisionOptions::default());
    assert!(bare.hidden_states.is_empty() && bare.attentions.is_empty());
    let kept = run(VisionOptions::default().with_keep(Keep::ALL));
    // Not the same operations: a map that is not asked for is never made.
    let error = difference(bare.last_hidden_state, kept.last_hidden_state);
    assert!(error <= 1e-5, "{error}");
    for map in kept.attentions {
        assert!(largest(map.sum_dim(3) - 1.0) < 1e-5);
    }
}

#[test]
fn pixels_beyond_the_last_patch_do_not_matter() {
    let device = Device::flex();
    let model = small_model(&small(), &device).unwrap();
    let pixel_values = noise([1, 3, 11, 18], &device);
    let encode = |pixel_values| {
        let output = model.forward(pixel_values, &any_size()).unwrap();
        output.last_hidden_state
    };
    let whole = encode(pixel_values.clone());
    assert_eq!(whole.dims(), [1, 1 + 2 * 4, 16]);
    let cut = encode(pixel_values.slice([0..1, 0..3, 0..8, 0..16]));
    assert_eq!(difference(whole, cut), 0.0);
}

#[test]
fn kept_positions_follow_their_parameter() {
    struct Double;
    impl ModuleMapper for Double {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|value| value * 2.0)
        }
    }
    let device = Device::flex();
    let pixel_values = noise([1, 3, 16, 8], &device);
    let run = |model: &VisionModel| {
        let output = model.forward(pixel_values.clone(), &any_size()).unwrap();
        output.last_hidden_state
    };
    let model = small_model(&small(), &device).unwrap();
    let before = run(&model);
    let changed = run(&model.map(&mut Double));
    let fresh = run(&small_model(&small(), &device).unwrap().map(&mut Double));
    assert_eq!(difference(changed.clone(), fresh), 0.0);
    assert!(difference(changed, before) > 0.1);
}

#[test]
fn one_model_serves_many_threads() {
    let device = Device::flex();
    let model = small_model(&small(), &device).unwrap();
    let run = |side| {
        let pixel_values = Tensor::ones([1, 3, side, side], &device);
        let output = model.forward(pixel_values, &any_size()).unwrap();
        output.last_hidden_state
    };
    let sides = [8, 12, 16, 20];
    let alone = sides.map(run);
    std::thread::scope(|scope| {
        for (side, alone) in sides.into_iter().zip(alone).cycle().take(16) {
            scope.spawn(move || assert_eq!(difference(run(side), alone), 0.0));
        }
    });
}

/// Random weights, with biases too, in which the qkv bias is stored in one of its two ways.
struct QkvBias {
    fused: bool,
    random: RandomWeights,
    asked: RefCell<HashMap<String, usize>>,
}

impl QkvBias {
    fn new(fused: bool) -> Self {
        Self {
            fused,
            random: RandomWeights::new(3, 0.3),
            asked: RefCell::default(),
        }
    }
}

impl WeightSource for QkvBias {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        *self
            .asked
            .borrow_mut()
            .entry(request.name.to_string())
            .or_default() += 1;
        let len = request.shape[0];
        let part = |value: f32, len: usize| (0..len).map(move |n| value + n as f32 / 10.0);
        let values: Vec<f32> = if request.name.ends_with("q_bias") {
            part(0.5, len).collect()
        } else if request.name.ends_with("v_bias") {
            part(-1.0, len).collect()
        } else if request.name.ends_with("qkv.bias") {
            let keys = std::iter::repeat_n(0.0, len / 3);
            part(0.5, len / 3)
                .chain(keys)
                .chain(part(-1.0, len / 3))
                .collect()
        } else {
            return self.random.tensor(request);
        };
        Some(TensorData::new(values, request.shape.to_vec()))
    }

    fn contains(&self, name: &str) -> bool {
        name.ends_with("qkv.bias") == self.fused
    }
}

#[test]
fn a_bias_without_the_keys_part_is_read() {
    let device = Device::flex();
    let pixel_values = noise([1, 3, 12, 12], &device);
    let [fused, apart] = [true, false].map(|fused| {
        let source = QkvBias::new(fused);
        let model = VisionModel::load(&small(), &Weights::new(&source, &device)).unwrap();
        let asked = source.asked.into_inner();
        let parts = asked
            .keys()
            .filter(|name| name.ends_with("self_attn.q_bias"));
        assert_eq!(parts.count(), if fused { 0 } else { 2 });
        assert!(asked.values().all(|&times| times == 1));
        let output = model.forward(pixel_values.clone(), &VisionOptions::default());
        output.unwrap().last_hidden_state
    });
    assert_eq!(difference(fused, apart), 0.0);
}

#[test]
fn narrow_weights_and_pixels_are_computed_with_in_f32() {
    let device = Device::flex();
    let pixel_values = noise([1, 3, 12, 12], &device);
    let run = |precision, dtype| {
        let source = RandomWeights::new(1, 0.3);
        let weights = Weights::new(&source, &device).with_precision(precision);
        let model = VisionModel::load(&small(), &weights).unwrap();
        let pixel_values = pixel_values.clone().cast(dtype);
        let output = model.forward(pixel_values, &VisionOptions::default());
        output.unwrap().last_hidden_state
    };
    let exact = run(Precision::F32, DType::F32);
    for (precision, dtype) in [
        (Precision::Bf16, DType::F32),
        (Precision::F32, DType::F16),
        (Precision::F16, DType::BF16),
    ] {
        let narrow = run(precision, dtype);
        assert_eq!(narrow.dtype(), DType::F32);
        let error = difference(narrow, exact.clone());
        assert!(error > 0.0 && error < 0.1, "{precision} {dtype:?}: {error}");
    }
}

#[test]
fn wrong_pixel_values_are_refused() {
    let device = Device::flex();
    let model = small_model(&small(), &device).unwrap();
    let refused = |shape, options| {
        let pixel_values = Tensor::zeros(shape, &device);
        model
            .forward(pixel_values, options)
            .unwrap_err()
            .to_string()
    };
    let (fixed, any) = (&VisionOptions::default(), &any_size());
    assert_eq!(
        refused([1, 3, 12, 16], fixed),
        "pixel values are 12×16 (height × width) but the model expects 12×12; resize the picture, \
         or set interpolate_pos_encoding"
    );
    assert!(refused([1, 3, 8, 8], fixed).contains("8×8"));
    assert_eq!(
        refused([1, 3, 3, 40], any),
        "pixel values are 3×40 (height × width), less than one patch of 4×4; resize the picture"
    );
    assert_eq!(
        refused([2, 1, 12, 12], fixed),
        "pixel values of shape [2, 1, 12, 12] are no pictures of shape [batch, 3, height, width]: \
         there must be three channels, red, green and blue"
    );
    assert!(refused([0, 3, 12, 12], fixed).ends_with("the batch is empty"));
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let device = Device::flex();
    let refused = |change: fn(&mut Blip2VisionConfig)| {
        let mut config = small();
        change(&mut config);
        small_model(&config, &device).unwrap_err().to_string()
    };
    for (change, key) in [
        (
            (|config| config.num_attention_heads = 3) as fn(&mut Blip2VisionConfig),
            "vision_config.hidden_size = 16",
        ),
        (
            |config| config.patch_size = 0,
            "vision_config.patch_size = 0",
        ),
        (
            |config| config.image_size = 3,
            "vision_config.image_size = 3",
        ),
        (
            |config| config.num_hidden_layers = 0,
            "vision_config.num_hidden_layers = 0",
        ),
    ] {
        let message = refused(change);
        assert!(message.contains(key), "{message}");
    }
}
