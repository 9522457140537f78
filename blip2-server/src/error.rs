//! Errors as clients read them: in OpenAI's shape, in the words of requests, and without what goes on
//! inside.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use blip2_core::{
    Blip2Error, ErrorKind, generate::GenerateError, preprocessing::ImageError, video::VideoError,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::json;

/// Why a request has no answer.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: ErrorBody,
    retry_after: Option<Duration>,
    closes: bool,
}

/// An error, as OpenAI's API tells it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ErrorReply {
    error: ErrorBody,
}

/// What an error says.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What is wrong, for people.
    message: String,
    /// Whose fault it is: `invalid_request_error`, `authentication_error`, `rate_limit_error`,
    /// `timeout_error` or `server_error`.
    r#type: &'static str,
    /// The part of the request that is at fault.
    param: Option<String>,
    /// What is wrong, for programs.
    code: Option<&'static str>,
}

impl ApiError {
    fn new(
        status: StatusCode,
        r#type: &'static str,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        let body = ErrorBody {
            message: message.into(),
            r#type,
            param: None,
            code,
        };
        Self {
            status,
            body,
            retry_after: None,
            closes: false,
        }
    }

    /// A request that makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            None,
            message,
        )
    }

    /// A request for what the model cannot do.
    pub(crate) fn unable(message: impl Into<String>) -> Self {
        let mut error = Self::invalid(message);
        error.body.code = Some("unsupported_by_model");
        error
    }

    /// A request without a key, or with another.
    pub(crate) fn no_key() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            Some("invalid_api_key"),
            "a valid key is needed: send it as `Authorization: Bearer KEY`",
        )
    }

    /// A request from a page of another origin.
    pub(crate) fn other_origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "invalid_request_error",
            Some("other_origin"),
            "pages of other origins may not ask this server",
        )
    }

    /// A place where there is nothing.
    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            Some("not_found"),
            "there is nothing here; /openapi.json lists what there is",
        )
    }

    /// A model that is not here.
    pub(crate) fn no_model(name: &str) -> Self {
        let shown: String = name.chars().take(100).collect();
        let mut error = Self::not_found().with_param("model");
        error.body.code = Some("model_not_found");
        error.body.message =
            format!("there is no model `{shown}` here; /v1/models lists what there is");
        error
    }

    /// A method that a place does not know.
    pub(crate) fn bad_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request_error",
            Some("method_not_allowed"),
            "this place takes another method; /openapi.json says which",
        )
    }

    /// A body that is too large.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request_error",
            Some("too_large"),
            format!("the request is larger than {limit} bytes"),
        )
    }

    /// A body in a format that is not read.
    pub(crate) fn unsupported_media() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_request_error",
            Some("unsupported_media_type"),
            "send application/json, or multipart/form-data where /openapi.json has it",
        )
    }

    /// A body that took too long to come.
    pub(crate) fn slow_body() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout_error",
            Some("timeout"),
            "the request took too long to arrive",
        )
    }

    /// A request that took longer than it may.
    pub(crate) fn timeout() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout_error",
            Some("timeout"),
            "the answer took longer than this server allows; ask for fewer tokens",
        )
    }

    /// More requests than the server has room for.
    pub(crate) fn busy(retry_after: Duration) -> Self {
        let mut error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_error",
            Some("server_busy"),
            "too many requests wait already; try again later",
        );
        error.retry_after = Some(retry_after);
        error
    }

    /// A server that stops.
    pub(crate) fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "server_error",
            Some("stopping"),
            "the server is stopping",
        )
    }

    /// A fault of the server's own, about which the log says more.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            None,
            "the server failed to answer; its log has the cause, under the X-Request-Id of this reply",
        )
    }

    /// Closes the connection after this reply.
    #[must_use]
    pub(crate) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// Names the part of the request that is at fault.
    #[must_use]
    pub(crate) fn with_param(mut self, param: &str) -> Self {
        self.body.param = Some(param.to_string());
        self
    }

    /// What is wrong, for people.
    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.body.message
    }

    /// The body, as it goes into a stream that has begun.
    pub(crate) fn reply(&self) -> ErrorReply {
        ErrorReply {
            error: self.body.clone(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, json::Json(self.reply())).into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.as_secs().max(1)),
            );
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Blip2Error> for ApiError {
    /// What is wrong with the request is told; what is wrong in here goes into the log.
    fn from(error: Blip2Error) -> Self {
        match error.kind() {
            ErrorKind::Input => Self::invalid(words(&error)),
            ErrorKind::Limit => {
                let mut told = Self::invalid(words(&error));
                if matches!(error, Blip2Error::Image(_) | Blip2Error::Video(_)) {
                    told.status = StatusCode::PAYLOAD_TOO_LARGE;
                    told.body.code = Some("too_large");
                } else {
                    told.body.code = Some("context_length_exceeded");
                }
                told
            }
            ErrorKind::Deadline => Self::timeout(),
            ErrorKind::Cancelled => Self::stopping(),
            ErrorKind::Memory => {
                tracing::warn!(%error, "a request needs more memory than there is");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "server_error",
                    Some("out_of_memory"),
                    "the server has not enough memory for this request; ask for less at once",
                )
            }
            _ => {
                tracing::error!(%error, "a request failed");
                Self::internal()
            }
        }
    }
}

