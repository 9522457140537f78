//! `/explain`: where in a picture the model looked.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use blip2_core::explain::{ExplainOptions, Explanation, Method};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    generation::{Generation, at_most, check_texts, few},
    picture::{Image, picture},
    running::result,
};
use crate::{
    app::{App, Client, off_thread},
    engine::{About, Ask, Drawing, Explain, Explained, Work},
    error::{ApiError, ErrorReply},
    http::{
        fields::{Fields, FromFields, FromValue, one_of},
        payload::Payload,
    },
    json::Json,
    model::Model,
    settings::Limits,
    words::Names,
};

/// What is to be explained by a picture: one of `question`, `prompt`, `caption`, `match` and `similarity`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplainQuery {
    /// The model's name, as `/v1/models` has it: by it an adapter is chosen.
    model: Option<String>,
    /// The picture as a data: URL, or a file of that name in a form; for a model of videos an animated one, or one
    /// for each frame.
    #[schema(example = "data:image/png;base64,…")]
    image: Option<Image>,
    /// Explain the answer to this question.
    #[schema(example = "what color is the shape?")]
    question: Option<String>,
    /// Explain what continues this prompt.
    prompt: Option<String>,
    /// Explain the caption.
    caption: Option<bool>,
    /// Explain how well this text matches the picture.
    #[serde(rename = "match")]
    matched: Option<String>,
    /// Explain how similar this text is to the picture.
    similarity: Option<String>,
    /// Explain this answer, or caption, in place of the one that the model gives.
    text: Option<String>,
    /// As `text`, by the ids of its tokens: those of a reply to `/answer` or `/caption`.
    tokens: Option<Vec<u32>>,
    /// `relevance` (the default), `rollout`, `occlusion`, which asks once for each patch, or `attention`.
    #[schema(value_type = Option<String>, example = "relevance")]
    method: Option<Named>,
    /// Draw it, too, as a PNG: `heat_map`, or `strip` of a map for each token. Whoever accepts `image/png` alone
    /// gets the PNG itself.
    picture: Option<Drawn>,
    #[serde(flatten)]
    generation: Generation,
}

impl FromFields for ExplainQuery {
    fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
        let query = Self {
            model: fields.optional("model")?,
            image: fields.optional("image")?,
            question: fields.optional("question")?,
            prompt: fields.optional("prompt")?,
            caption: fields.optional("caption")?,
            matched: fields.optional("match")?,
            similarity: fields.optional("similarity")?,
            text: fields.optional("text")?,
            tokens: fields.optional("tokens")?,
            method: fields.optional("method")?,
            picture: fields.optional("picture")?,
            generation: Generation::read(&mut fields)?,
        };
        fields.end()?;
        query.generation.check_sampling()?;
        Ok(query)
    }
}

/// A method by its name.
#[derive(Debug, Clone, Copy, Serialize)]
struct Named(Method);

impl FromValue for Named {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        let methods = [
            ("relevance", Method::Relevance),
            ("rollout", Method::Rollout),
            ("occlusion", Method::Occlusion),
            ("attention", Method::Attention),
        ];
        one_of(&value, at, &methods).map(Self)
    }
}

impl FromValue for Drawn {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        one_of(
            &value,
            at,
            &[("heat_map", Self::HeatMap), ("strip", Self::Strip)],
        )
    }
}

/// How an explanation is drawn.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Drawn {
    HeatMap,
    Strip,
}

/// How much each patch of the picture carried what was explained.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplainReply {
    #[serde(flatten)]
    #[schema(value_type = ExplanationReply)]
    why: Explanation,
    /// The PNG as a data: URL, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<String>,
}

/// What [`Explanation`] is in JSON, which its crate, without servers, does not describe.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is read by who reads the description")]
pub(crate) struct ExplanationReply {
    /// `relevance`, `rollout`, `occlusion` or `attention`.
    method: String,
    /// What is explained.
    text: String,
    /// The rows and columns of patches.
    grid: [usize; 2],
    /// How many frames were looked at, of a video.
    frames: Option<usize>,
    /// Where the grid lies, if that is not the whole picture: left, top, right and bottom, as parts of its width
    /// and height.
    region: Option<[f32; 4]>,
    /// A value for each patch, row by row from the top left, frame after frame.
    values: Vec<f32>,
    /// The same for each token that was written or given; nothing of a comparison.
    tokens: Vec<ExplainedTokenReply>,
}

