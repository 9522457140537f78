//! Texts that are written together, and those that join them.

use std::collections::{BTreeMap, VecDeque};

use blip2_core::{
    Answer, AnswerBatch, AnswerRequest, Answers, Blip2Error, Blip2Pipeline, BlipAnswerer,
    BlipCaptioner, Describes, Options, Seen, Writer,
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::Span;

use super::{
    compare::unable,
    job::{Ask, Write, Written},
    seen::Sight,
};
use crate::{error::ApiError, metrics::Metrics, words::Names};

/// Texts to be written about pictures that were encoded, by the model that encoded them.
#[derive(Default)]
pub(super) struct Writing {
    blip2: Vec<Asked<Blip2Pipeline>>,
    answerer: Vec<Asked<BlipAnswerer>>,
    captioner: Vec<Asked<BlipCaptioner>>,
}

/// A request, and whoever waits for its text.
struct Asked<P: Writer> {
    request: AnswerRequest<P>,
    client: Client,
}

impl<P: Writer> Asked<P> {
    fn request(&self) -> AnswerRequest<P> {
        self.request.clone()
    }
}

struct Client {
    names: Names,
    reply: UnboundedSender<Written>,
    span: Span,
    /// Whether its text is searched for by beams.
    searches: bool,
}

impl Client {
    fn end(&self, answer: Result<Answer, Blip2Error>) {
        let answer = self
            .span
            .in_scope(|| answer.map_err(|error| ApiError::told(&error, &self.names)));
        self.send(Written::End(Box::new(answer)));
    }

    /// Ends it by a fault of the server's own.
    fn fail(&self) {
        self.send(Written::End(Box::new(Err(ApiError::internal()))));
    }

    fn send(&self, written: Written) {
        // A client that has left reads nothing.
        let _ = self.reply.send(written);
    }
}

impl Writing {
    /// Adds a text; what cannot be written is told at once.
    pub(super) fn add(&mut self, write: Write, span: Span, sight: &Sight, names: Names) {
        let searches = write.searches();
        let Write {
            ask,
            options,
            reply,
            ..
        } = write;
        let client = Client {
            names,
            reply,
            span,
            searches,
        };
        match sight {
            Sight::Blip2(seen) => {
                let request = match &ask {
                    Ask::Question(_) => question(seen, &ask, &options),
                    _ => description(seen, &ask, &options),
                };
                push(&mut self.blip2, request, client);
            }
            Sight::Answerer(seen) => {
                push(&mut self.answerer, question(seen, &ask, &options), client);
            }
            Sight::Captioner(seen) => {
                let request = description(seen, &ask, &options);
                push(&mut self.captioner, request, client);
            }
            Sight::Photo(_) => client.send(Written::End(Box::new(Err(unable())))),
        }
    }

    /// Writes them all to their ends, and what joins them: `more` gives that for a number of free places out
    /// of `size`. A server has one model, so that there are texts of one kind alone.
    pub(super) fn run(self, size: usize, metrics: &Metrics, mut more: impl FnMut(usize) -> Self) {
        let of = Together { size, metrics };
        of.run(self.blip2, |free| more(free).blip2);
        of.run(self.answerer, |free| more(free).answerer);
        of.run(self.captioner, |free| more(free).captioner);
    }
}

/// A request, or why there is none; [`None`] for what the model cannot do.
type Request<P> = Result<AnswerRequest<P>, Option<Blip2Error>>;

fn question<P: Answers>(seen: &Seen<P>, ask: &Ask, options: &Options) -> Request<P> {
    match ask {
        Ask::Question(question) => Ok(seen.request(question, options)?),
        Ask::Prompt(_) | Ask::Caption => Err(None),
    }
}

fn description<P: Describes>(seen: &Seen<P>, ask: &Ask, options: &Options) -> Request<P> {
    match ask {
        Ask::Prompt(prompt) => Ok(seen.request_prompt(prompt, options)?),
        Ask::Caption => Ok(seen.request_caption(options)?),
        Ask::Question(_) => Err(None),
    }
}

fn push<P: Writer>(asked: &mut Vec<Asked<P>>, request: Request<P>, client: Client) {
    match request {
        Ok(request) => asked.push(Asked { request, client }),
        Err(Some(error)) => client.end(Err(error)),
        Err(None) => client.send(Written::End(Box::new(Err(unable())))),
    }
}

/// How texts are written together.
#[derive(Clone, Copy)]
struct Together<'a> {
    size: usize,
    metrics: &'a Metrics,
}

