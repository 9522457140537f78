//! What a misspelt pattern may have meant.

use std::collections::BTreeSet;

use super::pattern::NamePattern;
use crate::error::TrainError;

/// As many names as help and do not hide the message.
const SHOWN: usize = 3;

/// Refuses patterns that match none of `names`: a misspelt one would else do less than was meant.
/// `wanted` says what the names are of.
pub(crate) fn check<'n>(
    patterns: &[NamePattern],
    wanted: &'static str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Result<(), TrainError> {
    for pattern in patterns {
        if !names.clone().any(|name| pattern.matches(name)) {
            return Err(TrainError::UnknownName {
                wanted,
                pattern: pattern.to_string(),
                nearest: nearest(pattern.as_str(), names),
            });
        }
    }
    Ok(())
}

/// The one of some names that a misspelt one may have meant; `None` if none is near.
///
/// ```
/// use blip2_train::nearest_name;
///
/// assert_eq!(nearest_name("bacth", ["steps", "batch"]), Some("batch"));
/// assert_eq!(nearest_name("colour", ["steps", "batch"]), None);
/// ```
pub fn nearest_name<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let ranked = names.into_iter().map(|other| (edits(name, other), other));
    let (edits, nearest) = ranked.min()?;
    (edits <= 1 + name.chars().count() / 4).then_some(nearest)
}

/// The patterns nearest to this one that match some name: those that begin with it, then by edit distance.
fn nearest<'n>(pattern: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let candidates: BTreeSet<&str> = names.flat_map(ends).collect();
    let goes_on = |candidate: &str| {
        let rest = candidate.strip_prefix(pattern);
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let mut ranked: Vec<_> = candidates.into_iter().collect();
    ranked.sort_by_cached_key(|candidate| {
        let edits = edits(pattern, candidate);
        (!goes_on(candidate), edits, candidate.len(), *candidate)
    });
    let best = ranked.into_iter().take(SHOWN);
    best.map(str::to_string).collect()
}

/// All patterns that match a name.
fn ends(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.match_indices('.');
    let parts = dots.flat_map(|(dot, _)| {
        let (begin, end) = (name.get(..dot), name.get(dot + 1..));
        [begin, end].into_iter().flatten()
    });
    std::iter::once(name).chain(parts)
}

/// How many characters must be put in, taken out, replaced or swapped with their neighbour to make
/// one text of the other (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Rows of the table: of the characters of `a` before this one, of it, and of none.
    let mut above = vec![0; b.len() + 1];
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            next[j] = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                next[j] = next[j].min(above[j - 2] + 1);
            }
        }
        above = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, count) in [
            ("", "", 0),
            ("", "abc", 3),
            ("qfromer", "qformer", 1),
            ("qform", "qformer", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((edits(a, b), edits(b, a)), (count, count), "{a} {b}");
        }
    }

    #[test]
    fn a_misspelt_pattern_is_told_the_nearest_names() {
        let names = [
            "qformer.encoder.layer.0.attention.attention.query.weight",
            "language_model.layers.0.self_attn.q_proj.weight",
            "query_tokens",
            "language_model.lm_head.weight",
        ];
        let found = |pattern: &str| {
            let patterns = [NamePattern::from("qformer"), pattern.into()];
            check(&patterns, "parameter", names.iter().copied())
        };
        assert!(found("query_tokens").is_ok());
        for (pattern, near) in [
            ("qform", "`qformer`"),
            ("lm_head", "`lm_head.weight`"),
            ("qformer.encodr", "`qformer.encoder`"),
            ("querytokens", "`query_tokens`"),
            ("selfattn.q_proj.weight", "`self_attn.q_proj.weight`"),
        ] {
            let text = found(pattern).unwrap_err().to_string();
            assert!(text.contains(&format!("`{pattern}`")), "{text}");
            assert!(text.contains(near), "{text}");
        }
    }
}
