//! What a server allows, and how it works.

use std::time::Duration;

/// Gives a struct a `with_` method for each public field.
macro_rules! setters {
    ($owner:ident { $($setter:ident($field:ident: $type:ty)),+ $(,)? }) => {
        impl $owner {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )+
        }
    };
}

/// How a server works: what it calls its model, who may ask, within which limits, and how requests are
/// batched.
///
/// ```
/// use std::time::Duration;
///
/// use blip2_server::{Limits, Settings};
///
/// let settings = Settings::default()
///     .with_model_id("blip2-opt-2.7b".into())
///     .with_keys(vec!["a long random key".into()])
///     .with_limits(Limits::default().with_time(Duration::from_secs(20)));
/// assert_eq!(settings.limits.max_tokens, 256);
/// ```
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// What the model is called in answers and in `/v1/models`. Default `blip2`.
    pub model_id: String,
    /// The bearer keys any of which a request must bring; with none, everyone may ask. Default none.
    pub keys: Vec<String>,
    /// Further names by which the server is called. One that listens to its own machine alone answers to
    /// `localhost`, the addresses of loopback and these, since a page of elsewhere could else reach it by a name
    /// that it lets stand for them; and wherever it listens, pages of these names may ask it. Default none.
    pub allow_hosts: Vec<String>,
    /// What is too much.
    pub limits: Limits,
    /// How requests are gathered.
    pub batching: Batching,
    /// Whether pictures are fetched by their URLs, of public servers alone; without the feature `urls`
    /// none are. Default no.
    pub allow_urls: bool,
    /// Whether there is a page at `/`. Default yes.
    pub page: bool,
    /// How long requests under way may take to end when the server stops. Default 30 seconds.
    pub stop_within: Duration,
}

setters! { Settings {
    with_model_id(model_id: String),
    with_keys(keys: Vec<String>),
    with_allow_hosts(allow_hosts: Vec<String>),
    with_limits(limits: Limits),
    with_batching(batching: Batching),
    with_allow_urls(allow_urls: bool),
    with_page(page: bool),
    with_stop_within(stop_within: Duration),
} }

impl Default for Settings {
    fn default() -> Self {
        Self {
            model_id: "blip2".into(),
            keys: Vec::new(),
            allow_hosts: Vec::new(),
            limits: Limits::default(),
            batching: Batching::default(),
            allow_urls: false,
            page: true,
            stop_within: Duration::from_secs(30),
        }
    }
}

// Keys are nobody's business.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("model_id", &self.model_id)
            .field("keys", &self.keys.len())
            .field("allow_hosts", &self.allow_hosts)
            .field("limits", &self.limits)
            .field("batching", &self.batching)
            .field("allow_urls", &self.allow_urls)
            .finish_non_exhaustive()
    }
}

/// What a request may bring, ask for and take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes of a request's body. Default 16 MiB.
    pub body_bytes: usize,
    /// The most bytes of all bodies that are being read or wait. Default 256 MiB.
    pub bodies_bytes: usize,
    /// The most pixels of a picture, judged by its header. Default 50 million.
    pub pixels: u64,
    /// The most bytes of all texts of a request. Default 16 KiB.
    pub text_bytes: usize,
    /// The most tokens of a question or a prompt, and of each candidate. The context of the model bounds them too;
    /// T5 has none, and takes time and memory that grow with the square of what it reads. Default 2,048.
    pub prompt_tokens: usize,
    /// The most tokens that a request may ask for. Default 256.
    pub max_tokens: usize,
    /// The most answers to a question (`n`) or beams. Default 8.
    pub sequences: usize,
    /// The most candidates, or texts, of a request. Default 256.
    pub candidates: usize,
    /// How long a request may take, from its head to its answer. Default 60 seconds.
    pub time: Duration,
    /// How many connections are open at a time; more wait. Default 512.
    pub connections: usize,
}

setters! { Limits {
    with_body_bytes(body_bytes: usize),
    with_bodies_bytes(bodies_bytes: usize),
    with_pixels(pixels: u64),
    with_text_bytes(text_bytes: usize),
    with_prompt_tokens(prompt_tokens: usize),
    with_max_tokens(max_tokens: usize),
    with_sequences(sequences: usize),
    with_candidates(candidates: usize),
    with_time(time: Duration),
    with_connections(connections: usize),
} }

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 16 << 20,
            bodies_bytes: 256 << 20,
            pixels: 50_000_000,
            text_bytes: 16 << 10,
            prompt_tokens: 2048,
            max_tokens: 256,
            sequences: 8,
            candidates: 256,
            time: Duration::from_secs(60),
            connections: 512,
        }
    }
}

/// How requests are gathered into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batching {
    /// The most requests that run together, those included that join a batch. Default 16.
    pub size: usize,
    /// How long a request waits for company, where there may be any. Default 4 milliseconds.
    pub wait: Duration,
    /// How many requests may wait; more are answered with 429. Default 64.
    pub queue: usize,
    /// How many batches run at a time. One runs alone for its first tenth of a second, so that short ones stay
    /// together; beyond that later texts join it while it has places, and others, which cannot, share the cores with
    /// it. Default 2.
    pub workers: usize,
    /// The most bytes of encoded pictures that are kept for further questions. Default 256 MiB.
    pub cache_bytes: usize,
}

setters! { Batching {
    with_size(size: usize),
    with_wait(wait: Duration),
    with_queue(queue: usize),
    with_workers(workers: usize),
    with_cache_bytes(cache_bytes: usize),
} }

impl Default for Batching {
    fn default() -> Self {
        Self {
            size: 16,
            wait: Duration::from_millis(4),
            queue: 64,
            workers: 2,
            cache_bytes: 256 << 20,
        }
    }
}
