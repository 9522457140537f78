//! Where the places of rows stand in their sequences, and whether the context has room for them.

use crate::error::LmError;

/// For each row the position of each of its places, counted from 0; `None` for padding.
pub(crate) type Positions = Vec<Vec<Option<usize>>>;

/// The positions of prompts: they count what the mask counts, so that padding, wherever it stands,
/// shifts nothing.
pub(crate) fn positions_of(mask: &[Vec<bool>]) -> Positions {
    let row = |mask: &Vec<bool>| {
        let mut next = 0;
        let place = |&counts: &bool| {
            counts.then(|| {
                next += 1;
                next - 1
            })
        };
        mask.iter().map(place).collect()
    };
    mask.iter().map(row).collect()
}

/// Positions that count padding too.
pub(crate) fn all_positions(mask: &[Vec<bool>]) -> Positions {
    let row = |mask: &Vec<bool>| (0..mask.len()).map(Some).collect();
    mask.iter().map(row).collect()
}

/// The number of positions in a row that count.
pub(super) fn count(mask: &[bool]) -> usize {
    mask.iter().filter(|&&counts| counts).count()
}

/// Refuses prompts that are longer than the context.
pub(crate) fn check_context(mask: &[Vec<bool>], context: Option<usize>) -> Result<(), LmError> {
    let Some(context) = context else {
        return Ok(());
    };
    let lengths = mask.iter().map(|row| count(row));
    match lengths.enumerate().find(|&(_, tokens)| tokens > context) {
        Some((row, tokens)) => Err(LmError::ContextTooLong {
            row,
            tokens,
            context,
        }),
        None => Ok(()),
    }
}

/// Refuses rows of these numbers of positions whose context has no room for `new` more.
pub(super) fn check_room<'a>(
    context: Option<usize>,
    counts: impl Iterator<Item = &'a usize>,
    new: usize,
) -> Result<(), LmError> {
    let Some(context) = context else {
        return Ok(());
    };
    match counts
        .enumerate()
        .find(|&(_, &count)| count + new > context)
    {
        Some((row, count)) => Err(LmError::ContextTooLong {
            row,
            tokens: count + new,
            context,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_shifts_no_position() {
        let (t, f) = (true, false);
        let rows = [vec![t, t, f, f, t], vec![f, f, t, t, t]];
        let expected = [
            [Some(0), Some(1), None, None, Some(2)],
            [None, None, Some(0), Some(1), Some(2)],
        ];
        assert_eq!(positions_of(&rows), expected);
    }

    #[test]
    fn prompts_beyond_the_context_are_refused() {
        let rows = [vec![true, false, true], vec![true; 3]];
        assert!(check_context(&rows, Some(3)).is_ok());
        assert!(check_context(&rows, None).is_ok());
        let error = check_context(&rows, Some(2)).unwrap_err().to_string();
        assert!(error.contains("row 1 has 3"), "{error}");
    }
}