/// What is wrong with a request, in its own words.
fn words(error: &Blip2Error) -> String {
    match error {
        Blip2Error::Item { source, .. } => words(source),
        Blip2Error::EmptyQuestion => "the question is empty".into(),
        Blip2Error::SpecialToken { token, .. } => {
            format!("the question contains the special token `{token}`, which is not read as text")
        }
        Blip2Error::EmptyText => "the text is empty".into(),
        Blip2Error::Video(VideoError::UnknownFormat) => {
            "the model looks at videos, and this is no animated GIF, PNG or WebP; send one, or several pictures".into()
        }
        Blip2Error::Video(VideoError::Limit { what, limit, .. }) => {
            format!("the video has more than {limit} {what}; send fewer")
        }
        Blip2Error::Video(VideoError::Frame(error)) => of_image(error),
        Blip2Error::Image(error) => of_image(error),
        Blip2Error::Generate(GenerateError::InvalidArgument {
            argument,
            value,
            reason,
        }) => format!("{} {value}: {reason}", name(argument)),
        Blip2Error::Generate(GenerateError::BadScores { .. }) => {
            "a token's score overflowed: the temperature is too extreme".into()
        }
        error => error.to_string(),
    }
}

/// What is wrong with a picture.
fn of_image(error: &ImageError) -> String {
    match error {
        ImageError::Limit {
            what, found, limit, ..
        } => {
            format!("the picture's {what} is {found}, over the limit of {limit}; make it smaller")
        }
        ImageError::Animated { format } => {
            format!("the picture is an animated {format}; send one frame of it")
        }
        ImageError::Pages { found } => {
            format!("the picture is a TIFF of {found} pages; send one of them")
        }
        error => error.to_string(),
    }
}

/// What a request calls an argument of generation.
fn name(argument: &str) -> &str {
    match argument {
        "max_new_tokens" => "max_tokens",
        "num_return_sequences" => "n",
        "num_beams" => "beams",
        "stop_strings" => "stop",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(error: &ApiError) -> serde_json::Value {
        serde_json::to_value(error.reply()).unwrap()
    }

    #[test]
    fn errors_have_the_shape_of_openai() {
        let error = ApiError::invalid("no").with_param("messages");
        let expected = serde_json::json!({"error": {
            "message": "no", "type": "invalid_request_error", "param": "messages", "code": null,
        }});
        assert_eq!(body(&error), expected);
    }

    #[test]
    fn what_goes_on_inside_is_not_told() {
        let tensors = vec!["secret".to_string()];
        let inner = Blip2Error::Holes { tensors };
        let error = ApiError::from(inner);
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!error.message().contains("secret"));
    }

    #[test]
    fn who_is_at_fault_decides_the_status() {
        let status = |error: Blip2Error| ApiError::from(error).status.as_u16();
        assert_eq!(status(Blip2Error::EmptyQuestion), 400);
        assert_eq!(status(Blip2Error::Deadline), 504);
        assert_eq!(status(Blip2Error::NoEndToken), 500);
    }

    #[test]
    fn a_busy_server_says_when_to_come_back() {
        let response = ApiError::busy(Duration::from_millis(300)).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
