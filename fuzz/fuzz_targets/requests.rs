//! Requests to a server: whatever their bodies say, each is answered, and none by a fault of the server's own.
//!
//! The first byte chooses the model, the second the route, the third the media type and what is accepted; the rest is
//! the body. A form's boundary is `xx`.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use blip2_core::{Blip2Pipeline, Blip2Retrieval, BlipAnswerer};
use blip2_fuzz::{chosen, fixture};
use blip2_server::{Batching, Limits, Model, Server, Settings};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;

const ROUTES: [&str; 7] = [
    "/v1/chat/completions",
    "/v1/embeddings",
    "/answer",
    "/caption",
    "/rank",
    "/match",
    "/explain",
];
const MEDIA: [(&str, &str); 4] = [
    ("application/json", "application/json"),
    ("multipart/form-data; boundary=xx", "application/json"),
    ("application/json", "image/png"),
    ("multipart/form-data", "*/*"),
];
/// The most bytes of a reply: no body of a few kilobytes asks for more.
const REPLY: usize = 16 << 20;

struct Served {
    runtime: Runtime,
    routers: Vec<Router>,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let answers = "the fixtures are whole";
    let models: [Model; 4] = [
        Blip2Pipeline::from_pretrained(fixture("blip2_opt")).expect(answers).into(),
        Blip2Retrieval::from_pretrained(fixture("blip2_itr")).expect(answers).into(),
        BlipAnswerer::from_pretrained(fixture("blip1_vqa")).expect(answers).into(),
        Blip2Pipeline::from_pretrained(fixture("instructblipvideo_t5")).expect(answers).into(),
    ];
    let settings = Settings::default()
        .with_limits(
            Limits::default()
                .with_max_tokens(4)
                .with_sequences(2)
                .with_candidates(4)
                .with_pixels(100_000)
                .with_time(Duration::from_secs(15)),
        )
        .with_batching(Batching::default().with_workers(1).with_wait(Duration::ZERO));
    let routers = models.map(|model| {
        let server = Server::new(model, settings.clone()).expect("threads");
        // The router alone keeps the server's threads.
        server.router()
    });
    let runtime = Builder::new_current_thread().enable_all().build();
    Served {
        runtime: runtime.expect("a runtime"),
        routers: routers.into(),
    }
});

fuzz_target!(|bytes: &[u8]| {
    let places: Vec<usize> = (0..SERVED.routers.len()).collect();
    let Some((place, bytes)) = chosen(bytes, &places) else {
        return;
    };
    let Some((route, bytes)) = chosen(bytes, &ROUTES) else {
        return;
    };
    let Some(((media, accepted), body)) = chosen(bytes, &MEDIA) else {
        return;
    };
    let request = Request::post(route)
        .header(header::CONTENT_TYPE, media)
        .header(header::ACCEPT, accepted)
        .body(Body::from(body.to_vec()))
        .expect("a request");
    SERVED.runtime.block_on(async {
        let mut router = SERVED.routers[place].clone();
        let reply = router.call(request).await.expect("a reply");
        assert_ne!(reply.status().as_u16(), 500);
        // A stream runs to its end.
        let told = to_bytes(reply.into_body(), REPLY).await.expect("a whole reply");
        assert!(!told.is_empty());
    });
});
