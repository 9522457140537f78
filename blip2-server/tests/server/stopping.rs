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
    let body = json!({"image": image("red-triangle"), "question": "what?", "max_tokens": 3000});
    thread::scope(|scope| {
        let asked = scope.spawn(|| served.post("/answer", &body));
        thread::sleep(Duration::from_millis(150));
        served.stop();
        thread::sleep(Duration::from_millis(50));
        // Whoever comes now is told so.
        let ready = served.get("/ready");
        assert_eq!((ready.status, ready.header("connection")), (503, "close"));
        assert_eq!(ready.json()["status"], "stopping");
        assert_eq!(served.get("/health").status, 200);
        for refused in [served.post("/answer", &body), served.get("/v1/models")] {
            refused.error(503, "stopping");
            assert_eq!(refused.header("connection"), "close");
        }
        let answer = asked.join().unwrap().ok();
        assert_eq!(answer["tokens"].as_array().unwrap().len(), 3000);
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
            "POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
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

#[test]
fn before_there_is_a_model_it_is_said_that_it_is_loading() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let bound = tokio::net::TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(bound).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (loaded, wait) = tokio::sync::oneshot::channel::<()>();
    let answering = runtime.spawn(async move {
        blip2_server::answer_while_loading(&listener, wait).await;
    });
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    for (path, status, says) in [
        ("/health", 200, "ok"),
        ("/ready", 503, "loading"),
        ("/v1/models", 503, "being loaded"),
    ] {
        let mut reply = agent.get(format!("{url}{path}")).call().unwrap();
        assert_eq!(reply.status().as_u16(), status, "{path}");
        assert_eq!(reply.headers()["connection"], "close");
        let text = reply.body_mut().read_to_string().unwrap();
        assert!(text.contains(says), "{text}");
    }
    drop(loaded);
    runtime.block_on(answering).unwrap();
}
