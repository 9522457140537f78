//! Every stage of CLIP's tower equals the reference's, within the tolerance of
//! [`Fixture::compare`].

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use blip2_kernels::{RandomWeights, Weights};
use blip2_vision::{
    ClipVisionConfig, ClipVisionModel, ClipVisionModelWithProjection, Keep, VisionError,
    VisionOptions,
};
use burn::tensor::{Device, Tensor};
use common::{CLIP_FIXTURES, Fixture};

type ClipFixture = Fixture<ClipVisionConfig>;

fn open(name: &'static str) -> ClipFixture {
    Fixture::open_as(name)
}

/// The tower of a fixture, and what it projects pooled pictures to.
fn tower(fixture: &ClipFixture) -> (ClipVisionModel, Option<ClipVisionModelWithProjection>) {
    if fixture.name == "clip_plain" {
        let tower = fixture.load(|config, weights| ClipVisionModel::load(config, weights).unwrap());
        return (tower, None);
    }
    let whole = fixture
        .load(|config, weights| ClipVisionModelWithProjection::load(config, weights).unwrap());
    (whole.vision_model().clone(), Some(whole))
}

#[test]
fn every_stage() {
    for name in CLIP_FIXTURES {
        let fixture = open(name);
        let (tower, whole) = tower(&fixture);
        let options = VisionOptions::default().with_keep(Keep::ALL);
        let output = tower.forward(fixture.pixel_values(), &options).unwrap();
        let pooled = tower.pool(output.last_hidden_state.clone());
        assert!(fixture.compare("last_hidden_state", output.last_hidden_state));
        assert!(fixture.compare("pooler_output", pooled.clone()));
        if let Some(whole) = whole {
            assert!(fixture.compare("image_embeds", whole.project(pooled)));
        }
        let layers = fixture.config.num_hidden_layers;
        assert_eq!(output.hidden_states.len(), layers + 1);
        assert_eq!(output.attentions.len(), layers);
        for (n, hidden) in output.hidden_states.into_iter().enumerate() {
            assert!(fixture.compare(&format!("hidden.{n}"), hidden));
        }
        for (n, map) in output.attentions.into_iter().enumerate() {
            assert!(fixture.compare(&format!("attentions.{n}"), map));
        }
    }
}

#[test]
fn pictures_of_other_sizes() {
    let options = VisionOptions::default().with_interpolate_pos_encoding(true);
    let mut compared = 0;
    for name in CLIP_FIXTURES {
        let fixture = open(name);
        let (tower, _) = tower(&fixture);
        for n in 0.. {
            let Some(pixel_values) = fixture.golden(&format!("interp.{n}.pixel_values")) else {
                break;
            };
            let refused = tower.forward(pixel_values.clone(), &VisionOptions::default());
            assert!(matches!(refused, Err(VisionError::ImageSize { .. })));
            let output = tower.forward(pixel_values, &options).unwrap();
            let name = format!("interp.{n}.last_hidden_state");
            assert!(fixture.compare(&name, output.last_hidden_state));
            compared += 1;
        }
    }
    assert_eq!(compared, 3 + 1);
}

/// A bare tower is found at the root and, as part of a CLIP, below `vision_model`.
#[test]
fn a_tower_is_found_inside_a_clip() {
    let fixture = open("clip_projected");
    let (tower, _) = tower(&fixture);
    let alone = fixture.load(|config, weights| {
        // The projection is used as well, so that nothing counts as left over.
        ClipVisionModelWithProjection::load(config, weights).unwrap();
        ClipVisionModel::load(config, weights).unwrap()
    });
    let options = VisionOptions::default();
    let pass = |model: &ClipVisionModel| {
        let output = model.forward(fixture.pixel_values(), &options).unwrap();
        output.last_hidden_state.into_data()
    };
    pass(&alone).assert_eq(&pass(&tower), true);
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    type Change = fn(&mut ClipVisionConfig);
    let cases: [(Change, &str); 4] = [
        (|c| c.num_attention_heads = 5, "hidden_size"),
        (|c| c.num_channels = 4, "num_channels"),
        (|c| c.projection_dim = 0, "projection_dim"),
        (|c| c.image_size = 3, "image_size"),
    ];
    let device = Device::flex();
    let source = RandomWeights::new(0, 0.02);
    for (change, key) in cases {
        let mut config = open("clip_plain").config;
        change(&mut config);
        let fault = ClipVisionModel::load(&config, &Weights::new(&source, &device)).unwrap_err();
        assert!(fault.to_string().contains(key), "{fault}");
    }
}

#[test]
fn pixel_values_that_are_no_pictures_are_refused() {
    let fixture = open("clip_plain");
    let (tower, _) = tower(&fixture);
    let gray = Tensor::<4>::zeros([1, 1, 28, 28], &fixture.device);
    let fault = tower.forward(gray, &VisionOptions::default()).unwrap_err();
    assert!(matches!(fault, VisionError::PixelValues { .. }), "{fault}");
}
