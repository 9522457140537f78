//! Spans of requests, sent to a collector of OpenTelemetry.

use std::{fmt, time::Duration};

use axum::http::HeaderMap;
use bytes::Bytes;
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::registry::LookupSpan;

/// How long a collector may take.
const TIME: Duration = Duration::from_secs(10);
/// The most bytes of a collector's answer.
const ANSWER: u64 = 1 << 20;

/// Sends the spans of requests to a collector that takes OTLP over HTTP, by a thread of its own.
///
/// A request that says to which trace it belongs (`traceparent`, as W3C has it) is a part of that.
///
/// ```no_run
/// use blip2_server::Telemetry;
/// use tracing_subscriber::prelude::*;
///
/// let telemetry = Telemetry::new("http://localhost:4318", "blip2")?;
/// tracing_subscriber::registry().with(telemetry.layer()).init();
/// // … serve …
/// telemetry.shutdown()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Why spans are not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The collector's address makes no sense.
    #[error("{endpoint}: no address of a collector: {source}")]
    #[non_exhaustive]
    Endpoint {
        /// The address.
        endpoint: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was left could not be sent.
    #[error("the last spans were not sent: {0}")]
    Unsent(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Telemetry {
    /// Sends spans to the collector at `endpoint`, such as `http://localhost:4318`, in the name of `service`.
    ///
    /// # Errors
    ///
    /// For an address that is none.
    pub fn new(endpoint: &str, service: &str) -> Result<Self, TelemetryError> {
        let traces = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter = exporter(&traces).map_err(|source| TelemetryError::Endpoint {
            endpoint: endpoint.into(),
            source: source.into(),
        })?;
        let service = Resource::builder().with_service_name(service.to_string());
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(service.build())
            .build();
        Ok(Self { provider })
    }

    /// What a subscriber of `tracing` needs to hand on its spans.
    pub fn layer<S>(&self) -> OpenTelemetryLayer<S, SdkTracer>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer().with_tracer(self.provider.tracer("blip2-server"))
    }

    /// Sends what is left.
    ///
    /// # Errors
    ///
    /// Where the collector does not take it.
    pub fn shutdown(&self) -> Result<(), TelemetryError> {
        let sent = self.provider.shutdown();
        sent.map_err(|error: OTelSdkError| TelemetryError::Unsent(error.into()))
    }
}

fn exporter(traces: &str) -> Result<SpanExporter, ExporterBuildError> {
    SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new())
        .with_endpoint(traces)
        .with_timeout(TIME)
        .build()
}

/// Makes a request's span a part of the trace that its headers name.
pub(crate) fn join(span: &Span, headers: &HeaderMap) {
    let parent = TraceContextPropagator::new().extract(&Headers(headers));
    // Without a layer that hands spans on there is nothing to join.
    let _ = span.set_parent(parent);
}

/// Notes how a request ended.
pub(crate) fn ended(span: &Span, status: u16) {
    span.set_attribute("http.response.status_code", i64::from(status));
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

/// The client by which pictures are fetched, too: it waits, on the exporter's own thread.
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIME))
            .http_status_as_error(false)
            .build();
        Self(config.into())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

type Reply<'a> = std::pin::Pin<
    Box<dyn Future<Output = Result<axum::http::Response<Bytes>, HttpError>> + Send + 'a>,
>;

impl HttpClient for Client {
    // As `async_trait` writes it.
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: axum::http::Request<Bytes>,
    ) -> Reply<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let request = axum::http::Request::from_parts(parts, body.as_ref());
            let (parts, body) = self.0.run(request)?.into_parts();
            let body = body.into_with_config().limit(ANSWER).read_to_vec()?;
            Ok(axum::http::Response::from_parts(parts, body.into()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use axum::http::HeaderValue;
    use tracing_subscriber::prelude::*;

    use super::*;

    /// What a collector is sent, once.
    fn collector() -> (String, thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let taken = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut all, mut some) = (Vec::new(), [0; 4096]);
            loop {
                let count = stream.read(&mut some).unwrap();
                all.extend_from_slice(&some[..count]);
                let text = String::from_utf8_lossy(&all).to_lowercase();
                let length = text.split("content-length: ").nth(1);
                let length = length.and_then(|text| text.lines().next()?.parse::<usize>().ok());
                let head = all.windows(4).position(|part| part == b"\r\n\r\n");
                if let (Some(length), Some(head)) = (length, head)
                    && all.len() >= head + 4 + length
                {
                    break;
                }
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            all
        });
        (endpoint, taken)
    }

    #[test]
    fn spans_arrive_as_parts_of_the_trace_that_a_request_names() {
        let (endpoint, taken) = collector();
        let telemetry = Telemetry::new(&endpoint, "a-service").unwrap();
        let subscriber = tracing_subscriber::registry().with(telemetry.layer());
        tracing::subscriber::with_default(subscriber, || {
            let mut headers = HeaderMap::new();
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            headers.insert("traceparent", HeaderValue::from_static(parent));
            let span = tracing::info_span!("request", route = "/answer");
            join(&span, &headers);
            span.in_scope(|| ended(&span, 200));
        });
        telemetry.shutdown().unwrap();
        let sent = taken.join().unwrap();
        let holds = |part: &[u8]| sent.windows(part.len()).any(|some| some == part);
        assert!(sent.starts_with(b"POST /v1/traces"));
        for part in [
            "a-service",
            "request",
            "/answer",
            "http.response.status_code",
        ] {
            assert!(holds(part.as_bytes()), "{part}");
        }
        let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128;
        assert!(holds(&trace.to_be_bytes()));
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        let refused = Telemetry::new("not an address", "x").unwrap_err();
        assert!(refused.to_string().contains("not an address"), "{refused}");
    }
}
