//! Questions about pictures answered.

use std::sync::OnceLock;

use blip2_io::config::ModelKind;
use blip2_lm::generate::score_continuations;
use burn::tensor::Tensor;

use super::parts::{Parts, by_length, common, one};
use crate::{
    Answer, Blip2Error, Options, Picture, RankOptions, Ranked, Timings, Typed, TypedAnswer,
    model::BlipForQuestionAnswering,
    pipeline::{Constraint, DigitToken, check_candidates, digit_tokens, stage},
};

/// A loaded BLIP-1 that answers questions about pictures (`BlipForQuestionAnswering`).
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
#[derive(Debug)]
pub struct BlipAnswerer {
    model: BlipForQuestionAnswering,
    parts: Parts,
    /// Found when they are first needed.
    digits: OnceLock<Vec<DigitToken>>,
}

common!(
    BlipAnswerer,
    ModelKind::BlipAnswer,
    BlipForQuestionAnswering,
    digits
);

/// How many candidates run together, of all questions.
const TOGETHER: usize = 256;

impl BlipAnswerer {
    /// Answers a question about a picture.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::EmptyQuestion`], for a question that spells out a special token or has more
    /// tokens than the model has positions, and whatever goes wrong with the picture or the
    /// generation.
    pub fn answer<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        question: &str,
    ) -> Result<Answer, Blip2Error> {
        self.answer_with(image, question, &Options::default())
    }

    /// [`answer`](Self::answer) with options. There is no template to replace: the model reads the
    /// question as it is.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer), and for options that make no sense.
    pub fn answer_with<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        question: &str,
        options: &Options,
    ) -> Result<Answer, Blip2Error> {
        one(self.answer_batch([(image, question)], options)?)
    }

    /// Answers many questions about pictures together. Each answer is what the pair alone gets: the
    /// reference's decoder sees the padding behind shorter questions, so questions of one length
    /// run together and no others.
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with); the first fault fails the batch.
    pub fn answer_batch<'a, P: Into<Picture<'a>>, Q: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, Q)>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let asked = self.asked(pairs)?;
        asked.run(self, |question_embeds, timings| {
            let (generator, new_tokens) = self.parts.generator(options, 1)?;
            let rows = question_embeds.dims()[0];
            let histories = vec![vec![self.model.decoder_start()?]; rows];
            let session = self.model.start(question_embeds, new_tokens)?;
            self.parts.write(&generator, session, &histories, timings)
        })
    }

    /// Ranks candidate answers to a question about a picture, the likeliest first; equal ones stay
    /// in the order in which they were given. Each score is what the candidate alone would get.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Candidates`] if there are none, or one is empty or spells out a special token;
    /// and as [`answer`](Self::answer).
    pub fn rank<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        question: &str,
        candidates: &[impl AsRef<str>],
    ) -> Result<Vec<Ranked>, Blip2Error> {
        let options = RankOptions::default();
        one(self.rank_batch([(image, question)], candidates, &options)?)
    }

    /// Ranks the same candidates as answers to many questions about pictures, with options.
    ///
    /// # Errors
    ///
    /// As [`rank`](Self::rank); the first fault fails the batch.
    pub fn rank_batch<'a, P: Into<Picture<'a>>, Q: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, Q)>,
        candidates: &[impl AsRef<str>],
        options: &RankOptions,
    ) -> Result<Vec<Vec<Ranked>>, Blip2Error> {
        let texts = check_candidates(candidates, &self.parts.tokenizer)?;
        let end = options.end(&self.ends(&Options::default()));
        let of = |text: &&str| -> Result<Vec<u32>, Blip2Error> {
            let mut ids = self.continuation(text)?;
            ids.extend(end);
            Ok(ids)
        };
        let tokens: Vec<Vec<u32>> = texts.iter().map(of).collect::<Result<_, _>>()?;
        let longest = tokens.iter().map(Vec::len).max().unwrap_or(1);
        let asked = self.asked(pairs)?;
        asked.run(self, |question_embeds, _| {
            let rows = question_embeds.dims()[0];
            let mut scored = vec![Vec::new(); rows];
            for some in tokens.chunks((TOGETHER / rows.max(1)).max(1)) {
                let mut session = self.model.start(question_embeds.clone(), longest)?;
                let logprobs = score_continuations(&mut session, &vec![some.to_vec(); rows])?;
                for (all, logprobs) in scored.iter_mut().zip(logprobs) {
                    all.extend(logprobs);
                }
            }
            let ranked = scored.into_iter();
            Ok(ranked
                .map(|logprobs| options.rank(&texts, logprobs))
                .collect())
        })
    }

    /// The likeliest of the candidates as an answer to a question about a picture.
    ///
    /// # Errors
    ///
    /// As [`rank`](Self::rank).
    pub fn answer_one_of<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        question: &str,
        candidates: &[impl AsRef<str>],
    ) -> Result<Ranked, Blip2Error> {
        one(self.rank(image, question, candidates)?)
    }

    /// Answers a question about a picture with a value of a type.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn answer_as<'a, T: TypedAnswer>(
        &self,
        image: impl Into<Picture<'a>>,
        question: &str,
    ) -> Result<Typed<T>, Blip2Error> {
        one(self.answer_batch_as([(image, question)], &Options::default())?)
    }

    /// Answers many questions about pictures with values of a type. The type's grammar takes the
    /// place of a constraint in the options and decides how long an answer may be.
    ///
    /// # Errors
    ///
    /// As [`answer_batch`](Self::answer_batch), and [`Blip2Error::Unfinished`] if an answer was
    /// cancelled before it had a value.
    pub fn answer_batch_as<'a, T: TypedAnswer, P: Into<Picture<'a>>, Q: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, Q)>,
        options: &Options,
    ) -> Result<Vec<Typed<T>>, Blip2Error> {
        let pairs: Vec<(P, Q)> = pairs.into_iter().collect();
        // All rows have the same answers, whichever rows run together.
        let rows = vec![(); pairs.len()];
        let tokens = |(): &(), text: &str| self.continuation(text);
        let digits = || {
            let find = || digit_tokens(&self.parts.tokenizer);
            self.digits.get_or_init(find).as_slice()
        };
        let ends = self.ends(options);
        let constraint = Constraint::new(&T::grammar(), &rows, tokens, digits, ends)?;
        let options = constraint.hold(options, self.parts.generation(options));
        Typed::read(self.answer_batch(pairs, &options)?)
    }

    /// The tokens of an answer, without an end token.
    fn continuation(&self, text: &str) -> Result<Vec<u32>, Blip2Error> {
        Ok(self.parts.tokenizer.encode_with(text.trim(), false)?)
    }

    /// The tokens that end an answer.
    fn ends(&self, options: &Options) -> Vec<u32> {
        self.parts.generation(options).eos_token_id
    }

    fn asked<'a, P: Into<Picture<'a>>, Q: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, Q)>,
    ) -> Result<Asked<'a>, Blip2Error> {
        let mut asked = Asked::default();
        for (picture, question) in pairs {
            let question = question.as_ref();
            if question.trim().is_empty() {
                return Err(Blip2Error::EmptyQuestion);
            }
            asked.pictures.push(picture.into());
            asked.questions.push(self.parts.ids(question)?);
        }
        Ok(asked)
    }
}

