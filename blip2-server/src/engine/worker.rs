//! What runs batches.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use blip2_core::{Blip2Error, CancelToken};

use super::{
    Shared,
    compare::{self, unable},
    job::{Job, Work},
    seen::Sight,
    write::Writing,
};
use crate::{
    error::ApiError,
    picture::{Digest, Upload},
};

/// Runs batch after batch until the queue is closed.
pub(super) fn work(shared: &Arc<Shared>) {
    let batching = &shared.batching;
    while let Some(batch) = shared.queue.pop(batching.size, batching.wait) {
        shared.metrics.waiting(shared.queue.len());
        // A panic costs this batch its answers, and no other: whoever waits is told when the other ends of
        // their channels are dropped.
        let run = AssertUnwindSafe(|| run(shared, batch));
        if std::panic::catch_unwind(run).is_err() {
            tracing::error!("a batch panicked");
        }
    }
}

fn run(shared: &Shared, batch: Vec<Job>) {
    let batch: Vec<Job> = batch.into_iter().filter_map(wanted).collect();
    let mut round = Round {
        shared,
        wanted_by: wanted_by(&batch),
        seen: HashMap::new(),
        writing: Writing::default(),
    };
    for job in batch {
        round.take(job);
    }
    round.writing.run(&shared.metrics);
}

/// A job that someone still waits for.
fn wanted(job: Job) -> Option<Job> {
    match job.cancel.reason() {
        None => Some(job),
        Some(blip2_core::FinishReason::Deadline) => {
            job.fail(ApiError::timeout());
            None
        }
        Some(_) => {
            job.fail(ApiError::stopping());
            None
        }
    }
}

/// How many jobs are about each picture.
fn wanted_by(batch: &[Job]) -> HashMap<Digest, usize> {
    let mut counts = HashMap::new();
    for picture in batch.iter().filter_map(Job::picture) {
        *counts.entry(picture.digest).or_insert(0) += 1;
    }
    counts
}

/// One batch on its way.
struct Round<'a> {
    shared: &'a Shared,
    wanted_by: HashMap<Digest, usize>,
    /// Its pictures, or what is wrong with them.
    seen: HashMap<Digest, Result<Sight, ApiError>>,
    writing: Writing,
}

impl Round<'_> {
    /// Does a job, or adds it to what is written together.
    fn take(&mut self, job: Job) {
        let span = job.span.clone();
        let _entered = span.enter();
        let sight = match job.picture().cloned() {
            None => None,
            Some(picture) => match self.see(&picture, &job.cancel) {
                Ok(sight) => Some(sight),
                Err(error) => return job.fail(error),
            },
        };
        let model = &self.shared.model;
        let Job { work, cancel, .. } = job;
        // A client that has left reads nothing.
        match (work, sight) {
            (Work::Write(write), Some(sight)) => self.writing.add(*write, span.clone(), &sight),
            (Work::Rank(rank), Some(sight)) => {
                let ranked = compare::rank(&rank, &sight, &cancel);
                let _ = rank.reply.send(ranked);
            }
            (Work::Match(of), Some(sight)) => {
                let compared = compare::compare(model, &of, &sight, &cancel);
                let _ = of.reply.send(compared);
            }
            (Work::EmbedImage(embed), Some(Sight::Photo(photo))) => {
                let _ = embed.reply.send(Ok(photo.embedding));
            }
            (Work::EmbedText(of), None) => {
                let embedded = compare::embed_texts(model, &of, &cancel);
                let _ = of.reply.send(embedded);
            }
            (work, _) => Job {
                work,
                cancel,
                span: span.clone(),
            }
            .fail(unable()),
        }
    }

    /// A picture as the model sees it: kept from before, or encoded now for all that ask about it.
    fn see(&mut self, picture: &Upload, cancel: &CancelToken) -> Result<Sight, ApiError> {
        let digest = picture.digest;
        if let Some(seen) = self.seen.get(&digest) {
            self.shared.metrics.cache(true);
            return seen.clone();
        }
        let kept = self.shared.cache().get(&digest);
        self.shared.metrics.cache(kept.is_some());
        if let Some(sight) = kept {
            self.seen.insert(digest, Ok(sight.clone()));
            return Ok(sight);
        }
        // Only who is alone in asking about a picture may stop its encoding.
        let alone = self.wanted_by.get(&digest).is_none_or(|count| *count == 1);
        let cancel = if alone {
            cancel.clone()
        } else {
            CancelToken::new()
        };
        let shared = self.shared;
        let sight = Sight::of(&shared.model, picture, &shared.decode, &cancel);
        let sight = sight.map_err(of_picture);
        if let Ok(sight) = &sight {
            let mut cache = shared.cache();
            cache.insert(digest, sight.clone(), sight.bytes());
            shared.metrics.cache_bytes(cache.bytes());
        }
        self.seen.insert(digest, sight.clone());
        sight
    }
}

fn of_picture(error: Blip2Error) -> ApiError {
    ApiError::from(error).with_param("image")
}