/// How much each patch carried one token.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is read by who reads the description")]
pub(crate) struct ExplainedTokenReply {
    /// Its id.
    id: u32,
    /// Its text, with the space before it.
    text: String,
    /// Its natural log-probability.
    log_prob: f32,
    /// A value for each patch.
    values: Vec<f32>,
}

/// Tells how much each patch of a picture carried an answer, a caption, a given text, or a comparison.
///
/// Explanations run one at a time. Relevance takes a pass forward and back for each token, occlusion a pass for
/// each patch; what is not done in the time of a request is answered with 504.
#[utoipa::path(
    post,
    path = "/explain",
    tag = "blip2",
    request_body(content(
        (ExplainQuery = "application/json"),
        (ExplainQuery = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "A value for each patch", content(
            (ExplainReply = "application/json"),
            (Vec<u8> = "image/png"),
        )),
        (status = "4XX", description = "What is wrong with the request", body = ErrorReply),
        (status = "5XX", description = "What is wrong with the server", body = ErrorReply),
    )
)]
pub(crate) async fn explain(
    State(app): State<App>,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, ApiError> {
    let read = payload.json_or_form::<ExplainQuery>(&["stop"]).await?;
    let mut query = read.said;
    let chosen = app.chosen(query.model.as_deref())?;
    let limits = app.settings().limits;
    let image = query.image.take();
    let drawing = query.picture.map(|drawn| match drawn {
        Drawn::HeatMap => Drawing::HeatMap,
        Drawn::Strip => Drawing::Strip,
    });
    let wants_png = accepts_png(&headers);
    let client = Client::new(&app, read.begun);
    let drawing = drawing.or(wants_png.then_some(Drawing::HeatMap));
    let names = query.names();
    let model = chosen.model().clone();
    let (about, options, client) = off_thread(move || {
        let (about, options) = query.asked(&model, &limits, &client, drawing)?;
        Ok((about, options, client))
    })
    .await?;
    let picture = picture(&app, image, read.files).await?;
    let work = |reply| {
        Work::Explain(Box::new(Explain {
            picture,
            about,
            options,
            drawing,
            reply,
        }))
    };
    let Explained { why, png } =
        result(&app, &client, chosen.place, names, read.held, work).await?;
    Ok(match png {
        Some(png) if wants_png => {
            let media = HeaderValue::from_static("image/png");
            ([(header::CONTENT_TYPE, media)], png).into_response()
        }
        png => {
            let url = |png| format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png));
            let picture = png.map(url);
            Json(ExplainReply { why, picture }).into_response()
        }
    })
}

/// The most maps that are drawn side by side.
const STRIP: usize = 64;

impl ExplainQuery {
    /// What is explained, and how, within limits.
    fn asked(
        mut self,
        model: &Model,
        limits: &Limits,
        client: &Client,
        drawing: Option<Drawing>,
    ) -> Result<(About, ExplainOptions), ApiError> {
        let names = self.names();
        let texts = [
            ("question", &self.question),
            ("prompt", &self.prompt),
            ("match", &self.matched),
            ("similarity", &self.similarity),
            ("text", &self.text),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(key, text)| Some((key, text.as_deref()?)));
        check_texts(texts, limits)?;
        let about = self.about()?;
        check_able(model, &about)?;
        let most = match drawing {
            Some(Drawing::Strip) => limits.max_tokens.min(STRIP / model.frames().max(1)),
            _ => limits.max_tokens,
        };
        let options = self.options(model, limits, client, most, &names)?;
        Ok((about, options))
    }

