//! The page: a few files that are built in.

use axum::{
    Router,
    extract::{Path, rejection::PathRejection},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{app::App, error::ApiError};

/// Nothing but the page's own files and what it makes itself: should a text of a model or of a picture's name
/// ever become markup, it loads and sends nothing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The pictures that can be tried, of easy-VQA.
const EXAMPLES: [(&str, &[u8]); 4] = [
    (
        "red-triangle.png",
        include_bytes!("../../page/examples/red-triangle.png"),
    ),
    (
        "blue-circle.png",
        include_bytes!("../../page/examples/blue-circle.png"),
    ),
    (
        "teal-rectangle.png",
        include_bytes!("../../page/examples/teal-rectangle.png"),
    ),
    (
        "black-triangle.png",
        include_bytes!("../../page/examples/black-triangle.png"),
    ),
];

/// The page's routes.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(|| async { html() }))
        .route(
            "/page.css",
            get(|| async {
                file(
                    "text/css; charset=utf-8",
                    include_bytes!("../../page/page.css"),
                )
            }),
        )
        .route(
            "/page.js",
            get(|| async {
                let media = "text/javascript; charset=utf-8";
                file(media, include_bytes!("../../page/page.js"))
            }),
        )
        .route("/examples/{name}", get(example))
}

fn html() -> Response {
    let mut page = file(
        "text/html; charset=utf-8",
        include_bytes!("../../page/index.html"),
    );
    let headers = page.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::REFERRER_POLICY, "no-referrer");
    page
}

async fn example(name: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let Path(name) = name.map_err(|_| ApiError::not_found())?;
    let found = EXAMPLES.iter().find(|(of, _)| *of == name);
    let (_, bytes) = found.ok_or_else(ApiError::not_found)?;
    Ok(file("image/png", bytes))
}

/// A built-in file. Another version of the program may have another one, so it is asked for each time.
fn file(media: &'static str, bytes: &'static [u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, bytes).into_response()
}
