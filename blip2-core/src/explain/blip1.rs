//! BLIP-1: what answers, what describes, what compares.

use blip2_kernels::Keep;
use blip2_lm::blip_text::BlipTextOutput;
use blip2_vision::{VisionModel, VisionOutput};
use burn::tensor::Tensor;

use super::{
    explaining::{explaining_answers, explaining_captions, explaining_comparisons},
    method::Method,
    occlude::at_once,
    scene::Prepared,
    traces::{Comparison, TracesComparison, TracesText},
    trail::{Scores, Stage, Trail},
};
use crate::{
    blip1::{BlipAnswerer, BlipCaptioner, BlipRetrieval},
    error::Blip2Error,
    load::{Handle, Pictures},
    memory::{MemoryPrediction, Workload},
    picture::Picture,
    text::PromptRows,
    verbs::Answers,
};

explaining_answers!(BlipAnswerer, "../fixtures/blip1_vqa");
explaining_captions!(BlipCaptioner, "../fixtures/blip1_caption");
explaining_comparisons!(BlipRetrieval, "../fixtures/blip1_itr");

/// How every BLIP-1 prepares a picture: what each holds has the same fields, and no type in common.
macro_rules! prepare_picture {
    () => {
        fn prepare_picture(&self, picture: Picture<'_>) -> Result<Prepared, Blip2Error> {
            let loaded = self.loaded();
            let vision = loaded.config.vision_config.tower();
            Prepared::of(picture, &loaded.pictures, &vision, &loaded.device)
        }
    };
}

/// How those that write refuse what would take too much.
macro_rules! check_memory {
    () => {
        fn check_memory(
            &self,
            picture: &Picture<'_>,
            prompt: &Vec<u32>,
            tokens: usize,
            method: Method,
        ) -> Result<(), Blip2Error> {
            let loaded = self.loaded();
            let work = Workload::default()
                .with_prompt_tokens(prompt.len().saturating_add(tokens))
                .with_new_tokens(tokens)
                .with_image_size(loaded.pictures.size())
                .with_picture_pixels(picture.pixels());
            match method {
                Method::Relevance => loaded.memory.check(&work, MemoryPrediction::explained_peak),
                Method::Occlusion => {
                    let work = work.with_batch(at_once(1));
                    loaded.memory.check(&work, MemoryPrediction::peak)
                }
                _ => loaded.memory.check(&work, MemoryPrediction::peak),
            }
        }
    };
}

/// The maps of a text that reads what is encoded.
fn reading(output: &BlipTextOutput) -> Stage {
    Stage::Crossing {
        own: output.attentions.clone(),
        cross: output.cross_attentions.iter().cloned().map(Some).collect(),
    }
}

fn see(
    model: &VisionModel,
    pictures: &Pictures,
    pixels: Tensor<4>,
    keep: Keep,
) -> Result<VisionOutput, Blip2Error> {
    Ok(model.forward(pixels, &pictures.vision.with_keep(keep))?)
}

/// A row of ids for each picture, of which every position counts.
fn rows(ids: &[u32], batch: usize) -> (Vec<Vec<u32>>, Vec<Vec<bool>>) {
    (
        vec![ids.to_vec(); batch],
        vec![vec![true; ids.len()]; batch],
    )
}

/// The tokens that are written, after what their decoder reads before them.
fn written(
    tokens: &[u32],
    read: usize,
    logits: Tensor<3>,
    stages: Vec<Stage>,
) -> Result<Trail, Blip2Error> {
    let first = read - 1;
    Ok(Trail {
        scores: Scores::of_tokens(logits.narrow(1, first, tokens.len()), tokens)?,
        starts: (0..tokens.len()).map(|n| vec![(first + n, 1.0)]).collect(),
        stages,
    })
}

impl TracesText for BlipAnswerer {
    prepare_picture!();
    check_memory!();

    fn given(&self, prompt: &Vec<u32>, text: &str) -> Result<Vec<u32>, Blip2Error> {
        self.continuation(prompt, text)
    }

    fn trace(
        &self,
        pixels: Tensor<4>,
        prompt: &Vec<u32>,
        tokens: &[u32],
        keep: Keep,
    ) -> Result<Trail, Blip2Error> {
        let loaded = self.loaded();
        let model = &loaded.model;
        let seen = see(model.vision_model(), &loaded.pictures, pixels, keep)?;
        let [batch, ..] = seen.last_hidden_state.dims();
        let (ids, mask) = rows(prompt, batch);
        let image = Some(&seen.last_hidden_state);
        let asked = model
            .text_encoder()
            .encode_keeping(&ids, &mask, image, keep)?;
        let start = [model.decoder_start()?];
        let read = [&start, &tokens[..tokens.len().saturating_sub(1)]].concat();
        let (ids, mask) = rows(&read, batch);
        let decoder = model.text_decoder();
        let said = decoder.forward_keeping(&ids, &mask, &asked.output, keep)?;
        let stages = vec![reading(&said), reading(&asked), Stage::Own(seen.attentions)];
        written(tokens, 1, said.output, stages)
    }
}

impl TracesText for BlipCaptioner {
    prepare_picture!();
    check_memory!();

    fn given(&self, _: &Vec<u32>, text: &str) -> Result<Vec<u32>, Blip2Error> {
        self.loaded().texts.continuation(text)
    }

    fn trace(
        &self,
        pixels: Tensor<4>,
        prompt: &Vec<u32>,
        tokens: &[u32],
        keep: Keep,
    ) -> Result<Trail, Blip2Error> {
        let loaded = self.loaded();
        let model = &loaded.model;
        let seen = see(model.vision_model(), &loaded.pictures, pixels, keep)?;
        let [batch, ..] = seen.last_hidden_state.dims();
        let read = [prompt, &tokens[..tokens.len().saturating_sub(1)]].concat();
        let (ids, mask) = rows(&read, batch);
        let decoder = model.text_decoder();
        let said = decoder.forward_keeping(&ids, &mask, &seen.last_hidden_state, keep)?;
        let stages = vec![reading(&said), Stage::Own(seen.attentions)];
        written(tokens, prompt.len(), said.output, stages)
    }
}

impl TracesComparison for BlipRetrieval {
    prepare_picture!();

    fn trace(
        &self,
        pixels: Tensor<4>,
        text: &PromptRows,
        comparison: Comparison,
        keep: Keep,
    ) -> Result<Trail, Blip2Error> {
        let loaded = self.loaded();
        let model = &loaded.model;
        let seen = see(model.vision_model(), &loaded.pictures, pixels, keep)?;
        let [batch, ..] = seen.last_hidden_state.dims();
        let encoder = model.text_encoder();
        let (scores, mut stages) = match comparison {
            Comparison::Match => {
                let rows = text.repeated(batch)?;
                let image = Some(&seen.last_hidden_state);
                let read = encoder.encode_keeping(rows.ids(), rows.mask(), image, keep)?;
                let stages = vec![reading(&read)];
                (Scores::Match(model.match_logits(read.output)), stages)
            }
            Comparison::Similarity => {
                let read = encoder.encode(text.ids(), text.mask(), None)?;
                let (image, text) = (
                    model.project_images(seen.last_hidden_state),
                    model.project_texts(read),
                );
                let cosines = (image * text).sum_dim(1).reshape([batch]);
                (Scores::Similarity(cosines), Vec::new())
            }
        };
        stages.push(Stage::Own(seen.attentions));
        Ok(Trail {
            scores,
            // The first token of a text stands for the whole, as the class token does of a picture.
            starts: vec![vec![(0, 1.0)]],
            stages,
        })
    }
}
