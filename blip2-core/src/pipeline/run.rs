//! The journey itself: pictures to features, features and prompts to answers.

use std::time::{Duration, Instant};

use blip2_lm::{
    LanguageModel, LmError, Session,
    generate::{DecodeSession, Generated, GenerationConfig, Generator, Logits, cut_at_stop_string},
};
use burn::tensor::Device;

use super::{
    Answer, Blip2Pipeline, Looked, Options, Picture, Prompt, Prompts, Timings,
    picture::pixel_values,
};
use crate::{
    Blip2Error,
    memory::{MemoryPrediction, Workload},
    model::{ImageFeatures, PromptRows},
};

impl Blip2Pipeline {
    /// Encodes pictures and generates after their prompts.
    pub(super) fn run(
        &self,
        pictures: &[Picture<'_>],
        prompts: &[Prompt],
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        // What cannot be done is refused before the expensive part, not after it.
        let prepared = self.prepare(prompts, options)?;
        let (looked, timings) = self.encode(pictures)?;
        self.generate(&looked, prepared, timings)
    }

    /// Encodes pictures as far as that can be done without a prompt.
    pub(super) fn encode(&self, pictures: &[Picture<'_>]) -> Result<(Looked, Timings), Blip2Error> {
        let work = Workload {
            batch: pictures.len(),
            picture_pixels: pictures.iter().map(Picture::pixels).max().unwrap_or(0),
            image_size: Some(self.image_size()),
            ..Workload::default()
        };
        self.memory.check(&work, MemoryPrediction::image_peak)?;
        let mut timings = Timings::default();
        let pixel_values = self.stage("preprocess", &mut timings.preprocess, || {
            let transparency = self.decode.transparency;
            let frames = self.model.num_frames();
            pixel_values(
                pictures,
                frames,
                &self.processor,
                transparency,
                &self.device,
            )
        })?;
        let image_embeds = self.stage("vision", &mut timings.vision, || {
            let output = self
                .model
                .vision_model()
                .forward(pixel_values, &self.vision)?;
            Ok(output.last_hidden_state)
        })?;
        if self.model.reads_instructions() {
            return Ok((self.looked(image_embeds), timings));
        }
        let features = self.stage("qformer", &mut timings.qformer, || {
            self.model.query(image_embeds)
        })?;
        Ok((Looked::Gathered(features), timings))
    }

    /// Generates after prompts, one for each picture that was looked at.
    pub(super) fn generate(
        &self,
        looked: &Looked,
        prepared: Prepared<'_>,
        mut timings: Timings,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let features = self.features(looked, &prepared, &mut timings)?;
        let Started {
            mut session,
            histories,
            generator,
        } = self.start(&features, prepared)?;
        let text = |ids: &[u32]| self.prompts.text(ids);
        decode(&generator, &mut session, &histories, text, timings)
    }

    /// Lays prompts out and checks that they can be generated after.
    pub(super) fn prepare(
        &self,
        prompts: &[Prompt],
        options: &Options,
    ) -> Result<Prepared<'_>, Blip2Error> {
        let generator = options.generator(self.generation(options), self.prompts.decoder())?;
        let rows = self.prompts.lay_out(prompts)?;
        let histories = match self.prompts.decoder_start() {
            // An encoder-decoder's history is its decoder's.
            Some(start) => vec![vec![start]; rows.len()],
            None => rows.unpadded(),
        };
        let new_tokens = histories
            .iter()
            .map(|history| generator.config().new_tokens_after(history.len()))
            .try_fold(0, |most, tokens| tokens.map(|tokens| most.max(tokens)))?;
        let config = generator.config();
        let work = Workload {
            batch: prompts.len(),
            prompt_tokens: Prompts::longest(prompts),
            new_tokens,
            beams: config.num_beams.max(config.num_return_sequences),
            ..Workload::default()
        };
        self.memory.check(&work, MemoryPrediction::text_peak)?;
        Ok(Prepared {
            rows,
            instructions: self.prompts.instructions(prompts)?,
            histories,
            generator,
            new_tokens,
        })
    }

    /// Starts a decode after prompts, one for each picture of `features`.
    pub(super) fn start<'p>(
        &'p self,
        features: &ImageFeatures,
        prepared: Prepared<'p>,
    ) -> Result<Started<'p>, Blip2Error> {
        let start = Instant::now();
        let session = self
            .model
            .start(features, &prepared.rows, prepared.new_tokens)?;
        Ok(Started {
            session: Timed::new(session, start.elapsed()),
            histories: prepared.histories,
            generator: prepared.generator,
        })
    }

    /// The arguments of a call: its own or the pipeline's, with the checkpoint's end tokens where
    /// they name none.
    pub(super) fn generation(&self, options: &Options) -> GenerationConfig {
        options.generation_over(&self.generation)
    }

    /// The tokens that end an answer.
    pub(super) fn end_tokens(&self, options: &Options) -> Vec<u32> {
        self.generation(options).eos_token_id
    }

    /// Runs a stage on the pipeline's device.
    pub(super) fn stage<T>(
        &self,
        name: &'static str,
        time: &mut Option<Duration>,
        run: impl FnOnce() -> Result<T, Blip2Error>,
    ) -> Result<T, Blip2Error> {
        stage(&self.device, name, time, run)
    }
}

