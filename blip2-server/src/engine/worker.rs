//! What runs batches.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use blip2_core::{Blip2Error, CancelToken};

use super::{
    Shared,
    compare::{self, unable},
    job::{Job, Work},
    length::short_enough,
    seen::Sight,
    shown::Shown,
    write::Writing,
};
use crate::{error::ApiError, model::Model, picture::Digest};

/// Runs batch after batch, as one of some workers, until the queue is closed.
pub(super) fn work(number: usize, shared: &Arc<Shared>) {
    let batching = &shared.batching;
    while let Some(batch) = shared.queue.pop(number, batching.size, batching.wait) {
        shared.tell_waiting();
        // A panic costs this batch its answers, and no other: whoever waits is told when the other ends of
        // their channels are dropped.
        let run = AssertUnwindSafe(|| run(number, shared, batch));
        if std::panic::catch_unwind(run).is_err() {
            tracing::error!("a batch panicked");
        }
    }
}

fn run(number: usize, shared: &Shared, batch: Vec<Job>) {
    let Some(place) = batch.first().map(|job| job.model) else {
        return;
    };
    let Some(model) = shared.model(place) else {
        return batch
            .into_iter()
            .for_each(|job| job.fail(ApiError::internal()));
    };
    let mut round = Round {
        shared,
        place,
        model,
        seen: HashMap::new(),
        writing: Writing::default(),
    };
    let writing = round.begin(batch);
    let more = |free| {
        let joining = shared.queue.join(number, free);
        match joining.is_empty() {
            true => Writing::default(),
            false => {
                shared.tell_waiting();
                round.begin(joining)
            }
        }
    };
    writing.run(shared.batching.size, &shared.metrics, more);
}

/// One batch on its way.
struct Round<'a> {
    shared: &'a Shared,
    /// Whom all of it asks, and its place among the models.
    model: &'a Model,
    place: usize,
    /// Its pictures, or what is wrong with them.
    seen: HashMap<Digest, Result<Sight, ApiError>>,
    writing: Writing,
}

impl Round<'_> {
    /// Does jobs, but for what is written together.
    fn begin(&mut self, batch: Vec<Job>) -> Writing {
        // What was seen before is in the cache; here a batch that others join for hours would keep all of it.
        self.seen.clear();
        let wanted = batch.into_iter().filter_map(Job::wanted);
        let most = self.shared.prompt_tokens;
        let batch: Vec<Job> = wanted
            .filter_map(|job| short_enough(job, self.model, most))
            .collect();
        self.look(&batch);
        for job in batch {
            self.take(job);
        }
        std::mem::take(&mut self.writing)
    }

    /// Does a job, or adds it to what is written together.
    fn take(&mut self, job: Job) {
        let span = job.span.clone();
        let _entered = span.enter();
        let sight = match job.picture() {
            None => None,
            Some(picture) => match self.seen.get(&picture.digest) {
                Some(Ok(sight)) => Some(sight.clone()),
                Some(Err(error)) => {
                    // Whoever else asks about it may call it otherwise.
                    let error = error.clone().renamed(job.names.picture);
                    return job.fail(error);
                }
                None => return job.fail(ApiError::internal()),
            },
        };
        let model = self.model;
        let Job {
            work,
            model: place,
            names,
            cancel,
            room,
            ..
        } = job;
        // A client that has left reads nothing.
        match (work, sight) {
            (Work::Write(write), Some(sight)) => {
                self.writing.add(*write, span.clone(), &sight, names);
            }
            (Work::Rank(rank), Some(sight)) => {
                let ranked = compare::rank(&rank, &sight, &names, &cancel);
                let _ = rank.reply.send(ranked);
            }
            (Work::Match(of), Some(sight)) => {
                let compared = compare::compare(model, &of, &sight, &names, &cancel);
                let _ = of.reply.send(compared);
            }
            (Work::EmbedImage(embed), Some(Sight::Photo(photo))) => {
                let _ = embed.reply.send(Ok(photo.embedding));
            }
            (Work::EmbedText(of), None) => {
                let embedded = compare::embed_texts(model, &of, &names, &cancel);
                let _ = of.reply.send(embedded);
            }
            (work, _) => Job {
                work,
                model: place,
                names,
                cancel,
                room,
                span: span.clone(),
            }
            .fail(unable()),
        }
    }

    /// Sees to it that every picture of a batch is seen: kept from before, or encoded now for all that ask
    /// about it.
    fn look(&mut self, batch: &[Job]) {
        let mut new: Vec<New<'_>> = Vec::new();
        for job in batch {
            let Some(picture) = job.picture() else {
                continue;
            };
            let digest = picture.digest;
            if let Some(waits) = new.iter_mut().find(|new| new.digest == digest) {
                waits.jobs.push(job);
            } else if !self.seen.contains_key(&digest) {
                match self.shared.cache().get(&(self.place, digest)) {
                    Some(sight) => {
                        self.seen.insert(digest, Ok(sight));
                    }
                    None => {
                        self.shared.metrics.cache(false);
                        let jobs = vec![job];
                        new.push(New { digest, jobs });
                        continue;
                    }
                }
            }
            self.shared.metrics.cache(true);
        }
        let frames = self.model.frames().max(1);
        for part in new.chunks((TOGETHER / frames).max(1)) {
            self.encode(part);
        }
    }

    /// Encodes pictures together, those that are pictures.
    fn encode(&mut self, new: &[New<'_>]) {
        let frames = self.model.frames();
        let mut decoded: Vec<(&New<'_>, Shown)> = Vec::new();
        for new in new {
            let Some(job) = new.jobs.first() else {
                continue;
            };
            let Some(picture) = job.picture() else {
                continue;
            };
            match Shown::decode(picture, frames, &self.shared.decode, &job.names) {
                Ok(shown) => decoded.push((new, shown)),
                Err(error) => {
                    self.seen.insert(new.digest, Err(error));
                }
            }
        }
        let images: Vec<&Shown> = decoded.iter().map(|(_, shown)| shown).collect();
        let model = self.model;
        if images.len() > 1
            && let Ok(seen) = Sight::of_batch(model, &images, &CancelToken::new())
        {
            for ((new, _), sight) in decoded.iter().zip(seen) {
                self.keep(new, Ok(sight));
            }
            return;
        }
        // Alone, or where one of them spoils the others, each has its own result.
        for (new, shown) in &decoded {
            self.keep(new, Sight::of(model, shown, &new.cancel()));
        }
    }

    /// Keeps a picture for this batch, and for those to come.
    fn keep(&mut self, new: &New<'_>, sight: Result<Sight, Blip2Error>) {
        let Some(first) = new.jobs.first() else {
            return;
        };
        let _entered = first.span.enter();
        let sight = sight.map_err(|error| ApiError::told(&error, &first.names));
        if let Ok(sight) = &sight {
            let mut cache = self.shared.cache();
            cache.insert((self.place, new.digest), sight.clone(), sight.bytes());
            self.shared.metrics.cache_bytes(cache.bytes());
        }
        self.seen.insert(new.digest, sight);
    }
}

/// How many pictures, or frames, are decoded, and encoded, at a time: decoded ones are large.
const TOGETHER: usize = 8;

/// A picture that was not seen before, and the jobs that are about it.
struct New<'a> {
    digest: Digest,
    jobs: Vec<&'a Job>,
}

impl New<'_> {
    /// What stops its encoding: only who is alone in asking about it may.
    fn cancel(&self) -> CancelToken {
        match self.jobs.as_slice() {
            [alone] => alone.cancel.clone(),
            _ => CancelToken::new(),
        }
    }
}
