//! What stands between a connection and a route.

pub(crate) mod drain;
pub(crate) mod fetch;
pub(crate) mod fields;
pub(crate) mod guard;
mod json;
pub(crate) mod origin;
pub(crate) mod payload;
pub(crate) mod request_id;
pub(crate) mod told;
