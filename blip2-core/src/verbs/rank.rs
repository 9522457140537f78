//! Which of given answers a model finds likeliest.

use std::cmp::Ordering;

use blip2_lm::generate::CancelToken;
use serde::{Deserialize, Serialize};

use super::{
    Answers, Options, Picture, Seen, alone,
    stop::{Stop, stopping},
};
use crate::{
    error::Blip2Error,
    text::{Template, check_candidates},
};

/// How many candidates run together, of all prompts: more are scored one part after another.
pub(crate) const TOGETHER: usize = 256;

/// A candidate answer and how likely the model finds it.
///
/// Displays as its text.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// let colors = ["blue", "red", "teal"];
/// let ranked = blip2.rank(&image, "what color is the shape?", &colors)?;
/// assert_eq!((ranked[0].text.as_str(), ranked[0].index), ("red", 1));
/// let shares: f32 = ranked.iter().map(|answer| answer.share).sum();
/// assert!((shares - 1.0).abs() < 1e-3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ranked {
    /// The candidate.
    pub text: String,
    /// Its place among the candidates that were given.
    pub index: usize,
    /// What candidates are ranked by: the natural log-probability of exactly this answer, the sum
    /// over its tokens; of [length-normalised](RankOptions::with_length_normalized) ranking their mean.
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
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// use blip2_core::RankOptions;
///
/// // Candidates of unlike length, by the mean of their tokens.
/// let options = RankOptions::default().with_length_normalized(true);
/// let candidates = ["red", "a red triangle"];
/// let ranked = blip2.rank_with(&image, "what is this?", &candidates, &options)?;
/// assert_eq!(ranked.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct RankOptions {
    length_normalized: bool,
    open_ended: bool,
    template: Option<Template>,
    stop: Stop,
}

impl RankOptions {
    /// Ranks by the mean of the tokens' log-probabilities in place of their sum, so that long
    /// candidates are not at a disadvantage. The sum is what LAVIS ranks by, and the probability
    /// that the model would give exactly that answer.
    #[must_use]
    pub fn with_length_normalized(mut self, length_normalized: bool) -> Self {
        self.length_normalized = length_normalized;
        self
    }

    /// Leaves out the end token after a candidate, so that `1` is as likely as all answers that
    /// begin with it. By default it counts, as in LAVIS.
    #[must_use]
    pub fn with_open_ended(mut self, open_ended: bool) -> Self {
        self.open_ended = open_ended;
        self
    }

    /// Puts questions into this template in place of the pipeline's.
    #[must_use]
    pub fn with_template(mut self, template: Template) -> Self {
        self.template = Some(template);
        self
    }
}

stopping!(
    RankOptions,
    "It is looked at before each stage, and before each part of many candidates; the call then fails \
     with [`Blip2Error::Cancelled`] or, at a deadline, [`Blip2Error::Deadline`], since half a ranking \
     is none.",
    ""
);

