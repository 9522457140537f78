//! Requests that have nothing to do with one another, answered together.

use std::fmt;

use blip2_lm::generate::{Batch, CancelToken, FinishReason, Generated, GenerationConfig};

use super::{
    Answer, Answers, Describes, Options, Seen, Started, Timed, Timings, Writer, alone,
    run::{answer, decode},
    token::{self, Token},
};
use crate::error::Blip2Error;

/// A question, a caption or a prompt about a picture that was looked at, to be answered in an
/// [`AnswerBatch`] with others: each has its own options.
///
/// Made by [`Seen::request`], [`Seen::request_caption`] and [`Seen::request_prompt`], which refuse what
/// cannot be answered.
#[derive(Clone)]
pub struct AnswerRequest<P: Writer> {
    seen: Seen<P>,
    prompt: P::Prompt,
    options: Options,
}

impl<P: Writer> AnswerRequest<P> {
    fn new(seen: &Seen<P>, prompt: P::Prompt, options: &Options) -> Result<Self, Blip2Error> {
        let options = options.begun();
        // What cannot be done alone cannot be done together, and is told to whoever asked it.
        seen.member()
            .prepare(std::slice::from_ref(&prompt), &options)
            .map_err(Blip2Error::of_item)?;
        Ok(Self {
            seen: seen.clone(),
            prompt,
            options,
        })
    }

    fn config(&self) -> GenerationConfig {
        self.seen.member().generation(&self.options)
    }
}

impl<P: Answers> Seen<P> {
    /// A question about the picture, for an [`AnswerBatch`].
    ///
    /// # Errors
    ///
    /// As [`ask_with`](Self::ask_with), before anything runs.
    pub fn request(
        &self,
        question: &str,
        options: &Options,
    ) -> Result<AnswerRequest<P>, Blip2Error> {
        let prompt = self
            .member()
            .question(question, options.template.as_ref())?;
        AnswerRequest::new(self, prompt, options)
    }
}

impl<P: Describes> Seen<P> {
    /// A caption of the picture, for an [`AnswerBatch`].
    ///
    /// # Errors
    ///
    /// As [`caption_with`](Self::caption_with), before anything runs.
    pub fn request_caption(&self, options: &Options) -> Result<AnswerRequest<P>, Blip2Error> {
        AnswerRequest::new(self, self.member().caption_prompt()?, options)
    }

    /// A raw prompt about the picture, for an [`AnswerBatch`].
    ///
    /// # Errors
    ///
    /// As [`prompt_with`](Self::prompt_with), before anything runs.
    pub fn request_prompt(
        &self,
        prompt: &str,
        options: &Options,
    ) -> Result<AnswerRequest<P>, Blip2Error> {
        AnswerRequest::new(self, self.member().raw(prompt)?, options)
    }
}

/// Requests about pictures that were looked at, answered together a token at a time: what a server does
/// with those that came in the same few milliseconds.
///
/// Each answer is what its request gets alone, sampled ones included, and each is streamed, cancelled and
/// may fail by itself. A request that has ended leaves the batch before the next step. Beam searches run
/// one after another, each in one step.
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
    requests: Vec<AnswerRequest<P>>,
    groups: Vec<Group>,
    answers: Vec<Option<Result<Answer, Blip2Error>>>,
    /// Which have ended.
    done: Vec<bool>,
    /// Those that have ended and were not taken yet.
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
    /// All pieces together are the answer's text, but for white space around it.
    pub text: String,
    /// The token; none in what only brings text that was held back, and of a beam search.
    pub token: Option<Token>,
    /// Why the sequence ended, if it has.
    pub finish_reason: Option<FinishReason>,
}

/// Requests that run in one session.
struct Group {
    /// The request of each prompt.
    requests: Vec<usize>,
    /// The request and its sequence, of each sequence of the batch.
    sequences: Vec<(usize, usize)>,
    /// The last token of each sequence.
    last: Vec<Option<u32>>,
    running: Option<Running>,
    timings: Timings,
}

enum Running {
    Rows(Box<Batch<'static, Timed>>),
    /// A beam search, which has nothing to show before its end.
    Beams(Box<Started>),
}

impl<P: Writer> AnswerBatch<P> {
    /// Begins to answer requests, all of one model.
    ///
    /// # Errors
    ///
    /// What is wrong with the batch as a whole, such as [`Blip2Error::Memory`] for one that is too large:
    /// fewer requests may fit; and [`Blip2Error::Rows`] for requests of several models.
    pub fn start(requests: Vec<AnswerRequest<P>>) -> Result<Self, Blip2Error> {
        check_one_model(&requests)?;
        let mut batch = Self {
            answers: requests.iter().map(|_| None).collect(),
            groups: Vec::new(),
            done: vec![false; requests.len()],
            ended: Vec::new(),
            requests,
        };
        let (mut together, mut beams) = (Vec::new(), Vec::new());
        for (place, request) in batch.requests.iter().enumerate() {
            match request.config().num_beams {
                0 | 1 => together.push(place),
                _ => beams.push(place),
            }
        }
        if !together.is_empty() {
            batch.start_rows(&together)?;
        }
        for place in beams {
            batch.start_beams(place)?;
        }
        Ok(batch)
    }

