//! Which frames attend to one another.

/// How many blocks are taken at a time. The biases of their relative positions are as large as
/// attention maps: those of an hour's recording at once would be gigabytes.
const BLOCKS: usize = 16;

/// Blocks of frames that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) frames: usize,
    /// The length of each block.
    pub(crate) block: usize,
}

/// Cuts `frames` into blocks of `context`, the last of which may be shorter: some whole blocks at a time,
/// and then what is left.
pub(crate) fn spans(frames: usize, context: usize) -> impl Iterator<Item = Span> {
    let left = frames % context;
    let whole = frames - left;
    let some = BLOCKS.saturating_mul(context);
    let blocks = (0..whole).step_by(some).map(move |start| Span {
        start,
        frames: some.min(whole - start),
        block: context,
    });
    let last = (left > 0).then_some(Span {
        start: whole,
        frames: left,
        block: left,
    });
    blocks.chain(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(frames: usize, context: usize) -> Vec<[usize; 3]> {
        spans(frames, context)
            .map(|span| [span.start, span.frames, span.block])
            .collect()
    }

    #[test]
    fn the_last_block_is_as_short_as_it_is() {
        assert_eq!(of(65, 12), [[0, 60, 12], [60, 5, 5]]);
        assert_eq!(of(24, 12), [[0, 24, 12]]);
        assert_eq!(of(5, 12), [[0, 5, 5]]);
        assert_eq!(of(3, 1), [[0, 3, 1]]);
    }

    #[test]
    fn long_recordings_are_taken_some_blocks_at_a_time() {
        assert_eq!(
            of(40 * 3 + 1, 3),
            [[0, 48, 3], [48, 48, 3], [96, 24, 3], [120, 1, 1]]
        );
    }
}
