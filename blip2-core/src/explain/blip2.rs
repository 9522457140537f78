//! BLIP-2 and InstructBLIP, of pictures and of videos.

use std::slice;

use blip2_kernels::Keep;
use blip2_lm::LanguageModel;
use burn::tensor::Tensor;

use super::{
    Method,
    explaining::{explaining_answers, explaining_captions},
    occlude::at_once,
    scene::Prepared,
    traces::TracesText,
    trail::{Scores, Stage, Trail},
};
use crate::{
    error::Blip2Error,
    load::Handle,
    memory::{MemoryPrediction, Workload},
    model::Blip2ForConditionalGeneration,
    picture::Picture,
    pipeline::Blip2Pipeline,
    text::{Prompt, PromptRows, Prompts},
    verbs::Answers,
};

explaining_answers!(Blip2Pipeline, "../blip2-cli/demo");
explaining_captions!(Blip2Pipeline, "../blip2-cli/demo");

impl TracesText for Blip2Pipeline {
    fn prepare_picture(&self, picture: Picture<'_>) -> Result<Prepared, Blip2Error> {
        let loaded = self.loaded();
        let vision = &loaded.config.vision_config;
        Prepared::of(picture, &loaded.pictures, vision, &loaded.device)
    }

    fn check_memory(
        &self,
        picture: &Picture<'_>,
        prompt: &Prompt,
        tokens: usize,
        method: Method,
    ) -> Result<(), Blip2Error> {
        let loaded = self.loaded();
        let prompt_tokens = Prompts::longest(slice::from_ref(prompt)).saturating_add(tokens);
        let work = Workload::default()
            .with_prompt_tokens(prompt_tokens)
            .with_new_tokens(1usize)
            .with_image_size(loaded.pictures.size())
            .with_picture_pixels(picture.pixels());
        match method {
            Method::Relevance => loaded.memory.check(&work, MemoryPrediction::explained_peak),
            Method::Occlusion => {
                let work = work.with_batch(at_once(loaded.model.num_frames()));
                loaded.memory.check(&work, MemoryPrediction::peak)
            }
            _ => loaded.memory.check(&work, MemoryPrediction::peak),
        }
    }

    fn given(&self, prompt: &Prompt, text: &str) -> Result<Vec<u32>, Blip2Error> {
        self.continuation(prompt, text)
    }

    fn trace(
        &self,
        pixels: Tensor<4>,
        prompt: &Prompt,
        tokens: &[u32],
        keep: Keep,
    ) -> Result<Trail, Blip2Error> {
        let loaded = self.loaded();
        let (model, texts) = (&loaded.model, &loaded.texts);
        let options = loaded.pictures.vision.with_keep(keep);
        let seen = model.vision_model().forward(pixels, &options)?;
        let [frames, ..] = seen.last_hidden_state.dims();
        let batch = frames / model.num_frames().max(1);
        let embeds = seen.last_hidden_state;
        let input = match texts.instructions(slice::from_ref(prompt))? {
            Some(read) => model.instructed_input(embeds, &read.repeated(batch)?)?,
            None => model.query_input(embeds),
        };
        let queried = model.qformer().forward(input.keep(keep))?;
        let features = model.project(queried.last_hidden_state);
        // What is written last is scored and not read.
        let read = &tokens[..tokens.len().saturating_sub(1)];
        let (whole, decoded) = match model.decoder_start() {
            Some(start) => (prompt.clone(), [&[start], read].concat()),
            None => (prompt.clone().followed_by(read), Vec::new()),
        };
        let rows = texts.lay_out(&[whole])?;
        let (embeds, mask) = model.inputs_embeds(&features, &rows.repeated(batch)?)?;
        let written = Written {
            embeds,
            mask,
            decoded: vec![decoded; batch],
            count: tokens.len(),
        };
        let (logits, first, mut stages) = written.run(model.language_model(), keep)?;
        stages.push(Stage::Places {
            places: placeholders(model, &rows),
            rows: model.num_frames(),
        });
        stages.push(Stage::Crossing {
            own: queried.attentions,
            cross: queried.cross_attentions,
        });
        stages.push(Stage::Own(seen.attentions));
        Ok(Trail {
            scores: Scores::of_tokens(logits, tokens)?,
            starts: (0..tokens.len()).map(|n| vec![(first + n, 1.0)]).collect(),
            stages,
        })
    }
}

/// What a language model reads, and how many tokens it writes.
struct Written {
    embeds: Tensor<3>,
    mask: Vec<Vec<bool>>,
    /// What a decoder of its own reads.
    decoded: Vec<Vec<u32>>,
    count: usize,
}

impl Written {
    /// The logits of the tokens, `[batch, tokens, vocab]`, the first one's position, and the stages.
    fn run(
        self,
        model: &LanguageModel,
        keep: Keep,
    ) -> Result<(Tensor<3>, usize, Vec<Stage>), Blip2Error> {
        let [_, seq, _] = self.embeds.dims();
        match model {
            LanguageModel::Decoder(model) if keep.attentions => {
                let keep = keep.with_hidden_states();
                let mut output = model.forward(self.embeds, &self.mask, keep)?;
                // The head is run on what is of interest: a gradient of all positions' logits would
                // take the vocabulary's width for each.
                let logits = match output.hidden_states.pop() {
                    Some(last) => model.logits(last.narrow(1, seq - self.count, self.count)),
                    None => output.logits.narrow(1, seq - self.count, self.count),
                };
                let stages = vec![Stage::Own(output.attentions)];
                Ok((logits, seq - self.count, stages))
            }
            LanguageModel::Decoder(model) => {
                let last = model.last_hidden_state(self.embeds, &self.mask)?;
                let last = last.narrow(1, seq - self.count, self.count);
                Ok((model.logits(last), seq - self.count, Vec::new()))
            }
            LanguageModel::T5(model) => {
                let output = model.forward(self.embeds, &self.mask, &self.decoded, keep)?;
                let stages = vec![
                    Stage::Crossing {
                        own: output.decoder_attentions,
                        cross: output.cross_attentions.into_iter().map(Some).collect(),
                    },
                    Stage::Own(output.encoder.attentions),
                ];
                Ok((output.logits, 0, stages))
            }
            _ => Err(Blip2Error::Incomplete {
                what: "this version does not know how the language model attends".into(),
                remedy: "explain by a checkpoint with OPT, LLaMA or T5".into(),
            }),
        }
    }
}

/// Where the language model reads what the queries gathered.
fn placeholders(model: &Blip2ForConditionalGeneration, rows: &PromptRows) -> Vec<usize> {
    let Some(image) = model.image_token() else {
        return (0..model.num_placeholders()).collect();
    };
    let ids = rows.ids().first().into_iter().flatten().enumerate();
    ids.filter_map(|(place, id)| (*id == image).then_some(place))
        .collect()
}
