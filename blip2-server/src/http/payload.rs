//! Bodies, read within limits.

use std::time::Instant;

use axum::{
    body::Body,
    extract::{FromRequest, Multipart, Request},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    drain::{refuse, refuse_rest},
    guard::Begun,
};
use crate::{
    app::{App, ROOM, off_thread},
    engine::Coming,
    error::ApiError,
};

/// A request's body, which was read whole. As long as it lives its room is taken, and the queue expects the
/// request.
pub(crate) struct Payload {
    bytes: Bytes,
    /// The head, as far as reading a form needs it.
    form: Option<Request>,
    pub(crate) begun: Instant,
    held: Held,
}

/// What a request holds: room for its body, until that is used, and a place among those that the queue
/// expects, until it is there.
pub(crate) struct Held {
    room: OwnedSemaphorePermit,
    coming: Coming,
}

impl Held {
    /// The two apart.
    pub(crate) fn into_parts(self) -> (OwnedSemaphorePermit, Coming) {
        (self.room, self.coming)
    }
}

impl FromRequest<App> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let begun = request.extensions().get::<Begun>();
        let begun = begun.map_or_else(Instant::now, |begun| begun.0);
        let (media, held) = match admit(request.headers(), app) {
            Ok(admitted) => admitted,
            Err(error) => return Err(refuse(request.into_body(), error).await),
        };
        let limits = app.settings().limits;
        let (parts, body) = request.into_parts();
        let bytes = timeout(limits.time, read(body, limits.body_bytes))
            .await
            .map_err(|_| ApiError::slow_body().closing())??;
        let form = (media == Media::Form).then(|| Request::from_parts(parts, Body::empty()));
        Ok(Self {
            bytes,
            form,
            begun,
            held,
        })
    }
}

/// Judges a request by its head, and takes room for its body.
fn admit(headers: &HeaderMap, app: &App) -> Result<(Media, Held), ApiError> {
    if !app.is_ready() {
        return Err(ApiError::stopping());
    }
    let limits = app.settings().limits;
    let media = media(headers)?;
    let length = length(headers);
    if length.is_some_and(|length| length > limits.body_bytes as u64) {
        return Err(ApiError::too_large(limits.body_bytes));
    }
    // Whoever does not say how much comes may send all that is allowed.
    let most = length.map_or(limits.body_bytes, |length| length as usize);
    let room = u32::try_from(most.div_ceil(ROOM).max(1)).unwrap_or(u32::MAX);
    let room = app.bodies().clone().try_acquire_many_owned(room);
    let held = Held {
        room: room.map_err(|_| app.engine().busy())?,
        coming: app.engine().coming(),
    };
    Ok((media, held))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    Form,
}

fn media(headers: &HeaderMap) -> Result<Media, ApiError> {
    let media = headers.get(header::CONTENT_TYPE);
    let media = media
        .and_then(|media| media.to_str().ok())
        .unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(Media::Json)
    } else if essence.eq_ignore_ascii_case("multipart/form-data") {
        Ok(Media::Form)
    } else {
        Err(ApiError::unsupported_media())
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk =
            chunk.map_err(|_| ApiError::invalid("the request ended before its body did"))?;
        if bytes.len() + chunk.len() > limit {
            return Err(refuse_rest(stream, ApiError::too_large(limit)).await);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// What a body says, and the picture that came beside it as a file.
pub(crate) struct Said<T> {
    pub(crate) said: T,
    /// The files `image` of a form.
    pub(crate) files: Vec<Bytes>,
    pub(crate) begun: Instant,
    pub(crate) held: Held,
}

impl Payload {
    /// A body of JSON alone.
    pub(crate) async fn json<T>(self) -> Result<Said<T>, ApiError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        match self.form {
            Some(_) => Err(ApiError::unsupported_media()),
            None => self.json_or_form(&[]).await,
        }
    }

    /// A body of JSON, or a form whose fields are those of the JSON: `texts` are read as they are, `lists`
    /// of them may come several times, and every other field is read as JSON.
    pub(crate) async fn json_or_form<T>(self, lists: &'static [&str]) -> Result<Said<T>, ApiError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let Self {
            bytes,
            form,
            begun,
            held,
        } = self;
        let (said, files) = match form {
            // A picture in base64 is megabytes, and parsing them takes an executor's thread too long.
            None => (off_thread(move || parse(&bytes)).await?, Vec::new()),
            Some(head) => {
                let (fields, files) = fields(head, bytes, lists).await?;
                let said = serde_path_to_error::deserialize(Value::Object(fields));
                (said.map_err(|error| fault(&error))?, files)
            }
        };
        Ok(Said {
            said,
            files,
            begun,
            held,
        })
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let said = serde_path_to_error::deserialize(&mut json).map_err(|error| fault(&error))?;
    let rest = json.end();
    rest.map_err(|_| ApiError::invalid("the body goes on after its JSON"))?;
    Ok(said)
}

fn fault(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let (path, inner) = (error.path().to_string(), error.inner());
    let refused = ApiError::invalid(format!("the body does not say what is due: {inner}"));
    match path.as_str() {
        "." | "?" => refused,
        path => refused.with_param(path),
    }
}

/// The most files of a form; how many a route takes it says itself.
const FILES: usize = 256;
/// Fields that are texts, whatever they look like.
const TEXTS: [&str; 9] = [
    "question",
    "prompt",
    "candidates",
    "texts",
    "text",
    "match",
    "similarity",
    "stop",
    "model",
];

async fn fields(
    head: Request,
    bytes: Bytes,
    lists: &[&str],
) -> Result<(Map<String, Value>, Vec<Bytes>), ApiError> {
    let (parts, _) = head.into_parts();
    let request = Request::from_parts(parts, Body::from(bytes));
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|_| ApiError::invalid("the form has no boundary between its parts"))?;
    let (mut fields, mut files) = (Map::new(), Vec::new());
    loop {
        let field = form.next_field().await.map_err(|error| broken(&error))?;
        let Some(field) = field else { break };
        let name = field.name().unwrap_or_default().to_string();
        let is_file = field.file_name().is_some();
        let value = field.bytes().await.map_err(|error| broken(&error))?;
        if name == "image" && is_file {
            // Each takes a place of its own, and may be empty.
            if files.len() == FILES {
                return Err(ApiError::invalid("there are too many pictures").with_param("image"));
            }
            files.push(value);
            continue;
        }
        let text = std::str::from_utf8(&value);
        let text = text.map_err(|_| ApiError::invalid("is no UTF-8").with_param(&name))?;
        add(&mut fields, name, text, lists);
    }
    Ok((fields, files))
}

fn add(fields: &mut Map<String, Value>, name: String, text: &str, lists: &[&str]) {
    let value = match TEXTS.contains(&name.as_str()) {
        true => Value::from(text),
        false => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
    };
    if !lists.contains(&name.as_str()) {
        fields.insert(name, value);
    } else if let Value::Array(list) = fields.entry(name).or_insert_with(|| Value::Array(vec![])) {
        list.push(value);
    }
}

fn broken(error: &axum::extract::multipart::MultipartError) -> ApiError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::invalid("a part of the form is too large"),
        _ => ApiError::invalid("the form is broken: its parts do not end as they should"),
    }
}
