//! Requests that have nothing to do with one another, answered together.

mod flow;
mod group;
mod request;

use std::{collections::BTreeMap, fmt};

use blip2_lm::generate::{CancelToken, FinishReason, Generated, GenerationConfig};

use super::{
    Answer, Options, Started, Timings, Writer, alone, or_stopped, run::answer, token::Token,
};
use crate::{error::Blip2Error, kind::ErrorKind};
pub use flow::{AnswerFlow, Flowing};
use group::{Brought, Group, Growing, Rows};
pub use request::AnswerRequest;

/// Requests about pictures that were looked at, answered together a token at a time: what a server does
/// with those that came in the same few milliseconds.
///
/// Each answer is what its request gets alone, sampled ones included, and each is streamed, cancelled and
/// may fail by itself. A request that has ended leaves the batch before the next step, and others may
/// [`join`](Self::join) it while it runs: see [`AnswerFlow`]. Beam searches run one after another, each in
/// one step.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// # let other = blip2.open("../examples/images/blue-circle.png")?;
/// use blip2_core::{AnswerBatch, Options};
///
/// let options = Options::default();
/// let requests = vec![
///     blip2.look(&image)?.request("what color is the shape?", &options)?,
///     blip2.look(&other)?.request("what shape is in the image?", &options)?,
/// ];
/// let mut batch = AnswerBatch::start(requests)?;
/// while !batch.is_finished() {
///     for piece in batch.step()? {
///         print!("{} ", piece.text); // of request number `piece.request`
///     }
/// }
/// let texts = batch.into_answers().into_iter().map(|answer| Ok(answer?.text));
/// let texts: Vec<String> = texts.collect::<Result<_, blip2_core::Blip2Error>>()?;
/// assert_eq!(texts, ["red", "circle"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AnswerBatch<P: Writer> {
    /// A handle of the model, once there was a request.
    member: Option<P>,
    /// How many requests there have been: their numbers are below this.
    count: usize,
    growing: Growing<P>,
    groups: Vec<Group>,
    /// The answers that were not taken yet.
    answers: BTreeMap<usize, Result<Answer, Blip2Error>>,
    /// Those that have ended since [`take_ended`](Self::take_ended), as they came.
    ended: Vec<usize>,
}

/// What a step of an [`AnswerBatch`] brought to one of its requests.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AnswerPiece {
    /// Which request.
    pub request: usize,
    /// Which of the sequences that it asked for.
    pub sequence: usize,
    /// New text, whole characters only; empty while it may prove to be a stop string, and for end tokens.
    /// All pieces together are the answer's text, but for white space around it, which
    /// [`TrimmedPieces`](crate::generate::TrimmedPieces) leaves out.
    pub text: String,
    /// The token; none in what only brings text that was held back, and of a beam search.
    pub token: Option<Token>,
    /// Why the sequence ended, if it has.
    pub finish_reason: Option<FinishReason>,
}

impl<P: Writer> AnswerBatch<P> {
    /// Begins to answer requests, all of one model.
    ///
    /// # Errors
    ///
    /// What is wrong with the batch as a whole, such as [`Blip2Error::Memory`] for one that is too large:
    /// fewer requests may fit; and [`Blip2Error::Rows`] for requests of several models. A prompt that is too
    /// long for the model's context is that request's own error.
    pub fn start(requests: Vec<AnswerRequest<P>>) -> Result<Self, Blip2Error> {
        check_one_model(requests.iter().map(AnswerRequest::member))?;
        let mut batch = Self {
            member: requests.first().map(|one| one.member().clone()),
            count: requests.len(),
            growing: requests.into_iter().enumerate().collect(),
            groups: Vec::new(),
            answers: BTreeMap::new(),
            ended: Vec::new(),
        };
        let (mut together, mut beams) = (Vec::new(), Vec::new());
        for (&number, request) in &batch.growing {
            match request.config().num_beams {
                0 | 1 => together.push(number),
                _ => beams.push(number),
            }
        }
        if !together.is_empty() {
            batch.start_together(&together)?;
        }
        for number in beams {
            batch.start_beams(number)?;
        }
        Ok(batch)
    }

