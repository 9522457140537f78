//! Against servers on loopback.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};

use super::*;

/// A server that answers each request for a path by what `answer` gives for it; its address.
fn server(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Some(path) = asked(&stream) else { continue };
            let _ = stream.write_all(&answer(&path));
        }
    });
    format!("http://{address}")
}

fn asked(stream: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let rest = lines.map_while(Result::ok);
    let _ = rest.take_while(|line| !line.is_empty()).count();
    Some(first.split(' ').nth(1)?.to_string())
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn moved(to: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

fn trusting() -> Fetch {
    Fetch::default().with_allow_private(true)
}

fn reason(fetch: &Fetch, url: &str) -> String {
    let error = fetch.bytes(url).unwrap_err();
    assert!(error.to_string().starts_with("http"), "{error}");
    error.reason
}

#[test]
fn what_stands_there_is_read_where_a_server_is_trusted() {
    let url = server(|path| match path {
        "/moved.png" => moved("/picture.png"),
        _ => ok(b"picture"),
    });
    assert_eq!(
        trusting().bytes(&format!("{url}/picture.png")).unwrap(),
        b"picture"
    );
    assert_eq!(
        trusting().bytes(&format!("{url}/moved.png")).unwrap(),
        b"picture"
    );
}

#[test]
fn this_machine_and_private_networks_are_not_asked() {
    let url = server(|_| ok(b"secret"));
    let port = url.rsplit(':').next().unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
    ] {
        let fetch = Fetch::default().with_timeout(Duration::from_secs(5));
        let error = fetch.bytes(&format!("http://{host}:{port}/x")).unwrap_err();
        assert!(
            error.reason.contains("is not asked") || error.reason.contains("host"),
            "{error}"
        );
    }
    for url in [
        "http://169.254.169.254/latest",
        "http://10.1.2.3/",
        "http://192.168.0.1/",
    ] {
        assert!(reason(&Fetch::default(), url).contains("is not asked"));
    }
}

#[test]
fn limits_hold() {
    let url = server(|path| match path {
        "/large" => ok(&[0; 2000]),
        // Says less than it sends, or nothing of how much.
        "/endless" => [
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(),
            &[0; 9000],
        ]
        .concat(),
        "/missing" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        path => moved(path),
    });
    let fetch = trusting().with_max_bytes(1000);
    for path in ["large", "endless"] {
        let found = reason(&fetch, &format!("{url}/{path}"));
        assert_eq!(found, "is larger than 1000 bytes");
    }
    assert!(reason(&fetch, &format!("{url}/missing")).contains("404"));
    assert!(reason(&fetch, &format!("{url}/round")).contains("too often"));
}

#[test]
fn a_server_that_never_answers_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let started = Instant::now();
    let fetch = trusting().with_timeout(Duration::from_millis(300));
    assert!(fetch.bytes(&url).is_err());
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_is_no_url_or_has_a_password_is_refused() {
    for url in ["http://", "http://me:secret@h/x", "https:///x"] {
        let error = Fetch::default().bytes(url).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
    for (text, is) in [
        ("https://h/x", true),
        ("HTTP://h", true),
        ("ftp://h", false),
        ("file:///etc", false),
        ("photo.jpg", false),
    ] {
        assert_eq!(is_url(text), is, "{text}");
    }
}
