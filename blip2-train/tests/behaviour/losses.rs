//! The language model's loss of the whole family against that of `transformers`, and the rows that
//! questions and answers are laid out in.

use std::fs;

use blip2_core::{AnswerRows, CheckpointFolder};
use blip2_testing::view::floats;
use blip2_train::{
    Training,
    objective::{Batch, language_model_loss},
};
use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;

use crate::common::{batch, models};

const FAMILY: [&str; 8] = [
    "blip2_opt",
    "blip2_t5",
    "blip2_t5_tied",
    "blip2_t5_relu_tied",
    "instructblip_llama",
    "instructblip_t5",
    "instructblipvideo_llama",
    "instructblipvideo_t5",
];

fn folder(model: &str) -> CheckpointFolder {
    CheckpointFolder::open(models().join(model)).unwrap()
}

#[test]
fn every_member_has_the_reference_s_loss() {
    for model in FAMILY {
        let bytes = fs::read(models().join(model).join("golden.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let expected = floats(&tensors.tensor("loss").unwrap())[0];
        let trained = Training::of(&folder(model))
            .unwrap()
            .bridge()
            .load()
            .unwrap();
        let loss = language_model_loss(trained.model(), &batch(model), 0.0).unwrap();
        let found = loss.clone().into_scalar::<f32>();
        assert!(
            (found - expected).abs() <= 1e-4 * (expected / 10.0).max(1.0),
            "{model}: {found}, {expected}"
        );
        // All that stands between the picture and the loss is reached.
        let gradients = trained.gradients(loss).unwrap();
        for named in trained.parameters().filter(|named| named.shape.len() > 1) {
            // What the last layer makes of the text, nobody reads.
            let layer = "qformer.encoder.layer.3.";
            let unused = named.name.strip_prefix(layer).is_some_and(|rest| {
                rest.starts_with("intermediate.") || rest.starts_with("output.")
            });
            let reached = gradients
                .get(&named.name)
                .is_some_and(|gradient| gradient.clone().abs().max().into_scalar::<f32>() > 0.0);
            assert!(reached || unused, "{model}: {}", named.name);
        }
    }
}

/// A batch of several questions about a picture loses the mean of what each alone does.
#[test]
fn answers_are_laid_out_as_they_are_generated() {
    for model in [
        "blip2_opt",
        "blip2_t5",
        "instructblip_llama",
        "instructblip_t5",
    ] {
        let (folder, golden) = (folder(model), batch(model));
        let rows = AnswerRows::of(&folder, None).unwrap();
        let trained = Training::of(&folder).unwrap().bridge().load().unwrap();
        let loss = |pixels: Tensor<4>, pictures: Vec<usize>, pairs: &[(&str, &str)]| {
            let rows = rows.questions(pairs).unwrap();
            let labels: usize = rows
                .labels
                .iter()
                .flatten()
                .filter(|label| **label >= 0)
                .count();
            let loss =
                language_model_loss(trained.model(), &Batch::new(pixels, pictures, rows), 0.0);
            (f64::from(loss.unwrap().into_scalar::<f32>()), labels)
        };
        let pairs = [
            ("what is it?", "a dog"),
            ("how many dogs are there?", "2"),
            ("why?", ""),
        ];
        let (all, tokens) = loss(golden.pixel_values.clone(), vec![0, 1, 0], &pairs);
        let alone = pairs.iter().zip([0, 1, 0]).map(|(pair, picture)| {
            let pixels = golden.pixel_values.clone().narrow(0, picture, 1);
            let (loss, tokens) = loss(pixels, vec![0], &[*pair]);
            loss * tokens as f64
        });
        let expected = alone.sum::<f64>() / tokens as f64;
        assert!(
            (all - expected).abs() < 2e-4 * expected,
            "{model}: {all} {expected}"
        );

        // Every answer ends with the end token, and nothing of the prompt counts.
        let laid = rows.questions(&pairs).unwrap();
        for (labels, (_, answer)) in laid.labels.iter().zip(pairs) {
            let counted: Vec<i64> = labels.iter().copied().filter(|label| *label >= 0).collect();
            let end = counted.last().copied().unwrap();
            let ends = folder
                .config()
                .unwrap()
                .text_config
                .eos_token_ids()
                .to_vec();
            assert!(
                ends.contains(&u32::try_from(end).unwrap()),
                "{model}: {counted:?}"
            );
            let text = folder.tokenizer().unwrap();
            let ids: Vec<u32> = counted[..counted.len() - 1]
                .iter()
                .map(|id| *id as u32)
                .collect();
            assert_eq!(text.decode(&ids, true).unwrap().trim(), answer, "{model}");
        }
        assert!(rows.questions(&[(" ", "yes")]).is_err());
        assert!(rows.captions(&["a dog", "two cats"]).is_ok());
    }
}

#[test]
fn batches_that_do_not_go_together_are_refused() {
    let folder = folder("blip2_opt");
    let trained = Training::of(&folder).unwrap().bridge().load().unwrap();
    let golden = batch("blip2_opt");
    let broken: [fn(&mut Batch); 4] = [
        |batch| batch.pictures = vec![0, 9],
        |batch| batch.pictures = vec![0],
        |batch| batch.labels.truncate(1),
        |batch| batch.pixel_values = Tensor::zeros([2, 3, 8, 8], &Device::flex()),
    ];
    for change in broken {
        let mut batch = golden.clone();
        change(&mut batch);
        assert!(language_model_loss(trained.model(), &batch, 0.0).is_err());
    }
    assert!(
        AnswerRows::of(&folder, None)
            .unwrap()
            .questions(&[("what?", "</s>")])
            .is_err()
    );
}
