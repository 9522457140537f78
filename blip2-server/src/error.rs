//! Errors as clients read them: in OpenAI's shape, in the words of requests, and without what goes on
//! inside.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use blip2_core::{Blip2Error, ErrorKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    json,
    words::{Fault, Names},
};

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

/// OpenAI's code of a text that is too long.
const TOO_LONG: &str = "context_length_exceeded";

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

    /// A request by a name that is not the server's.
    pub(crate) fn other_host() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "invalid_request_error",
            Some("other_host"),
            "this server is called by another name: ask it as localhost, or by a name that it was told to allow",
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

    /// A text of more tokens than are read.
    pub(crate) fn too_long(fault: Fault) -> Self {
        let mut told = Self::at_fault(fault);
        told.body.code = Some(TOO_LONG);
        told
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
            "the answer took longer than this server allows; ask for fewer tokens, send less text, or try again when \
             fewer others ask",
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

    /// A server whose model is not there yet.
    pub(crate) fn loading() -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "server_error",
            Some("loading"),
            "the model is being loaded; try again later",
        );
        error.retry_after = Some(Duration::from_secs(5));
        error
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

    /// Calls the part of the request that is at fault so, if there is one.
    #[must_use]
    pub(crate) fn renamed(self, param: &str) -> Self {
        match self.body.param {
            Some(_) => self.with_param(param),
            None => self,
        }
    }

    /// The status of its reply.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
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

impl ApiError {
    /// What is wrong with a request is told, by its own keys; what is wrong in here goes into the log.
    pub(crate) fn told(error: &Blip2Error, names: &Names) -> Self {
        match error.kind() {
            ErrorKind::Input => Self::at_fault(names.tell(error)),
            ErrorKind::Limit => {
                let mut told = Self::at_fault(names.tell(error));
                if matches!(error, Blip2Error::Image(_) | Blip2Error::Video(_)) {
                    told.status = StatusCode::PAYLOAD_TOO_LARGE;
                    told.body.code = Some("too_large");
                } else {
                    told.body.code = Some(TOO_LONG);
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

    /// As [`told`](Self::told), of a list of texts, which stand in the request at these places.
    pub(crate) fn told_of_list(
        error: &Blip2Error,
        names: &Names,
        place: impl Fn(usize) -> usize,
    ) -> Self {
        let Blip2Error::Item { index, source } = error else {
            return Self::told(error, names);
        };
        let told = Self::told(source, names);
        let at = format!("{}[{}]", names.texts, place(*index));
        match told.body.param {
            Some(_) => told.of_part(&at),
            None => told,
        }
    }

    /// Says that a part of several is at fault.
    fn of_part(mut self, at: &str) -> Self {
        self.body.message = format!("`{at}`: {}", self.body.message);
        self.with_param(at)
    }

    fn at_fault(fault: Fault) -> Self {
        let mut error = Self::invalid(fault.words);
        error.body.param = fault.param;
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names {
        picture: "image",
        text: "question",
        texts: "candidates",
    };

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
        let error = ApiError::told(&inner, &NAMES);
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!error.message().contains("secret"));
    }

    #[test]
    fn who_is_at_fault_decides_the_status() {
        let status = |error: Blip2Error| ApiError::told(&error, &NAMES).status.as_u16();
        assert_eq!(status(Blip2Error::EmptyQuestion), 400);
        assert_eq!(status(Blip2Error::Deadline), 504);
        assert_eq!(status(Blip2Error::NoEndToken), 500);
    }

    #[test]
    fn what_is_at_fault_is_named_by_the_requests_keys() {
        let chat = Names {
            text: "messages",
            ..NAMES
        };
        for (names, param, says) in [
            (NAMES, "question", "the question is empty"),
            (chat, "messages", "the conversation is empty"),
        ] {
            let told = body(&ApiError::told(&Blip2Error::EmptyQuestion, &names));
            assert_eq!(told["error"]["param"], param);
            assert_eq!(told["error"]["message"], says);
        }
    }

    #[test]
    fn a_busy_server_says_when_to_come_back() {
        let response = ApiError::busy(Duration::from_millis(300)).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
