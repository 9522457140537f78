//! One file of the cache: taken up where it was cut, checked, and put in its place.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};
use ureq::http::StatusCode;

use super::{
    client::{Ask, Client, is_good},
    fault::{Fault, Refusal},
    headers::text,
};
use crate::error::IoError;

/// How often a request is made again that brought nothing.
const TRIES: u32 = 5;
const PIECE: usize = 1 << 16;

/// What the hub says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    /// The name of its blob: of a large file the SHA-256 of its content.
    pub(super) etag: String,
    pub(super) size: Option<u64>,
    /// The commit that it is of.
    pub(super) commit: Option<String>,
}

/// Where a blob comes from and where it goes.
pub(super) struct Blob<'b> {
    pub(super) client: &'b Client,
    pub(super) address: &'b str,
    /// The file's name, for errors.
    pub(super) name: &'b str,
    pub(super) about: &'b About,
    /// The folder of blobs.
    pub(super) folder: &'b Path,
    /// The folder of locks.
    pub(super) locks: &'b Path,
}

/// Who hears how many bytes there are.
pub(super) type Told<'t> = &'t dyn Fn(u64);

/// What is there of a file, and what its hash is so far.
struct Partial {
    file: File,
    path: PathBuf,
    length: u64,
    hash: Sha256,
}

/// Asks what the hub says of a file.
pub(super) fn about(client: &Client, address: &str) -> Result<About, Fault> {
    let response = patient(|| {
        let response = client.ask(address, Ask::About)?;
        match is_good(response.status(), Ask::About) {
            true => Ok(response),
            false => Err(Refusal::of(response.status(), response.headers())),
        }
    })?;
    let headers = response.headers();
    let first = |names: [&str; 2]| names.into_iter().find_map(|name| text(headers, name));
    let etag = first(["x-linked-etag", "etag"])
        .map(unquoted)
        .unwrap_or_default();
    // It becomes a file's name.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if etag.is_empty() || etag.len() > 128 || !etag.chars().all(plain) {
        return Err(Fault::Answer(format!("{address} has no usable etag")));
    }
    // The length of an answer that sends on is its own, not the file's.
    let own = match response.status().is_redirection() {
        true => "x-linked-size",
        false => "content-length",
    };
    Ok(About {
        etag: etag.to_string(),
        size: first(["x-linked-size", own]).and_then(|size| size.parse().ok()),
        commit: text(headers, "x-repo-commit").map(str::to_string),
    })
}

