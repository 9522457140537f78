//! What the routes are asked, and what they reply.

use blip2_core::{Answer, FinishReason, Ranked, Token};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    error::ApiError,
    http::fields::{Fields, FromFields},
    routes::{generation::Generation, picture::Image},
};

/// A question about a picture.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerQuery {
    /// The model's name, as `/v1/models` has it: by it an adapter is chosen.
    pub(super) model: Option<String>,
    /// The picture as a data: URL, or a file of that name in a form; for a model of videos an animated one, or one
    /// for each frame.
    #[schema(example = "data:image/png;base64,…")]
    pub(super) image: Option<Image>,
    /// The question, which is put into the model's prompt template.
    #[schema(example = "what color is the shape?")]
    pub(super) question: String,
    /// Whether the text is sent while it grows, as server-sent events.
    pub(super) stream: Option<bool>,
    #[serde(flatten)]
    pub(super) generation: Generation,
}

/// A picture to be described.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CaptionQuery {
    /// The model's name, as `/v1/models` has it: by it an adapter is chosen.
    pub(super) model: Option<String>,
    /// The picture as a data: URL, or a file of that name in a form; for a model of videos an animated one, or one
    /// for each frame.
    pub(super) image: Option<Image>,
    /// What the caption goes on from, such as `a photo of`.
    pub(super) prompt: Option<String>,
    /// Whether the text is sent while it grows, as server-sent events.
    pub(super) stream: Option<bool>,
    #[serde(flatten)]
    pub(super) generation: Generation,
}

/// Candidate answers to a question about a picture.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RankQuery {
    /// The model's name, as `/v1/models` has it: by it an adapter is chosen.
    pub(super) model: Option<String>,
    /// The picture as a data: URL, or a file of that name in a form; for a model of videos an animated one, or one
    /// for each frame.
    pub(super) image: Option<Image>,
    /// The question.
    pub(super) question: String,
    /// The candidates; in a form the field comes once for each.
    pub(super) candidates: Vec<String>,
    /// Rank by the mean of the tokens' log-probabilities in place of their sum.
    pub(super) length_normalized: Option<bool>,
}

/// Texts to be compared with a picture.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MatchQuery {
    /// The model's name, as `/v1/models` has it: by it an adapter is chosen.
    pub(super) model: Option<String>,
    /// The picture as a data: URL, or a file of that name in a form; for a model of videos an animated one, or one
    /// for each frame.
    pub(super) image: Option<Image>,
    /// The texts; in a form the field comes once for each.
    pub(super) texts: Vec<String>,
}

impl FromFields for AnswerQuery {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        let query = Self {
            model: fields.optional("model")?,
            image: fields.optional("image")?,
            question: fields.required("question")?,
            stream: fields.optional("stream")?,
            generation: Generation::read(&mut fields)?,
        };
        fields.end()?;
        query.generation.check_sampling()?;
        Ok(query)
    }
}

impl FromFields for CaptionQuery {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        let query = Self {
            model: fields.optional("model")?,
            image: fields.optional("image")?,
            prompt: fields.optional("prompt")?,
            stream: fields.optional("stream")?,
            generation: Generation::read(&mut fields)?,
        };
        fields.end()?;
        query.generation.check_sampling()?;
        Ok(query)
    }
}

impl FromFields for RankQuery {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        let query = Self {
            model: fields.optional("model")?,
            image: fields.optional("image")?,
            question: fields.required("question")?,
            candidates: fields.required("candidates")?,
            length_normalized: fields.optional("length_normalized")?,
        };
        fields.end()?;
        Ok(query)
    }
}

impl FromFields for MatchQuery {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        let query = Self {
            model: fields.optional("model")?,
            image: fields.optional("image")?,
            texts: fields.required("texts")?,
        };
        fields.end()?;
        Ok(query)
    }
}

/// A text that the model wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerReply {
    /// The text.
    pub(super) text: String,
    /// How sure the model was, in [0, 1]: the geometric mean of its tokens' probabilities.
    pub(super) confidence: f32,
    /// Why it ended: `eos`, `stop_string`, `max_tokens` or `context_full`.
    #[schema(value_type = String)]
    pub(super) finish_reason: FinishReason,
    /// Its tokens, with their natural log-probabilities.
    pub(super) tokens: Vec<TokenReply>,
    /// The other texts, if several were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub(super) alternatives: Vec<AnswerReply>,
}

/// A token that the model wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenReply {
    /// Its id.
    pub(super) id: u32,
    /// Its text, with the space before it; nothing for the token that ends a text.
    pub(super) text: String,
    /// Its natural log-probability.
    pub(super) log_prob: f32,
}

/// The candidates, the most probable first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RankReply {
    pub(super) ranked: Vec<RankedReply>,
}

/// A candidate and how likely the model finds it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RankedReply {
    /// The candidate.
    pub(super) text: String,
    /// Its place among the candidates that were given.
    pub(super) index: usize,
    /// Its log-probability, by which candidates are ranked.
    pub(super) score: f32,
    /// Its share of the probability that all candidates have together.
    pub(super) share: f32,
}

/// How each text goes with the picture, in the order of the texts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MatchReply {
    pub(super) matches: Vec<MatchedReply>,
}

/// How a text goes with the picture.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MatchedReply {
    /// The text.
    pub(super) text: String,
    /// The probability that it describes the picture, by the head that reads both.
    pub(super) probability: f32,
    /// That head's logit of a match.
    pub(super) logit: f32,
    /// The cosine of their embeddings.
    pub(super) similarity: f32,
}

impl From<Answer> for AnswerReply {
    fn from(answer: Answer) -> Self {
        Self {
            confidence: answer.confidence(),
            text: answer.text,
            finish_reason: answer.finish_reason,
            tokens: answer.tokens.into_iter().map(TokenReply::from).collect(),
            alternatives: answer.alternatives.into_iter().map(Self::from).collect(),
        }
    }
}

impl From<Token> for TokenReply {
    fn from(token: Token) -> Self {
        let Token {
            id, text, log_prob, ..
        } = token;
        Self { id, text, log_prob }
    }
}

impl From<Ranked> for RankedReply {
    fn from(ranked: Ranked) -> Self {
        Self {
            text: ranked.text,
            index: ranked.index,
            score: ranked.score,
            share: ranked.share,
        }
    }
}