impl RankOptions {
    /// The likeliest first, by the log-probabilities of each text's tokens.
    pub(crate) fn rank(&self, texts: &[&str], logprobs: Vec<Vec<f32>>) -> Vec<Ranked> {
        let scored = texts.iter().zip(logprobs).enumerate();
        let mut ranked: Vec<Ranked> = scored
            .map(|(index, (text, logprobs))| {
                // Of tokens that follow one another the probabilities multiply (the chain rule).
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

    /// The template that questions are put into, if it is not the model's.
    pub(super) fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    /// What stops a call that begins now.
    pub(super) fn begun(&self) -> CancelToken {
        self.stop.begun()
    }

    /// The token after a candidate, where its end counts.
    pub(crate) fn end(&self, ends: &[u32]) -> Option<u32> {
        ends.first().copied().filter(|_| !self.open_ended)
    }
}

/// Ranks the same candidates as answers to many questions about pictures.
pub(crate) fn rank_batch<'a, W: Answers, P: Into<Picture<'a>>, Q: AsRef<str>>(
    writer: &W,
    pairs: impl IntoIterator<Item = (P, Q)>,
    candidates: &[impl AsRef<str>],
    options: &RankOptions,
) -> Result<Vec<Vec<Ranked>>, Blip2Error> {
    let (pictures, questions): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let pictures: Vec<Picture<'a>> = pictures.into_iter().map(Into::into).collect();
    let candidates = Candidates::of(writer, &questions, candidates, options)?;
    if pictures.is_empty() {
        return Ok(Vec::new());
    }
    let cancel = options.stop.begun();
    let (looked, _) = writer.look_at(&pictures, &cancel)?;
    candidates.rank(writer, &looked, options, &cancel)
}

impl<P: Answers> Seen<P> {
    /// Ranks candidate answers to a question about the picture, as `rank` of the model.
    ///
    /// # Errors
    ///
    /// As `rank` of the model.
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
    /// As `rank` of the model.
    pub fn rank_with(
        &self,
        question: &str,
        candidates: &[impl AsRef<str>],
        options: &RankOptions,
    ) -> Result<Vec<Ranked>, Blip2Error> {
        alone(self.rank_batch([question], candidates, options))
    }

    /// Ranks the same candidates as answers to many questions about the picture.
    ///
    /// # Errors
    ///
    /// As `rank_batch` of the model.
    pub fn rank_batch<Q: AsRef<str>>(
        &self,
        questions: impl IntoIterator<Item = Q>,
        candidates: &[impl AsRef<str>],
        options: &RankOptions,
    ) -> Result<Vec<Vec<Ranked>>, Blip2Error> {
        let questions: Vec<Q> = questions.into_iter().collect();
        let candidates = Candidates::of(self.member(), &questions, candidates, options)?;
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let looked = self.member().repeat(self.looked(), questions.len());
        candidates.rank(self.member(), &looked, options, &options.stop.begun())
    }

    /// The likeliest of the candidates as an answer to a question about the picture.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// # let seen = blip2.look(&image)?;
    /// let shape = seen.ask_one_of("what shape is in the image?", &["circle", "triangle"])?;
    /// assert_eq!(shape.text, "triangle");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As `rank` of the model.
    pub fn ask_one_of(
        &self,
        question: &str,
        candidates: &[impl AsRef<str>],
    ) -> Result<Ranked, Blip2Error> {
        self.ask_one_of_with(question, candidates, &RankOptions::default())
    }

    /// [`ask_one_of`](Self::ask_one_of) with options.
    ///
    /// # Errors
    ///
    /// As `rank` of the model.
    pub fn ask_one_of_with(
        &self,
        question: &str,
        candidates: &[impl AsRef<str>],
        options: &RankOptions,
    ) -> Result<Ranked, Blip2Error> {
        alone(self.rank_with(question, candidates, options))
    }
}

/// Candidates for each of some prompts.
struct Candidates<'c, P> {
    prompts: Vec<P>,
    texts: Vec<&'c str>,
    /// For each prompt, the tokens of each candidate.
    tokens: Vec<Vec<Vec<u32>>>,
}

impl<'c, P> Candidates<'c, P> {
    fn of<W: Answers<Prompt = P>>(
        writer: &W,
        questions: &[impl AsRef<str>],
        texts: &'c [impl AsRef<str>],
        options: &RankOptions,
    ) -> Result<Self, Blip2Error> {
        let texts = check_candidates(texts, writer.tokenizer())?;
        let end = options.end(&writer.end_tokens(&Options::default()));
        let template = options.template.as_ref();
        Self::new(
            questions,
            texts,
            |question| writer.question(question, template),
            |prompt, text| {
                let mut ids = writer.continuation(prompt, text)?;
                ids.extend(end);
                Ok(ids)
            },
        )
    }

    /// Each prompt is read once, whatever the number of candidates: a template and a tokenizer over
    /// a long question cost more than a candidate of two words.
    fn new(
        questions: &[impl AsRef<str>],
        texts: Vec<&'c str>,
        read: impl Fn(&str) -> Result<P, Blip2Error>,
        continuation: impl Fn(&P, &str) -> Result<Vec<u32>, Blip2Error>,
    ) -> Result<Self, Blip2Error> {
        let (mut prompts, mut tokens) = (Vec::new(), Vec::new());
        for (index, question) in questions.iter().enumerate() {
            let prompt = read(question.as_ref());
            let prompt = prompt.map_err(|error| Blip2Error::item(index, error))?;
            let of = |text: &&str| continuation(&prompt, text);
            tokens.push(texts.iter().map(of).collect::<Result<_, _>>()?);
            prompts.push(prompt);
        }
        Ok(Self {
            prompts,
            texts,
            tokens,
        })
    }

    fn rank<W: Answers<Prompt = P>>(
        &self,
        writer: &W,
        looked: &W::Looked,
        options: &RankOptions,
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Ranked>>, Blip2Error> {
        let scored = writer.score(looked, &self.prompts, &self.tokens, cancel)?;
        let ranked = scored.into_iter();
        Ok(ranked
            .map(|logprobs| options.rank(&self.texts, logprobs))
            .collect())
    }
}

/// Puts the likeliest first, and says what share each has.
fn sort(ranked: &mut [Ranked]) {
    // Stable, so that equal scores keep the order in which candidates were given.
    ranked.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal));
    // Softmax over the candidates. Relative to the best, since log-probabilities of long texts lie far
    // below what `exp` can tell from zero.
    let largest = ranked.first().map_or(0.0, |best| best.score);
    let weight = |score: f32| f64::from(score - largest).exp();
    let all: f64 = ranked.iter().map(|ranked| weight(ranked.score)).sum();
    for ranked in ranked {
        ranked.share = (weight(ranked.score) / all) as f32;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_prompt_is_read_once_however_many_candidates_it_has() {
        let (read, continued) = (Cell::new(0), Cell::new(0));
        let count = |counter: &Cell<usize>| counter.set(counter.get() + 1);
        let candidates = Candidates::new(
            &["what is this?", "where?"],
            vec!["a dog", "a cat", "a bus"],
            |question| {
                count(&read);
                Ok(question.len())
            },
            |&prompt: &usize, text| {
                count(&continued);
                Ok(vec![prompt as u32, text.len() as u32])
            },
        )
        .unwrap();
        assert_eq!((read.get(), continued.get()), (2, 6));
        assert_eq!(candidates.prompts, [13, 6]);
        assert_eq!(candidates.tokens[1], [[6, 5], [6, 5], [6, 5]]);
    }
}
