//! Bodies, read within limits.

use std::{error::Error, io, time::Instant};

use axum::{
    body::Body,
    extract::{FromRequest, Multipart, Request, multipart::Field},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    drain::{refuse, refuse_rest},
    fields::{Fields, FromFields, FromValue as _},
    guard::Begun,
    json,
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
        let media = match admit(request.headers(), app) {
            Ok(admitted) => admitted,
            Err(error) => return Err(refuse(request.into_body(), error).await),
        };
        let limits = app.settings().limits;
        let (parts, body) = request.into_parts();
        let coming = app.engine().coming();
        let (bytes, room) = timeout(limits.time, read(body, app))
            .await
            .map_err(|_| ApiError::slow_body().closing())??;
        let form = (media == Media::Form).then(|| Request::from_parts(parts, Body::empty()));
        Ok(Self {
            bytes,
            form,
            begun,
            held: Held { room, coming },
        })
    }
}

/// Judges a request by its head.
fn admit(headers: &HeaderMap, app: &App) -> Result<Media, ApiError> {
    if !app.is_ready() {
        return Err(ApiError::stopping());
    }
    let limits = app.settings().limits;
    let media = media(headers)?;
    let length = length(headers);
    if length.is_some_and(|length| length > limits.body_bytes as u64) {
        return Err(ApiError::too_large(limits.body_bytes));
    }
    Ok(media)
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

/// Reads a body, and takes room for what has come of it: whoever only says that much will come takes none.
async fn read(body: Body, app: &App) -> Result<(Bytes, OwnedSemaphorePermit), ApiError> {
    let limit = app.settings().limits.body_bytes;
    let mut stream = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let mut room = more_room(app, 1)?;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| broken_off(&error))?;
        let length = bytes.len() + chunk.len();
        if length > limit {
            return Err(refuse_rest(stream, ApiError::too_large(limit)).await);
        }
        let more = length.div_ceil(ROOM).saturating_sub(room.num_permits());
        if more > 0 {
            match more_room(app, more) {
                Ok(more) => room.merge(more),
                Err(error) => {
                    // What came of it makes room before the rest is thrown away.
                    drop((bytes, room));
                    return Err(refuse_rest(stream, error).await);
                }
            }
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes.freeze(), room))
}

fn more_room(app: &App, parts: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    let room = app.bodies().clone().try_acquire_many_owned(parts);
    room.map_err(|_| app.engine().busy())
}

/// Why a body is not whole.
fn broken_off(error: &axum::Error) -> ApiError {
    let mut causes = std::iter::successors(Some(error as &dyn Error), |error| (*error).source());
    let ended = causes.any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        let early = io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof);
        let hyper = cause.downcast_ref::<hyper::Error>();
        early || hyper.is_some_and(hyper::Error::is_incomplete_message)
    });
    let error = match ended {
        true => ApiError::invalid("the request ended before its body did"),
        false => {
            ApiError::invalid("the request's body is broken: its chunks are not as HTTP has them")
        }
    };
    error.closing()
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
        T: FromFields + Send + 'static,
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
        T: FromFields + Send + 'static,
    {
        let Self {
            bytes,
            form,
            begun,
            held,
        } = self;
        let (said, files) = match form {
            // A picture in base64 is megabytes, and parsing them takes an executor's thread too long.
            None => {
                let read = move || T::from_value(json::parse(&bytes)?, "");
                (off_thread(read).await?, Vec::new())
            }
            Some(head) => {
                let (fields, files) = fields(head, bytes, lists).await?;
                (T::from_fields(Fields::new(fields))?, files)
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
        let is_file = is_file(&field);
        let value = field.bytes().await.map_err(|error| broken(&error))?;
        if is_file {
            // Each takes a place of its own, and may be empty.
            check_file(&name, files.len())?;
            files.push(value);
            continue;
        }
        let text = std::str::from_utf8(&value);
        let text = text.map_err(|_| {
            let text =
                format!("the field `{name}` is no UTF-8; a picture is sent as a file `image`");
            ApiError::invalid(text).with_param(&name)
        })?;
        add(&mut fields, name, text, lists)?;
    }
    Ok((fields, files))
}

/// Whether a part of a form is a file: it has a file's name, or says that it is a picture or of bytes.
fn is_file(field: &Field<'_>) -> bool {
    let media = field.content_type().unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    let is_bytes = essence.eq_ignore_ascii_case("application/octet-stream");
    let begin = essence.get(.."image/".len());
    let is_picture = begin.is_some_and(|begin| begin.eq_ignore_ascii_case("image/"));
    field.file_name().is_some() || is_picture || is_bytes
}

fn check_file(name: &str, before: usize) -> Result<(), ApiError> {
    if name != "image" {
        let text = format!("the file `{name}` is not read: a picture is sent as a file `image`");
        return Err(ApiError::invalid(text).with_param(name));
    }
    match before {
        FILES => Err(ApiError::invalid("there are too many pictures").with_param("image")),
        _ => Ok(()),
    }
}

fn add(
    fields: &mut Map<String, Value>,
    name: String,
    text: &str,
    lists: &[&str],
) -> Result<(), ApiError> {
    let value = match TEXTS.contains(&name.as_str()) {
        true => Value::from(text),
        false => json::parse(text.as_bytes()).unwrap_or_else(|_| Value::from(text)),
    };
    if !lists.contains(&name.as_str()) {
        if fields.contains_key(&name) {
            let text = format!("the field `{name}` comes twice");
            return Err(ApiError::invalid(text).with_param(&name));
        }
        fields.insert(name, value);
    } else if let Value::Array(list) = fields.entry(name).or_insert_with(|| Value::Array(vec![])) {
        list.push(value);
    }
    Ok(())
}

fn broken(error: &axum::extract::multipart::MultipartError) -> ApiError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::invalid("a part of the form is too large"),
        _ => ApiError::invalid("the form is broken: its parts do not end as they should"),
    }
}
