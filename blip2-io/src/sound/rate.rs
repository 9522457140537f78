//! Which rates a sound may have.

/// The highest rate of a sound in Hz: twice what the fastest converters have.
pub(super) const MAX_RATE: u32 = 768_000;