fn unquoted(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

impl Blob<'_> {
    /// Brings the blob, if it is not there yet; returns its path.
    pub(super) fn fetch(&self, told: Told<'_>) -> Result<PathBuf, Fault> {
        let path = self.folder.join(&self.about.etag);
        if path.is_file() {
            return Ok(path);
        }
        let _lock = self.lock()?;
        // Another process may have brought it meanwhile.
        if path.is_file() {
            return Ok(path);
        }
        let mut partial =
            Partial::open(self.folder.join(format!("{}.incomplete", self.about.etag)))?;
        self.complete(&mut partial, told)?;
        self.check(&partial)?;
        let written = |error| Fault::Local(IoError::write(&path, error));
        partial.file.sync_all().map_err(written)?;
        fs::rename(&partial.path, &path).map_err(written)?;
        Ok(path)
    }

    /// Waits until no other process, of ours or of Python, brings the same file.
    fn lock(&self) -> Result<File, Fault> {
        let path = self.locks.join(format!("{}.lock", self.about.etag));
        let failed = |error| Fault::Local(IoError::write(&path, error));
        fs::create_dir_all(self.locks).map_err(failed)?;
        let options = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = options.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                file.lock().map_err(failed)?;
                Ok(file)
            }
            // A file system without locks: whoever renames last wins, with the same content.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(file)
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Asks for what is missing until nothing is; a cut is taken up where it was.
    fn complete(&self, partial: &mut Partial, told: Told<'_>) -> Result<(), Fault> {
        if self.about.size.is_some_and(|size| partial.length > size) {
            partial.restart()?;
        }
        let mut failures = 0;
        while !self.is_whole(partial) {
            let before = partial.length;
            match self.piece(partial, told) {
                Ok(()) if self.about.size.is_none() => return Ok(()),
                Ok(()) => {}
                Err(fault) if !fault.passes() || failures + 1 >= TRIES => return Err(fault),
                Err(_) => {}
            }
            // Only tries that brought nothing count.
            failures = if partial.length > before {
                0
            } else {
                failures + 1
            };
            if failures >= TRIES {
                let reason = format!("`{}` ends after {} bytes", self.name, partial.length);
                return Err(Fault::Request(reason));
            }
            wait(failures);
        }
        Ok(())
    }

    fn is_whole(&self, partial: &Partial) -> bool {
        self.about.size == Some(partial.length)
    }

    /// Asks once for the rest, and takes what comes.
    fn piece(&self, partial: &mut Partial, told: Told<'_>) -> Result<(), Fault> {
        let ask = Ask::From(partial.length);
        let response = self.client.ask(self.address, ask)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = text(response.headers(), "content-range").unwrap_or_default();
                if !range.starts_with(&format!("bytes {}-", partial.length)) {
                    partial.restart()?;
                    return Ok(());
                }
            }
            // What is here is none of it, or the server knows no ranges.
            StatusCode::RANGE_NOT_SATISFIABLE => return partial.restart(),
            status if status.is_success() => partial.restart()?,
            status => return Err(Refusal::of(status, response.headers())),
        }
        let mut body = response.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        loop {
            let count = body
                .read(&mut piece)
                .map_err(|error| Fault::Request(error.to_string()))?;
            let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(());
            };
            partial.add(bytes)?;
            if self.about.size.is_some_and(|size| partial.length > size) {
                partial.restart()?;
                let reason = format!(
                    "`{}` is longer than the hub says; it was not kept",
                    self.name
                );
                return Err(Fault::Content(reason));
            }
            told(partial.length);
        }
    }

    /// A large file's blob is named by its SHA-256. What is something else is not kept.
    fn check(&self, partial: &Partial) -> Result<(), Fault> {
        let etag = &self.about.etag;
        let is_hash = etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        let found = partial.digest();
        if !is_hash || found.eq_ignore_ascii_case(etag) {
            return Ok(());
        }
        let removed = fs::remove_file(&partial.path);
        removed.map_err(|error| Fault::Local(IoError::write(&partial.path, error)))?;
        Err(Fault::Content(format!(
            "`{}` has the SHA-256 {found}, where the hub promised {etag}: it was spoilt on its way, and \
             was not kept; download it again, or from another mirror",
            self.name
        )))
    }
}

impl Partial {
    fn open(path: PathBuf) -> Result<Self, Fault> {
        let failed = |error| Fault::Local(IoError::write(&path, error));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true);
        let mut file = options.open(&path).map_err(failed)?;
        let mut hash = Sha256::new();
        // What an earlier run left counts towards the hash; the position is then at its end.
        let length = io::copy(&mut file, &mut hash).map_err(failed)?;
        Ok(Self {
            file,
            path,
            length,
            hash,
        })
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| Fault::Local(IoError::write(&self.path, error)))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Fault> {
        let emptied = self.file.set_len(0);
        let rewound = emptied.and_then(|()| self.file.seek(SeekFrom::Start(0)));
        rewound.map_err(|error| Fault::Local(IoError::write(&self.path, error)))?;
        self.length = 0;
        self.hash = Sha256::new();
        Ok(())
    }

    fn digest(&self) -> String {
        let bytes = self.hash.clone().finalize();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Makes a request again that failed in a way that passes.
fn patient<T>(request: impl Fn() -> Result<T, Fault>) -> Result<T, Fault> {
    let mut failures = 0;
    loop {
        match request() {
            Err(fault) if fault.passes() && failures + 1 < TRIES => {
                failures += 1;
                wait(failures);
            }
            done => return done,
        }
    }
}

/// Longer each time, from a tenth of a second.
fn wait(failures: u32) {
    if failures > 0 {
        thread::sleep(Duration::from_millis(100 << failures.min(5)));
    }
}
