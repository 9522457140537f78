//! Batches whose rows must have one length each: the reference's decoder sees the padding behind
//! shorter rows, so rows of one length run together and no others.

use blip2_lm::generate::{CancelToken, Generator};

use crate::{Answer, Blip2Error, verbs::or_stopped};

/// Prompts in groups of one length.
pub struct Grouped {
    pub(super) groups: Vec<Group>,
    pub(super) cancel: CancelToken,
}

/// Prompts of one length, and the places that they have in the batch.
pub(super) struct Group {
    pub(super) places: Vec<usize>,
    pub(super) ids: Vec<Vec<u32>>,
    pub(super) generator: Generator<'static>,
    pub(super) new_tokens: usize,
}

impl Grouped {
    /// Runs group after group; results go back to their prompts' places.
    pub(super) fn run(
        self,
        mut run: impl FnMut(Group, &CancelToken) -> Result<Vec<Answer>, Blip2Error>,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let mut results = Vec::new();
        for group in self.groups {
            let places = group.places.clone();
            // A call that is stopped keeps what was written before.
            let answers = or_stopped(run(group, &self.cancel), places.len())?;
            results.extend(places.into_iter().zip(answers));
        }
        Ok(in_order(results))
    }

    /// The only group of a single prompt.
    pub(super) fn single(mut self) -> Result<Group, Blip2Error> {
        self.groups.pop().ok_or_else(|| Blip2Error::Rows {
            reason: "there is no prompt".into(),
        })
    }
}

/// The places of rows, in groups of one length.
pub(super) fn by_length(rows: &[Vec<u32>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        match groups.iter_mut().find(|(length, _)| *length == row.len()) {
            Some((_, group)) => group.push(place),
            None => groups.push((row.len(), vec![place])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The rows at these places.
pub(super) fn at(rows: &[Vec<u32>], places: &[usize]) -> Vec<Vec<u32>> {
    let rows = places.iter().filter_map(|&place| rows.get(place));
    rows.cloned().collect()
}

/// Results in the order of their places.
pub(super) fn in_order<T>(mut results: Vec<(usize, T)>) -> Vec<T> {
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_length_run_together_and_results_stay_in_order() {
        let rows = [vec![1], vec![2, 3], vec![4], vec![5, 6], vec![7, 8, 9]];
        let groups = by_length(&rows);
        assert_eq!(groups, [vec![0, 2], vec![1, 3], vec![4]]);
        let results = groups.iter().flat_map(|group| {
            let firsts = at(&rows, group).into_iter().map(|row| row[0]);
            group.iter().copied().zip(firsts).collect::<Vec<_>>()
        });
        assert_eq!(in_order(results.collect()), [1, 2, 4, 5, 7]);
    }
}