    fn start_beams(&mut self, request: usize) -> Result<(), Blip2Error> {
        let Some(asked) = self.growing.get(&request) else {
            return Ok(());
        };
        let (member, mut timings) = (asked.member(), Timings::default());
        let prepared = member.prepare(std::slice::from_ref(&asked.prompt), &asked.options)?;
        match member.start_one(asked.seen.looked(), prepared, &mut timings) {
            Ok(started) => self.groups.push(Group::Beams {
                request,
                started: Box::new(started),
                timings,
            }),
            Err(error) => self.end(request, stopped_or(error)),
        }
        Ok(())
    }

    /// Begins requests without beams. One that the context has no room for ends, and the others begin: halves
    /// find it.
    fn start_together(&mut self, numbers: &[usize]) -> Result<(), Blip2Error> {
        let groups = self.groups.len();
        match self.start_rows(numbers) {
            Err(error) if error.kind() == ErrorKind::Limit => {
                self.groups.truncate(groups);
                if let [one] = numbers {
                    self.end(*one, Err(error.of_item()));
                    return Ok(());
                }
                let (first, second) = numbers.split_at(numbers.len() / 2);
                self.start_together(first)?;
                self.start_together(second)
            }
            started => started,
        }
    }

    /// Begins requests without beams, those together that may share a session.
    fn start_rows(&mut self, numbers: &[usize]) -> Result<(), Blip2Error> {
        let requests = self.those(numbers);
        let Some((_, first)) = requests.first() else {
            return Ok(());
        };
        let member = first.member().clone();
        let looked: Vec<&P::Looked> = requests.iter().map(|(_, one)| one.seen.looked()).collect();
        let (prompts, options) = together(requests.iter().map(|(_, one)| *one));
        let mut timings = Timings::default();
        let prepared = member.prepare(&prompts, &options)?;
        let started = member.start_many(&member.join(&looked)?, prepared, &mut timings)?;
        for (rows, started) in started {
            let within = rows.iter().filter_map(|&row| numbers.get(row).copied());
            let within: Vec<usize> = within.collect();
            if within.len() > 1 && self.is_crowded(&within, &started)? {
                // In one session all rows have the room of the longest: alone each has its own.
                for number in within {
                    self.start_rows(&[number])?;
                }
            } else {
                let rows = Rows::start(&self.those(&within), started, timings)?;
                self.groups.push(Group::Rows(rows));
            }
        }
        Ok(())
    }

    fn those(&self, numbers: &[usize]) -> Vec<(usize, &AnswerRequest<P>)> {
        let those = numbers.iter();
        those
            .filter_map(|number| Some((*number, self.growing.get(number)?)))
            .collect()
    }