    fn start_beams(&mut self, place: usize) -> Result<(), Blip2Error> {
        let Some(request) = self.requests.get(place) else {
            return Ok(());
        };
        let (member, mut timings) = (request.seen.member(), Timings::default());
        let prepared = member.prepare(std::slice::from_ref(&request.prompt), &request.options)?;
        match member.start_one(request.seen.looked(), prepared, &mut timings) {
            Ok(started) => {
                self.groups.push(Group {
                    requests: vec![place],
                    sequences: vec![(place, 0)],
                    last: vec![None],
                    running: Some(Running::Beams(Box::new(started))),
                    timings,
                });
            }
            Err(error) => self.end(place, stopped_or(error)),
        }
        Ok(())
    }

    /// Begins requests without beams, those together that may share a session.
    fn start_rows(&mut self, places: &[usize]) -> Result<(), Blip2Error> {
        let requests: Vec<&AnswerRequest<P>> = places
            .iter()
            .filter_map(|&place| self.requests.get(place))
            .collect();
        let Some(first) = requests.first() else {
            return Ok(());
        };
        let member = first.seen.member();
        let prompts: Vec<P::Prompt> = requests.iter().map(|one| one.prompt.clone()).collect();
        let looked: Vec<&P::Looked> = requests.iter().map(|one| one.seen.looked()).collect();
        let configs: Vec<GenerationConfig> = requests.iter().map(|one| one.config()).collect();
        let mut timings = Timings::default();
        let prepared = member.prepare(&prompts, &roomy(&configs))?;
        let started = member.start_many(&member.join(&looked)?, prepared, &mut timings)?;
        for (rows, started) in started {
            let within: Vec<usize> = rows
                .iter()
                .filter_map(|&row| places.get(row).copied())
                .collect();
            if within.len() > 1 && self.is_crowded(&within, &started)? {
                // In one session all rows have the room of the longest: alone each has its own.
                for place in within {
                    self.start_rows(&[place])?;
                }
            } else {
                self.begin(within, started, timings)?;
            }
        }
        Ok(())
    }

