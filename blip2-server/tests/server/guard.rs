//! Who may ask, and how much.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use blip2_core::{
    Blip2Pipeline,
    image::{ImageFormat, RgbImage},
};
use blip2_server::{Limits, Settings};
use serde_json::json;

use crate::client::{Served, data_url, demo, image};

#[test]
fn with_keys_only_those_who_bring_one_are_answered() {
    let keys = vec!["first".to_string(), "second".into()];
    let served = Served::start(demo(), Settings::default().with_keys(keys));
    let body = json!({"image": image("red-triangle"), "question": "what color is the shape?"});
    let with = |key: &str| served.post_with("/answer", &body, &[("authorization", key)]);
    assert_eq!(with("Bearer second").ok()["text"], "red");
    for key in ["Bearer third", "second", "Basic second"] {
        let error = with(key).error(401, "Authorization: Bearer");
        assert_eq!(error["code"], "invalid_api_key");
    }
    let reply = served.post("/answer", &body);
    reply.error(401, "a valid key");
    assert_eq!(reply.header("www-authenticate"), "Bearer");
    for path in ["/metrics", "/v1/models"] {
        served.get(path).error(401, "a valid key");
    }
    // Whoever watches over it needs no key.
    assert_eq!(served.get("/health").ok()["status"], "ok");
    assert_eq!(served.get("/ready").ok()["status"], "ready");
}

#[test]
fn limits_hold() {
    let limits = Limits::default()
        .with_body_bytes(20_000)
        .with_pixels(10_000)
        .with_text_bytes(100)
        .with_max_tokens(5)
        .with_candidates(2);
    let served = Served::start(demo(), Settings::default().with_limits(limits));
    let red = image("red-triangle");
    let long = "x".repeat(101);
    let huge = "x".repeat(20_001);
    for (path, body, status, says) in [
        (
            "/answer",
            json!({"image": huge, "question": "what?"}),
            413,
            "larger than 20000",
        ),
        (
            "/answer",
            json!({"image": red, "question": long}),
            400,
            "allows 100",
        ),
        (
            "/answer",
            json!({"image": red, "question": "what?", "max_tokens": 6}),
            400,
            "allows 5",
        ),
        (
            "/rank",
            json!({"image": red, "question": "?", "candidates": ["a", "b", "c"]}),
            400,
            "allows 2",
        ),
    ] {
        served.post(path, &body).error(status, says);
    }
    // A picture whose header says more than is allowed, before a pixel of it is decoded.
    let mut png = std::io::Cursor::new(Vec::new());
    RgbImage::new(400, 300)
        .write_to(&mut png, ImageFormat::Png)
        .unwrap();
    let large = json!({"image": data_url(png.get_ref()), "question": "what?"});
    let error = served
        .post("/answer", &large)
        .error(413, "over the limit of 10000");
    assert_eq!(error["code"], "too_large");
    // Less tokens than usual are written where fewer are allowed.
    let body = json!({"image": red, "question": "what color is the shape?"});
    assert_eq!(served.post("/answer", &body).ok()["text"], "red");
}

// T5 has no context that would bound them.
#[test]
fn texts_of_too_many_tokens_are_refused_before_anything_is_read() {
    let t5 = Blip2Pipeline::from_pretrained("../fixtures/blip2_t5").unwrap();
    let served = Served::start(t5, Settings::default());
    let red = image("red-triangle");
    let long = "a ".repeat(5000);
    let chat = json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": red}}, {"type": "text", "text": long},
    ]}]);
    for (path, body, says, param) in [
        (
            "/answer",
            json!({"image": red, "question": long}),
            "the question has",
            "question",
        ),
        (
            "/answer",
            json!({"image": red, "question": long, "stream": true}),
            "the question has",
            "question",
        ),
        (
            "/caption",
            json!({"image": red, "prompt": long}),
            "the prompt has",
            "prompt",
        ),
        (
            "/rank",
            json!({"image": red, "question": "what?", "candidates": ["red", long]}),
            "`candidates[1]` has",
            "candidates",
        ),
        (
            "/explain",
            json!({"image": red, "question": long, "max_tokens": 1}),
            "the question has",
            "question",
        ),
        (
            "/v1/chat/completions",
            json!({"messages": chat}),
            "the conversation has",
            "messages",
        ),
    ] {
        let error = served.post(path, &body).error(400, says);
        assert_eq!(error["code"], "context_length_exceeded", "{error}");
        assert_eq!(error["param"], param, "{error}");
        let said = error["message"].as_str().unwrap();
        assert!(said.contains("allows 2048; shorten it"), "{said}");
    }
}