    /// Whether a row would have fewer tokens in this session than alone.
    fn is_crowded(&self, numbers: &[usize], started: &Started) -> Result<bool, Blip2Error> {
        use blip2_lm::DecodeSession;
        let Some(room) = started.session.remaining_positions() else {
            return Ok(false);
        };
        for ((_, request), history) in self.those(numbers).iter().zip(&started.histories) {
            // The last token is not fed.
            if request.config().new_tokens_after(history.len())? > room.saturating_add(1) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many requests there are, with those that joined.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no requests.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many requests have no answer yet.
    pub fn growing(&self) -> usize {
        self.growing.len()
    }

    /// Whether all requests have their answers.
    pub fn is_finished(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes the requests of another batch, whether it has begun or not, behind its own: request `n` of the
    /// other is `len + n` from here on. They run with these, in the same steps, and each still gets what it
    /// gets alone; so a place that is free is used at once.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// use blip2_core::{AnswerBatch, Options};
    ///
    /// let (seen, options) = (blip2.look(&image)?, Options::default());
    /// let mut batch = AnswerBatch::start(vec![seen.request("what shape is in the image?", &options)?])?;
    /// batch.step()?;
    /// batch.join(AnswerBatch::start(vec![seen.request("what color is the shape?", &options)?])?)?;
    /// while !batch.is_finished() {
    ///     batch.step()?;
    /// }
    /// let answers = batch.into_answers().into_iter().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(answers[1].text, "red");
    /// # Ok::<(), blip2_core::Blip2Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Rows`] for a batch of another model, which is lost, and changes nothing here. Memory is
    /// not counted again: see [`has_room`](Self::has_room).
    pub fn join(&mut self, other: Self) -> Result<(), Blip2Error> {
        check_one_model(self.member.iter().chain(&other.member))?;
        let first = self.count;
        self.count += other.count;
        if self.member.is_none() {
            self.member = other.member;
        }
        let numbered = |number: usize| number + first;
        let growing = other.growing.into_iter();
        self.growing
            .extend(growing.map(|(number, one)| (numbered(number), one)));
        let answers = other.answers.into_iter();
        self.answers
            .extend(answers.map(|(number, one)| (numbered(number), one)));
        self.ended.extend(other.ended.into_iter().map(numbered));
        self.groups
            .extend(other.groups.into_iter().map(|group| match group {
                Group::Rows(rows) => Group::Rows(rows.renumbered(first)),
                Group::Beams {
                    request,
                    started,
                    timings,
                } => Group::Beams {
                    request: numbered(request),
                    started,
                    timings,
                },
            }));
        Ok(())
    }

    /// Whether the memory that the model may take is enough for these requests beside those that run.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Memory`], with what would be needed.
    pub fn has_room(&self, requests: &[AnswerRequest<P>]) -> Result<(), Blip2Error> {
        let Some(first) = requests.first() else {
            return Ok(());
        };
        let (prompts, options) = together(self.growing.values().chain(requests));
        first.member().prepare(&prompts, &options).map(drop)
    }

    /// A token of each answer that grows. What fails for one request alone ends that one: see
    /// [`into_answers`](Self::into_answers).
    ///
    /// # Errors
    ///
    /// What the model reports, which ends the batch.
    pub fn step(&mut self) -> Result<Vec<AnswerPiece>, Blip2Error> {
        let mut brought = Brought::default();
        let (mut searched, mut left) = (false, Vec::new());
        for group in std::mem::take(&mut self.groups) {
            let searches = group.searches();
            // One beam search a step: those whose text grows wait for no more than that.
            left.extend(match searches && searched {
                true => Some(group),
                false => group.step(&self.growing, &mut brought)?,
            });
            searched |= searches;
        }
        for (request, answer) in brought.ended {
            self.end(request, answer);
        }
        self.groups = in_one_session(left)?;
        Ok(brought.pieces)
    }

    /// The requests that have ended since this was last asked, with their answers: a short one need not
    /// wait for a long one of the same batch. Nothing of them is kept.
    pub fn take_ended(&mut self) -> Vec<(usize, Result<Answer, Blip2Error>)> {
        let ended = std::mem::take(&mut self.ended).into_iter();
        ended
            .filter_map(|number| Some((number, self.answers.remove(&number)?)))
            .collect()
    }

    /// Keeps how a request ended, unless it has ended before.
    fn end(&mut self, request: usize, answer: Result<Answer, Blip2Error>) {
        if self.growing.remove(&request).is_some() {
            self.answers.insert(request, answer);
            self.ended.push(request);
        }
    }

    /// The answers, one for each request in their order. One that has not ended, or was taken, has
    /// [`Blip2Error::Cancelled`].
    pub fn into_answers(mut self) -> Vec<Result<Answer, Blip2Error>> {
        let mut answer = |number| self.answers.remove(&number);
        (0..self.count)
            .map(|number| answer(number).unwrap_or(Err(Blip2Error::Cancelled)))
            .collect()
    }
}

/// Groups whose rows have all taken a step, those that grow by tokens in one session: weights are read once
/// for all of them.
fn in_one_session(groups: Vec<Group>) -> Result<Vec<Group>, Blip2Error> {
    let (mut all, mut beams): (Option<Rows>, Vec<Group>) = (None, Vec::new());
    for group in groups {
        match (group, &mut all) {
            (Group::Rows(rows), Some(all)) => all.join(rows)?,
            (Group::Rows(rows), none) => *none = Some(rows),
            (search, _) => beams.push(search),
        }
    }
    Ok(all.map(Group::Rows).into_iter().chain(beams).collect())
}

/// Writes after requests that want the same beam search, in one search of all of them; `None` for others,
/// whose searches have nothing in common.
fn search_together<P: Writer>(
    requests: &[AnswerRequest<P>],
) -> Option<Result<Vec<Answer>, Blip2Error>> {
    let first = requests.first()?;
    let config = first.config();
    let same = |one: &AnswerRequest<P>| one.config() == config && one.options.constraint.is_none();
    // Samples are drawn in the order of the rows: a row's would depend on its company.
    if config.num_beams < 2 || config.do_sample || !requests.iter().all(same) {
        return None;
    }
    let member = first.member();
    let looked: Vec<&P::Looked> = requests.iter().map(|one| one.seen.looked()).collect();
    let prompts: Vec<P::Prompt> = requests.iter().map(|one| one.prompt.clone()).collect();
    let written = member
        .prepare(&prompts, &first.options)
        .and_then(|prepared| member.write(&member.join(&looked)?, prepared, Timings::default()));
    Some(or_stopped(written, requests.len()))
}

/// The prompts of requests, and options with room for each of them.
fn together<'a, P: Writer>(
    requests: impl Iterator<Item = &'a AnswerRequest<P>>,
) -> (Vec<P::Prompt>, Options) {
    let (prompts, configs): (Vec<P::Prompt>, Vec<GenerationConfig>) = requests
        .map(|one| (one.prompt.clone(), one.config()))
        .unzip();
    let options = roomy(&configs);
    (prompts, options)
}

/// Refuses requests of several models, whose pictures do not go into one batch.
fn check_one_model<'a, P: Writer>(members: impl Iterator<Item = &'a P>) -> Result<(), Blip2Error> {
    let mut models = members.map(P::loaded);
    let first = models.next();
    match models.all(|model| first.is_some_and(|first| std::ptr::eq(first, model))) {
        true => Ok(()),
        false => Err(Blip2Error::Rows {
            reason: "the requests are about pictures that several models looked at".into(),
        }),
    }
}

/// A request that was stopped before its first token has an empty answer, as alone.
fn stopped_or(error: Blip2Error) -> Result<Answer, Blip2Error> {
    alone(or_stopped(Err(error), 1))
}

/// The answer of the sequences that were generated for a request, with the others beside the first.
fn answer_of<P: Writer>(
    request: &AnswerRequest<P>,
    generated: &[Generated],
    timings: Timings,
) -> Result<Answer, Blip2Error> {
    let tokenizer = request.seen.member().tokenizer();
    let stops = request.config().stop_strings;
    let mut answers = generated
        .iter()
        .map(|generated| answer(generated, tokenizer, &stops, timings));
    let mut best = answers.next().ok_or_else(|| Blip2Error::Rows {
        reason: "a prompt has no result".into(),
    })??;
    best.alternatives = answers.collect::<Result<_, _>>()?;
    Ok(best)
}

/// Options of a call that has room for each of these.
fn roomy(configs: &[GenerationConfig]) -> Options {
    let most = |of: fn(&GenerationConfig) -> usize| configs.iter().map(of).max().unwrap_or(1);
    let tokens = most(|config| match (config.max_new_tokens, config.max_length) {
        (Some(tokens), _) => tokens,
        // An upper bound: what the prompt takes is not counted off.
        (None, Some(length)) => length,
        (None, None) => config.new_tokens_after(0).unwrap_or(1),
    });
    // As many sequences as beams, which take the same room.
    let sequences = most(|config| config.num_return_sequences.max(config.num_beams));
    let generation = GenerationConfig::default()
        .with_max_new_tokens(tokens)
        .with_num_beams(sequences);
    Options::default()
        .with_generation(generation)
        .with_cancel(CancelToken::new())
}

impl<P: Writer> fmt::Debug for AnswerBatch<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBatch")
            .field("requests", &self.count)
            .field("growing", &self.growing.len())
            .finish_non_exhaustive()
    }
}
