//! Where two rows of token ids part.

use blip2_core::model::PromptRows;

use crate::report::Outcome;

/// How many ids are shown before and after the first that differs.
const AROUND: usize = 4;

/// Where `found` parts from `expected` first, and what stands there; `None` where they are equal.
pub(crate) fn difference(found: &[impl Id], expected: &[impl Id]) -> Option<String> {
    let same = |(a, b): &(_, _)| Id::id(*a) == Id::id(*b);
    let pairs = found.iter().zip(expected);
    let first = pairs.take_while(same).count();
    if first == found.len() && first == expected.len() {
        return None;
    }
    let length = match found.len() == expected.len() {
        true => String::new(),
        false => format!(" ({} ids instead of {})", found.len(), expected.len()),
    };
    Some(format!(
        "differs at id {first}{length}: {} instead of {}",
        around(found, first),
        around(expected, first)
    ))
}

/// Compares rows of ids, and the masks of those that have them.
pub(crate) fn compare(found: &PromptRows, expected: &PromptRows) -> Outcome {
    let difference = of_rows("row", found.ids(), expected.ids())
        .or_else(|| of_rows("the mask of row", found.mask(), expected.mask()));
    Outcome::Exact { difference }
}

/// Where rows of ids part first; `None` where all are equal.
pub(crate) fn of_rows(
    what: &str,
    found: &[Vec<impl Id>],
    expected: &[Vec<impl Id>],
) -> Option<String> {
    let rows = found.iter().zip(expected).enumerate();
    let mut differences = rows
        .filter_map(|(n, (found, expected))| Some((n, difference(found, expected)?)))
        .map(|(n, difference)| format!("{what} {n} {difference}"));
    differences.next().or_else(|| {
        let (found, expected) = (found.len(), expected.len());
        (found != expected).then(|| format!("{found} rows instead of {expected}"))
    })
}

/// A number that stands for a token, or says whether one counts.
pub(crate) trait Id {
    fn id(&self) -> i64;
}

impl Id for u32 {
    fn id(&self) -> i64 {
        i64::from(*self)
    }
}

impl Id for i64 {
    fn id(&self) -> i64 {
        *self
    }
}

impl Id for bool {
    fn id(&self) -> i64 {
        i64::from(*self)
    }
}

/// The ids around a place, that of the place in brackets.
fn around(ids: &[impl Id], place: usize) -> String {
    let first = place.saturating_sub(AROUND);
    let mut shown = Vec::new();
    if first > 0 {
        shown.push("…".to_string());
    }
    for (n, id) in ids.iter().enumerate().skip(first).take(2 * AROUND + 1) {
        let id = id.id();
        shown.push(match n == place {
            true => format!("[{id}]"),
            false => id.to_string(),
        });
    }
    if place >= ids.len() {
        shown.push("[the end]".into());
    } else if first + 2 * AROUND + 1 < ids.len() {
        shown.push("…".into());
    }
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_is_shown_with_what_is_around_it() {
        let expected: Vec<u32> = (10..30).collect();
        assert_eq!(difference(&expected, &expected), None);
        let mut found = expected.clone();
        found[9] = 7;
        found[15] = 8;
        assert_eq!(
            difference(&found, &expected).unwrap(),
            "differs at id 9: … 15 16 17 18 [7] 20 21 22 23 … instead of … 15 16 17 18 [19] 20 21 \
             22 23 …"
        );
        assert_eq!(
            difference(&[1i64, 2], &[1u32, 2, 3]).unwrap(),
            "differs at id 2 (2 ids instead of 3): 1 2 [the end] instead of 1 2 [3]"
        );
    }
}
