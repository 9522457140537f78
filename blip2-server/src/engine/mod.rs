//! The engine: requests wait in one queue, run in batches on threads of their own, and share what the model
//! has seen.

mod cache;
mod compare;
mod explain;
mod job;
mod length;
mod queue;
mod seen;
mod shown;
mod worker;
mod write;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use blip2_core::preprocessing::{DecodeOptions, ImageLimits};

use crate::{
    error::ApiError,
    metrics::Metrics,
    model::{Model, Served},
    picture::Digest,
    settings::{Batching, Limits},
};
use cache::Cache;
pub(crate) use job::{
    About, Ask, Compared, Drawing, EmbedImage, EmbedText, Explain, Explained, Job, Match, Rank,
    Work, Write, Written,
};
use queue::{Queue, Refused};
use seen::Sight;

/// What runs requests. When the last handle goes, its threads end after the batch that they are at.
pub(crate) struct Engine {
    shared: Arc<Shared>,
}

/// What an engine's threads share.
struct Shared {
    models: Vec<Served>,
    queue: Queue<Job>,
    /// What takes so long that nothing else should wait for it.
    slow: Queue<Job>,
    cache: Mutex<Cache<(usize, Digest), Sight>>,
    batching: Batching,
    /// The most tokens of a text that is read.
    prompt_tokens: usize,
    decode: DecodeOptions,
    metrics: Arc<Metrics>,
}

impl Shared {
    /// A model by its place.
    fn model(&self, place: usize) -> Option<&Model> {
        self.models.get(place).map(|served| &served.model)
    }

    fn cache(&self) -> MutexGuard<'_, Cache<(usize, Digest), Sight>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> usize {
        self.queue.len() + self.slow.len()
    }

    fn tell_waiting(&self) {
        self.metrics.waiting(self.waiting());
    }
}

impl Engine {
    /// Starts the threads of an engine.
    pub(crate) fn start(
        models: Vec<Served>,
        batching: Batching,
        limits: &Limits,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let image = ImageLimits::default()
            .with_max_pixels(limits.pixels)
            .with_max_file_bytes(limits.body_bytes as u64);
        let shared = Arc::new(Shared {
            models,
            queue: Queue::new(batching.queue.max(1)),
            slow: Queue::new(batching.queue.max(1)),
            cache: Mutex::new(Cache::new(batching.cache_bytes)),
            decode: DecodeOptions::default().with_limits(image),
            prompt_tokens: limits.prompt_tokens,
            batching: Batching {
                size: batching.size.max(1),
                ..batching
            },
            metrics,
        });
        let engine = Self { shared };
        for number in 0..batching.workers.max(1) {
            let shared = Arc::clone(&engine.shared);
            thread::Builder::new()
                .name(format!("blip2-engine-{number}"))
                .spawn(move || worker::work(number, &shared))?;
        }
        let shared = Arc::clone(&engine.shared);
        thread::Builder::new()
            .name("blip2-explain".into())
            .spawn(move || explain::work(&shared))?;
        Ok(engine)
    }

    /// Puts a job into the queue.
    pub(crate) fn submit(&self, job: Job) -> Result<(), ApiError> {
        let queue = match job.work {
            Work::Explain(_) => &self.shared.slow,
            _ => &self.shared.queue,
        };
        let pushed = queue.push(job);
        self.shared.tell_waiting();
        pushed.map_err(|refused| match refused {
            Refused::Full => self.busy(),
            Refused::Closed => ApiError::stopping(),
        })
    }

    /// Says that a request is on its way to the queue, for as long as what is returned lives.
    pub(crate) fn coming(&self) -> Coming {
        self.shared.queue.coming(1);
        Coming(Arc::clone(&self.shared))
    }

    /// The error of a server that has no room, which says when to come back.
    pub(crate) fn busy(&self) -> ApiError {
        self.shared.metrics.refused();
        ApiError::busy(self.retry_after())
    }

    /// About when a full queue will have room: after the batches that are before it.
    fn retry_after(&self) -> Duration {
        let batches = self.shared.queue.len() / self.shared.batching.size + 1;
        let time = self.shared.metrics.usual_time();
        (time * batches as u32).clamp(Duration::from_secs(1), Duration::from_secs(60))
    }

    /// The models, the one that answers where none is named first.
    pub(crate) fn models(&self) -> &[Served] {
        &self.shared.models
    }

    /// Ends what waits, and takes nothing more.
    pub(crate) fn stop(&self) {
        for queue in [&self.shared.queue, &self.shared.slow] {
            queue.close();
            for job in queue.drain() {
                job.fail(ApiError::stopping());
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A request that is on its way to the queue.
pub(crate) struct Coming(Arc<Shared>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.queue.coming(-1);
    }
}
