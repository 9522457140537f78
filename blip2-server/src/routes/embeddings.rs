//! `/v1/embeddings`: pictures and texts in the space that they share, in OpenAI's shape.

use axum::extract::State;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use blip2_core::{ImageEmbedding, TextEmbedding};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    generation::{at_most, check_texts},
    native::able,
    picture::by_urls,
    running::part,
};
use crate::{
    app::{App, Client},
    engine::{EmbedImage, EmbedText, Work},
    error::{ApiError, ErrorReply},
    http::payload::{Held, Payload},
    json::Json,
    model::Model,
};

/// Pictures and texts to be embedded.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbeddingsQuery {
    /// The model's name, as `/v1/models` has it.
    model: Option<String>,
    /// A text, a picture, or a list of them.
    input: Input,
    /// `float` or `base64`, of numbers of 32 bits, the lowest byte first.
    #[serde(default)]
    encoding_format: Format,
    /// Not supported: vectors have the model's own width.
    dimensions: Option<usize>,
}

/// One item, or several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Input {
    One(Item),
    Many(Vec<Item>),
}

/// A text, or a picture as a data: URL: as a string by itself, or by its name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Item {
    Plain(String),
    Text { text: String },
    Image { image: String },
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    #[default]
    Float,
    Base64,
}

/// The vectors, in the order of the input.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingsReply {
    object: &'static str,
    data: Vec<EmbeddingReply>,
    model: String,
    usage: EmbeddingUsage,
}

/// A picture's or a text's vectors.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingReply {
    object: &'static str,
    index: usize,
    /// The numbers; of several vectors one after another.
    embedding: Vector,
    /// How many vectors there are, each of length 1: of a text one, of a picture one for each query of the
    /// model. A picture and a text are as similar as the nearest of them.
    vectors: usize,
}

/// Numbers, or their bytes as base64.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

/// How many tokens the texts had.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// Embeds pictures and texts, in the shape of OpenAI's API. A string that begins with `data:image/` is a
/// picture.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "openai",
    request_body = EmbeddingsQuery,
    responses(
        (status = 200, description = "The vectors, in the order of the input", body = EmbeddingsReply),
        (status = "4XX", description = "What is wrong with the request", body = ErrorReply),
        (status = "5XX", description = "What is wrong with the server", body = ErrorReply),
    )
)]
pub(crate) async fn embeddings(
    State(app): State<App>,
    payload: Payload,
) -> Result<Json<EmbeddingsReply>, ApiError> {
    if !able(&app, Model::compares) {
        return Err(ApiError::unable("this model embeds nothing"));
    }
    let read = payload.json::<EmbeddingsQuery>().await?;
    let query = read.said;
    let chosen = app.chosen(query.model.as_deref())?;
    if query.dimensions.is_some() {
        let text = "dimensions is not supported; leave it out";
        return Err(ApiError::unable(text).with_param("dimensions"));
    }
    let inputs = Inputs::sorted(query.input);
    let limits = app.settings().limits;
    let count = inputs.texts.len() + inputs.pictures.len();
    if at_most("input", count, limits.candidates)? == 0 {
        return Err(ApiError::invalid("there is nothing to embed").with_param("input"));
    }
    at_most("input", inputs.pictures.len(), PICTURES)?;
    check_texts(inputs.texts.iter().map(|(_, text)| text.as_str()), &limits)?;
    let tokens = tokens(chosen.model(), &inputs);
    let client = Client::new(&app, read.begun);
    let mut data = embed(
        &app,
        inputs,
        client,
        chosen.place,
        read.held,
        query.encoding_format,
    )
    .await?;
    data.sort_by_key(|embedding| embedding.index);
    Ok(Json(EmbeddingsReply {
        object: "list",
        data,
        model: chosen.served.id.clone(),
        usage: EmbeddingUsage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    }))
}

/// The most pictures of a request: each has thousands of numbers, which wait in memory for a client that reads
/// slowly.
const PICTURES: usize = 32;

/// Inputs by their kinds, with their places.
#[derive(Default)]
struct Inputs {
    texts: Vec<(usize, String)>,
    pictures: Vec<(usize, String)>,
}

impl Inputs {
    fn sorted(input: Input) -> Self {
        let items = match input {
            Input::One(item) => vec![item],
            Input::Many(items) => items,
        };
        let mut sorted = Self::default();
        for (place, item) in items.into_iter().enumerate() {
            match item {
                Item::Image { image } => sorted.pictures.push((place, image)),
                Item::Plain(text) if is_picture(&text) => sorted.pictures.push((place, text)),
                Item::Plain(text) | Item::Text { text } => sorted.texts.push((place, text)),
            }
        }
        sorted
    }
}

fn is_picture(text: &str) -> bool {
    const BEGIN: &str = "data:image/";
    let begin = text.get(..BEGIN.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(BEGIN))
}

async fn embed(
    app: &App,
    inputs: Inputs,
    client: Client,
    model: usize,
    held: Held,
    format: Format,
) -> Result<Vec<EmbeddingReply>, ApiError> {
    let mut data = Vec::new();
    // Its pictures wait in the queue one by one, so that one request cannot fill it; the body's room is taken
    // until the last of them is done.
    let (_room, coming) = held.into_parts();
    let mut coming = Some(coming);
    let (places, texts): (Vec<usize>, Vec<String>) = inputs.texts.into_iter().unzip();
    if !texts.is_empty() {
        let work = |reply| Work::EmbedText(EmbedText { texts, reply });
        let embedded = part(app, &client, model, None, coming.take(), work).await?;
        let embedded = places.into_iter().zip(embedded);
        data.extend(embedded.map(|(place, text)| of_text(place, &text, format)));
    }
    for (place, url) in inputs.pictures {
        let picture = by_urls(app, vec![url], "input").await?;
        let work = |reply| Work::EmbedImage(EmbedImage { picture, reply });
        let image = part(app, &client, model, None, coming.take(), work).await?;
        data.push(of_image(place, &image, format));
    }
    Ok(data)
}

fn of_text(index: usize, text: &TextEmbedding, format: Format) -> EmbeddingReply {
    reply(index, text.vector(), 1, format)
}

fn of_image(index: usize, image: &ImageEmbedding, format: Format) -> EmbeddingReply {
    reply(index, image.values(), image.vectors().len(), format)
}

fn reply(index: usize, values: &[f32], vectors: usize, format: Format) -> EmbeddingReply {
    let embedding = match format {
        Format::Float => Vector::Float(values.to_vec()),
        Format::Base64 => {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            Vector::Base64(BASE64_STANDARD.encode(bytes))
        }
    };
    EmbeddingReply {
        object: "embedding",
        index,
        embedding,
        vectors,
    }
}

fn tokens(model: &Model, inputs: &Inputs) -> usize {
    let tokenizer = model.tokenizer();
    let count = |text: &str| tokenizer.encode(text).map_or(0, |ids| ids.len());
    inputs.texts.iter().map(|(_, text)| count(text)).sum()
}
