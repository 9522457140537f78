//! How a training goes.

use std::path::{Path, PathBuf};

use blip2_core::CancelToken;
use blip2_io::dataset::Loader;
use blip2_kernels::ActivationFormat;
use serde_json::Value;

use crate::{error::TrainError, schedule::Schedule};

/// How a training goes: how long, how fast, what is kept.
///
/// ```
/// use blip2_train::{Recipe, WarmupCosine};
///
/// let recipe = Recipe::new(10_000, WarmupCosine::new(1e-4, 10_000).with_warmup(500))
///     .with_accumulate(4)
///     .with_gradient_checkpointing(true)
///     .with_evaluate_every(1000)
///     .with_patience(3)
///     .with_states("runs/mine/states");
/// assert_eq!(recipe.clip, Some(1.0));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recipe {
    /// How many steps are made.
    pub steps: usize,
    /// Whether [`steps`](Self::steps) stands for the epochs that they take: a training that goes on with
    /// batches of another size, or with another number of examples, makes as many steps as what is left of
    /// those epochs takes, at the learning rates of that part of the schedule. Default no.
    pub by_epochs: bool,
    /// The learning rate of each.
    pub schedule: Schedule,
    /// How many batches make a step (gradient accumulation). Default 1.
    pub accumulate: usize,
    /// The largest norm of all gradients together. Default 1.
    pub clip: Option<f64>,
    /// The decay of an exponential moving average of what is trained, which is then evaluated and
    /// kept. Default none.
    pub ema: Option<f64>,
    /// Whether only the inputs of the image encoder's and the language model's layers are kept for the
    /// backward pass, and of the Q-Former's where the image encoder is not trained: it computes the layers
    /// again, with less memory and more time (gradient checkpointing; Chen et al., 2016). Default no.
    pub gradient_checkpointing: bool,
    /// In which format what the backward pass needs of the forward pass is kept. Default `f32`.
    pub activations: ActivationFormat,
    /// Every how many steps the model is evaluated; 0 is at the end only, as by default.
    pub evaluate_every: usize,
    /// Whether the model is evaluated before the first step too, to see what training changes. It is
    /// not kept for the best. Default yes.
    pub baseline: bool,
    /// Examples that are not trained on, whose mean loss is told with each score. Default none.
    pub held_out: Option<Loader>,
    /// After how many evaluations without a better score the training ends. Default never.
    pub patience: Option<usize>,
    /// Where states are saved to go on from. Default nowhere.
    pub states: Option<PathBuf>,
    /// Every how many steps a state is saved; 0 is at the end only. Default 200.
    pub save_every: usize,
    /// Whether a single step is tried: all that comes before it is done and checked as ever, a state to go
    /// on from is read, the model is scored on a few examples, and nothing is written. Default no.
    pub trial: bool,
    /// What the training is, which states hold for [`told_by`](crate::told_by). Default nothing.
    pub about: Option<Value>,
    /// What random numbers follow from, beside those of the data. Default 0.
    pub seed: u64,
    /// Ends the training after the step that is being made, or in the midst of an evaluation, with a
    /// state to go on from. Default never.
    pub cancel: CancelToken,
}

impl Recipe {
    /// This number of steps of a schedule, with gradients clipped to a norm of 1.
    pub fn new(steps: usize, schedule: impl Into<Schedule>) -> Self {
        Self {
            steps,
            by_epochs: false,
            schedule: schedule.into(),
            accumulate: 1,
            clip: Some(1.0),
            ema: None,
            gradient_checkpointing: false,
            activations: ActivationFormat::F32,
            evaluate_every: 0,
            baseline: true,
            held_out: None,
            patience: None,
            states: None,
            save_every: 200,
            trial: false,
            about: None,
            seed: 0,
            cancel: CancelToken::new(),
        }
    }

    /// Makes this number of steps.
    #[must_use]
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Counts steps as those of epochs, or as they are.
    #[must_use]
    pub fn with_by_epochs(mut self, on: bool) -> Self {
        self.by_epochs = on;
        self
    }

