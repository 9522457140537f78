//! A hub on loopback, which can be told to misbehave.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use sha2::{Digest, Sha256};

/// A hub with one repository, `owner/model`, that answers as `huggingface.co` does.
pub struct Hub {
    address: String,
    state: Arc<Mutex<HubState>>,
}

/// What it has and how it behaves.
#[derive(Clone, Default)]
pub struct HubState {
    /// The repository's files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The commit of every revision.
    pub commit: String,
    /// How many of the next contents end after half of what was asked for.
    pub cuts: usize,
    /// The contents have another byte than their hashes promise.
    pub lies: bool,
    /// Files come of another commit than the asked one.
    pub moves: bool,
    /// Knows no ranges.
    pub whole: bool,
    /// Answers everything with this status and error code.
    pub refuses: Option<(u16, &'static str)>,
    /// Sends for contents to this address.
    pub elsewhere: Option<String>,
    /// The heads of all requests.
    pub requests: Vec<String>,
}

impl Hub {
    /// A hub with these files, whose revisions are all the commit of forty times `a`.
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(HubState {
            files: files.into_iter().collect(),
            commit: "a".repeat(40),
            ..HubState::default()
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // Who asks may hang up.
                thread::spawn(move || answer(&stream, &state).unwrap_or_default());
            }
        });
        Self { address, state }
    }

    /// Its address, as `HF_ENDPOINT` has it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Changes what it has or does.
    pub fn set(&self, change: impl FnOnce(&mut HubState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What it has, and what it was asked.
    pub fn state(&self) -> HubState {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The SHA-256 of bytes, as the hub names large files.
pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn answer(stream: &TcpStream, state: &Mutex<HubState>) -> std::io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while reader.read_line(&mut head)? > 2 {}
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.requests.push(head.clone());
    let response = state.respond(&head);
    drop(state);
    let mut stream = stream;
    stream.write_all(&response)
}

impl HubState {
    fn respond(&mut self, head: &str) -> Vec<u8> {
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if let Some((status, code)) = self.refuses {
            return with_head(
                status,
                &format!("X-Error-Code: {code}\r\nContent-Length: 0"),
                b"",
            );
        }
        if path.starts_with("/api/models/owner/model/revision/") {
            let names = self
                .files
                .keys()
                .map(|name| format!(r#"{{"rfilename": "{name}"}}"#));
            let names = names.collect::<Vec<_>>().join(", ");
            let text = format!(r#"{{"sha": "{}", "siblings": [{names}]}}"#, self.commit);
            let length = format!("Content-Length: {}", text.len());
            return with_head(200, &length, text.as_bytes());
        }
        let resolve = format!("/owner/model/resolve/{}/", self.commit);
        let name = path
            .strip_prefix(&resolve)
            .or_else(|| path.strip_prefix("/elsewhere/"));
        let Some((name, content)) =
            name.and_then(|name| Some((name, self.files.get(name)?.clone())))
        else {
            let code = "X-Error-Code: RepoNotFound\r\nContent-Length: 0";
            return with_head(404, code, b"");
        };
        let commit = if self.moves {
            "b".repeat(40)
        } else {
            self.commit.clone()
        };
        let about = format!("X-Repo-Commit: {commit}\r\n");
        if let Some(elsewhere) = self
            .elsewhere
            .as_ref()
            .filter(|_| !path.starts_with("/elsewhere"))
        {
            let (hash, size) = (sha256(&content), content.len());
            let headers = format!(
                "{about}X-Linked-ETag: \"{hash}\"\r\nX-Linked-Size: {size}\r\n\
                 Location: {elsewhere}/elsewhere/{name}\r\nContent-Length: 0"
            );
            return with_head(302, &headers, b"");
        }
        let about = format!("{about}ETag: \"{}\"\r\n", sha256(&content));
        self.content(method, head, &about, content)
    }

    fn content(&mut self, method: &str, head: &str, about: &str, mut content: Vec<u8>) -> Vec<u8> {
        let size = content.len();
        if method == "HEAD" {
            return with_head(200, &format!("{about}Content-Length: {size}"), b"");
        }
        if self.lies
            && let Some(last) = content.last_mut()
        {
            *last ^= 1;
        }
        let lower = head.to_ascii_lowercase();
        let range = lower.split("range: bytes=").nth(1).filter(|_| !self.whole);
        let start: usize = range
            .and_then(|range| range.split('-').next()?.parse().ok())
            .unwrap_or(0);
        let rest = content.get(start..).unwrap_or_default();
        let headers = format!("{about}Content-Length: {}", rest.len());
        let shown = match self.cuts {
            0 => rest,
            _ => {
                self.cuts -= 1;
                &rest[..rest.len() / 2]
            }
        };
        match start {
            0 => with_head(200, &headers, shown),
            _ => {
                let range = format!("Content-Range: bytes {start}-{}/{size}", size - 1);
                with_head(206, &format!("{headers}\r\n{range}"), shown)
            }
        }
    }
}

fn with_head(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status} x\r\n{headers}\r\nConnection: close\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
