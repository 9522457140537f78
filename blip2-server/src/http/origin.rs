//! By which names a server may be asked, and whose pages may ask it.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

/// The names of a server.
pub(super) struct Names<'a> {
    /// Whether it listens to its own machine alone.
    pub(super) loopback: bool,
    /// Its further names.
    pub(super) allowed: &'a [String],
}

impl Names<'_> {
    /// Whether a request is for the server by a name of its own. One that listens to others cannot know what they
    /// call it.
    pub(super) fn are_asked(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let own = |host: &str| is_of_loopback(name(host)) || self.is_allowed(name(host));
        // Programs may name none; browsers always do.
        !self.loopback || hosts(headers, uri).all(|host| host.is_some_and(own))
    }

    /// Whether a request comes from no page, from one of the server's own, or from one of an allowed name.
    pub(super) fn let_pages_ask(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            // No browser, or its own address bar.
            return true;
        };
        let origin = origin.to_str().ok();
        let origin = origin.and_then(|origin| Some(origin.split_once("://")?.1));
        let Some(origin) = origin else {
            return false;
        };
        let mut hosts = hosts(headers, uri).flatten();
        self.is_allowed(name(origin)) || hosts.any(|host| host.eq_ignore_ascii_case(origin))
    }

    fn is_allowed(&self, name: &str) -> bool {
        let mut allowed = self.allowed.iter();
        allowed.any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

/// What a request calls the server; [`None`] for what is no text.
fn hosts<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> impl Iterator<Item = Option<&'a str>> {
    let named = headers.get_all(header::HOST).into_iter();
    let named = named.map(|host| host.to_str().ok());
    named.chain(uri.authority().map(|of| Some(of.as_str())))
}

/// A host without its port and, of IPv6, its brackets.
fn name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_of_loopback(name: &str) -> bool {
    let address: Option<IpAddr> = name.parse().ok();
    name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        headers
    }

    #[test]
    fn on_loopback_a_server_has_that_ones_names_and_those_it_was_given() {
        let allowed = ["pictures.example".to_string()];
        let names = |loopback| Names {
            loopback,
            allowed: &allowed,
        };
        let uri = Uri::from_static("/answer");
        for (host, own) in [
            ("127.0.0.1:8080", true),
            ("localhost", true),
            ("LocalHost:1", true),
            ("[::1]:8080", true),
            ("pictures.example:8080", true),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("localhost:x", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            let headers = headers(host, None);
            assert_eq!(names(true).are_asked(&headers, &uri), own, "{host}");
            assert!(names(false).are_asked(&headers, &uri), "{host}");
        }
        assert!(names(true).are_asked(&HeaderMap::new(), &uri));
        let other = Uri::from_static("http://evil.example/answer");
        assert!(!names(true).are_asked(&headers("localhost", None), &other));
    }

    #[test]
    fn pages_of_other_origins_are_told_apart() {
        let allowed = ["pictures.example".to_string()];
        let from = |origin| {
            let names = Names {
                loopback: true,
                allowed: &allowed,
            };
            let headers = headers("127.0.0.1:8080", origin);
            names.let_pages_ask(&headers, &Uri::from_static("/answer"))
        };
        assert!(from(None));
        assert!(from(Some("http://127.0.0.1:8080")));
        assert!(from(Some("https://pictures.example")));
        for other in ["http://127.0.0.1:9090", "https://evil.example", "null"] {
            assert!(!from(Some(other)), "{other}");
        }
    }
}