/// Pictures, and a question about each.
#[derive(Default)]
struct Asked<'a> {
    pictures: Vec<Picture<'a>>,
    questions: Vec<Vec<u32>>,
}

impl Asked<'_> {
    /// Runs questions of one length after the other through `decode`, which is given what the text
    /// encoder made of them, `[batch, seq, hidden]`.
    fn run<T>(
        &self,
        blip: &BlipAnswerer,
        decode: impl Fn(Tensor<3>, Timings) -> Result<Vec<T>, Blip2Error>,
    ) -> Result<Vec<T>, Blip2Error> {
        let BlipAnswerer { model, parts, .. } = blip;
        by_length(&self.questions, |group| {
            let pictures: Vec<_> = group.iter().map(|&row| self.pictures[row]).collect();
            let questions: Vec<_> = group
                .iter()
                .map(|&row| self.questions[row].clone())
                .collect();
            let mask: Vec<_> = questions.iter().map(|ids| vec![true; ids.len()]).collect();
            let mut timings = Timings::default();
            let image_embeds = parts.encode(model.vision_model(), &pictures, &mut timings)?;
            let question_embeds = stage(&parts.device, "text", &mut timings.qformer, || {
                let encoder = model.text_encoder();
                Ok(encoder.encode(&questions, &mask, Some(&image_embeds))?)
            })?;
            decode(question_embeds, timings)
        })
    }
}
