//! The shapes of OpenAI's chat completions, as far as a model of pictures has a use for them.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::unsupported::check_rest;
use crate::{
    error::ApiError,
    http::fields::{Fields, FromFields, FromValue, one_of, wrong},
    routes::generation::Generation,
};

/// A conversation about a picture.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatQuery {
    /// The model's name, as `/v1/models` has it.
    pub(super) model: Option<String>,
    /// What was said so far; the last word is the user's.
    pub(super) messages: Vec<Message>,
    /// Whether the text is sent while it grows, as server-sent events.
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
    /// Whether tokens are told with their log-probabilities.
    pub(super) logprobs: Option<bool>,
    /// How many of the likeliest tokens are told in each place, up to 20; with `logprobs`.
    pub(super) top_logprobs: Option<usize>,
    /// The newer name of `max_tokens`.
    pub(super) max_completion_tokens: Option<usize>,
    #[serde(flatten)]
    pub(super) generation: Generation,
}

impl FromFields for ChatQuery {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        let query = Self {
            model: fields.optional("model")?,
            messages: fields.required("messages")?,
            stream: fields.optional("stream")?,
            stream_options: fields.optional("stream_options")?,
            logprobs: fields.optional("logprobs")?,
            top_logprobs: fields.optional("top_logprobs")?,
            max_completion_tokens: fields.optional("max_completion_tokens")?,
            generation: Generation::read(&mut fields)?,
        };
        check_rest(&fields)?;
        Ok(query)
    }
}

/// What a stream tells besides.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamOptions {
    /// Whether the last event tells how many tokens there were.
    pub(super) include_usage: Option<bool>,
}

impl FromFields for StreamOptions {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        Ok(Self {
            include_usage: fields.optional("include_usage")?,
        })
    }
}

/// What someone said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Message {
    pub(super) role: Role,
    pub(super) content: Option<Content>,
}

impl FromFields for Message {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        Ok(Self {
            role: fields.required("role")?,
            content: fields.optional("content")?,
        })
    }
}

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    System,
    Developer,
    User,
    Assistant,
}

impl FromValue for Role {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        let roles = [
            ("system", Self::System),
            ("developer", Self::Developer),
            ("user", Self::User),
            ("assistant", Self::Assistant),
        ];
        one_of(&value, at, &roles)
    }
}

/// A text, or texts and pictures.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

impl FromValue for Content {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        match value {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Array(_) => Vec::from_value(value, at).map(Self::Parts),
            other => Err(wrong(at, "a text or a list of parts", &other)),
        }
    }
}

/// A text or a picture.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Part {
    Text { text: String },
    ImageUrl { image_url: ImageUrl },
}

impl FromFields for Part {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        Ok(match fields.required("type")? {
            Kind::Text => Self::Text {
                text: fields.required("text")?,
            },
            Kind::ImageUrl => Self::ImageUrl {
                image_url: fields.required("image_url")?,
            },
        })
    }
}

/// What a part is.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    ImageUrl,
}

impl FromValue for Kind {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        let kinds = [("text", Self::Text), ("image_url", Self::ImageUrl)];
        one_of(&value, at, &kinds)
    }
}

/// A picture by its URL.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImageUrl {
    /// A data: URL; another one only where the server allows it.
    #[schema(example = "data:image/png;base64,…")]
    pub(super) url: String,
}

impl FromFields for ImageUrl {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        Ok(Self {
            url: fields.required("url")?,
        })
    }
}

/// What the model wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatReply {
    pub(super) id: String,
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) choices: Vec<Choice>,
    pub(super) usage: Usage,
}

/// One of the texts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Choice {
    pub(super) index: usize,
    pub(super) message: Written,
    pub(super) logprobs: Option<Logprobs>,
    pub(super) finish_reason: &'static str,
}

/// What the assistant said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Written {
    pub(super) role: &'static str,
    pub(super) content: String,
    pub(super) refusal: Option<String>,
}

/// The tokens of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Logprobs {
    pub(super) content: Vec<TokenLogprob>,
    pub(super) refusal: Option<Vec<TokenLogprob>>,
}

/// A token with its natural log-probability.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenLogprob {
    pub(super) token: String,
    pub(super) logprob: f32,
    /// The token's bytes, which may be a part of a character; nothing where the tokenizer does not tell.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) top_logprobs: Vec<TopLogprob>,
}

/// A token that might have stood there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopLogprob {
    pub(super) token: String,
    pub(super) logprob: f32,
    /// The token's bytes, which may be a part of a character; nothing where the tokenizer does not tell.
    pub(super) bytes: Option<Vec<u8>>,
}

/// How many tokens there were.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Usage {
    pub(super) prompt_tokens: usize,
    pub(super) completion_tokens: usize,
    pub(super) total_tokens: usize,
}

/// An event of a stream.
#[derive(Debug, Serialize)]
pub(super) struct Chunk<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: &'a str,
    pub(super) choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Usage>,
}

/// What came to one of the texts.
#[derive(Debug, Serialize)]
pub(super) struct ChunkChoice {
    pub(super) index: usize,
    pub(super) delta: Delta,
    pub(super) logprobs: Option<Logprobs>,
    pub(super) finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
}

impl Usage {
    pub(super) fn new(prompt_tokens: usize, completion_tokens: usize) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
        }
    }
}
