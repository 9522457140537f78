//! What stands between a connection and a route.

pub(crate) mod drain;
pub(crate) mod fetch;
pub(crate) mod guard;
pub(crate) mod payload;
pub(crate) mod request_id;
