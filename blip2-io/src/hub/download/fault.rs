//! What can go wrong on the way from the hub.

use ureq::http::{HeaderMap, StatusCode};

use super::headers::text;
use crate::{error::IoError, fault::ErrorKind, hub::id::ModelId};

/// Why a request, or what came of it, is of no use.
#[derive(Debug)]
pub(super) enum Fault {
    /// The endpoint, or where it leads, is no address.
    Address(String),
    /// The request failed: no network, no such host, a cut, a timeout.
    Request(String),
    /// It was sent from place to place, or nowhere.
    Lost,
    /// It was sent from an encrypted address to one that is not.
    Unsafe(String),
    /// The hub refused.
    Refused(Refusal),
    /// The hub's answer makes no sense.
    Answer(String),
    /// A file's content is not what its name says.
    Content(String),
    /// A file here cannot be written or read.
    Local(IoError),
}

/// An answer with a status of failure.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// What the hub calls it, such as `GatedRepo`.
    code: Option<String>,
}

impl Refusal {
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Fault {
        let code = text(headers, "x-error-code").map(str::to_string);
        Fault::Refused(Self { status, code })
    }
}

impl Fault {
    /// Whether the same request may do better a little later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Refused(refusal) => {
                refusal.status.is_server_error() || refusal.status == StatusCode::REQUEST_TIMEOUT
            }
            _ => false,
        }
    }

    /// The error, with the way out. `page` is the model's page on the hub.
    pub(super) fn of(self, id: &ModelId, page: &str, has_token: bool) -> IoError {
        let (reason, kind) = match self {
            Self::Local(error) => return error,
            Self::Address(address) => (
                format!("`{address}` is no address of a hub; mend HF_ENDPOINT, or leave it out"),
                ErrorKind::Invalid,
            ),
            Self::Request(error) => (
                format!(
                    "{page} cannot be reached: {error}; what was downloaded is kept: try again, or set \
                     HF_ENDPOINT to a mirror"
                ),
                ErrorKind::Unreadable,
            ),
            Self::Lost => (
                format!("{page} sends from place to place and never answers"),
                ErrorKind::Unreadable,
            ),
            Self::Unsafe(address) => (
                format!("{page} sends from an encrypted address to {address}, which is none"),
                ErrorKind::Unreadable,
            ),
            Self::Answer(reason) => (
                format!("what {page} answers makes no sense: {reason}"),
                ErrorKind::Malformed,
            ),
            Self::Content(reason) => (reason, ErrorKind::Malformed),
            Self::Refused(refusal) => refusal.told(id, page, has_token),
        };
        let id = id.to_string();
        IoError::Hub { id, reason, kind }
    }
}

impl Refusal {
    fn told(&self, id: &ModelId, page: &str, has_token: bool) -> (String, ErrorKind) {
        let code = self.code.as_deref().unwrap_or_default();
        let token = match has_token {
            true => {
                "the token that was given is not allowed to read it: take one of an account that is"
            }
            false => "give a token in the environment variable HF_TOKEN, or by `hf auth login`",
        };
        let reason = match (self.status.as_u16(), code) {
            (401 | 403, "GatedRepo") => {
                format!("the model is gated: accept its terms at {page}; then {token}")
            }
            (401 | 403, "RepoNotFound") | (401, _) => format!(
                "the hub has no model of this id for you: check how it is written; if it is private, \
                 {token}"
            ),
            (403, _) => {
                format!("the hub forbids it: accept the model's terms at {page}; then {token}")
            }
            (404, "RevisionNotFound") => format!(
                "the model has no revision `{}`; its branches and tags are at {page}",
                id.revision()
            ),
            (404, _) => format!(
                "the hub has no such model or revision: check how it is written; models are at {page}"
            ),
            (429, _) => {
                "the hub has had too many requests from here; wait some minutes".to_string()
            }
            (status, _) => format!("{page} answered with the status {status}; try again later"),
        };
        let kind = match self.status.as_u16() {
            404 => ErrorKind::NotFound,
            _ => ErrorKind::Unreadable,
        };
        (reason, kind)
    }
}

impl From<IoError> for Fault {
    fn from(error: IoError) -> Self {
        Self::Local(error)
    }
}