#[test]
fn a_prompt_may_have_the_tokens_that_are_allowed() {
    let question = "what color is the shape?";
    let tokens = demo().tokenizer().encode(question).unwrap().len();
    for (most, status) in [(tokens, 200), (tokens - 1, 400)] {
        let limits = Limits::default().with_prompt_tokens(most);
        let served = Served::start(demo(), Settings::default().with_limits(limits));
        let body = json!({"image": image("red-triangle"), "question": question});
        assert_eq!(served.post("/answer", &body).status, status, "{most}");
    }
}

#[test]
fn a_body_of_unknown_length_is_cut_off_at_the_limit() {
    let limits = Limits::default().with_body_bytes(1000);
    let served = Served::start(demo(), Settings::default().with_limits(limits));
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream
        .write_all(
            b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
              Transfer-Encoding: chunked\r\n\r\n",
        )
        .unwrap();
    for _ in 0..20 {
        if stream
            .write_all(format!("64\r\n{}\r\n", "x".repeat(100)).as_bytes())
            .is_err()
        {
            break;
        }
    }
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let limits = Limits::default().with_time(Duration::from_millis(200));
    let served = Served::start(demo(), Settings::default().with_limits(limits));
    let mut stream = TcpStream::connect(served.address).unwrap();
    let head = b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: 100\r\n\r\n{";
    stream.write_all(head).unwrap();
    let mut reply = [0; 1024];
    let count = stream.read(&mut reply).unwrap();
    let reply = String::from_utf8_lossy(&reply[..count]).into_owned();
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
}

#[test]
fn bodies_together_have_their_limit() {
    let limits = Limits::default()
        .with_body_bytes(100_000)
        .with_bodies_bytes(100_000);
    let served = Served::start(demo(), Settings::default().with_limits(limits));
    let body = json!({"image": image("red-triangle"), "question": "what color is the shape?"});
    // One that says it brings nearly all of it takes what it has brought.
    let mut greedy = TcpStream::connect(served.address).unwrap();
    let head = b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: 99999\r\n\r\n";
    greedy.write_all(head).unwrap();
    assert_eq!(served.post("/answer", &body).ok()["text"], "red");
    greedy.write_all(&[b' '; 99_998]).unwrap();
    let refused = (0..200).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let reply = served.post("/answer", &body);
        (reply.status == 429).then_some(reply)
    });
    let refused = refused.expect("the room is taken");
    refused.error(429, "try again later");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    drop(greedy);
    let answered = (0..200).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let reply = served.post("/answer", &body);
        (reply.status == 200).then_some(reply)
    });
    assert_eq!(
        answered.expect("the room is free again").ok()["text"],
        "red"
    );
}

#[test]
fn uploads_that_bring_nothing_take_no_room() {
    let limits = Limits::default()
        .with_body_bytes(100_000)
        .with_bodies_bytes(100_000);
    let served = Served::start(demo(), Settings::default().with_limits(limits));
    let stalled: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(served.address).unwrap();
            let head = b"POST /answer HTTP/1.1\r\nHost: localhost\r\n\
                         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let body = json!({"image": image("red-triangle"), "question": "what color is the shape?"});
    assert_eq!(served.post("/answer", &body).ok()["text"], "red");
    drop(stalled);
}

