//! What every call of the functions asks for.

use std::sync::atomic::{AtomicU64, Ordering};

use blip2_core::{CancelToken, CompareOptions, GenerationConfig, Options, Template};

/// How captions and answers are written.
#[derive(Debug, Default)]
pub(crate) struct Ask {
    generation: Option<GenerationConfig>,
    template: Option<Template>,
    /// How many batches were asked for. Samples of one batch are drawn from one row of random numbers, of
    /// which each batch has its own.
    batches: AtomicU64,
}

impl Ask {
    pub(crate) fn new(generation: Option<GenerationConfig>, template: Option<Template>) -> Self {
        Self {
            generation,
            template,
            batches: AtomicU64::new(0),
        }
    }

    /// Whether tokens are drawn.
    pub(crate) fn samples(&self) -> bool {
        self.generation
            .as_ref()
            .is_some_and(|config| config.do_sample)
    }

    /// The options of the next batch.
    pub(crate) fn options(&self, cancel: &CancelToken) -> Options {
        let mut options = Options::default().with_cancel(cancel.clone());
        if let Some(generation) = &self.generation {
            let batch = self.batches.fetch_add(1, Ordering::Relaxed);
            let seed = generation.seed.wrapping_add(batch);
            options = options.with_generation(generation.clone().with_seed(seed));
        }
        match &self.template {
            Some(template) => options.with_template(template.clone()),
            None => options,
        }
    }

    /// The options of a batch that compares.
    pub(crate) fn compare(cancel: &CancelToken) -> CompareOptions {
        CompareOptions::default().with_cancel(cancel.clone())
    }
}
