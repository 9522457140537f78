//! The journey itself: pictures to features, features and prompts to answers.

use std::{sync::Arc, time::Instant};

use blip2_io::Tokenizer;
use blip2_lm::generate::{CancelToken, GenerationConfig, TokenDecoder, score_continuations};

use super::{Blip2Pipeline, looked::Looked};
use crate::{
    error::Blip2Error,
    load::{Loaded, Part},
    memory::{MemoryPrediction, Workload},
    model::{ImageFeatures, LanguageModel},
    picture::Picture,
    text::{DigitToken, Prompt, PromptRows, Prompts, Template},
    verbs::{
        Answer, Answers, Describes, LaidOut, Options, Started, TOGETHER, Timings, Writer, decode,
        go_on, stage,
    },
};

/// Prompts that are known to be possible.
pub struct Prepared {
    laid_out: LaidOut,
    /// What a Q-Former that reads prompts reads.
    instructions: Option<PromptRows>,
    cancel: CancelToken,
}

impl Writer for Blip2Pipeline {
    type Prompt = Prompt;
    type Looked = Looked;
    type Prepared = Prepared;

    fn tokenizer(&self) -> &Tokenizer {
        &self.inner.texts.tokenizer
    }

    fn prepare(&self, prompts: &[Prompt], options: &Options) -> Result<Prepared, Blip2Error> {
        let texts = &self.inner.texts;
        let decoder = Arc::clone(texts);
        let generator = options.generator(self.generation(options), decoder)?;
        let rows = texts.lay_out(prompts)?;
        let histories = match texts.decoder_start() {
            // An encoder-decoder's history is its decoder's.
            Some(start) => vec![vec![start]; rows.len()],
            None => rows.unpadded(),
        };
        let laid_out = LaidOut::new(rows, histories, generator)?;
        let work = Workload {
            batch: prompts.len(),
            prompt_tokens: Prompts::longest(prompts),
            new_tokens: laid_out.new_tokens,
            beams: laid_out.beams(),
            ..Workload::default()
        };
        self.inner
            .memory
            .check(&work, MemoryPrediction::text_peak)?;
        Ok(Prepared {
            laid_out,
            instructions: texts.instructions(prompts)?,
            cancel: options.cancel().clone(),
        })
    }

    fn look_at(
        &self,
        pictures: &[Picture<'_>],
        cancel: &CancelToken,
    ) -> Result<(Looked, Timings), Blip2Error> {
        let Loaded {
            model,
            pictures: reading,
            device,
            ..
        } = self.inner.as_ref();
        let work = Workload {
            batch: pictures.len(),
            picture_pixels: pictures.iter().map(Picture::pixels).max().unwrap_or(0),
            image_size: Some(reading.size()),
            ..Workload::default()
        };
        self.inner
            .memory
            .check(&work, MemoryPrediction::image_peak)?;
        let mut timings = Timings::default();
        let pixel_values = stage(
            device,
            cancel,
            "preprocess",
            &mut timings.preprocess,
            || reading.pixel_values(pictures, device),
        )?;
        let image_embeds = stage(device, cancel, "vision", &mut timings.vision, || {
            let output = model
                .vision_model()
                .forward(pixel_values, &reading.vision)?;
            Ok(output.last_hidden_state)
        })?;
        if model.reads_instructions() {
            return Ok((self.taken_up(image_embeds), timings));
        }
        let features = stage(device, cancel, "qformer", &mut timings.qformer, || {
            model.query(image_embeds)
        })?;
        Ok((Looked::Gathered(features), timings))
    }

    fn repeat(&self, looked: &Looked, count: usize) -> Looked {
        looked.repeat(count)
    }

    fn part(&self, looked: &Looked, index: usize) -> Looked {
        looked.part(index)
    }

    fn join(&self, looked: &[&Looked]) -> Result<Looked, Blip2Error> {
        Looked::join(looked)
    }

    fn numbers(&self, looked: &Looked) -> usize {
        looked.tensor().shape().num_elements()
    }

    fn decoder(&self) -> Arc<dyn TokenDecoder> {
        self.inner.texts.clone()
    }

    fn write(
        &self,
        looked: &Looked,
        prepared: Prepared,
        mut timings: Timings,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let started = self.start_one(looked, prepared, &mut timings)?;
        decode(started, self.tokenizer(), timings)
    }

    fn start_one(
        &self,
        looked: &Looked,
        prepared: Prepared,
        timings: &mut Timings,
    ) -> Result<Started, Blip2Error> {
        let Prepared {
            instructions,
            cancel,
            ..
        } = &prepared;
        let features = self.features(looked, instructions.as_ref(), cancel, timings)?;
        go_on(cancel)?;
        self.start(&features, prepared.laid_out)
    }

    fn start_many(
        &self,
        looked: &Looked,
        prepared: Prepared,
        timings: &mut Timings,
    ) -> Result<Vec<(Vec<usize>, Started)>, Blip2Error> {
        let places = (0..prepared.laid_out.rows.len()).collect();
        Ok(vec![(places, self.start_one(looked, prepared, timings)?)])
    }
}

impl Blip2Pipeline {
    /// Starts a decode after prompts, one for each picture of `features`.
    fn start(&self, features: &ImageFeatures, laid_out: LaidOut) -> Result<Started, Blip2Error> {
        let (since, model) = (Instant::now(), &self.inner.model);
        let (rows, new_tokens) = (&laid_out.rows, laid_out.new_tokens);
        let held = Part::new(&self.inner, |loaded| loaded.model.language_model());
        let session = model.start(features, rows, new_tokens)?.held_by(held)?;
        let ahead = |draft: &Arc<LanguageModel>| {
            let ahead = model.start_with(draft, features, rows, new_tokens)?;
            Ok::<_, Blip2Error>(ahead.held_by(Arc::clone(draft))?)
        };
        let draft = self.inner.draft.as_ref();
        let ahead = draft.filter(|_| laid_out.writes_one()).map(ahead);
        let ahead = ahead.transpose()?;
        Ok(laid_out.started(session, ahead, since))
    }

