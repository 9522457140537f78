//! Pictures by their URL, for whoever allows them.
//!
//! Whoever names a URL to a program makes it ask where its machine may ask and they may not: a neighbour in
//! the same network, the cloud's own service of secrets. So only public addresses are asked, at every
//! redirection, and by the address that was looked at, not by a name that may mean another one next time.
//! No proxy is used, and no cookie or password is sent.

mod address;
mod error;
mod resolver;

use std::{io::Read, time::Duration};

use ureq::{Agent, http::Uri, unversioned::transport::DefaultConnector};

pub use error::FetchError;
use resolver::PublicResolver;

/// What is allowed in fetching pictures by their URLs.
///
/// ```no_run
/// use blip2_io::remote::Fetch;
///
/// let fetch = Fetch::default().with_max_bytes(8 << 20);
/// let bytes = fetch.bytes("https://example.org/beach.jpg")?;
/// # let _ = bytes;
/// # Ok::<(), blip2_io::remote::FetchError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetch {
    /// The most bytes that are taken. Default 64 MiB.
    pub max_bytes: u64,
    /// How long all of it may take, redirections included. Default 30 seconds.
    pub timeout: Duration,
    /// How often it may be sent on. Default 3.
    pub max_redirects: u32,
    /// Whether addresses of this machine and of private networks are asked too. Default no; for servers
    /// of one's own, where all who name URLs are trusted.
    pub allow_private: bool,
}

setters! { Fetch {
    with_max_bytes(max_bytes: u64),
    with_timeout(timeout: Duration),
    with_max_redirects(max_redirects: u32),
    with_allow_private(allow_private: bool),
} }

impl Default for Fetch {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            timeout: Duration::from_secs(30),
            max_redirects: 3,
            allow_private: false,
        }
    }
}

/// Whether a text is a URL that [`Fetch`] reads: `http://…` or `https://…`.
pub fn is_url(text: &str) -> bool {
    let begins = |scheme: &str| {
        let begin = text.get(..scheme.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    begins("https://") || begins("http://")
}

impl Fetch {
    /// What stands at a URL.
    ///
    /// # Errors
    ///
    /// [`FetchError`] naming the URL, without a password in it.
    pub fn bytes(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let address = checked(url)?;
        let failed = |reason: String| FetchError::new(url, reason);
        let response = self.agent().get(&address).call();
        let response = response.map_err(|error| failed(told(&error)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(failed(format!("the server answers {status}")));
        }
        let mut bytes = Vec::new();
        let body = response.into_body().into_reader();
        let read = body
            .take(self.max_bytes.saturating_add(1))
            .read_to_end(&mut bytes);
        read.map_err(|error| failed(error.to_string()))?;
        match bytes.len() as u64 > self.max_bytes {
            true => Err(failed(format!("is larger than {} bytes", self.max_bytes))),
            false => Ok(bytes),
        }
    }

    fn agent(&self) -> Agent {
        let config = Agent::config_builder()
            .user_agent(concat!("blip2/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(self.max_redirects)
            .timeout_global(Some(self.timeout))
            .proxy(None)
            .build();
        let resolver = PublicResolver::new(self.allow_private);
        Agent::with_parts(config, DefaultConnector::default(), resolver)
    }
}

fn checked(url: &str) -> Result<Uri, FetchError> {
    let refused = |reason: &str| FetchError::new(url, reason.into());
    let uri: Uri = url.parse().map_err(|_| refused("is no URL"))?;
    let authority = uri.authority().ok_or_else(|| refused("is no URL"))?;
    match authority.as_str().contains('@') {
        true => Err(refused("has a name or a password in it, which is not sent")),
        false => Ok(uri),
    }
}

/// An error in the words of who named the URL.
fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Other(other) => other.to_string(),
        ureq::Error::TooManyRedirects => "is sent on too often".into(),
        ureq::Error::HostNotFound => "there is no such host".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
