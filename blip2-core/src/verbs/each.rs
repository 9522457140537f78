//! A result for each item of a batch.

use crate::error::Blip2Error;

/// Runs what can be run together, and gives each item its own result.
///
/// An item that the batch names as at fault is left out, and the rest runs again: such faults are
/// found before the expensive part. Where a batch fails without naming one, as when it would take
/// too much memory, each item runs alone.
pub(super) fn each<I, T>(
    items: Vec<Result<I, Blip2Error>>,
    run: impl Fn(&[usize], &[I]) -> Result<Vec<T>, Blip2Error>,
) -> Vec<Result<T, Blip2Error>> {
    let mut results: Vec<Option<Result<T, Blip2Error>>> = Vec::new();
    let (mut places, mut left) = (Vec::new(), Vec::new());
    for (place, item) in items.into_iter().enumerate() {
        results.push(match item {
            Ok(item) => {
                places.push(place);
                left.push(item);
                None
            }
            Err(error) => Some(Err(error)),
        });
    }
    while !places.is_empty() {
        match run(&places, &left) {
            Ok(done) => {
                for (place, result) in places.drain(..).zip(done) {
                    set(&mut results, place, Ok(result));
                }
            }
            Err(Blip2Error::Item { index, source }) if index < places.len() => {
                set(&mut results, places.remove(index), Err(*source));
                left.remove(index);
            }
            Err(_) if places.len() > 1 => {
                for (place, item) in places.drain(..).zip(&left) {
                    let alone = super::alone(run(&[place], std::slice::from_ref(item)));
                    set(&mut results, place, alone);
                }
            }
            Err(error) => set(&mut results, places.remove(0), Err(error.of_item())),
        }
    }
    let missing = || Blip2Error::Rows {
        reason: "there is no result".into(),
    };
    let results = results.into_iter();
    results
        .map(|result| result.unwrap_or_else(|| Err(missing())))
        .collect()
}

fn set<T>(results: &mut [Option<T>], place: usize, result: T) {
    if let Some(slot) = results.get_mut(place) {
        *slot = Some(result);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn item(fault: usize) -> Blip2Error {
        Blip2Error::item(fault, Blip2Error::EmptyQuestion)
    }

    #[test]
    fn what_is_at_fault_is_left_out_and_the_rest_runs_together() {
        let runs = RefCell::new(Vec::new());
        let items = vec![Ok(10), Err(Blip2Error::EmptyText), Ok(13), Ok(12)];
        let results = each(items, |places, items| {
            runs.borrow_mut().push(places.to_vec());
            match items.iter().position(|item| *item == 13) {
                Some(fault) => Err(item(fault)),
                None => Ok(items.to_vec()),
            }
        });
        assert_eq!(*runs.borrow(), [vec![0, 2, 3], vec![0, 3]]);
        assert!(matches!(results[0], Ok(10)) && matches!(results[3], Ok(12)));
        assert!(matches!(results[1], Err(Blip2Error::EmptyText)));
        assert!(matches!(results[2], Err(Blip2Error::EmptyQuestion)));
    }

    #[test]
    fn a_batch_that_names_no_item_runs_one_by_one() {
        let results = each(vec![Ok(1), Ok(2), Ok(3)], |_, items| match items {
            [2] | [_, _, ..] => Err(Blip2Error::NoEndToken),
            alone => Ok(alone.to_vec()),
        });
        assert!(matches!(results[0], Ok(1)) && matches!(results[2], Ok(3)));
        assert!(matches!(results[1], Err(Blip2Error::NoEndToken)));
    }
}
