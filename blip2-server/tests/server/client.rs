//! A server for a test, and what asks it.

use std::{
    io::Read,
    net::SocketAddr,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use blip2_core::{Blip2Pipeline, CancelToken, CheckpointFolder};
use blip2_server::{Model, Server, Settings};
use serde::Serialize;
use serde_json::Value;
use tokio::{net::TcpListener, runtime::Builder, time::sleep};
use ureq::{Agent, Body, http::Response};

/// A server that runs until it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    agent: Agent,
    stop: CancelToken,
    thread: Option<JoinHandle<()>>,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) text: String,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The reply, which must be a good one.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// The error, which must have this status and speak of this.
    pub(crate) fn error(&self, status: u16, says: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        let error = self.json()["error"].clone();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
        assert!(error["type"].is_string(), "{error}");
        error
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Served {
    pub(crate) fn start(model: impl Into<Model>, settings: Settings) -> Self {
        let model = model.into();
        let stop = CancelToken::new();
        let (told, address) = mpsc::channel();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build();
            let runtime = runtime.unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                let server = Server::new(model, settings).unwrap();
                let stop = async {
                    while !stopped.is_cancelled() {
                        sleep(Duration::from_millis(5)).await;
                    }
                };
                server.serve(listener, stop).await.unwrap();
            });
            runtime.shutdown_background();
        });
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build();
        Self {
            address: address.recv().unwrap(),
            agent: config.into(),
            stop,
            thread: Some(thread),
        }
    }

    /// Tells it to stop.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it has stopped.
    pub(crate) fn join(mut self) {
        self.stop();
        self.thread.take().unwrap().join().unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        reply(self.agent.get(self.url(path)).call().unwrap())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(path, body, &[])
    }

    pub(crate) fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Reply {
        self.send(
            path,
            "application/json",
            body.to_string().as_bytes(),
            headers,
        )
    }

    pub(crate) fn send(
        &self,
        path: &str,
        media: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = self
            .agent
            .post(self.url(path))
            .header("content-type", media);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        reply(request.send(body).unwrap())
    }

    /// The events of a stream, by their names, with their data.
    pub(crate) fn events(&self, path: &str, body: &Value) -> Vec<(String, String)> {
        let reply = self.post(path, body);
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.header("content-type"), "text/event-stream");
        events(&reply.text)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn reply(response: Response<Body>) -> Reply {
    let (head, body) = response.into_parts();
    let mut bytes = Vec::new();
    body.into_reader().read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        text,
        bytes,
    }
}

/// The events in a stream's text.
pub(crate) fn events(text: &str) -> Vec<(String, String)> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    let read = blocks.map(|block| {
        let field = |name: &str| {
            let lines = block.lines().filter_map(|line| line.strip_prefix(name));
            lines.map(str::trim_start).collect::<Vec<_>>().join("\n")
        };
        (field("event:"), field("data:"))
    });
    read.filter(|(_, data)| !data.is_empty()).collect()
}

/// The demonstration model.
pub(crate) fn demo() -> Blip2Pipeline {
    Blip2Pipeline::from_pretrained("../blip2-cli/demo").unwrap()
}

/// A model that writes nonsense for as long as it is let.
pub(crate) fn endless() -> Blip2Pipeline {
    let folder = CheckpointFolder::open("../fixtures/blip2_t5").unwrap();
    let config = folder.config().unwrap();
    Blip2Pipeline::builder_random(config, 1).load().unwrap()
}

/// A picture of the examples.
pub(crate) fn picture(name: &str) -> Vec<u8> {
    std::fs::read(format!("../examples/images/{name}.png")).unwrap()
}

pub(crate) fn data_url(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes))
}

/// A picture of the examples as a data: URL.
pub(crate) fn image(name: &str) -> String {
    data_url(&picture(name))
}

/// What something is in JSON, as it is read from a reply: numbers of 32 bits are written shorter than of 64.
pub(crate) fn said(what: impl Serialize) -> Value {
    serde_json::from_str(&serde_json::to_string(&what).unwrap()).unwrap()
}