#[test]
fn a_body_that_is_broken_is_told_from_one_that_ends_early() {
    let served = Served::start(demo(), Settings::default());
    for (head, body, says) in [
        (
            "Transfer-Encoding: chunked",
            "zz\r\nhello\r\n",
            "chunks are not as HTTP",
        ),
        (
            "Transfer-Encoding: chunked",
            "5\r\nhel",
            "ended before its body",
        ),
        ("Content-Length: 100", "{", "ended before its body"),
    ] {
        let mut stream = TcpStream::connect(served.address).unwrap();
        let head = format!(
            "POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(
            reply.starts_with("HTTP/1.1 400") && reply.contains(says),
            "{reply}"
        );
    }
}

#[test]
fn on_loopback_a_server_answers_to_its_own_names_alone() {
    let body = json!({"image": image("red-triangle"), "question": "what color is the shape?"});
    let allowed = vec!["pictures.example".to_string()];
    let served = Served::start(demo(), Settings::default().with_allow_hosts(allowed));
    let port = served.address.port();
    let named = |host: &str, origin: Option<&str>| {
        let host = format!("{host}:{port}");
        let mut headers = vec![("host", host.as_str())];
        headers.extend(origin.map(|origin| ("origin", origin)));
        served.post_with("/answer", &body, &headers)
    };
    for host in ["localhost", "127.0.0.1", "[::1]", "pictures.example"] {
        assert_eq!(named(host, None).ok()["text"], "red", "{host}");
    }
    // A page whose name was made to stand for this machine asks as if of its own origin.
    let own = format!("http://evil.example:{port}");
    let error = named("evil.example", Some(&own)).error(403, "another name");
    assert_eq!(error["code"], "other_host");
    // A proxy may call the server by its address.
    named("127.0.0.1", Some("https://pictures.example")).ok();
    named("127.0.0.1", Some("https://evil.example")).error(403, "other origins");
}

#[test]
fn pages_of_other_origins_may_not_ask() {
    let served = Served::start(demo(), Settings::default());
    let body = json!({"image": image("red-triangle"), "question": "what color is the shape?"});
    let reply = served.post_with("/answer", &body, &[("origin", "https://evil.example")]);
    reply.error(403, "other origins");
    let own = format!("http://{}", served.address);
    assert_eq!(
        served
            .post_with("/answer", &body, &[("origin", &own)])
            .status,
        200
    );
}

#[test]
fn every_reply_has_the_name_of_its_request() {
    let served = Served::start(demo(), Settings::default());
    let body = json!({});
    let named = served.post_with("/answer", &body, &[("x-request-id", "mine-1")]);
    assert_eq!(named.header("x-request-id"), "mine-1");
    let odd = served.post_with("/answer", &body, &[("x-request-id", "no good")]);
    assert!(odd.header("x-request-id").starts_with("req-"));
    assert!(
        served
            .get("/nowhere")
            .header("x-request-id")
            .starts_with("req-")
    );
    assert_eq!(odd.header("x-content-type-options"), "nosniff");
}

#[test]
fn an_endless_request_ends_in_time() {
    let limits = Limits::default()
        .with_time(Duration::from_millis(300))
        .with_max_tokens(1_000_000);
    let served = Served::start(
        crate::client::endless(),
        Settings::default().with_limits(limits),
    );
    let body =
        json!({"image": image("red-triangle"), "question": "what?", "max_tokens": 1_000_000});
    served
        .post("/answer", &body)
        .error(504, "longer than this server allows");
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let events = served.events("/answer", &streamed);
    assert_eq!(events.last().unwrap().0, "error");
}

#[cfg(feature = "urls")]
#[test]
fn addresses_in_here_are_not_fetched_even_where_urls_are() {
    let served = Served::start(demo(), Settings::default().with_allow_urls(true));
    let own = format!("http://{}/examples/red-triangle.png", served.address);
    for url in [
        own.as_str(),
        "http://169.254.169.254/latest",
        "https://user:word@example.org/x",
    ] {
        let body = json!({"image": url, "question": "what color is the shape?"});
        let error = served
            .post("/answer", &body)
            .error(400, "could not be fetched");
        assert!(!error.to_string().contains("private"), "{error}");
    }
}
