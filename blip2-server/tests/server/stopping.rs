//! How a server stops.

use std::{
    thread,
    time::{Duration, Instant},
};

use blip2_server::{Limits, Settings};
use serde_json::json;

use crate::client::{Served, endless, image};

fn settings(within: Duration) -> Settings {
    let limits = Limits::default().with_max_tokens(1_000_000);
    Settings::default()
        .with_limits(limits)
        .with_stop_within(within)
}

#[test]
fn what_is_under_way_ends_and_nothing_new_begins() {
    let served = Served::start(endless(), settings(Duration::from_secs(60)));
    let body = json!({"image": image("red-triangle"), "question": "what?", "max_tokens": 300});
    thread::scope(|scope| {
        let asked = scope.spawn(|| served.post("/answer", &body));
        thread::sleep(Duration::from_millis(150));
        served.stop();
        let answer = asked.join().unwrap().ok();
        assert_eq!(answer["tokens"].as_array().unwrap().len(), 300);
    });
    let address = served.address;
    served.join();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn what_does_not_end_is_cut_off_at_the_deadline() {
    let served = Served::start(endless(), settings(Duration::from_millis(300)));
    let body = json!({
        "image": image("red-triangle"), "question": "what?", "max_tokens": 1_000_000,
        "stream": true,
    });
    let body = body.to_string();
    let address = served.address;
    let client = thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // Reads until it is cut off.
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        text.len()
    });
    thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    served.join();
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert!(client.join().unwrap() > 0);
}
