//! `blip2 serve` as a program.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
};

use blip2_testing::{fixture, workspace};

fn serve(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command.arg("serve").args(arguments);
    // The environment of whoever runs the tests names no model.
    command.env_remove("BLIP2_MODEL");
    command
}

/// A server, ended with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut command = serve(arguments);
        let piped = command
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().to_string();
        Self { child, address }
    }

    /// The whole reply to a request.
    fn ask(&self, head: &str, body: &[u8]) -> String {
        self.ask_with(head, "", body)
    }

    /// The whole reply to a request with further headers, each with the end of its line.
    fn ask_with(&self, head: &str, headers: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{head} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        let media = "Content-Type: multipart/form-data; boundary=xx";
        let head = format!("{head}{headers}{media}");
        write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n").unwrap();
        stream.write_all(body).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        String::from_utf8_lossy(&reply).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn form(question: &str) -> Vec<u8> {
    let picture = fs::read(workspace().join("examples/images/red-triangle.png")).unwrap();
    let text = format!(
        "--xx\r\nContent-Disposition: form-data; name=\"question\"\r\n\r\n{question}\r\n--xx\r\n\
         Content-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n"
    );
    [text.as_bytes(), &picture, b"\r\n--xx--\r\n"].concat()
}

#[test]
fn without_arguments_the_demonstration_model_answers() {
    let server = Server::start(&[]);
    assert!(
        server.address.starts_with("127.0.0.1:"),
        "{}",
        server.address
    );
    let reply = server.ask("POST /answer", &form("what color is the shape?"));
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.contains("\"text\":\"red\""),
        "{reply}"
    );
    let models = server.ask("GET /v1/models", b"");
    assert!(models.contains("\"id\":\"blip2-demo\""), "{models}");
    assert!(server.ask("GET /", b"").contains("<title>BLIP-2"));
}

#[cfg(unix)]
#[test]
fn a_signal_stops_it_gracefully() {
    let mut server = Server::start(&[]);
    let pid = server.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(server.child.wait().unwrap().success());
    let mut log = String::new();
    server
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(log.contains("stopping"), "{log}");
}

#[test]
fn the_log_names_requests_and_can_be_turned_off() {
    for (level, logged) in [("info", true), ("off", false)] {
        let mut server = Server::start(&["--log", level]);
        let reply = server.ask("GET /health", b"");
        let id = reply
            .lines()
            .find_map(|line| line.strip_prefix("x-request-id: "))
            .unwrap();
        server.child.kill().unwrap();
        let mut log = String::new();
        server
            .child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        assert_eq!(log.contains(id), logged, "{log}");
    }
}

#[test]
fn every_model_that_looks_at_pictures_is_served() {
    for (name, ability) in [
        ("blip2_itr", "match"),
        ("blip1_itr", "match"),
        ("blip1_vqa", "answer"),
        ("blip1_caption", "caption"),
        ("instructblip_t5", "answer"),
        ("instructblipvideo_t5", "answer"),
    ] {
        let folder = fixture(name);
        let server = Server::start(&["--model", folder.to_str().unwrap()]);
        let models = server.ask("GET /v1/models", b"");
        assert!(models.contains(&format!("\"{ability}\"")), "{models}");
        assert!(models.contains(&format!("\"id\":\"{name}\"")), "{models}");
    }
}

/// What a server says that does not start, and its exit code.
fn refused(arguments: &[&str]) -> (String, i32) {
    let Output { stderr, status, .. } = serve(arguments).output().unwrap();
    (
        String::from_utf8_lossy(&stderr).into_owned(),
        status.code().unwrap(),
    )
}

#[test]
fn what_keeps_it_from_starting_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (told, code) = refused(&["--port", &port]);
    assert!(told.contains("another --port") && code == 1, "{told}");

    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.txt");
    fs::write(&keys, "\n \n").unwrap();
    let (told, code) = refused(&["--port", "0", "--keys", keys.to_str().unwrap()]);
    assert!(
        told.contains("there is no key in it") && code == 1,
        "{told}"
    );

    for (option, value) in [
        ("--max-body", "0"),
        ("--max-pixels", "0"),
        ("--model-name", ""),
        ("--host", ""),
        ("--allow-host", "https://pictures.example"),
    ] {
        let (told, code) = refused(&[option, value]);
        assert!(told.contains(option) && code == 2, "{told}");
    }
}

#[test]
fn it_listens_by_a_name_and_answers_to_those_it_is_given() {
    let server = Server::start(&["--host", "localhost", "--allow-host", "pictures.example"]);
    let from = |host: &str| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let head = format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    };
    assert!(from("pictures.example").starts_with("HTTP/1.1 200"));
    assert!(from("evil.example").starts_with("HTTP/1.1 403"));
}

#[test]
fn keys_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.txt");
    fs::write(&keys, "one\ntwo\n").unwrap();
    let server = Server::start(&["--keys", keys.to_str().unwrap()]);
    assert!(
        server
            .ask("GET /v1/models", b"")
            .starts_with("HTTP/1.1 401")
    );
}

/// As Windows' editors save it: with a mark at its beginning, or in UTF-16, which is told.
#[test]
fn a_file_of_keys_is_read_as_other_texts_are() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.txt");
    fs::write(&keys, "\u{feff}# ours\r\none\r\ntwo\r\n").unwrap();
    let server = Server::start(&["--keys", keys.to_str().unwrap()]);
    let asked = |key: &str| {
        let key = format!("Authorization: Bearer {key}\r\n");
        server.ask_with("GET /v1/models", &key, b"")
    };
    assert!(asked("one").starts_with("HTTP/1.1 200"), "{}", asked("one"));
    for other in ["three", "# ours"] {
        assert!(asked(other).starts_with("HTTP/1.1 401"), "{other}");
    }
    drop(server);

    let utf16 = "\u{feff}one\n".encode_utf16().flat_map(u16::to_le_bytes);
    fs::write(&keys, utf16.collect::<Vec<u8>>()).unwrap();
    let (told, code) = refused(&["--port", "0", "--keys", keys.to_str().unwrap()]);
    assert!(
        told.contains("it is UTF-16; save it as UTF-8") && code == 1,
        "{told}"
    );
}

/// A collector of OpenTelemetry that takes one message: where it listens, and what it was sent.
#[cfg(feature = "otel")]
fn collector() -> (String, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let taken = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line).unwrap() > 2 {
            let lower = line.to_lowercase();
            if let Some(text) = lower.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(reply).unwrap();
        body
    });
    (endpoint, taken)
}

#[cfg(feature = "otel")]
#[test]
fn spans_go_to_a_collector_as_parts_of_the_trace_that_a_request_names() {
    let (endpoint, taken) = collector();
    let mut server = Server::start(&["--otlp", &endpoint]);
    let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128;
    let parent = format!("traceparent: 00-{trace:032x}-b7ad6b7169203331-01\r\n");
    let question = form("what color is the shape?");
    let reply = server.ask_with("POST /answer", &parent, &question);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let pid = server.child.id().to_string();
    Command::new("kill").arg(pid).status().unwrap();
    assert!(server.child.wait().unwrap().success());
    let sent = taken.join().unwrap();
    let holds = |part: &[u8]| sent.windows(part.len()).any(|some| some == part);
    assert!(holds(&trace.to_be_bytes()));
    for part in ["blip2", "/answer", "http.response.status_code"] {
        assert!(holds(part.as_bytes()), "{part}");
    }
}
