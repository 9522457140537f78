//! Clients that send nothing more, and clients that leave.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use blip2_server::{Batching, Limits, Settings};
use serde_json::{Value, json};

use crate::client::{Served, demo, endless, image};

/// The connection of a client that has sent a request.
fn asked(served: &Served, body: &Value) -> TcpStream {
    let body = body.to_string();
    let mut stream = TcpStream::connect(served.address).unwrap();
    let head = format!(
        "POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn until(served: &Served, line: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let figures = served.get("/metrics").text;
        if figures.contains(line) {
            return;
        }
        assert!(Instant::now() < end, "no {line} in\n{figures}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A server of a model that never ends by itself, for a minute.
fn busy() -> Served {
    let batching = Batching::default().with_workers(1).with_size(1);
    let limits = Limits::default().with_max_tokens(1_000_000);
    let settings = Settings::default().with_batching(batching);
    Served::start(endless(), settings.with_limits(limits))
}

fn long(stream: bool) -> Value {
    json!({"image": image("red-triangle"), "question": "what?", "max_tokens": 1_000_000,
        "stream": stream})
}

#[test]
fn a_client_that_sends_nothing_more_gets_its_answer() {
    let served = Served::start(demo(), Settings::default());
    let body = json!({"image": image("red-triangle"), "question": "what color is the shape?"});
    let mut stream = asked(&served, &body);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(
        reply.contains("HTTP/1.1 200") && reply.contains("\"red\""),
        "{reply}"
    );
    // One whose answer takes long is asked whether it still reads.
    let served = busy();
    let mut body = long(false);
    body["max_tokens"] = json!(600);
    let mut stream = asked(&served, &body);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let reply = reply
        .strip_prefix("HTTP/1.1 102 Processing\r\n\r\n")
        .unwrap_or(&reply);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

#[test]
fn one_that_has_gone_is_noticed_and_counted_whether_it_streams_or_not() {
    let served = busy();
    drop(asked(&served, &long(false)));
    until(
        &served,
        "blip2_requests_total{route=\"/answer\",status=\"499\"} 1",
    );
    let mut streamed = asked(&served, &long(true));
    let mut some = [0; 64];
    assert!(streamed.read(&mut some).unwrap() > 0);
    // A stream is counted when it ends.
    let figures = served.get("/metrics").text;
    assert!(
        !figures.contains("route=\"/answer\",status=\"200\""),
        "{figures}"
    );
    drop(streamed);
    until(
        &served,
        "blip2_requests_total{route=\"/answer\",status=\"200\"} 1",
    );
    // The model is free again.
    let short = json!({"image": image("red-triangle"), "question": "what?", "max_tokens": 1});
    served.post("/answer", &short).ok();
    until(
        &served,
        "blip2_requests_total{route=\"/answer\",status=\"200\"} 2",
    );
}

#[test]
fn what_waits_is_answered_when_its_time_is_over() {
    let batching = Batching::default().with_workers(1).with_size(1);
    let limits = Limits::default()
        .with_max_tokens(1_000_000)
        .with_time(Duration::from_secs(4));
    let settings = Settings::default().with_batching(batching);
    let served = Served::start(endless(), settings.with_limits(limits));
    let first = asked(&served, &long(true));
    until(&served, "blip2_batch_size_count 1");
    thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    served
        .post("/answer", &long(false))
        .error(504, "send less text");
    let took = begun.elapsed();
    assert!((3..8).contains(&took.as_secs()), "{took:?}");
    // What a stream ended with is counted, not with what it began.
    drop(first);
    let streamed = served.post("/answer", &long(true)).text;
    assert!(streamed.contains("event: error"), "{streamed}");
    until(&served, "status=\"504\"} ");
}