/// Texts that grow in one batch.
struct Growing<P: Writer> {
    batch: AnswerBatch<P>,
    /// By the numbers of their requests in the batch.
    clients: BTreeMap<usize, Client>,
}

impl Together<'_> {
    /// Writes texts to their ends, and what joins them.
    fn run<P: Writer>(self, asked: Vec<Asked<P>>, mut more: impl FnMut(usize) -> Vec<Asked<P>>) {
        let mut waiting = VecDeque::from(asked);
        let mut running = None;
        loop {
            running = self.begin(running, &mut waiting);
            let Some(mut growing) = running.take() else {
                return;
            };
            if growing.step(self.metrics) {
                let free = match waiting.is_empty() {
                    true => growing.free(self.size),
                    // Before anything may join, what waits has to run.
                    false => 0,
                };
                waiting.extend(more(free));
                running = Some(growing);
            }
        }
    }

    /// Begins as many of those that wait as go together with what runs. Where they do not fit together, or one of
    /// them spoils the others, halves of them are tried; what cannot run alone is told so.
    fn begin<P: Writer>(
        self,
        mut running: Option<Growing<P>>,
        waiting: &mut VecDeque<Asked<P>>,
    ) -> Option<Growing<P>> {
        let mut part = waiting.len();
        while part > 0 {
            let requests: Vec<_> = waiting.iter().take(part).map(Asked::request).collect();
            let room = running
                .as_ref()
                .map(|growing| growing.batch.has_room(&requests));
            let has_room = !matches!(room, Some(Err(_)));
            match has_room.then(|| AnswerBatch::start(requests)) {
                Some(Ok(batch)) => {
                    let clients = waiting.drain(..part).map(|asked| asked.client);
                    self.join(&mut running, batch, clients.collect());
                    part = waiting.len();
                }
                Some(Err(error)) if part == 1 => {
                    if let Some(asked) = waiting.pop_front() {
                        asked.client.end(Err(error));
                    }
                    part = waiting.len();
                }
                // Alone it will have room.
                None if part == 1 => break,
                _ => part /= 2,
            }
        }
        running
    }

    /// Adds a batch to what runs.
    fn join<P: Writer>(
        self,
        running: &mut Option<Growing<P>>,
        batch: AnswerBatch<P>,
        clients: Vec<Client>,
    ) {
        let Some(growing) = running else {
            self.metrics.batch(clients.len());
            let clients = clients.into_iter().enumerate().collect();
            *running = Some(Growing { batch, clients });
            return;
        };
        let first = growing.batch.len();
        match growing.batch.join(batch) {
            Ok(()) => {
                self.metrics.joined(clients.len());
                growing.clients.extend((first..).zip(clients));
            }
            Err(error) => {
                tracing::error!(%error, "texts could not join others");
                clients.iter().for_each(Client::fail);
            }
        }
    }
}

impl<P: Writer> Growing<P> {
    /// A token of each text; `false` once there is none that grows.
    fn step(&mut self, metrics: &Metrics) -> bool {
        // Some may have been stopped before they began.
        self.give();
        if self.batch.is_finished() {
            return false;
        }
        let pieces = match self.batch.step() {
            Ok(pieces) => pieces,
            Err(error) => {
                tracing::error!(%error, "a batch failed");
                self.clients.values().for_each(Client::fail);
                return false;
            }
        };
        let tokens = pieces.iter().filter(|piece| piece.token.is_some());
        metrics.tokens(tokens.count());
        for piece in pieces {
            if let Some(client) = self.clients.get(&piece.request) {
                client.send(Written::Piece(piece));
            }
        }
        self.give();
        !self.batch.is_finished()
    }

    /// How many places are free. A beam search is one long step, for which nobody else should wait.
    fn free(&self, size: usize) -> usize {
        match self.clients.values().any(|client| client.searches) {
            true => 0,
            false => size.saturating_sub(self.clients.len()),
        }
    }

    /// Hands out what has ended.
    fn give(&mut self) {
        for (request, answer) in self.batch.take_ended() {
            if let Some(client) = self.clients.remove(&request) {
                client.end(answer);
            }
        }
    }
}
