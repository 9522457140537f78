//! A flow that runs.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use super::{AnswerFlow, Ask, Request, incoming::Incoming};
use crate::{
    error::Blip2Error,
    verbs::{
        Answer, Options, Picture, Seen, Writer,
        batch::{AnswerBatch, AnswerRequest, search_together, stopped_or},
        each::each,
    },
};

/// The results of an [`AnswerFlow`]: the number of a picture, from 0, and its answer.
///
/// Nothing is computed before the first is asked for. Made by [`AnswerFlow::answers`] and
/// [`AnswerFlow::captions`].
#[must_use = "nothing is computed before the first result is asked for"]
pub struct Flowing<P: Writer, T, E> {
    member: P,
    places: usize,
    options: Arc<dyn Fn(usize) -> Options + Send + Sync>,
    request: Request<P>,
    incoming: Incoming<Result<(T, Ask), E>>,
    /// How many have come.
    count: usize,
    /// Requests that there was no memory for yet.
    waiting: VecDeque<(usize, AnswerRequest<P>)>,
    /// How many grew when there was no memory for one more.
    full: Option<usize>,
    batch: Option<AnswerBatch<P>>,
    /// The picture of each request that runs.
    pictures: BTreeMap<usize, usize>,
    done: Done<E>,
}

/// Results that were not asked for yet.
struct Done<E> {
    results: BTreeMap<usize, Result<Answer, E>>,
    /// Where they come in order, the next one.
    due: Option<usize>,
}

impl<E> Done<E> {
    fn next(&mut self) -> Option<(usize, Result<Answer, E>)> {
        let Some(due) = &mut self.due else {
            return self.results.pop_first();
        };
        let result = self.results.remove(due)?;
        *due += 1;
        Some((*due - 1, result))
    }
}

impl<P: Writer, T: Send + 'static, E: Send + 'static> Flowing<P, T, E> {
    pub(super) fn start(
        flow: AnswerFlow<P>,
        request: Request<P>,
        asked: impl Iterator<Item = Result<(T, Ask), E>> + Send + 'static,
    ) -> Self {
        Self {
            incoming: Incoming::of(asked, flow.places),
            member: flow.member,
            places: flow.places,
            options: flow.options,
            request,
            count: 0,
            waiting: VecDeque::new(),
            full: None,
            batch: None,
            pictures: BTreeMap::new(),
            done: Done {
                results: BTreeMap::new(),
                due: flow.in_order.then_some(0),
            },
        }
    }
}

