//! Which of given answers a model finds likeliest.

use std::cmp::Ordering;

use blip2_io::Tokenizer;
use blip2_lm::generate::{GenerationConfig, score_continuations};
use serde::{Deserialize, Serialize};

use super::{Blip2Pipeline, Looked, Options, Picture, Seen, Template, Timings};
use crate::Blip2Error;

/// How many candidates run together, of all prompts: more are scored in several turns.
const TOGETHER: usize = 256;

/// A candidate answer and how likely the model finds it.
///
/// Displays as its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ranked {
    /// The candidate.
    pub text: String,
    /// Its place among the candidates that were given.
    pub index: usize,
    /// What candidates are ranked by: the natural log-probability of exactly this answer, the sum
    /// over its tokens; of [length-normalised](RankOptions::length_normalized) ranking their mean.
    pub score: f32,
    /// The candidate's share of the probability that all candidates have together, in [0, 1]: the
    /// softmax of the scores.
    pub share: f32,
    /// The log-probability of each token, the end token included if it counts.
    pub logprobs: Vec<f32>,
}

impl std::fmt::Display for Ranked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.text)
    }
}

/// How candidates are ranked.
#[derive(Debug, Clone, Default)]
pub struct RankOptions {
    length_normalized: bool,
    open_ended: bool,
    template: Option<Template>,
}

impl RankOptions {
    /// Ranks by the mean of the tokens' log-probabilities in place of their sum, so that long
    /// candidates are not at a disadvantage. The sum is what LAVIS ranks by, and the probability
    /// that the model would give exactly that answer.
    #[must_use]
    pub fn length_normalized(mut self, length_normalized: bool) -> Self {
        self.length_normalized = length_normalized;
        self
    }

    /// Leaves out the end token behind a candidate, so that `1` is as likely as all answers that
    /// begin with it. By default it counts, as in LAVIS.
    #[must_use]
    pub fn open_ended(mut self, open_ended: bool) -> Self {
        self.open_ended = open_ended;
        self
    }

    /// Puts questions into this template in place of the pipeline's.
    #[must_use]
    pub fn template(mut self, template: Template) -> Self {
        self.template = Some(template);
        self
    }
}

impl RankOptions {
    /// The likeliest first, by the log-probabilities of each text's tokens.
    pub(crate) fn rank(&self, texts: &[&str], logprobs: Vec<Vec<f32>>) -> Vec<Ranked> {
        let scored = texts.iter().zip(logprobs).enumerate();
        let mut ranked: Vec<Ranked> = scored
            .map(|(index, (text, logprobs))| {
                let sum: f32 = logprobs.iter().sum();
                Ranked {
                    text: text.to_string(),
                    index,
                    score: match self.length_normalized {
                        true => sum / logprobs.len() as f32,
                        false => sum,
                    },
                    share: 0.0,
                    logprobs,
                }
            })
            .collect();
        sort(&mut ranked);
        ranked
    }

    /// The token behind a candidate, where its end counts.
    pub(crate) fn end(&self, ends: &[u32]) -> Option<u32> {
        ends.first().copied().filter(|_| !self.open_ended)
    }
}

impl Blip2Pipeline {
    /// Ranks candidate answers to a question about a picture, the likeliest first; equal ones stay
    /// in the order in which they were given.
    ///
    /// The picture and the question run once for all candidates, and so do beginnings that
    /// candidates share. Each score is what the candidate alone would get.
    ///
    /// ```no_run
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("models/blip2-flan-t5-xl")?;
    /// # let image = blip2_core::image::open("beach.jpg")?;
    /// for answer in blip2.rank(&image, "Where is this?", &["at the beach", "in a city"])? {
    ///     println!("{answer}: {:.0} %", 100.0 * answer.share);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Candidates`] if there are none, or one is empty, too long for the model, or
    /// spells out a special token; and as [`answer`](Self::answer).
    pub fn rank<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        question: &str,
        candidates: &[impl AsRef<str>],
    ) -> Result<Vec<Ranked>, Blip2Error> {
        let options = RankOptions::default();
        let ranked = self.rank_batch([(image, question)], candidates, &options)?;
        Ok(ranked.into_iter().flatten().collect())
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
        let (pictures, questions): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let pictures: Vec<Picture<'a>> = pictures.into_iter().map(Into::into).collect();
        let candidates = Candidates::new(self, &questions, candidates, options)?;
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let (looked, _) = self.encode(&pictures)?;
        self.ranked(&looked, &candidates, options)
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
        first(self.rank(image, question, candidates)?)
    }

    fn ranked(
        &self,
        looked: &Looked,
        candidates: &Candidates<'_>,
        options: &RankOptions,
    ) -> Result<Vec<Vec<Ranked>>, Blip2Error> {
        let each = (TOGETHER / candidates.prompts.len().max(1)).max(1);
        let mut scored = vec![Vec::new(); candidates.prompts.len()];
        for start in (0..candidates.texts.len()).step_by(each) {
            let end = (start + each).min(candidates.texts.len());
            let logprobs = self.score(looked, candidates, start..end)?;
            for (all, logprobs) in scored.iter_mut().zip(logprobs) {
                all.extend(logprobs);
            }
        }
        let ranked = scored.into_iter();
        Ok(ranked
            .map(|logprobs| options.rank(&candidates.texts, logprobs))
            .collect())
    }

    /// The log-probabilities of some of the candidates, for each prompt.
    fn score(
        &self,
        looked: &Looked,
        candidates: &Candidates<'_>,
        some: std::ops::Range<usize>,
    ) -> Result<Vec<Vec<Vec<f32>>>, Blip2Error> {
        let tokens: Vec<Vec<Vec<u32>>> = candidates
            .tokens
            .iter()
            .map(|tokens| tokens[some.clone()].to_vec())
            .collect();
        let longest = tokens.iter().flatten().map(Vec::len).max().unwrap_or(1);
        // Candidates take what so many beams would.
        let options = Options::default().generation(GenerationConfig {
            max_new_tokens: Some(longest),
            num_beams: some.len(),
            ..GenerationConfig::default()
        });
        let prepared = self.prepare(&candidates.prompts, &options)?;
        let features = self.features(looked, &prepared, &mut Timings::default())?;
        let mut started = self.start(&features, prepared)?;
        Ok(score_continuations(&mut started.session, &tokens)?)
    }
}

