//! Texts that are written together.

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
use crate::{error::ApiError, metrics::Metrics};

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

struct Client {
    reply: UnboundedSender<Written>,
    span: Span,
}

impl Client {
    fn end(&self, answer: Result<Answer, Blip2Error>) {
        let answer = self.span.in_scope(|| answer.map_err(ApiError::from));
        self.send(Written::End(Box::new(answer)));
    }

    fn send(&self, written: Written) {
        // A client that has left reads nothing.
        let _ = self.reply.send(written);
    }
}

impl Writing {
    /// Adds a text; what cannot be written is told at once.
    pub(super) fn add(&mut self, write: Write, span: Span, sight: &Sight) {
        let Write {
            ask,
            options,
            reply,
            ..
        } = write;
        let client = Client { reply, span };
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

    /// Writes them all to their ends.
    pub(super) fn run(self, metrics: &Metrics) {
        run(self.blip2, metrics);
        run(self.answerer, metrics);
        run(self.captioner, metrics);
    }
}

type Request<P> = Result<AnswerRequest<P>, ApiError>;

fn question<P: Answers>(seen: &Seen<P>, ask: &Ask, options: &Options) -> Request<P> {
    match ask {
        Ask::Question(question) => Ok(seen.request(question, options)?),
        Ask::Prompt(_) | Ask::Caption => Err(unable()),
    }
}

fn description<P: Describes>(seen: &Seen<P>, ask: &Ask, options: &Options) -> Request<P> {
    match ask {
        Ask::Prompt(prompt) => Ok(seen.request_prompt(prompt, options)?),
        Ask::Caption => Ok(seen.request_caption(options)?),
        Ask::Question(_) => Err(unable()),
    }
}

fn push<P: Writer>(asked: &mut Vec<Asked<P>>, request: Request<P>, client: Client) {
    match request {
        Ok(request) => asked.push(Asked { request, client }),
        Err(error) => client.send(Written::End(Box::new(Err(error)))),
    }
}

/// Writes texts together. Where they do not fit together, or one of them spoils the batch, halves of it
/// run one after the other.
fn run<P: Writer>(mut asked: Vec<Asked<P>>, metrics: &Metrics) {
    if asked.is_empty() {
        return;
    }
    let requests = asked.iter().map(|asked| asked.request.clone()).collect();
    match AnswerBatch::start(requests) {
        Ok(batch) => {
            metrics.batch(asked.len());
            let clients = asked.into_iter().map(|asked| asked.client).collect();
            drive(batch, clients, metrics);
        }
        Err(error) if asked.len() == 1 => {
            if let Some(asked) = asked.pop() {
                asked.client.end(Err(error));
            }
        }
        Err(_) => {
            let rest = asked.split_off(asked.len() / 2);
            run(asked, metrics);
            run(rest, metrics);
        }
    }
}

fn drive<P: Writer>(mut batch: AnswerBatch<P>, clients: Vec<Client>, metrics: &Metrics) {
    let give = |batch: &mut AnswerBatch<P>| {
        for (request, answer) in batch.take_ended() {
            if let Some(client) = clients.get(request) {
                client.end(answer);
            }
        }
    };
    // Some may have been stopped before they began.
    give(&mut batch);
    while !batch.is_finished() {
        let pieces = match batch.step() {
            Ok(pieces) => pieces,
            Err(error) => {
                tracing::error!(%error, "a batch failed");
                // Those that had ended before do not read on.
                let failed = || Written::End(Box::new(Err(ApiError::internal())));
                return clients.iter().for_each(|client| client.send(failed()));
            }
        };
        let tokens = pieces.iter().filter(|piece| piece.token.is_some());
        metrics.tokens(tokens.count());
        for piece in pieces {
            if let Some(client) = clients.get(piece.request) {
                client.send(Written::Piece(piece));
            }
        }
        give(&mut batch);
    }
}