    /// Whether a row would have fewer tokens in this session than alone.
    fn is_crowded(&self, places: &[usize], started: &Started) -> Result<bool, Blip2Error> {
        use blip2_lm::DecodeSession;
        let Some(room) = started.session.remaining_positions() else {
            return Ok(false);
        };
        for (&place, history) in places.iter().zip(&started.histories) {
            let Some(request) = self.requests.get(place) else {
                continue;
            };
            // The last token is not fed.
            if request.config().new_tokens_after(history.len())? > room.saturating_add(1) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn begin(
        &mut self,
        places: Vec<usize>,
        started: Started,
        timings: Timings,
    ) -> Result<(), Blip2Error> {
        let (mut rows, mut sequences) = (Vec::new(), Vec::new());
        for (&place, history) in places.iter().zip(started.histories) {
            let Some(request) = self.requests.get(place) else {
                continue;
            };
            let decoder = request.seen.member().decoder();
            let generator = request.options.generator(request.config(), decoder)?;
            sequences.extend((0..generator.config().num_return_sequences).map(|n| (place, n)));
            rows.push((generator, history));
        }
        let batch = Batch::new(started.session, rows)?;
        self.groups.push(Group {
            requests: places,
            last: vec![None; sequences.len()],
            sequences,
            running: Some(Running::Rows(Box::new(batch))),
            timings,
        });
        Ok(())
    }

    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there are no requests.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether all requests have their answers.
    pub fn is_finished(&self) -> bool {
        self.groups.iter().all(|group| group.running.is_none())
    }

    /// A token of each answer that grows. What fails for one request alone ends that one: see
    /// [`into_answers`](Self::into_answers).
    ///
    /// # Errors
    ///
    /// What the model reports, which ends the batch.
    pub fn step(&mut self) -> Result<Vec<AnswerPiece>, Blip2Error> {
        let mut pieces = Vec::new();
        let mut searched = false;
        for at in 0..self.groups.len() {
            let searches = self.groups.get(at).is_some_and(Group::searches);
            // One beam search a step: those whose text grows wait for no more than that.
            if !(searches && searched) {
                self.step_group(at, &mut pieces)?;
            }
            searched |= searches;
        }
        Ok(pieces)
    }

    fn step_group(&mut self, at: usize, pieces: &mut Vec<AnswerPiece>) -> Result<(), Blip2Error> {
        let Some(group) = self.groups.get_mut(at) else {
            return Ok(());
        };
        let mut failed = Vec::new();
        match group.running.take() {
            None => return Ok(()),
            Some(Running::Beams(started)) => return self.search(at, *started, pieces),
            Some(Running::Rows(mut batch)) => {
                for (row, piece) in batch.step()? {
                    let Some(&(request, sequence)) = group.sequences.get(row) else {
                        continue;
                    };
                    let (piece, asked) = match (piece, self.requests.get(request)) {
                        (Ok(piece), Some(asked)) => (piece, asked),
                        (Err(error), _) => {
                            failed.push((request, error));
                            continue;
                        }
                        (Ok(_), None) => continue,
                    };
                    let tokenizer = asked.seen.member().tokenizer();
                    let token = piece.token.map(|token| {
                        let before = group.last.get_mut(row);
                        let before = before.and_then(|last| last.replace(token.id));
                        let own = token::after(tokenizer, before, token.id, token.logprob);
                        own.among(tokenizer, before, &piece.top)
                    });
                    pieces.push(AnswerPiece {
                        request,
                        sequence,
                        text: piece.text,
                        token,
                        finish_reason: batch.finish_reason(row),
                    });
                }
                for (request, error) in failed {
                    self.end(request, Err(error.into()));
                }
                self.end_finished(at, &batch);
                if let Some(group) = self.groups.get_mut(at)
                    && !batch.is_finished()
                {
                    group.running = Some(Running::Rows(batch));
                }
            }
        }
        Ok(())
    }

    fn search(
        &mut self,
        at: usize,
        started: Started,
        pieces: &mut Vec<AnswerPiece>,
    ) -> Result<(), Blip2Error> {
        let Some(group) = self.groups.get(at) else {
            return Ok(());
        };
        let Some(&request) = group.requests.first() else {
            return Ok(());
        };
        let Some(asked) = self.requests.get(request) else {
            return Ok(());
        };
        let tokenizer = asked.seen.member().tokenizer();
        let found = alone(decode(started, tokenizer, group.timings));
        if let Ok(found) = &found {
            let all = std::iter::once(found).chain(&found.alternatives);
            pieces.extend(all.enumerate().map(|(sequence, answer)| AnswerPiece {
                request,
                sequence,
                text: answer.text.clone(),
                token: None,
                finish_reason: Some(answer.finish_reason),
            }));
        }
        self.end(request, found);
        Ok(())
    }

    /// Makes answers of the requests of a group whose sequences have all ended.
    fn end_finished(&mut self, at: usize, batch: &Batch<'static, Timed>) {
        let Some(group) = self.groups.get(at) else {
            return;
        };
        let mut timings = group.timings;
        timings.prefill = Some(batch.session().prefill);
        timings.decode = Some(batch.session().decode);
        let mut ended = Vec::new();
        for &place in &group.requests {
            if self.done.get(place).copied().unwrap_or(true) {
                continue;
            }
            let rows = group.sequences.iter().enumerate();
            let rows = rows.filter(|(_, (request, _))| *request == place);
            let generated: Option<Vec<Generated>> =
                rows.map(|(row, _)| batch.generated(row)).collect();
            if let (Some(request), Some(generated)) = (self.requests.get(place), generated) {
                ended.push((place, answer_of(request, &generated, timings)));
            }
        }
        for (place, answer) in ended {
            self.end(place, answer);
        }
    }

    /// The requests that have ended since this was last asked, with their answers: a short one need not
    /// wait for a long one of the same batch.
    pub fn take_ended(&mut self) -> Vec<(usize, Result<Answer, Blip2Error>)> {
        let ended = std::mem::take(&mut self.ended);
        let taken = ended.into_iter().filter_map(|place| {
            let answer = self.answers.get_mut(place)?.take()?;
            Some((place, answer))
        });
        taken.collect()
    }

    /// Keeps how a request ended, unless it has ended before.
    fn end(&mut self, request: usize, answer: Result<Answer, Blip2Error>) {
        if let (Some(done @ false), Some(slot)) =
            (self.done.get_mut(request), self.answers.get_mut(request))
        {
            *done = true;
            *slot = Some(answer);
            self.ended.push(request);
        }
    }

    /// The answers, one for each request in their order. One that has not ended, or was taken, has
    /// [`Blip2Error::Cancelled`].
    pub fn into_answers(self) -> Vec<Result<Answer, Blip2Error>> {
        let answers = self.answers.into_iter();
        answers
            .map(|answer| answer.unwrap_or(Err(Blip2Error::Cancelled)))
            .collect()
    }
}

impl Group {
    /// Whether its next step is a beam search.
    fn searches(&self) -> bool {
        matches!(self.running, Some(Running::Beams(_)))
    }
}

/// Refuses requests of several models, whose pictures do not go into one batch.
fn check_one_model<P: Writer>(requests: &[AnswerRequest<P>]) -> Result<(), Blip2Error> {
    let mut models = requests.iter().map(|one| one.seen.member().loaded());
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
    alone(super::or_stopped(Err(error), 1))
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
    let sequences = most(|config| config.num_return_sequences);
    let generation = GenerationConfig::default()
        .with_max_new_tokens(tokens)
        .with_num_beams(sequences);
    Options::default()
        .with_generation(generation)
        .with_cancel(CancelToken::new())
}

impl<P: Writer> fmt::Debug for AnswerRequest<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerRequest")
            .field("of", &self.seen)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<P: Writer> fmt::Debug for AnswerBatch<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.answers.iter().flatten().count();
        f.debug_struct("AnswerBatch")
            .field("requests", &self.requests.len())
            .field("ended", &ended)
            .finish_non_exhaustive()
    }
}
