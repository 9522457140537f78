//! What is counted and measured, for Prometheus.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// A server's own figures: nothing global, so that a program may run several servers, and other figures
/// beside them.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    batch_size: Histogram,
    joined: Counter,
    first_token: Histogram,
    tokens: Counter,
    hits: Counter,
    misses: Counter,
    cache_bytes: Gauge,
    waiting: Gauge,
    refused: Counter,
    /// How long a request usually takes, in microseconds: a moving mean.
    usual: AtomicU64,
}

const METADATA: Metadata<'static> =
    Metadata::new("blip2_server", metrics::Level::INFO, Some(module_path!()));

const REQUESTS: &str = "blip2_requests_total";
const DURATION: &str = "blip2_request_duration_seconds";
const FIRST_TOKEN: &str = "blip2_first_token_seconds";
const BATCH_SIZE: &str = "blip2_batch_size";
const JOINED: &str = "blip2_joined_total";
const TOKENS: &str = "blip2_generated_tokens_total";
const CACHE: &str = "blip2_picture_cache_requests_total";
const CACHE_BYTES: &str = "blip2_picture_cache_bytes";
const WAITING: &str = "blip2_queue_waiting";
const REFUSED: &str = "blip2_refused_total";

const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
const SIZES: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = recorder();
        describe(&recorder);
        let cache = |result| key(CACHE, vec![Label::new("result", result)]);
        Self {
            handle: recorder.handle(),
            batch_size: recorder.register_histogram(&key(BATCH_SIZE, vec![]), &METADATA),
            joined: recorder.register_counter(&key(JOINED, vec![]), &METADATA),
            first_token: recorder.register_histogram(&key(FIRST_TOKEN, vec![]), &METADATA),
            tokens: recorder.register_counter(&key(TOKENS, vec![]), &METADATA),
            hits: recorder.register_counter(&cache("hit"), &METADATA),
            misses: recorder.register_counter(&cache("miss"), &METADATA),
            cache_bytes: recorder.register_gauge(&key(CACHE_BYTES, vec![]), &METADATA),
            waiting: recorder.register_gauge(&key(WAITING, vec![]), &METADATA),
            refused: recorder.register_counter(&key(REFUSED, vec![]), &METADATA),
            usual: AtomicU64::new(0),
            recorder,
        }
    }

    /// A request that was answered: by which route, and with which status.
    pub(crate) fn request(&self, route: &str, status: u16, begun: Instant) {
        let took = begun.elapsed();
        let route = Label::new("route", route.to_string());
        let status = Label::new("status", status.to_string());
        let duration = key(DURATION, vec![route.clone()]);
        self.recorder
            .register_counter(&key(REQUESTS, vec![route, status]), &METADATA)
            .increment(1);
        self.recorder
            .register_histogram(&duration, &METADATA)
            .record(took.as_secs_f64());
    }

    /// How long a request took that the engine answered.
    pub(crate) fn took(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // Two at once may lose one of their times, which a mean can bear.
        let usual = self.usual.load(Ordering::Relaxed);
        self.usual
            .store(usual / 8 * 7 + time / 8, Ordering::Relaxed);
    }

    /// How long a request usually takes.
    pub(crate) fn usual_time(&self) -> Duration {
        Duration::from_micros(self.usual.load(Ordering::Relaxed))
    }

    /// The first token of a text, counted from its request.
    pub(crate) fn first_token(&self, after: Duration) {
        self.first_token.record(after.as_secs_f64());
    }

    pub(crate) fn batch(&self, size: usize) {
        self.batch_size.record(size as f64);
    }

    /// Texts that joined a batch that ran.
    pub(crate) fn joined(&self, count: usize) {
        self.joined.increment(count as u64);
    }

    pub(crate) fn tokens(&self, count: usize) {
        self.tokens.increment(count as u64);
    }

    pub(crate) fn cache(&self, hit: bool) {
        if hit { &self.hits } else { &self.misses }.increment(1);
    }

    pub(crate) fn cache_bytes(&self, bytes: usize) {
        self.cache_bytes.set(bytes as f64);
    }

    pub(crate) fn waiting(&self, count: usize) {
        self.waiting.set(count as f64);
    }

    pub(crate) fn refused(&self) {
        self.refused.increment(1);
    }

    /// All figures, as Prometheus reads them.
    pub(crate) fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }
}

fn recorder() -> PrometheusRecorder {
    let builder = || -> Result<PrometheusBuilder, metrics_exporter_prometheus::BuildError> {
        PrometheusBuilder::new()
            .set_buckets(&SECONDS)?
            .set_buckets_for_metric(Matcher::Full(BATCH_SIZE.into()), &SIZES)
    };
    // Only an empty list of buckets is refused.
    builder().unwrap_or_default().build_recorder()
}

fn key(name: &'static str, labels: Vec<Label>) -> Key {
    Key::from_parts(name, labels)
}

fn describe(recorder: &PrometheusRecorder) {
    let name = KeyName::from_const_str;
    let text = SharedString::const_str;
    let counters = [
        (REQUESTS, "Requests, by route and status."),
        (TOKENS, "Tokens generated."),
        (JOINED, "Texts that joined a batch that ran."),
        (
            CACHE,
            "Requests about pictures, by whether they were encoded before.",
        ),
        (REFUSED, "Requests refused since the queue was full."),
    ];
    for (counter, what) in counters {
        recorder.describe_counter(name(counter), Some(Unit::Count), text(what));
    }
    recorder.describe_gauge(
        name(CACHE_BYTES),
        Some(Unit::Bytes),
        text("Encoded pictures kept."),
    );
    recorder.describe_gauge(
        name(WAITING),
        Some(Unit::Count),
        text("Requests that wait."),
    );
    let histograms = [
        (DURATION, "How long requests took."),
        (
            FIRST_TOKEN,
            "From a request to the first token of its text.",
        ),
        (BATCH_SIZE, "How many texts were begun together."),
    ];
    for (histogram, what) in histograms {
        recorder.describe_histogram(name(histogram), None, text(what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rendered_for_prometheus() {
        let metrics = Metrics::new();
        metrics.request("/answer", 200, Instant::now());
        metrics.request("/answer", 200, Instant::now());
        metrics.batch(3);
        metrics.cache(true);
        let text = metrics.render();
        for line in [
            "blip2_requests_total{route=\"/answer\",status=\"200\"} 2",
            "blip2_batch_size_bucket{le=\"4\"} 1",
            "blip2_picture_cache_requests_total{result=\"hit\"} 1",
            "# TYPE blip2_request_duration_seconds histogram",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn two_servers_count_apart() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.tokens(5);
        assert!(one.render().contains("blip2_generated_tokens_total 5"));
        assert!(!other.render().contains("blip2_generated_tokens_total 5"));
    }
}
