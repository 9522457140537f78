//! What is asked of the engine.

use blip2_core::{
    Answer, AnswerPiece, CancelToken, FinishReason, ImageEmbedding, MatchScore, Options,
    RankOptions, Ranked, TextEmbedding,
    explain::{ExplainOptions, Explanation},
};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::Span;

use super::queue::Waits;
use crate::{error::ApiError, picture::Upload, words::Names};

/// A request that waits for its turn.
pub(crate) struct Job {
    pub(crate) work: Work,
    /// Whom it asks, by its place among the models that are served.
    pub(crate) model: usize,
    /// What the request calls what it is about.
    pub(crate) names: Names,
    /// Cancelled when its client leaves; with the request's deadline.
    pub(crate) cancel: CancelToken,
    /// The room that its body takes, if it has one of its own; given back with the body.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    /// The request's, so that what is logged of it names it.
    pub(crate) span: Span,
}

impl Waits for Job {
    fn cancel(&self) -> &CancelToken {
        &self.cancel
    }

    fn model(&self) -> usize {
        self.model
    }

    fn joins(&self) -> bool {
        match &self.work {
            // A beam search is one long step, for which others would have to wait.
            Work::Write(write) => !write.searches(),
            _ => false,
        }
    }
}

/// What is to be done, and where its result goes.
pub(crate) enum Work {
    Write(Box<Write>),
    Rank(Rank),
    Match(Match),
    EmbedImage(EmbedImage),
    EmbedText(EmbedText),
    Explain(Box<Explain>),
}

/// What is to be written about a picture.
pub(crate) enum Ask {
    /// The answer to a question.
    Question(String),
    /// What follows a prompt.
    Prompt(String),
    /// A caption.
    Caption,
}

/// A text to be written, piece by piece.
pub(crate) struct Write {
    pub(crate) picture: Upload,
    pub(crate) ask: Ask,
    pub(crate) options: Options,
    /// It holds no more than the tokens that were asked for, so that nothing waits for a slow reader.
    pub(crate) reply: mpsc::UnboundedSender<Written>,
}

impl Write {
    /// Whether it is searched for by beams.
    pub(super) fn searches(&self) -> bool {
        let generation = self.options.generation();
        generation.is_some_and(|config| config.num_beams > 1)
    }
}

/// What comes of a text that is written.
#[derive(Debug)]
pub(crate) enum Written {
    /// More of it.
    Piece(AnswerPiece),
    /// All of it, or why there is none. Nothing comes after it.
    End(Box<Result<Answer, ApiError>>),
}

/// Candidate answers to be ranked.
pub(crate) struct Rank {
    pub(crate) picture: Upload,
    pub(crate) question: String,
    pub(crate) candidates: Vec<String>,
    pub(crate) options: RankOptions,
    pub(crate) reply: oneshot::Sender<Result<Vec<Ranked>, ApiError>>,
}

/// Texts to be compared with a picture.
pub(crate) struct Match {
    pub(crate) picture: Upload,
    pub(crate) texts: Vec<String>,
    pub(crate) reply: oneshot::Sender<Result<Vec<Compared>, ApiError>>,
}

/// How a text goes with a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Compared {
    /// By the head that reads both.
    pub(crate) score: MatchScore,
    /// By their embeddings.
    pub(crate) similarity: f32,
}

/// A picture to be embedded.
pub(crate) struct EmbedImage {
    pub(crate) picture: Upload,
    pub(crate) reply: oneshot::Sender<Result<ImageEmbedding, ApiError>>,
}

/// Texts to be embedded.
pub(crate) struct EmbedText {
    pub(crate) texts: Vec<String>,
    /// Where each stands in the request.
    pub(crate) places: Vec<usize>,
    pub(crate) reply: oneshot::Sender<Result<Vec<TextEmbedding>, ApiError>>,
}

/// What is to be explained by a picture.
pub(crate) struct Explain {
    pub(crate) picture: Upload,
    pub(crate) about: About,
    pub(crate) options: ExplainOptions,
    pub(crate) drawing: Option<Drawing>,
    pub(crate) reply: oneshot::Sender<Result<Explained, ApiError>>,
}

/// What a picture is to explain.
pub(crate) enum About {
    /// What the model writes, or a text that the options give in its place.
    Text(Ask),
    /// How well a text matches.
    Match(String),
    /// How similar a text is.
    Similarity(String),
}

/// How an explanation is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drawing {
    /// One map over the picture.
    HeatMap,
    /// A map for each token.
    Strip,
}

/// An explanation, and the PNG of it if one was asked for.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) why: Explanation,
    pub(crate) png: Option<Bytes>,
}

impl Job {
    /// The job, if someone still waits for it.
    pub(super) fn wanted(self) -> Option<Self> {
        let error = match self.cancel.reason() {
            None => return Some(self),
            Some(FinishReason::Deadline) => ApiError::timeout(),
            Some(_) => ApiError::stopping(),
        };
        self.fail(error);
        None
    }

    /// The picture that is to be encoded for it.
    pub(super) fn picture(&self) -> Option<&Upload> {
        match &self.work {
            Work::Write(write) => Some(&write.picture),
            Work::Rank(rank) => Some(&rank.picture),
            Work::Match(compare) => Some(&compare.picture),
            Work::EmbedImage(embed) => Some(&embed.picture),
            // An explanation wants to see the picture on its way through the encoder.
            Work::EmbedText(_) | Work::Explain(_) => None,
        }
    }

    /// Ends it without a result.
    pub(super) fn fail(self, error: ApiError) {
        // A client that has left reads nothing.
        match self.work {
            Work::Write(write) => {
                let _ = write.reply.send(Written::End(Box::new(Err(error))));
            }
            Work::Rank(rank) => {
                let _ = rank.reply.send(Err(error));
            }
            Work::Match(compare) => {
                let _ = compare.reply.send(Err(error));
            }
            Work::EmbedImage(embed) => {
                let _ = embed.reply.send(Err(error));
            }
            Work::EmbedText(embed) => {
                let _ = embed.reply.send(Err(error));
            }
            Work::Explain(explain) => {
                let _ = explain.reply.send(Err(error));
            }
        }
    }
}