    /// Makes a step of this number of batches.
    #[must_use]
    pub fn with_accumulate(mut self, batches: usize) -> Self {
        self.accumulate = batches;
        self
    }

    /// Scales gradients down to this norm, or not at all.
    #[must_use]
    pub fn with_clip(mut self, clip: impl Into<Option<f64>>) -> Self {
        self.clip = clip.into();
        self
    }

    /// Evaluates and keeps an exponential moving average with this decay, or what is trained itself.
    #[must_use]
    pub fn with_ema(mut self, decay: impl Into<Option<f64>>) -> Self {
        self.ema = decay.into();
        self
    }

    /// Keeps only the inputs of layers for the backward pass.
    #[must_use]
    pub fn with_gradient_checkpointing(mut self, on: bool) -> Self {
        self.gradient_checkpointing = on;
        self
    }

    /// Keeps what the backward pass needs of the forward pass in this format.
    #[must_use]
    pub fn with_activations(mut self, format: ActivationFormat) -> Self {
        self.activations = format;
        self
    }

    /// Evaluates every so often, counted in steps.
    #[must_use]
    pub fn with_evaluate_every(mut self, steps: usize) -> Self {
        self.evaluate_every = steps;
        self
    }

    /// Evaluates the model before the first step too, or not.
    #[must_use]
    pub fn with_baseline(mut self, on: bool) -> Self {
        self.baseline = on;
        self
    }

    /// Tells the mean loss on these examples with each score, or on none. They should be neither
    /// shuffled nor augmented: the same each time.
    #[must_use]
    pub fn with_held_out(mut self, examples: impl Into<Option<Loader>>) -> Self {
        self.held_out = examples.into();
        self
    }

    /// Ends after this number of evaluations without a better score, or not before all steps are made.
    #[must_use]
    pub fn with_patience(mut self, evaluations: impl Into<Option<usize>>) -> Self {
        self.patience = evaluations.into();
        self
    }

    /// Saves states in this folder, and goes on from the last one in it.
    #[must_use]
    pub fn with_states(mut self, folder: impl Into<PathBuf>) -> Self {
        self.states = Some(folder.into());
        self
    }

    /// Saves and reads no states.
    #[must_use]
    pub fn without_states(mut self) -> Self {
        self.states = None;
        self
    }

    /// Saves a state every so often, counted in steps.
    #[must_use]
    pub fn with_save_every(mut self, steps: usize) -> Self {
        self.save_every = steps;
        self
    }

    /// Tries a single step and writes nothing, or trains.
    #[must_use]
    pub fn with_trial(mut self, on: bool) -> Self {
        self.trial = on;
        self
    }

    /// Has states hold what the training is, for [`told_by`](crate::told_by).
    #[must_use]
    pub fn with_about(mut self, about: impl Into<Option<Value>>) -> Self {
        self.about = about.into();
        self
    }

    /// Draws random numbers that follow from this seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Ends when someone cancels.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Where states are saved.
    pub(super) fn written(&self) -> Option<&Path> {
        self.states.as_deref().filter(|_| !self.trial)
    }

    /// Refuses numbers that make no sense.
    ///
    /// # Errors
    ///
    /// [`TrainError::Argument`] naming the number.
    pub fn validate(&self) -> Result<(), TrainError> {
        self.schedule.validate()?;
        let positive = "must be at least 1";
        if self.steps == 0 {
            return Err(TrainError::argument("steps", 0, positive));
        }
        if self.accumulate == 0 {
            return Err(TrainError::argument("accumulate", 0, positive));
        }
        if self.patience == Some(0) {
            return Err(TrainError::argument("patience", 0, positive));
        }
        if let Some(clip) = self.clip.filter(|clip| clip.is_nan() || *clip <= 0.0) {
            return Err(TrainError::argument("clip", clip, "must be above 0"));
        }
        if let Some(ema) = self.ema.filter(|ema| !(0.0..1.0).contains(ema)) {
            return Err(TrainError::argument(
                "ema",
                ema,
                "must be at least 0 and below 1",
            ));
        }
        Ok(())
    }
}
