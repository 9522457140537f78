//! Batches whose rows must have one length each: the reference's decoder attends to the padding after
//! shorter rows, so rows of one length run together and no others. Whoever called knows of no groups:
//! constraints and errors speak of the batch's rows.

use std::sync::Arc;

use blip2_lm::{
    LmError,
    generate::{CancelToken, GenerateError, Generator, NextTokens, Position, TokenConstraint},
};

use crate::{
    error::Blip2Error,
    load::{Load, Loaded, Pictures},
    memory::{MemoryLimit, MemoryPrediction, Workload},
    verbs::{Answer, Options, or_stopped},
};

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
            let answers = run(group, &self.cancel).map_err(|error| of_batch(error, &places));
            let answers = or_stopped(answers, places.len())?;
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

impl Group {
    /// The rows of a batch at these places. `history` is what a row's length counts before anything
    /// is generated.
    pub(super) fn new(
        prompts: &[Vec<u32>],
        places: Vec<usize>,
        history: usize,
        generator: Generator<'static>,
    ) -> Result<Self, Blip2Error> {
        Ok(Self {
            ids: at(prompts, &places),
            new_tokens: generator.config().new_tokens_after(history)?,
            places,
            generator,
        })
    }
}

impl Group {
    /// The tokens of each prompt.
    pub(super) fn asked(&self) -> usize {
        self.ids.first().map_or(0, Vec::len)
    }

    /// Refuses texts of `tokens` tokens each that would take more memory than the model may.
    pub(super) fn check<P>(&self, loaded: &Loaded<P>, tokens: usize) -> Result<(), Blip2Error>
    where
        P: Load<Pictures = Pictures, Memory = MemoryLimit>,
    {
        let config = self.generator.config();
        let work = Workload::default()
            .with_batch(self.ids.len())
            .with_prompt_tokens(tokens)
            .with_new_tokens(self.new_tokens)
            .with_beams(config.num_beams.max(config.num_return_sequences))
            .with_image_size(loaded.pictures.size());
        loaded.memory.check(&work, MemoryPrediction::text_peak)
    }
}

/// Options of the rows at these places, whose constraint still sees the batch's rows.
pub(super) fn of_group(options: &Options, places: &[usize]) -> Options {
    let options = options.clone();
    match options.constraint.clone() {
        Some(constraint) => options.with_constraint(Placed {
            constraint,
            places: places.to_vec(),
        }),
        None => options,
    }
}

/// A batch's constraint on the rows at some places.
struct Placed {
    constraint: Arc<dyn TokenConstraint>,
    places: Vec<usize>,
}

impl TokenConstraint for Placed {
    fn next_tokens(&self, at: Position<'_>, scores: &mut [f32]) -> NextTokens {
        let row = self.places.get(at.row()).copied().unwrap_or(at.row());
        self.constraint.next_tokens(at.with_row(row), scores)
    }
}

/// An error of the rows at these places, as one of the whole batch.
pub(super) fn of_batch(mut error: Blip2Error, places: &[usize]) -> Blip2Error {
    let row = match &mut error {
        Blip2Error::Generate(
            GenerateError::BadLogits { row, .. }
            | GenerateError::BadScores { row, .. }
            | GenerateError::NoAllowedToken { row, .. },
        )
        | Blip2Error::Lm(
            LmError::Token { row, .. }
            | LmError::NothingToRead { row, .. }
            | LmError::ContextTooLong { row, .. },
        ) => row,
        Blip2Error::Item { index, .. } => index,
        _ => return error,
    };
    if let Some(place) = places.get(*row) {
        *row = *place;
    }
    error
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