impl Seen<'_> {
    /// Ranks candidate answers to a question about the picture, as [`Blip2Pipeline::rank`].
    ///
    /// # Errors
    ///
    /// As [`Blip2Pipeline::rank`].
    pub fn rank(
        &self,
        question: &str,
        candidates: &[impl AsRef<str>],
    ) -> Result<Vec<Ranked>, Blip2Error> {
        self.rank_with(question, candidates, &RankOptions::default())
    }

    /// [`rank`](Self::rank) with options.
    ///
    /// # Errors
    ///
    /// As [`Blip2Pipeline::rank`].
    pub fn rank_with(
        &self,
        question: &str,
        candidates: &[impl AsRef<str>],
        options: &RankOptions,
    ) -> Result<Vec<Ranked>, Blip2Error> {
        let pipeline = self.pipeline();
        let candidates = Candidates::new(pipeline, &[question], candidates, options)?;
        let ranked = pipeline.ranked(self.looked(), &candidates, options)?;
        Ok(ranked.into_iter().flatten().collect())
    }

    /// The likeliest of the candidates as an answer to a question about the picture.
    ///
    /// # Errors
    ///
    /// As [`Blip2Pipeline::rank`].
    pub fn ask_one_of(
        &self,
        question: &str,
        candidates: &[impl AsRef<str>],
    ) -> Result<Ranked, Blip2Error> {
        first(self.rank(question, candidates)?)
    }
}

/// Candidates for each of some prompts.
struct Candidates<'c> {
    prompts: Vec<super::Prompt>,
    texts: Vec<&'c str>,
    /// For each prompt, the tokens of each candidate.
    tokens: Vec<Vec<Vec<u32>>>,
}

impl<'c> Candidates<'c> {
    fn new(
        pipeline: &Blip2Pipeline,
        questions: &[impl AsRef<str>],
        texts: &'c [impl AsRef<str>],
        options: &RankOptions,
    ) -> Result<Self, Blip2Error> {
        let all = &pipeline.prompts;
        let texts = check_candidates(texts, &all.tokenizer)?;
        let end = options.end(&pipeline.end_tokens(&Options::default()));
        let (mut prompts, mut tokens) = (Vec::new(), Vec::new());
        for question in questions {
            let prompt = all.rendered(question.as_ref(), options.template.as_ref())?;
            let of = |text: &&str| -> Result<Vec<u32>, Blip2Error> {
                let mut ids = all.continuation(&prompt, text)?;
                ids.extend(end);
                Ok(ids)
            };
            tokens.push(texts.iter().map(of).collect::<Result<Vec<_>, _>>()?);
            prompts.push(all.raw(&prompt)?);
        }
        Ok(Self {
            prompts,
            texts,
            tokens,
        })
    }
}

/// The texts of candidates, all of which can be scored.
pub(crate) fn check_candidates<'c>(
    texts: &'c [impl AsRef<str>],
    tokenizer: &Tokenizer,
) -> Result<Vec<&'c str>, Blip2Error> {
    let fault = |reason| Err(Blip2Error::Candidates { reason });
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    if texts.is_empty() {
        return fault("there are none".into());
    }
    for (index, text) in texts.iter().enumerate() {
        if text.trim().is_empty() {
            return fault(format!("candidate {index} is empty"));
        }
        if let Some(token) = tokenizer.special_token_in(text) {
            return fault(format!("`{text}` contains the special token `{token}`"));
        }
    }
    Ok(texts)
}

/// Puts the likeliest first, and says what share each has.
fn sort(ranked: &mut [Ranked]) {
    ranked.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal));
    let largest = ranked.first().map_or(0.0, |best| best.score);
    let weight = |score: f32| f64::from(score - largest).exp();
    let all: f64 = ranked.iter().map(|ranked| weight(ranked.score)).sum();
    for ranked in ranked {
        ranked.share = (weight(ranked.score) / all) as f32;
    }
}

fn first(ranked: Vec<Ranked>) -> Result<Ranked, Blip2Error> {
    ranked.into_iter().next().ok_or_else(|| Blip2Error::Rows {
        reason: "no candidate was ranked".into(),
    })
}