impl<P: Writer, T, E> Flowing<P, T, E>
where
    T: Send + 'static,
    for<'a> &'a T: Into<Picture<'a>>,
    E: From<Blip2Error> + Send + 'static,
{
    fn growing(&self) -> usize {
        self.batch.as_ref().map_or(0, AnswerBatch::growing)
    }

    /// Gives free places to what has come.
    fn admit(&mut self) {
        let (growing, mut found) = (self.growing(), Vec::new());
        let free = self.places - growing.min(self.places);
        // Several prompts cost little more than one to be read, so a few places are given at a time.
        if growing > 0 && free < self.places.div_ceil(4) {
            return;
        }
        while found.len() + self.waiting.len() < free {
            let wait = growing + found.len() + self.waiting.len() == 0;
            let Some(item) = self.incoming.next(wait) else {
                break;
            };
            let number = self.count;
            self.count += 1;
            match item {
                Ok((picture, ask)) => found.push((number, picture, ask)),
                Err(error) => {
                    self.done.results.insert(number, Err(error));
                }
            }
        }
        self.look(&found);
        self.begin();
    }

    /// Looks at pictures together, and makes requests of them.
    fn look(&mut self, found: &[(usize, T, Ask)]) {
        let Some((first, ..)) = found.first() else {
            return;
        };
        let options = (self.options)(*first);
        let pictures = found.iter().map(|(_, picture, _)| Ok(picture.into()));
        let seen = each(pictures.collect(), |_, pictures: &[Picture<'_>]| {
            Seen::of_batch(&self.member, pictures, &options)
        });
        for ((number, _, ask), seen) in found.iter().zip(seen) {
            let options = (self.options)(*number);
            match seen.and_then(|seen| (self.request)(&seen, ask, &options)) {
                Ok(request) => self.waiting.push_back((*number, request)),
                Err(error) => self.end(*number, stopped_or(error)),
            }
        }
    }

    /// Begins what waits and has room.
    fn begin(&mut self) {
        let growing = self.growing();
        if self.full.is_some_and(|full| growing >= full) {
            return;
        }
        let waiting = self.waiting.make_contiguous();
        // As many of the first as there is room for: the smallest number that there is none for is halved in.
        let (mut fit, mut refused) = (0, None);
        let mut trial = waiting.len();
        while trial > fit {
            match has_room(self.batch.as_ref(), &waiting[..trial]) {
                Ok(()) => fit = trial,
                Err(error) => refused = Some((trial, error)),
            }
            let over = refused
                .as_ref()
                .map_or(waiting.len() + 1, |(over, _)| *over);
            trial = (fit + over) / 2;
        }
        self.full = refused.is_some().then_some(growing + fit);
        let beginning: Vec<_> = self.waiting.drain(..fit).collect();
        let (numbers, requests): (Vec<usize>, Vec<_>) = beginning.into_iter().unzip();
        self.begin_all(&numbers, requests);
        if let (0, Some((_, error))) = (growing + fit, refused)
            && let Some((number, _)) = self.waiting.pop_front()
        {
            // It does not fit alone either.
            self.full = None;
            self.end(number, Err(error));
        }
    }

    /// Begins requests together; where they do not go together, each alone.
    fn begin_all(&mut self, numbers: &[usize], requests: Vec<AnswerRequest<P>>) {
        if requests.is_empty() {
            return;
        }
        if let Some(Ok(answers)) = search_together(&requests) {
            let answers = numbers.iter().zip(answers);
            return answers.for_each(|(number, answer)| self.end(*number, Ok(answer)));
        }
        match AnswerBatch::start(requests.clone()) {
            Ok(batch) => self.join(numbers, batch),
            Err(error) => match numbers {
                [number] => self.end(*number, Err(error.of_item())),
                _ => numbers.iter().zip(requests).for_each(|(number, request)| {
                    self.begin_all(&[*number], vec![request]);
                }),
            },
        }
    }

    fn join(&mut self, numbers: &[usize], batch: AnswerBatch<P>) {
        let first = self.batch.as_ref().map_or(0, AnswerBatch::len);
        let joined = match &mut self.batch {
            Some(running) => running.join(batch),
            none => {
                *none = Some(batch);
                Ok(())
            }
        };
        match joined {
            Ok(()) => self.pictures.extend((first..).zip(numbers.iter().copied())),
            Err(error) => self.fail(numbers, error),
        }
        self.collect();
    }

    /// A step of all that runs.
    fn step(&mut self) {
        let Some(batch) = &mut self.batch else { return };
        match batch.step() {
            Ok(_) => self.collect(),
            Err(error) => self.fail_all(error),
        }
        let missing = |batch: &AnswerBatch<P>| batch.is_finished() && batch.growing() > 0;
        if self.batch.as_ref().is_some_and(missing) {
            let reason = "a batch ended without all of its answers".into();
            self.fail_all(Blip2Error::Rows { reason });
        }
    }

    /// Ends all that runs.
    fn fail_all(&mut self, error: Blip2Error) {
        self.batch = None;
        let numbers = std::mem::take(&mut self.pictures).into_values();
        self.fail(&numbers.collect::<Vec<_>>(), error);
    }

    /// Takes what has ended.
    fn collect(&mut self) {
        let ended = self.batch.as_mut().map(AnswerBatch::take_ended);
        for (request, answer) in ended.into_iter().flatten() {
            if let Some(number) = self.pictures.remove(&request) {
                self.end(number, answer);
            }
        }
    }

    fn end(&mut self, number: usize, answer: Result<Answer, Blip2Error>) {
        let answer = answer.map_err(E::from);
        self.done.results.insert(number, answer);
    }

    /// Ends requests that ran together by what ended them.
    fn fail(&mut self, numbers: &[usize], error: Blip2Error) {
        let reason = format!("what it ran with failed: {error}");
        let mut error = Some(error);
        for &number in numbers {
            let reason = reason.clone();
            let error = error.take().unwrap_or(Blip2Error::Rows { reason });
            self.end(number, Err(error));
        }
    }
}

/// Whether there is memory for requests beside those of a batch.
fn has_room<P: Writer>(
    batch: Option<&AnswerBatch<P>>,
    beginning: &[(usize, AnswerRequest<P>)],
) -> Result<(), Blip2Error> {
    let requests: Vec<_> = beginning.iter().map(|(_, one)| one.clone()).collect();
    match batch {
        Some(batch) => batch.has_room(&requests),
        None => AnswerBatch::start(Vec::new())?.has_room(&requests),
    }
}

impl<P: Writer, T, E> Iterator for Flowing<P, T, E>
where
    T: Send + 'static,
    for<'a> &'a T: Into<Picture<'a>>,
    E: From<Blip2Error> + Send + 'static,
{
    type Item = (usize, Result<Answer, E>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(done) = self.done.next() {
                return Some(done);
            }
            self.admit();
            if self.growing() > 0 {
                self.step();
            } else if self.incoming.is_over()
                && self.waiting.is_empty()
                && self.done.results.is_empty()
            {
                return None;
            }
        }
    }
}

impl<P: Writer, T, E> fmt::Debug for Flowing<P, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flowing")
            .field("places", &self.places)
            .field("read", &self.count)
            .field("done", &self.done.results.len())
            .finish_non_exhaustive()
    }
}
