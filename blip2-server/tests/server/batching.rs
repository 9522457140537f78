//! Batches, what is kept of pictures, and clients that leave.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use blip2_core::Options;
use blip2_server::{Batching, Limits, Settings};
use serde_json::{Value, json};

use crate::client::{Served, demo, endless, image, picture, said};

const NAMES: [&str; 6] = [
    "red-triangle",
    "blue-circle",
    "teal-rectangle",
    "black-triangle",
    "gray-rectangle",
    "red-circle",
];
const QUESTIONS: [&str; 4] = [
    "what color is the shape?",
    "what shape is in the image?",
    "is there a red shape in the image?",
    "does the image contain a circle?",
];

/// A figure of `/metrics`.
fn figure(served: &Served, name: &str) -> f64 {
    let text = served.get("/metrics").text;
    let line = text
        .lines()
        .find(|line| line.split(' ').next() == Some(name));
    let value = line.and_then(|line| line.split(' ').nth(1));
    value.map_or(0.0, |value| value.parse().unwrap())
}

#[test]
fn clients_at_once_get_what_each_gets_alone() {
    let served = Served::start(demo(), Settings::default());
    let blip2 = demo();
    let gate = Barrier::new(16);
    thread::scope(|scope| {
        for client in 0..16 {
            let (served, blip2, gate) = (&served, &blip2, &gate);
            scope.spawn(move || {
                for round in 0..6 {
                    gate.wait();
                    let name = NAMES[(client + round) % NAMES.len()];
                    let question = QUESTIONS[(client / 3 + round) % QUESTIONS.len()];
                    let mut body = json!({"image": image(name), "question": question});
                    if client % 4 == 1 {
                        body["max_tokens"] = json!(1 + client);
                        body["temperature"] = json!(1.5);
                        body["seed"] = json!(client);
                    }
                    let answer = served.post("/answer", &body).ok();
                    let seen = blip2.decode(&picture(name)).unwrap();
                    let options = if client % 4 == 1 {
                        sampled(client)
                    } else {
                        Options::default()
                    };
                    let expected = blip2.answer_with(&seen, question, &options).unwrap();
                    assert_eq!(answer["text"], expected.text);
                    assert_eq!(answer["tokens"], said(&expected.tokens));
                }
            });
        }
    });
    let batches = figure(&served, "blip2_batch_size_count");
    assert!(batches < 96.0 * 0.75, "{batches} batches of 96 requests");
    // Six pictures were encoded, each perhaps by both workers at once, and no more.
    let misses = figure(
        &served,
        "blip2_picture_cache_requests_total{result=\"miss\"}",
    );
    assert!((6.0..=12.0).contains(&misses), "{misses}");
}

fn sampled(client: usize) -> Options {
    let config = blip2_core::GenerationConfig::default()
        .with_do_sample(true)
        .with_temperature(1.5)
        .with_top_k(0)
        .with_seed(client as u64)
        .with_max_new_tokens(1 + client);
    Options::default().with_generation(config)
}

#[test]
fn what_is_kept_of_pictures_has_its_limit() {
    // A picture takes 8 queries of 96 numbers, 3 kB.
    let batching = Batching::default().with_cache_bytes(7000);
    let served = Served::start(demo(), Settings::default().with_batching(batching));
    let ask = |name: &str| {
        let body = json!({"image": image(name), "question": QUESTIONS[0]});
        served.post("/answer", &body).ok();
    };
    for name in [
        "red-triangle",
        "red-triangle",
        "blue-circle",
        "red-circle",
        "red-triangle",
    ] {
        ask(name);
    }
    let result = |result| {
        let name = format!("blip2_picture_cache_requests_total{{result=\"{result}\"}}");
        figure(&served, &name)
    };
    assert_eq!((result("hit"), result("miss")), (1.0, 4.0));
    let bytes = figure(&served, "blip2_picture_cache_bytes");
    assert!(bytes > 0.0 && bytes <= 7000.0, "{bytes}");
}

/// A server of a model that never ends by itself.
fn busy(queue: usize) -> Served {
    let batching = Batching::default()
        .with_workers(1)
        .with_size(1)
        .with_queue(queue);
    let limits = Limits::default().with_max_tokens(1_000_000);
    let settings = Settings::default()
        .with_batching(batching)
        .with_limits(limits);
    Served::start(endless(), settings)
}

