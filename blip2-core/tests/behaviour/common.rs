//! What the tests of the pipeline share.

use blip2_core::Blip2Pipeline;
use blip2_testing::fixture;

/// The pipeline of a fixture.
pub(crate) fn pipeline(name: &str) -> Blip2Pipeline {
    Blip2Pipeline::from_pretrained(fixture(name)).unwrap()
}