    /// What it calls its parts.
    fn names(&self) -> Names {
        let text = match self {
            Self {
                question: Some(_), ..
            } => "question",
            Self {
                prompt: Some(_), ..
            } => "prompt",
            Self {
                matched: Some(_), ..
            } => "match",
            Self {
                similarity: Some(_),
                ..
            } => "similarity",
            _ => "caption",
        };
        Names {
            picture: "image",
            text,
            texts: match self.text {
                Some(_) => "text",
                None => text,
            },
        }
    }

    /// What is explained.
    fn about(&mut self) -> Result<About, ApiError> {
        let text =
            |ask: fn(String) -> Ask, text: Option<String>| text.map(|text| About::Text(ask(text)));
        let about = [
            text(Ask::Question, self.question.take()),
            text(Ask::Prompt, self.prompt.take()),
            (self.caption == Some(true)).then_some(About::Text(Ask::Caption)),
            self.matched.take().map(About::Match),
            self.similarity.take().map(About::Similarity),
        ];
        let mut about = about.into_iter().flatten();
        match (about.next(), about.next()) {
            (Some(about), None) => Ok(about),
            _ => Err(ApiError::invalid(
                "say what is explained by one of question, prompt, caption, match and similarity",
            )),
        }
    }

    /// How it is explained, by at most so many tokens.
    fn options(
        self,
        model: &Model,
        limits: &Limits,
        client: &Client,
        most: usize,
        names: &Names,
    ) -> Result<ExplainOptions, ApiError> {
        at_most("max_tokens", self.generation.max_tokens.unwrap_or(0), most)?;
        let options = ExplainOptions::default()
            .with_options(self.generation.options(limits, client, names)?)
            .with_method(self.method.map(|named| named.0).unwrap_or_default());
        match (self.text, self.tokens) {
            (None, None) => Ok(options),
            (Some(text), None) => {
                few("text", "tokens in `text`", tokens(model, &text), most)?;
                Ok(options.with_text(text))
            }
            (None, Some(tokens)) => {
                few("tokens", "tokens", tokens.len(), most)?;
                Ok(options.with_tokens(tokens))
            }
            (Some(_), Some(_)) => {
                let text = "text and tokens say the same; give one of them";
                Err(ApiError::invalid(text).with_param("text"))
            }
        }
    }
}

/// How many tokens a text has; what cannot be encoded is refused when it is explained.
fn tokens(model: &Model, text: &str) -> usize {
    model.tokenizer().encode(text).map_or(0, |ids| ids.len())
}

fn check_able(model: &Model, about: &About) -> Result<(), ApiError> {
    let (able, text) = match about {
        About::Text(Ask::Question(_)) => (model.answers(), "this model answers no questions"),
        About::Text(_) => (model.describes(), "this model describes no pictures"),
        About::Match(_) | About::Similarity(_) => (
            model.compares(),
            "this model compares no pictures with texts",
        ),
    };
    match able {
        true => Ok(()),
        false => Err(ApiError::unable(text)),
    }
}

/// Whether a client wants a picture rather than JSON: it names that, and not JSON before it.
fn accepts_png(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let mut media = values.flat_map(|value| value.split(','));
    let first = media.find_map(|media| {
        let mut parts = media.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        match essence {
            _ if parts.any(is_refusal) => None,
            _ if essence.eq_ignore_ascii_case("image/png") => Some(true),
            _ if essence.eq_ignore_ascii_case("application/json") => Some(false),
            _ => None,
        }
    });
    first.unwrap_or(false)
}

/// Whether a parameter says that what it stands at is not wanted: `q=0` (RFC 9110, section 12.4.2).
fn is_refusal(parameter: &str) -> bool {
    let quality = parameter.split_once('=');
    let quality = quality.filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    quality.is_some_and(|(_, value)| value.trim().parse() == Ok(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_is_for_those_who_name_it_first() {
        for (accept, expected) in [
            ("image/png", true),
            ("image/webp, IMAGE/PNG;q=0.9", true),
            ("image/png, application/json", true),
            ("application/json, image/png", false),
            ("image/png;q=0, application/json", false),
            ("image/png; Q=0.000", false),
            ("application/json;q=0, image/png", true),
            ("*/*", false),
            ("image/*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(accepts_png(&headers), expected, "{accept}");
        }
    }
}
