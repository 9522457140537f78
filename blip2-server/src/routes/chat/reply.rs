//! What the model wrote, in OpenAI's shape.

use axum::response::{Response, sse::Event};
use blip2_core::{Answer, AnswerPiece, FinishReason, Token, Tokenizer, generate::TrimmedPieces};

use super::{
    bytes::of_bytes,
    types::{
        ChatReply, Choice, Chunk, ChunkChoice, Delta, Logprobs, TokenLogprob, TopLogprob, Usage,
        Written as Said,
    },
};
use crate::{
    engine::Written,
    error::ApiError,
    model::Model,
    routes::{running::Running, sse},
};

/// What all parts of a reply say.
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: u64,
    /// What the model is called.
    pub(super) name: String,
    pub(super) model: Model,
    pub(super) prompt_tokens: usize,
    pub(super) logprobs: bool,
    pub(super) include_usage: bool,
}

/// Whole texts.
pub(super) fn whole(head: Head, answer: &Answer) -> ChatReply {
    let answers = || std::iter::once(answer).chain(&answer.alternatives);
    let completion = answers().map(|answer| answer.tokens.len()).sum();
    let choices = answers().enumerate().map(|(index, answer)| Choice {
        index,
        message: Said {
            role: "assistant",
            content: answer.text.clone(),
            refusal: None,
        },
        logprobs: head
            .logprobs
            .then(|| of_tokens(answer, head.model.tokenizer())),
        finish_reason: finish(answer.finish_reason),
    });
    ChatReply {
        object: "chat.completion",
        created: head.created,
        choices: choices.collect(),
        usage: Usage::new(head.prompt_tokens, completion),
        id: head.id,
        model: head.name,
    }
}

/// Texts while they grow.
pub(super) async fn stream(head: Head, running: Running) -> Result<Response, ApiError> {
    sse::events(
        running,
        State::default(),
        move |state, written| match written {
            Written::Piece(piece) => state.piece(&head, piece),
            Written::End(end) => match *end {
                Ok(_) => state.end(&head),
                Err(error) => vec![sse::json(&error.reply()), done()],
            },
        },
    )
    .await
}

#[derive(Default)]
struct State {
    sequences: Vec<Sequence>,
    tokens: usize,
}

#[derive(Default)]
struct Sequence {
    begun: bool,
    text: TrimmedPieces,
}

impl State {
    fn piece(&mut self, head: &Head, piece: AnswerPiece) -> Vec<Event> {
        self.tokens += usize::from(piece.token.is_some());
        let sequence = sse::sequence(&mut self.sequences, piece.sequence);
        let mut events = Vec::new();
        if !sequence.begun {
            sequence.begun = true;
            let delta = Delta {
                role: Some("assistant"),
                content: Some(String::new()),
            };
            events.push(head.chunk(choice(&piece, delta, None, None), None));
        }
        let content = Some(sequence.text.push(&piece.text));
        let delta = Delta {
            role: None,
            content,
        };
        let ended = piece.finish_reason;
        let token = piece
            .token
            .clone()
            .filter(|_| head.logprobs && ended != Some(FinishReason::Eos));
        let logprobs = token.map(|token| logprobs(vec![of_token(&token, head.model.tokenizer())]));
        events.push(head.chunk(choice(&piece, delta, logprobs, None), None));
        if let Some(reason) = ended.map(finish) {
            let last = choice(&piece, Delta::default(), None, Some(reason));
            events.push(head.chunk(last, None));
        }
        events
    }

    fn end(&self, head: &Head) -> Vec<Event> {
        let usage = Usage::new(head.prompt_tokens, self.tokens);
        let usage = head.include_usage.then(|| head.chunk(None, Some(usage)));
        usage.into_iter().chain([done()]).collect()
    }
}

impl Head {
    fn chunk(&self, choice: impl Into<Option<ChunkChoice>>, usage: Option<Usage>) -> Event {
        sse::json(&Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.name,
            choices: choice.into().into_iter().collect(),
            usage,
        })
    }
}

fn choice(
    piece: &AnswerPiece,
    delta: Delta,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
) -> ChunkChoice {
    ChunkChoice {
        index: piece.sequence,
        delta,
        logprobs,
        finish_reason,
    }
}

fn done() -> Event {
    Event::default().data("[DONE]")
}

/// The tokens of a text without the one that ended it, which has none.
fn of_tokens(answer: &Answer, tokenizer: &Tokenizer) -> Logprobs {
    let tokens = match (answer.finish_reason, answer.tokens.split_last()) {
        (FinishReason::Eos, Some((_, tokens))) => tokens,
        _ => &answer.tokens,
    };
    let told = tokens.iter().map(|token| of_token(token, tokenizer));
    logprobs(told.collect())
}

fn logprobs(content: Vec<TokenLogprob>) -> Logprobs {
    Logprobs {
        content,
        refusal: None,
    }
}

fn of_token(token: &Token, tokenizer: &Tokenizer) -> TokenLogprob {
    let top = token.top.iter().map(|other| TopLogprob {
        token: other.text.clone(),
        logprob: other.log_prob,
        bytes: of_bytes(other.id, &other.text, tokenizer),
    });
    TokenLogprob {
        token: token.text.clone(),
        logprob: token.log_prob,
        bytes: of_bytes(token.id, &token.text, tokenizer),
        top_logprobs: top.collect(),
    }
}

/// Why a text ended, in OpenAI's words.
fn finish(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Eos | FinishReason::StopString => "stop",
        _ => "length",
    }
}
