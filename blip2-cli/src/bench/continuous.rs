//! A stream of pictures whose captions end at different lengths, against the same in fixed batches.

use std::time::Instant;

use blip2_core::{AnswerBatch, AnswerFlow, Blip2Error, Blip2Pipeline, Options};
use serde::Serialize;

use super::{
    BenchArgs,
    measure::{exactly, picture},
    report::Times,
};
use crate::Failure;

/// What a stream costs, and what its pictures cost in fixed batches of as many as it has places.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Continuous {
    pub(super) pictures: usize,
    /// The fewest and the most tokens of a caption.
    pub(super) tokens: [usize; 2],
    /// The time of the whole stream, by the number of its pictures.
    pub(super) seconds_per_picture: f64,
    pub(super) in_batches_seconds_per_picture: f64,
    /// How many times as fast the stream is, the median over pairs of runs.
    pub(super) gain: f64,
}

impl Continuous {
    pub(super) fn take(
        args: &BenchArgs,
        blip2: &Blip2Pipeline,
        pictures: usize,
    ) -> Result<Self, Failure> {
        let tokens = [args.new_tokens.div_ceil(4), args.new_tokens];
        let lengths = lengths(pictures, tokens);
        let (mut streamed, mut batched, mut gains) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..=args.repeat {
            let times = [
                in_a_stream(args, blip2, &lengths)?,
                in_batches(args, blip2, &lengths)?,
            ];
            // The first run finds cold caches and memory that was never touched.
            if run > 0 {
                streamed.push(times[0] / pictures as f64);
                batched.push(times[1] / pictures as f64);
                gains.push(times[1] / times[0]);
            }
        }
        Ok(Self {
            pictures,
            tokens,
            seconds_per_picture: Times::of(streamed).seconds,
            in_batches_seconds_per_picture: Times::of(batched).seconds,
            gain: Times::of(gains).seconds,
        })
    }
}

/// The lengths of the captions: the same for every run, and of no order.
fn lengths(pictures: usize, [least, most]: [usize; 2]) -> Vec<usize> {
    let spread = (most - least + 1) as u64;
    // The multiplier and the increment of Knuth's MMIX.
    let next = |state: &u64| {
        let next = state.wrapping_mul(6_364_136_223_846_793_005);
        Some(next.wrapping_add(1_442_695_040_888_963_407))
    };
    let states = std::iter::successors(Some(0u64), next).skip(1);
    states
        .take(pictures)
        .map(|state| least + ((state >> 33) % spread) as usize)
        .collect()
}

fn in_a_stream(args: &BenchArgs, blip2: &Blip2Pipeline, lengths: &[usize]) -> Result<f64, Failure> {
    let options: Vec<Options> = lengths
        .iter()
        .map(|&length| exactly(args, length))
        .collect();
    let start = Instant::now();
    let flow = AnswerFlow::new(blip2)
        .with_places(args.batch)
        .with_options_of(move |n| options.get(n).cloned().unwrap_or_default());
    let pictures = lengths
        .iter()
        .map(|_| Ok::<_, Blip2Error>((picture(), None)));
    for (n, answer) in flow.captions(pictures.collect::<Vec<_>>().into_iter()) {
        check(answer.map_err(Failure::work)?.tokens.len(), lengths.get(n))?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn in_batches(args: &BenchArgs, blip2: &Blip2Pipeline, lengths: &[usize]) -> Result<f64, Failure> {
    let start = Instant::now();
    for lengths in lengths.chunks(args.batch) {
        let pictures = vec![picture(); lengths.len()];
        let seen = blip2.look_batch(&pictures, &Options::default());
        let asked = seen.map_err(Failure::work)?;
        let asked = asked.iter().zip(lengths);
        let requests = asked.map(|(seen, &length)| seen.request_caption(&exactly(args, length)));
        let requests = requests.collect::<Result<_, _>>().map_err(Failure::work)?;
        let mut batch = AnswerBatch::start(requests).map_err(Failure::work)?;
        while !batch.is_finished() {
            batch.step().map_err(Failure::work)?;
        }
        for (answer, length) in batch.into_answers().into_iter().zip(lengths) {
            check(answer.map_err(Failure::work)?.tokens.len(), Some(length))?;
        }
    }
    Ok(start.elapsed().as_secs_f64())
}

fn check(found: usize, expected: Option<&usize>) -> Result<(), Failure> {
    match expected {
        Some(&expected) if expected == found => Ok(()),
        _ => Err(Failure::Work(format!(
            "a caption of the stream has {found} tokens; ask for fewer --new-tokens"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::lengths;

    #[test]
    fn lengths_are_spread_over_all_there_are() {
        let mut found = lengths(64, [5, 20]);
        assert_eq!(found, lengths(64, [5, 20]));
        let mean = found.iter().sum::<usize>() as f64 / 64.0;
        assert!((11.0..14.0).contains(&mean), "{mean}");
        found.sort_unstable();
        assert_eq!((found[0], found[63]), (5, 20));
    }
}
