//! Many requests from many clients, good ones and bad ones: no panic, no answer that is lost or another's,
//! and memory that is bounded.
//!
//! `LOAD_REQUESTS=10000 cargo test --release --workspace --test server_load` for the whole of it.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "server/client.rs"]
#[allow(dead_code)]
mod client;

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use blip2_core::{
    GenerationConfig, Options, RankOptions,
    explain::{ExplainOptions, Method},
};
use blip2_server::{Batching, Limits, Settings};
use serde_json::{Value, json};

use client::{Served, data_url, demo, events, image, picture, said};

const CLIENTS: usize = 32;
const NAMES: [&str; 8] = [
    "red-triangle",
    "blue-circle",
    "teal-rectangle",
    "black-triangle",
    "gray-rectangle",
    "red-circle",
    "brown-triangle",
    "yellow-triangle",
];
const QUESTIONS: [&str; 4] = [
    "what color is the shape?",
    "what shape is in the image?",
    "is there a red shape in the image?",
    "does the image contain a circle?",
];
const CANDIDATES: [&str; 4] = ["red", "blue", "yes", "triangle"];
const SEEDS: u64 = 3;

/// What the pipeline says alone, by picture, question and seed (0: greedy).
struct Expected {
    answers: HashMap<(usize, usize, u64), Value>,
    ranked: HashMap<(usize, usize), Value>,
    explained: HashMap<(usize, usize), Value>,
}

fn options(seed: u64) -> Options {
    let config = GenerationConfig::default();
    Options::default().with_generation(match seed {
        0 => config,
        seed => config
            .with_do_sample(true)
            .with_temperature(2.5)
            .with_top_k(0)
            .with_seed(seed)
            .with_max_new_tokens(12),
    })
}

impl Expected {
    fn new() -> Self {
        let blip2 = demo();
        let (mut answers, mut ranked) = (HashMap::new(), HashMap::new());
        let mut explained = HashMap::new();
        let rollout = ExplainOptions::default().with_method(Method::Rollout);
        for (name, file) in NAMES.iter().enumerate() {
            let image = blip2.decode(&picture(file)).unwrap();
            let seen = blip2.look(&image).unwrap();
            for (number, question) in QUESTIONS.iter().enumerate() {
                for seed in 0..=SEEDS {
                    let answer = seen.ask_with(question, &options(seed)).unwrap();
                    answers.insert((name, number, seed), said(&answer.tokens));
                }
                let best = seen.rank_with(question, &CANDIDATES, &RankOptions::default());
                let best: Vec<_> = best.unwrap().iter().map(|one| said(one.score)).collect();
                ranked.insert((name, number), json!(best));
                let why = blip2.explain_answer(&image, question, &rollout);
                explained.insert((name, number), said(why.unwrap()));
            }
        }
        Self {
            answers,
            ranked,
            explained,
        }
    }
}

/// How requests ended.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    streamed: AtomicUsize,
    ranked: AtomicUsize,
    explained: AtomicUsize,
    refused: AtomicUsize,
    busy: AtomicUsize,
    left: AtomicUsize,
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A row of numbers that looks random and is the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

#[test]
fn many_clients_are_answered_rightly_whatever_others_send() {
    let requests: usize = std::env::var("LOAD_REQUESTS").map_or(400, |text| text.parse().unwrap());
    let expected = Expected::new();
    let limits = Limits::default()
        .with_body_bytes(200_000)
        .with_bodies_bytes(4_000_000);
    // Fewer pictures are kept than there are, and fewer requests may wait than come.
    let batching = Batching::default().with_cache_bytes(15_000).with_queue(24);
    let settings = Settings::default()
        .with_limits(limits)
        .with_batching(batching);
    let served = Served::start(demo(), settings);
    let tally = Tally::default();
    let next = AtomicUsize::new(0);
    let memory = resident();
    let begun = Instant::now();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (served, expected, tally, next) = (&served, &expected, &tally, &next);
            scope.spawn(move || {
                let mut dice = Dice(client as u64 + 1);
                while next.fetch_add(1, Ordering::Relaxed) < requests {
                    one(served, expected, tally, &mut dice);
                }
            });
        }
    });
    let took = begun.elapsed();
    let grown = resident().saturating_sub(memory);
    let figures = [
        ("answered", &tally.answered),
        ("streamed", &tally.streamed),
        ("ranked", &tally.ranked),
        ("explained", &tally.explained),
        ("refused", &tally.refused),
        ("busy", &tally.busy),
        ("left", &tally.left),
    ];
    let figures = figures.map(|(name, of)| (name, of.load(Ordering::Relaxed)));
    println!("{requests} requests in {took:.1?}: {figures:?}; memory grew by {grown} kB");
    assert_eq!(figures.iter().map(|(_, of)| of).sum::<usize>(), requests);
    assert!(figures[..5].iter().all(|(_, of)| *of > 0), "{figures:?}");
    assert!(grown < 400_000, "{grown} kB");

    // It is well: nothing waits, nothing failed inside, and it answers.
    let metrics = served.get("/metrics").text;
    assert!(!metrics.contains("status=\"500\""), "{metrics}");
    let end = Instant::now() + Duration::from_secs(20);
    while !served
        .get("/metrics")
        .text
        .contains("blip2_queue_waiting 0")
    {
        assert!(Instant::now() < end, "something still waits");
        thread::sleep(Duration::from_millis(20));
    }
    let body = json!({"image": image(NAMES[0]), "question": QUESTIONS[0]});
    assert_eq!(served.post("/answer", &body).ok()["text"], "red");
    served.join();
}