/// Runs a stage inside a span and takes its time, the device's work included.
pub(crate) fn stage<T>(
    device: &Device,
    name: &'static str,
    time: &mut Option<Duration>,
    run: impl FnOnce() -> Result<T, Blip2Error>,
) -> Result<T, Blip2Error> {
    let _span = tracing::info_span!("stage", name).entered();
    let start = Instant::now();
    let result = run()?;
    // A GPU computes behind our back; without this its time would count for a later stage.
    // Should it fail, the next read of a result reports that.
    let _ = device.sync();
    *time = Some(start.elapsed());
    Ok(result)
}

/// Runs a decode to its end; `text` is that of tokens.
pub(crate) fn decode<S: DecodeSession<Error = LmError>>(
    generator: &Generator<'_>,
    session: &mut Timed<S>,
    histories: &[Vec<u32>],
    text: impl Fn(&[u32]) -> Result<String, Blip2Error>,
    mut timings: Timings,
) -> Result<Vec<Answer>, Blip2Error> {
    let generated = generator.generate(session, histories)?;
    timings.prefill = Some(session.prefill);
    timings.decode = Some(session.decode);
    let stop_strings = &generator.config().stop_strings;
    let finish = |generated: Generated| -> Result<Answer, Blip2Error> {
        let text = text(generated.content())?;
        let text = cut_at_stop_string(&text, stop_strings).trim().to_string();
        Ok(Answer::new(text, generated, timings))
    };
    let best = |candidates: Vec<Generated>| {
        let mut candidates = candidates.into_iter().map(finish);
        let mut best = candidates.next().ok_or_else(|| Blip2Error::Rows {
            reason: "a prompt has no result".into(),
        })??;
        best.alternatives = candidates.collect::<Result<_, _>>()?;
        Ok(best)
    };
    generated.into_iter().map(best).collect()
}

/// Prompts that are laid out: each row's history is what its lengths and penalties count.
pub(super) struct Prepared<'p> {
    rows: PromptRows,
    /// What a Q-Former that reads prompts reads.
    pub(super) instructions: Option<PromptRows>,
    histories: Vec<Vec<u32>>,
    generator: Generator<'p>,
    new_tokens: usize,
}

/// A decode that is ready to run.
pub(super) struct Started<'p> {
    pub(super) session: Timed<Session<&'p LanguageModel>>,
    pub(super) histories: Vec<Vec<u32>>,
    pub(super) generator: Generator<'p>,
}

/// A session that takes the time of its prefill and of its later steps.
pub(crate) struct Timed<S> {
    session: S,
    prefill: Duration,
    decode: Duration,
}

impl<S> Timed<S> {
    /// `before` is the time that preparing the prompt took already.
    pub(crate) fn new(session: S, before: Duration) -> Self {
        Self {
            session,
            prefill: before,
            decode: Duration::ZERO,
        }
    }
}

impl<S: DecodeSession> DecodeSession for Timed<S> {
    type Error = S::Error;

    fn vocab_size(&self) -> usize {
        self.session.vocab_size()
    }

    fn rows(&self) -> usize {
        self.session.rows()
    }

    fn prefill(&mut self) -> Result<Logits, S::Error> {
        let _span = tracing::info_span!("stage", name = "prefill").entered();
        let start = Instant::now();
        let logits = self.session.prefill();
        self.prefill += start.elapsed();
        logits
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, S::Error> {
        let _span = tracing::info_span!("stage", name = "decode").entered();
        let start = Instant::now();
        let logits = self.session.step(parents, tokens);
        self.decode += start.elapsed();
        logits
    }

    fn remaining_positions(&self) -> Option<usize> {
        self.session.remaining_positions()
    }
}