/// A client that begins to read an endless answer.
fn endless_client(served: &Served) -> TcpStream {
    let body = json!({
        "image": image("red-triangle"), "question": "what?", "max_tokens": 1_000_000,
        "stream": true,
    });
    let body = body.to_string();
    let mut stream = TcpStream::connect(served.address).unwrap();
    let head = format!(
        "POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    stream
}

fn short() -> Value {
    json!({"image": image("red-triangle"), "question": "what?", "max_tokens": 1})
}

#[test]
fn a_full_queue_answers_429_and_a_client_that_leaves_frees_its_place() {
    let served = busy(1);
    let mut first = endless_client(&served);
    let mut begun = [0; 2000];
    let mut text = String::new();
    while !text.contains("event: piece") {
        let count = first.read(&mut begun).unwrap();
        text.push_str(&String::from_utf8_lossy(&begun[..count]));
    }
    // The worker is busy; one more may wait.
    let second = endless_client(&served);
    until("the second waits", || {
        figure(&served, "blip2_queue_waiting") >= 1.0
    });
    let refused = served.post("/answer", &short());
    refused.error(429, "try again later");
    let after: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&after));
    assert!(figure(&served, "blip2_refused_total") >= 1.0);

    drop(first);
    drop(second);
    // Both places are free within a token's time.
    let begun = Instant::now();
    let answered = loop {
        let reply = served.post("/answer", &short());
        if reply.status == 200 {
            break reply;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", reply.text);
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(answered.ok()["finish_reason"], "max_tokens");
}

#[test]
fn a_short_answer_does_not_wait_for_a_long_one_of_its_batch() {
    let batching = Batching::default().with_workers(1).with_size(2);
    let limits = Limits::default().with_max_tokens(1_000_000);
    let settings = Settings::default().with_batching(batching);
    let served = Served::start(endless(), settings.with_limits(limits));
    // One batch runs, and has a place left.
    let first = endless_client(&served);
    until("the first runs", || {
        figure(&served, "blip2_batch_size_count") >= 1.0
    });
    let second = endless_client(&served);
    until("the second joins it", || {
        figure(&served, "blip2_joined_total") >= 1.0
    });
    thread::scope(|scope| {
        let short = scope.spawn(|| served.post("/answer", &short()).ok());
        until("the third waits", || {
            figure(&served, "blip2_queue_waiting") >= 1.0
        });
        drop(first);
        assert_eq!(short.join().unwrap()["finish_reason"], "max_tokens");
    });
    assert_eq!(figure(&served, "blip2_joined_total"), 2.0);
    assert_eq!(figure(&served, "blip2_batch_size_count"), 1.0);
    drop(second);
}

#[test]
fn texts_that_join_a_batch_get_what_each_gets_alone() {
    let batching = Batching::default().with_workers(1).with_size(5);
    let limits = Limits::default().with_max_tokens(1_000_000);
    let settings = Settings::default().with_batching(batching);
    let model = endless();
    let served = Served::start(model.clone(), settings.with_limits(limits));
    let first = endless_client(&served);
    until("the first runs", || {
        figure(&served, "blip2_batch_size_count") >= 1.0
    });
    thread::scope(|scope| {
        for client in 0..8 {
            let (served, model) = (&served, &model);
            scope.spawn(move || {
                let name = NAMES[client % NAMES.len()];
                let question = QUESTIONS[client % QUESTIONS.len()];
                let seen = model.decode(&picture(name)).unwrap();
                for round in 0..3 {
                    let tokens = 1 + (7 * client + 5 * round) % 13;
                    let body = json!({
                        "image": image(name), "question": question, "max_tokens": tokens,
                        "temperature": 1.5, "seed": client,
                    });
                    let config = blip2_core::GenerationConfig::default()
                        .with_do_sample(true)
                        .with_temperature(1.5)
                        .with_top_k(0)
                        .with_seed(client as u64)
                        .with_max_new_tokens(tokens);
                    let options = Options::default().with_generation(config);
                    let expected = model.answer_with(&seen, question, &options).unwrap();
                    let answer = served.post("/answer", &body).ok();
                    assert_eq!(answer["tokens"], said(&expected.tokens));
                }
            });
        }
    });
    // One batch ran all the time, and all of them joined it.
    assert_eq!(figure(&served, "blip2_batch_size_count"), 1.0);
    assert_eq!(figure(&served, "blip2_joined_total"), 24.0);
    drop(first);
}

fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}
