//! Questions about pictures answered.

use std::{sync::Arc, time::Instant};

use blip2_io::{Tokenizer, config::BlipConfig};
use blip2_lm::generate::{CancelToken, TokenDecoder, score_continuations};
use burn::tensor::Tensor;

use super::{
    groups::{Group, Grouped, at, by_length, in_order, of_batch, of_group},
    see::Sight,
};
use crate::{
    error::Blip2Error,
    load::{Loaded, Part, member},
    memory::{MemoryPrediction, Workload},
    model::BlipForQuestionAnswering,
    picture::Picture,
    text::{DigitToken, PromptRows, Template},
    verbs::{
        Answer, Answers, Options, Started, TOGETHER, Timed, Timings, Writer, answering, decode,
        go_on, looking, stage,
    },
};

/// A loaded BLIP-1 that answers questions about pictures (`BlipForQuestionAnswering`). A handle, as
/// [`Blip2Pipeline`](crate::Blip2Pipeline) is.
///
/// It reads questions as they are: a template in a call's options is refused.
///
/// ```no_run
/// use blip2_core::{BlipAnswerer, image};
///
/// let blip = BlipAnswerer::from_pretrained("models/blip-vqa-base")?;
/// let image = image::open("beach.jpg")?;
/// println!("{}", blip.answer(&image, "how many dogs are there?")?);
/// if blip.answer_as::<bool>(&image, "is it raining?")?.value {
///     println!("take an umbrella");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BlipAnswerer {
    pub(super) inner: Arc<Loaded<Self>>,
}

member!(BlipAnswerer, BlipConfig, BlipForQuestionAnswering);
member!(pictures BlipAnswerer);
member!(texts BlipAnswerer, tokenizer);
answering!(BlipAnswerer, "../fixtures/blip1_vqa");
looking!(BlipAnswerer, "../fixtures/blip1_vqa");

impl Writer for BlipAnswerer {
    /// The ids of a question.
    type Prompt = Vec<u32>;
    type Looked = Sight;
    type Prepared = Grouped;

    fn tokenizer(&self) -> &Tokenizer {
        &self.inner.texts.tokenizer
    }

    fn prepare(&self, prompts: &[Vec<u32>], options: &Options) -> Result<Grouped, Blip2Error> {
        let mut groups = Vec::new();
        for places in by_length(prompts) {
            let decoder = Arc::clone(&self.inner.texts);
            let generator =
                of_group(options, &places).generator(self.generation(options), decoder)?;
            // An answer begins with its start token alone.
            let group = Group::new(prompts, places, 1, generator)?;
            group.check(&self.inner, group.asked())?;
            groups.push(group);
        }
        let cancel = options.cancel().clone();
        Ok(Grouped { groups, cancel })
    }

    fn look_at(
        &self,
        pictures: &[Picture<'_>],
        cancel: &CancelToken,
    ) -> Result<(Sight, Timings), Blip2Error> {
        let vision = self.inner.model.vision_model();
        Sight::of(&self.inner, vision, pictures, cancel)
    }

    fn repeat(&self, looked: &Sight, count: usize) -> Sight {
        looked.repeat(count)
    }

    fn part(&self, looked: &Sight, index: usize) -> Sight {
        looked.select(&[index])
    }

    fn join(&self, looked: &[&Sight]) -> Result<Sight, Blip2Error> {
        Sight::join(looked)
    }

    fn numbers(&self, looked: &Sight) -> usize {
        looked.0.shape().num_elements()
    }

    fn decoder(&self) -> Arc<dyn TokenDecoder> {
        self.inner.texts.clone()
    }

    fn write(
        &self,
        looked: &Sight,
        prepared: Grouped,
        timings: Timings,
    ) -> Result<Vec<Answer>, Blip2Error> {
        prepared.run(|group, cancel| {
            let (sight, mut timings) = (looked.select(&group.places), timings);
            let started = self.start(&sight, group, cancel, &mut timings)?;
            decode(started, self.tokenizer(), timings)
        })
    }

    fn start_one(
        &self,
        looked: &Sight,
        prepared: Grouped,
        timings: &mut Timings,
    ) -> Result<Started, Blip2Error> {
        let cancel = prepared.cancel.clone();
        self.start(looked, prepared.single()?, &cancel, timings)
    }

    fn start_many(
        &self,
        looked: &Sight,
        prepared: Grouped,
        timings: &mut Timings,
    ) -> Result<Vec<(Vec<usize>, Started)>, Blip2Error> {
        let cancel = prepared.cancel.clone();
        let start = |group: Group| {
            let (places, sight) = (group.places.clone(), looked.select(&group.places));
            Ok((places, self.start(&sight, group, &cancel, timings)?))
        };
        prepared.groups.into_iter().map(start).collect()
    }
}

impl BlipAnswerer {
    /// Reads questions of one length together with their pictures, `[batch, seq, hidden]`.
    fn read(
        &self,
        looked: &Sight,
        questions: Vec<Vec<u32>>,
        cancel: &CancelToken,
        timings: &mut Timings,
    ) -> Result<Tensor<3>, Blip2Error> {
        let rows = PromptRows::even(questions)?;
        let Loaded { model, device, .. } = self.inner.as_ref();
        stage(device, cancel, "text", &mut timings.qformer, || {
            let encoder = model.text_encoder();
            Ok(encoder.encode(rows.ids(), rows.mask(), Some(&looked.0))?)
        })
    }

