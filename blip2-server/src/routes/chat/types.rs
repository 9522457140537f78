//! The shapes of OpenAI's chat completions, as far as a model of pictures has a use for them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::routes::generation::Stop;

/// A conversation about a picture.
#[derive(Debug, Deserialize, ToSchema)]
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
    pub(super) top_logprobs: Option<u32>,
    /// The most tokens to write.
    pub(super) max_tokens: Option<usize>,
    /// The newer name of `max_tokens`.
    pub(super) max_completion_tokens: Option<usize>,
    /// How many texts to write.
    pub(super) n: Option<usize>,
    /// Where the text ends, at the latest.
    pub(super) stop: Option<Stop>,
    /// The random seed.
    pub(super) seed: Option<i64>,
    /// Above 0 tokens are sampled; without it and without `n` decoding is greedy.
    pub(super) temperature: Option<f64>,
    /// Sample from the most probable tokens whose probabilities add up to this.
    pub(super) top_p: Option<f64>,
    /// Not supported but for 0.
    pub(super) presence_penalty: Option<f64>,
    /// Not supported but for 0.
    pub(super) frequency_penalty: Option<f64>,
    /// Not supported.
    #[schema(value_type = Option<Object>)]
    pub(super) tools: Option<Value>,
    /// Not supported.
    #[schema(value_type = Option<Object>)]
    pub(super) functions: Option<Value>,
    /// Not supported but for `text`.
    #[schema(value_type = Option<Object>)]
    pub(super) response_format: Option<Value>,
    /// Not supported.
    #[schema(value_type = Option<Object>)]
    pub(super) logit_bias: Option<Value>,
}

/// What a stream tells besides.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct StreamOptions {
    /// Whether the last event tells how many tokens there were.
    #[serde(default)]
    pub(super) include_usage: bool,
}

/// What someone said.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Message {
    pub(super) role: Role,
    pub(super) content: Option<Content>,
}

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    System,
    Developer,
    User,
    Assistant,
}

/// A text, or texts and pictures.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A text or a picture.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Part {
    Text { text: String },
    ImageUrl { image_url: ImageUrl },
}

/// A picture by its URL.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ImageUrl {
    /// A data: URL; another one only where the server allows it.
    #[schema(example = "data:image/png;base64,…")]
    pub(super) url: String,
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
    pub(super) bytes: Vec<u8>,
    pub(super) top_logprobs: Vec<TopLogprob>,
}

/// A token that might have stood there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopLogprob {
    pub(super) token: String,
    pub(super) logprob: f32,
    pub(super) bytes: Vec<u8>,
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
