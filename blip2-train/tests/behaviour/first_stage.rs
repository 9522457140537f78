//! The three losses of the first stage against PyTorch's; `make_first_stage.py` beside the fixtures
//! made them.

use std::{collections::HashMap, fs};

use blip2_core::{
    CheckpointFolder, CheckpointWeights,
    model::{Blip2ForPretraining, PromptRows},
};
use blip2_kernels::{TensorRequest, WeightSource};
use blip2_testing::{
    largest_difference,
    view::{data, floats, integer_rows},
};
use blip2_train::{
    TrainPlan, Trained,
    objective::{HardNegatives, Pairs, contrast_and_generation, first_stage_losses, matching},
};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::common;

/// A checkpoint of retrieval with the weights of the first stage's own head beside it.
struct WithHead<'a> {
    checkpoint: CheckpointWeights<'a>,
    head: HashMap<String, TensorData>,
}

impl WeightSource for WithHead<'_> {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        match self.head.get(request.name) {
            Some(data) => Some(data.clone()),
            None => self.checkpoint.tensor(request),
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.head.contains_key(name) || self.checkpoint.contains(name)
    }
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    let folder = common::goldens("first_stage");
    let json: Value =
        serde_json::from_slice(&fs::read(folder.join("golden.json")).unwrap()).unwrap();
    let bytes = fs::read(folder.join("golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let get = |name: &str| golden.tensor(name).unwrap();
    let number = |key: &str| json[key].as_f64().unwrap();
    let list = |key: &str| -> Vec<u64> { serde_json::from_value(json[key].clone()).unwrap() };

    let model_folder = CheckpointFolder::open(common::models().join("blip2_itr")).unwrap();
    let checkpoint = model_folder.checkpoint().unwrap();
    let head = golden
        .iter()
        .filter(|(name, _)| name.starts_with("cls.") || *name == "temp")
        .map(|(name, view)| (name.to_string(), data(&view)));
    let source = WithHead {
        head: head.collect(),
        checkpoint: CheckpointWeights::new(&checkpoint),
    };
    let config = model_folder.config().unwrap();
    let plan = TrainPlan::all();
    let trained = Trained::build(&source, &Device::flex(), &plan, |weights| {
        Ok(Blip2ForPretraining::load(&config, weights)?)
    })
    .unwrap();

    let ids = integer_rows(&get("input_ids")).into_iter();
    let mask = integer_rows(&get("attention_mask")).into_iter();
    let mut pairs = Pairs {
        pixel_values: Tensor::from_data(data(&get("pixel_values")), &Device::flex()),
        texts: PromptRows::new(
            ids.map(|row| row.into_iter().map(|id| id as u32).collect())
                .collect(),
            mask.map(|row| row.into_iter().map(|bit| bit != 0).collect())
                .collect(),
        )
        .unwrap(),
        writes: number("writes") as u32,
        subjects: Vec::new(),
    };
    let places = |key: &str| {
        let rows = list(key).into_iter();
        rows.map(|row| Some(row as usize)).collect::<Vec<_>>()
    };
    let negatives = HardNegatives {
        images: places("image_negatives"),
        texts: places("text_negatives"),
    };

    let model = trained.model();
    let images = model
        .retrieval()
        .encode_images(pairs.pixel_values.clone())
        .unwrap();
    let found = contrast_and_generation(model, &images, &pairs).unwrap();
    let (contrast, generation) = (found.contrast, found.generation);
    let matching = matching(model, &images, &pairs.texts, &negatives).unwrap();
    let near = |found: &Tensor<1>, key: &str| {
        let found = f64::from(found.clone().into_scalar::<f32>());
        assert!((found - number(key)).abs() <= 1e-4, "{key}: {found}");
    };
    near(&contrast, "contrast");
    near(&matching, "matching");
    near(&generation, "generation");

    let gradients = trained.gradients(contrast + matching + generation).unwrap();
    let mut seen = 0;
    for (name, view) in golden.iter() {
        let Some(name) = name.strip_prefix("grad.") else {
            continue;
        };
        let own = gradients.get(name).unwrap_or_else(|| panic!("{name}"));
        let own = own.clone().into_data().try_into_vec::<f32>().unwrap();
        let (most, largest) = largest_difference(&own, &floats(&view));
        assert!(
            most <= 1e-4 * largest.max(1.0),
            "{name}: {most} of {largest}"
        );
        seen += 1;
    }
    assert_eq!(seen, 16);

    pairs.subjects = list("subjects");
    let found = contrast_and_generation(model, &images, &pairs).unwrap();
    near(&found.contrast, "contrast_of_subjects");

    // Together, with negatives of its own drawing.
    let losses = first_stage_losses(model, &pairs, 1).unwrap();
    near(&losses.contrast, "contrast_of_subjects");
    near(&losses.generation, "generation");
    assert!(losses.sum().into_scalar::<f32>().is_finite());
    pairs.subjects.pop();
    assert!(first_stage_losses(model, &pairs, 1).is_err());
}
