//! Bodies of requests that are refused.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::error::ApiError;

/// How much of a refused body is read, and for how long.
const MOST: usize = 32 << 20;
const LONGEST: Duration = Duration::from_secs(5);

/// A refusal, after what is left of the request's body was read and thrown away. A connection that is closed on
/// a client that still writes is reset, and the reply with it: the client would never learn why.
pub(crate) async fn refuse(body: Body, error: ApiError) -> ApiError {
    refuse_rest(body.into_data_stream(), error).await
}

/// As [`refuse`], of a body that was read in part.
pub(crate) async fn refuse_rest(body: BodyDataStream, error: ApiError) -> ApiError {
    match timeout(LONGEST, is_drained(body)).await {
        Ok(true) => error,
        // What else comes is no request.
        Ok(false) | Err(_) => error.closing(),
    }
}

async fn is_drained(mut body: BodyDataStream) -> bool {
    let mut read = 0;
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => read += chunk.len(),
            Err(_) => return false,
        }
        if read > MOST {
            return false;
        }
    }
    true
}
