//! `/v1/embeddings`: pictures and texts in the space that they share, in OpenAI's shape.

use axum::extract::State;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use blip2_core::{ImageEmbedding, TextEmbedding};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    generation::{check_texts, few},
    native::able,
    picture::by_urls,
    running::part,
};
use crate::{
    app::{App, Client, off_thread},
    engine::{EmbedImage, EmbedText, Work},
    error::{ApiError, ErrorReply},
    http::{
        fields::{Fields, FromFields, FromValue, one_of, wrong},
        payload::{Held, Payload},
    },
    json::Json,
    model::Model,
    words::Names,
};

/// Pictures and texts to be embedded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingsQuery {
    /// The model's name, as `/v1/models` has it.
    model: Option<String>,
    /// A text, a picture, or a list of them.
    input: Input,
    /// `float` or `base64`, of numbers of 32 bits, the lowest byte first.
    encoding_format: Option<Format>,
    /// Not supported: vectors have the model's own width.
    dimensions: Option<usize>,
}

impl FromFields for EmbeddingsQuery {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        let query = Self {
            model: fields.optional("model")?,
            input: fields.required("input")?,
            encoding_format: fields.optional("encoding_format")?,
            dimensions: fields.optional("dimensions")?,
        };
        // Whom it is for changes nothing.
        let _: Option<Value> = fields.optional("user")?;
        fields.end()?;
        Ok(query)
    }
}

/// One item, or several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Input {
    One(Item),
    Many(Vec<Item>),
}

impl FromValue for Input {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        let is_token = |value: &Value| value.is_number() || value.is_array();
        match value {
            Value::Array(list) if list.iter().any(is_token) => Err(ApiError::invalid(
                "`input` holds token ids, which depend on a model: send the texts (of LangChain's \
                 OpenAIEmbeddings by check_embedding_ctx_length=False)",
            )
            .with_param(at)),
            Value::Array(_) => Vec::from_value(value, at).map(Self::Many),
            one => Item::from_value(one, at).map(Self::One),
        }
    }
}

/// A text, or a picture as a data: URL: as a string by itself, or by its name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Item {
    Plain(String),
    Text { text: String },
    Image { image: String },
}

impl FromValue for Item {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        match value {
            Value::String(text) => Self::plain(text, at),
            Value::Object(_) => Named::from_value(value, at).map(|named| named.0),
            other => Err(wrong(
                at,
                "a text, a picture's data: URL, {\"text\": …} or {\"image\": …}",
                &other,
            )),
        }
    }
}

impl Item {
    /// A string by itself: a picture, if it is one's data: URL, else a text, unless it was probably meant as a picture.
    fn plain(text: String, at: &str) -> Result<Self, ApiError> {
        let begins = |scheme: &str| {
            let begin = text.get(..scheme.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
        };
        if begins("data:image/") {
            return Ok(Self::Image { image: text });
        }
        let is_url = ["data:", "http://", "https://"].into_iter().any(begins);
        if is_url && !text.trim().contains(char::is_whitespace) {
            return Err(ApiError::invalid(format!(
                "`{at}` is a URL: write {{\"image\": …}} of a picture, or {{\"text\": …}} if its letters are meant"
            ))
            .with_param(at));
        }
        Ok(Self::Plain(text))
    }
}

/// A text or a picture by its name.
struct Named(Item);

impl FromFields for Named {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        let (text, image) = (fields.optional("text")?, fields.optional("image")?);
        let at = fields.place("");
        fields.end()?;
        match (text, image) {
            (Some(text), None) => Ok(Self(Item::Text { text })),
            (None, Some(image)) => Ok(Self(Item::Image { image })),
            _ => {
                let at = at.trim_end_matches('.');
                let text = format!(
                    "`{at}` must have either `text` or `image`: each is an item of its own"
                );
                Err(ApiError::invalid(text).with_param(at))
            }
        }
    }
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    #[default]
    Float,
    Base64,
}

impl FromValue for Format {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        one_of(
            &value,
            at,
            &[("float", Self::Float), ("base64", Self::Base64)],
        )
    }
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
    let is_list = matches!(query.input, Input::Many(_));
    let inputs = Inputs::sorted(query.input);
    let limits = app.settings().limits;
    let count = inputs.texts.len() + inputs.pictures.len();
    if few("input", "items", count, limits.candidates)? == 0 {
        return Err(ApiError::invalid("there is nothing to embed").with_param("input"));
    }
    few("input", "pictures", inputs.pictures.len(), PICTURES)?;
    check_texts(
        inputs
            .texts
            .iter()
            .map(|(_, text)| ("input", text.as_str())),
        &limits,
    )?;
    let model = chosen.model().clone();
    let (tokens, inputs) = off_thread(move || Ok((tokens(&model, &inputs), inputs))).await?;
    let client = Client::new(&app, read.begun);
    let format = query.encoding_format.unwrap_or_default();
    let embedded = embed(&app, inputs, client, chosen.place, read.held, format).await;
    let mut data = embedded.map_err(|error| match is_list {
        true => error,
        false => error.renamed("input"),
    })?;
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
                Item::Plain(text) | Item::Text { text } => sorted.texts.push((place, text)),
            }
        }
        sorted
    }
}

/// What requests call their parts.
const NAMES: Names = Names {
    picture: "input",
    text: "input",
    texts: "input",
};

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
        let work = |reply| {
            Work::EmbedText(EmbedText {
                texts,
                places: places.clone(),
                reply,
            })
        };
        let embedded = part(app, &client, (model, NAMES), None, coming.take(), work).await?;
        let embedded = places.into_iter().zip(embedded);
        data.extend(embedded.map(|(place, text)| of_text(place, &text, format)));
    }
    for (place, url) in inputs.pictures {
        let named = |error: ApiError| error.renamed(&format!("input[{place}]"));
        let picture = by_urls(app, vec![url], "input").await.map_err(named)?;
        let work = |reply| Work::EmbedImage(EmbedImage { picture, reply });
        let image = part(app, &client, (model, NAMES), None, coming.take(), work).await;
        let image = image.map_err(named)?;
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