    fn start(
        &self,
        looked: &Sight,
        group: Group,
        cancel: &CancelToken,
        timings: &mut Timings,
    ) -> Result<Started, Blip2Error> {
        let count = group.ids.len();
        let question_embeds = self.read(looked, group.ids, cancel, timings)?;
        go_on(cancel)?;
        let begun = Instant::now();
        let model = &self.inner.model;
        let session = model.start(question_embeds, group.new_tokens)?;
        let held = Part::new(&self.inner, |loaded| loaded.model.text_decoder());
        Ok(Started {
            session: Timed::new(session.held_by(held)?, begun.elapsed()),
            histories: vec![vec![model.decoder_start()?]; count],
            generator: group.generator,
        })
    }

    /// The log-probabilities of continuations of questions of one length.
    fn score_group(
        &self,
        question_embeds: &Tensor<3>,
        tokens: &[Vec<Vec<u32>>],
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Vec<f32>>>, Blip2Error> {
        let longest = tokens.iter().flatten().map(Vec::len).max().unwrap_or(1);
        let count = tokens.first().map_or(0, Vec::len);
        let each = (TOGETHER / tokens.len().max(1)).max(1);
        // Continuations take what as many beams would.
        let work = Workload::default()
            .with_batch(tokens.len())
            .with_prompt_tokens(question_embeds.dims()[1])
            .with_new_tokens(longest)
            .with_beams(each.min(count))
            .with_image_size(self.inner.pictures.size());
        self.inner
            .memory
            .check(&work, MemoryPrediction::text_peak)?;
        let mut scored = vec![Vec::with_capacity(count); tokens.len()];
        for start in (0..count).step_by(each) {
            go_on(cancel)?;
            let some: Vec<Vec<Vec<u32>>> = tokens
                .iter()
                .map(|tokens| tokens.iter().skip(start).take(each).cloned().collect())
                .collect();
            let mut session = self.inner.model.start(question_embeds.clone(), longest)?;
            let logprobs = score_continuations(&mut session, &some)?;
            for (all, logprobs) in scored.iter_mut().zip(logprobs) {
                all.extend(logprobs);
            }
        }
        Ok(scored)
    }
}

impl Answers for BlipAnswerer {
    fn question(
        &self,
        question: &str,
        template: Option<&Template>,
    ) -> Result<Vec<u32>, Blip2Error> {
        self.inner.texts.question(question, template)
    }

    fn continuation(&self, _: &Vec<u32>, answer: &str) -> Result<Vec<u32>, Blip2Error> {
        self.inner.texts.continuation(answer)
    }

    fn digits(&self) -> &[DigitToken] {
        self.inner.texts.digits.of(self.tokenizer())
    }

    fn score(
        &self,
        looked: &Sight,
        prompts: &[Vec<u32>],
        tokens: &[Vec<Vec<u32>>],
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Vec<f32>>>, Blip2Error> {
        let mut results = Vec::new();
        for places in by_length(prompts) {
            let (sight, questions) = (looked.select(&places), at(prompts, &places));
            let some = places
                .iter()
                .filter_map(|&place| tokens.get(place).cloned());
            let some: Vec<Vec<Vec<u32>>> = some.collect();
            let mut timings = Timings::default();
            let scored = self
                .read(&sight, questions, cancel, &mut timings)
                .and_then(|embeds| self.score_group(&embeds, &some, cancel))
                .map_err(|error| of_batch(error, &places))?;
            results.extend(places.into_iter().zip(scored));
        }
        Ok(in_order(results))
    }
}