    /// The log-probabilities of some continuations of each prompt, together.
    fn score_some(
        &self,
        features: &ImageFeatures,
        prompts: &[Prompt],
        tokens: &[Vec<Vec<u32>>],
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Vec<f32>>>, Blip2Error> {
        let longest = tokens.iter().flatten().map(Vec::len).max().unwrap_or(1);
        // Continuations take what as many beams would.
        let options = Options::default().with_generation(
            GenerationConfig::default()
                .with_max_new_tokens(longest)
                .with_num_beams(tokens.first().map_or(1, Vec::len)),
        );
        let prepared = self.prepare(prompts, &options)?;
        go_on(cancel)?;
        let mut started = self.start(features, prepared.laid_out)?;
        Ok(score_continuations(&mut started.session, tokens)?)
    }
}

impl Answers for Blip2Pipeline {
    fn question(&self, question: &str, template: Option<&Template>) -> Result<Prompt, Blip2Error> {
        self.inner.texts.question(question, template)
    }

    fn continuation(&self, prompt: &Prompt, answer: &str) -> Result<Vec<u32>, Blip2Error> {
        self.inner.texts.continuation(prompt, answer)
    }

    fn digits(&self) -> &[DigitToken] {
        self.inner.texts.digits.of(self.tokenizer())
    }

    fn score(
        &self,
        looked: &Looked,
        prompts: &[Prompt],
        tokens: &[Vec<Vec<u32>>],
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Vec<f32>>>, Blip2Error> {
        let each = (TOGETHER / prompts.len().max(1)).max(1);
        let count = tokens.first().map_or(0, Vec::len);
        let instructions = self.inner.texts.instructions(prompts)?;
        let mut timings = Timings::default();
        let features = self.features(looked, instructions.as_ref(), cancel, &mut timings)?;
        let mut scored = vec![Vec::with_capacity(count); prompts.len()];
        for start in (0..count).step_by(each) {
            let some: Vec<Vec<Vec<u32>>> = tokens
                .iter()
                .map(|tokens| tokens.iter().skip(start).take(each).cloned().collect())
                .collect();
            let logprobs = self.score_some(&features, prompts, &some, cancel)?;
            for (all, logprobs) in scored.iter_mut().zip(logprobs) {
                all.extend(logprobs);
            }
        }
        Ok(scored)
    }
}

impl Describes for Blip2Pipeline {
    fn raw(&self, prompt: &str) -> Result<Prompt, Blip2Error> {
        self.inner.texts.raw(prompt)
    }

    fn caption_prompt(&self) -> Result<Prompt, Blip2Error> {
        self.inner.texts.caption()
    }
}