/// One request of some kind.
fn one(served: &Served, expected: &Expected, tally: &Tally, dice: &mut Dice) {
    let (name, question) = (dice.roll(NAMES.len()), dice.roll(QUESTIONS.len()));
    let seed = dice.roll(SEEDS as usize + 1) as u64;
    let mut body = json!({"image": image(NAMES[name]), "question": QUESTIONS[question]});
    match dice.roll(40) {
        0..=17 => {
            sampled(&mut body, seed);
            let reply = until_there_is_room(tally, || served.post("/answer", &body));
            let Some(reply) = reply else { return };
            assert_eq!(
                reply.ok()["tokens"],
                expected.answers[&(name, question, seed)]
            );
            count(&tally.answered);
        }
        18..=25 => {
            sampled(&mut body, seed);
            body["stream"] = json!(true);
            let reply = until_there_is_room(tally, || served.post("/answer", &body));
            let Some(reply) = reply else { return };
            assert_eq!(reply.status, 200, "{}", reply.text);
            let (name_of, last) = events(&reply.text).pop().unwrap();
            assert_eq!(name_of, "answer", "{last}");
            let answer: Value = serde_json::from_str(&last).unwrap();
            assert_eq!(answer["tokens"], expected.answers[&(name, question, seed)]);
            count(&tally.streamed);
        }
        26..=29 => {
            body["candidates"] = json!(CANDIDATES);
            let reply = until_there_is_room(tally, || served.post("/rank", &body));
            let Some(reply) = reply else { return };
            let reply = reply.ok();
            let scores = reply["ranked"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["score"].clone());
            let scores = Value::Array(scores.collect());
            assert_eq!(scores, expected.ranked[&(name, question)]);
            count(&tally.ranked);
        }
        30 => {
            body["method"] = json!("rollout");
            let reply = until_there_is_room(tally, || served.post("/explain", &body));
            let Some(reply) = reply else { return };
            assert_eq!(reply.ok(), expected.explained[&(name, question)]);
            count(&tally.explained);
        }
        31..=34 => {
            let (reply, status) = bad(served, dice);
            // One that is busy says so before it looks.
            assert!(
                [status, 429].contains(&reply.status),
                "{} {}",
                reply.status,
                reply.text
            );
            count(if reply.status == 429 {
                &tally.busy
            } else {
                &tally.refused
            });
        }
        _ => {
            body["stream"] = json!(dice.roll(2) == 0);
            leave(served, &body, dice);
            count(&tally.left);
        }
    }
}

fn sampled(body: &mut Value, seed: u64) {
    if seed > 0 {
        body["temperature"] = json!(2.5);
        body["seed"] = json!(seed);
        body["max_tokens"] = json!(12);
    }
}

/// Asks once more, a moment later, where the server has no room; in the end it counts as busy.
fn until_there_is_room(tally: &Tally, ask: impl Fn() -> client::Reply) -> Option<client::Reply> {
    for _ in 0..200 {
        let reply = ask();
        if reply.status != 429 {
            return Some(reply);
        }
        assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
        thread::sleep(Duration::from_millis(5));
    }
    count(&tally.busy);
    None
}

/// A request that makes no sense or is too large, and the status that is due.
fn bad(served: &Served, dice: &mut Dice) -> (client::Reply, u16) {
    let media = "application/json";
    match dice.roll(7) {
        0 => (served.send("/answer", media, b"{\"image\": ", &[]), 400),
        1 => (
            served.send("/answer", media, &vec![b'x'; 200_001], &[]),
            413,
        ),
        2 => (served.send("/answer", "text/plain", b"hello", &[]), 415),
        3 => (
            served.post("/v1/chat/completions", &json!({"messages": []})),
            400,
        ),
        4 => {
            let broken = &picture(NAMES[0])[..100];
            let body = json!({"image": data_url(broken), "question": "what?"});
            (served.post("/answer", &body), 400)
        }
        5 => (served.post("/nowhere", &json!({})), 404),
        _ => {
            let body =
                json!({"image": image(NAMES[0]), "question": "what?", "max_tokens": 1_000_000});
            (served.post("/answer", &body), 400)
        }
    }
}

/// Sends a request, or a part of it, perhaps reads a little, and goes.
fn leave(served: &Served, body: &Value, dice: &mut Dice) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(served.address).unwrap();
    let head = format!(
        "POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let part = [body.len(), body.len(), body.len() / 2, 0][dice.roll(4)];
    let _ = stream.write_all(&body.as_bytes()[..part]);
    if part == body.len() && dice.roll(2) == 0 {
        let _ = stream.read(&mut [0; 64]);
    }
}

/// How much memory this process has, in kB; 0 where that is not told.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line.and_then(|line| line.split_whitespace().next());
    value.map_or(0, |value| value.parse().unwrap())
}
