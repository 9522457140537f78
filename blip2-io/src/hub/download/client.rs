//! Requests to the hub, and where the token goes.

use std::time::Duration;

use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, StatusCode, Uri, header},
};

use super::{fault::Fault, token::Token};

/// Where the hub is, if nobody says another place.
pub(super) const HUB: &str = "https://huggingface.co";
/// How often a file may move on its way.
const REDIRECTS: usize = 10;

/// Asks one endpoint.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: Agent,
    pub(super) endpoint: String,
    pub(super) token: Option<Token>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// What the hub says of a file, which for a large one is its answer before it sends the asker on.
    About,
    /// The content, from this byte on.
    From(u64),
}

impl Client {
    pub(super) fn new(endpoint: &str, token: Option<Token>) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_string();
        let config = Agent::config_builder()
            .user_agent(concat!("blip2/", env!("CARGO_PKG_VERSION")))
            // Sizes and ranges are those of the file itself.
            .accept_encoding("identity")
            .http_status_as_error(false)
            // Followed here, where it is decided who is told the token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)));
        let config = match is_loopback(&endpoint) {
            true => config.proxy(None),
            false => config,
        };
        Self {
            agent: config.build().new_agent(),
            endpoint,
            token,
        }
    }

    /// Asks, and follows where it is sent.
    pub(super) fn ask(&self, address: &str, ask: Ask) -> Result<Response<Body>, Fault> {
        let mut address: Uri = uri(address)?;
        for _ in 0..REDIRECTS {
            let response = self.once(&address, ask)?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let next = next(&address, response.headers())?;
            if ask == Ask::About && !same_origin(&address, &next) {
                return Ok(response);
            }
            if address.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                return Err(Fault::Unsafe(next.to_string()));
            }
            address = next;
        }
        Err(Fault::Lost)
    }

    fn once(&self, address: &Uri, ask: Ask) -> Result<Response<Body>, Fault> {
        let mut request = match ask {
            Ask::About => self.agent.head(address),
            Ask::From(_) => self.agent.get(address),
        };
        if let Ask::From(start @ 1..) = ask {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        if let Some(token) = self.token.as_ref().filter(|_| self.may_know(address)) {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        request
            .call()
            .map_err(|error| Fault::Request(error.to_string()))
    }

    /// Whether a place may be told the token: the hub itself, in secret.
    fn may_know(&self, address: &Uri) -> bool {
        let own = uri(&self.endpoint).is_ok_and(|own| same_origin(&own, address));
        own && (address.scheme_str() == Some("https") || is_loopback(&self.endpoint))
    }
}

fn uri(address: &str) -> Result<Uri, Fault> {
    let uri: Option<Uri> = address.parse().ok();
    uri.filter(|uri| uri.scheme().is_some() && uri.host().is_some())
        .ok_or_else(|| Fault::Address(address.to_string()))
}

/// Where a redirection leads: another address, or another path of the same host.
fn next(from: &Uri, headers: &HeaderMap) -> Result<Uri, Fault> {
    let location = headers
        .get(header::LOCATION)
        .and_then(|to| to.to_str().ok());
    let location = location.ok_or(Fault::Lost)?;
    match (
        location.strip_prefix('/'),
        from.scheme_str(),
        from.authority(),
    ) {
        (Some(path), Some(scheme), Some(host)) if !path.starts_with('/') => {
            uri(&format!("{scheme}://{host}{location}"))
        }
        _ => uri(location),
    }
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| match (uri.port_u16(), uri.scheme_str()) {
        (Some(port), _) => port,
        (None, Some("https")) => 443,
        (None, _) => 80,
    };
    a.scheme() == b.scheme() && a.host() == b.host() && port(a) == port(b)
}

fn is_loopback(endpoint: &str) -> bool {
    let host = uri(endpoint)
        .ok()
        .and_then(|uri| Some(uri.host()?.to_string()));
    host.is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host.as_str()))
}

/// Whether an answer has what was asked for.
pub(super) fn is_good(status: StatusCode, ask: Ask) -> bool {
    status.is_success() || (ask == Ask::About && status.is_redirection())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_for_the_hub_alone() {
        let client = Client::new(HUB, Token::new("hf_secret"));
        let knows = |address: &str| client.may_know(&uri(address).unwrap());
        assert!(knows("https://huggingface.co/a/b/resolve/main/x"));
        assert!(knows("https://huggingface.co:443/a"));
        for other in [
            "http://huggingface.co/a",
            "https://huggingface.co:8443/a",
            "https://cdn-lfs.huggingface.co/a",
            "https://huggingface.co.evil.example/a",
        ] {
            assert!(!knows(other), "{other}");
        }
        // Not even the mirror that was asked for, where others can listen.
        let mirror = Client::new("http://mirror.example", Token::new("hf_secret"));
        assert!(!mirror.may_know(&uri("http://mirror.example/a").unwrap()));
    }

    #[test]
    fn redirections_are_other_addresses_or_other_paths() {
        let from = uri("http://h:1/a/b").unwrap();
        for (location, to) in [
            ("/c", Some("http://h:1/c")),
            ("http://g/d", Some("http://g/d")),
            ("//g/d", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            let found = next(&from, &headers).ok().map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), to, "{location}");
        }
    }
}
