//! `blip2 map`: a whole table through the model, in every form, stopped anywhere and gone on with.

#![cfg(feature = "tables")]
#![allow(clippy::unwrap_used)]

mod faults;
mod helpers;
mod refusals;
mod results;
mod stops;
