//! How a training goes, in its file.

use std::{collections::BTreeMap, fmt};

use blip2_io::dataset::Augmentation;
use blip2_train::{
    ActivationFormat, AdamW, Exponential, NamePattern, Recipe, Schedule, WarmupCosine,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Unexpected, Visitor},
};

use super::ranges::{at_least_one, below, within};
use crate::Failure;

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RecipeConfig {
    pub(crate) steps: Option<usize>,
    pub(crate) epochs: f64,
    pub(crate) batch: usize,
    pub(crate) questions_per_picture: Option<usize>,
    pub(crate) shuffle_buffer: Option<usize>,
    pub(crate) accumulate: usize,
    pub(crate) schedule: ScheduleName,
    pub(crate) lr: f64,
    pub(crate) min_lr: f64,
    pub(crate) warmup: Warmup,
    pub(crate) gamma: f64,
    pub(crate) weight_decay: f64,
    pub(crate) no_decay: Vec<NamePattern>,
    #[serde(deserialize_with = "two")]
    pub(crate) betas: [f32; 2],
    pub(crate) layer_decay: f64,
    pub(crate) rates: BTreeMap<NamePattern, f64>,
    pub(crate) clip: f64,
    pub(crate) ema: Option<f64>,
    pub(crate) gradient_checkpointing: bool,
    pub(crate) activations: Activations,
    pub(crate) label_smoothing: f64,
    pub(crate) evaluate_every: usize,
    pub(crate) patience: Option<usize>,
    pub(crate) save_every: usize,
    pub(crate) seed: u64,
    pub(crate) workers: Option<usize>,
    pub(crate) augmentation: Augmentation,
}

impl Default for RecipeConfig {
    fn default() -> Self {
        Self {
            steps: None,
            epochs: 3.0,
            batch: 16,
            questions_per_picture: None,
            shuffle_buffer: None,
            accumulate: 1,
            schedule: ScheduleName::WarmupCosine,
            lr: 1e-4,
            min_lr: 0.0,
            warmup: Warmup::Part(0.03),
            gamma: 0.9,
            weight_decay: 0.05,
            no_decay: Vec::new(),
            betas: [0.9, 0.999],
            layer_decay: 1.0,
            rates: BTreeMap::new(),
            clip: 1.0,
            ema: None,
            gradient_checkpointing: false,
            activations: Activations::F32,
            label_smoothing: 0.0,
            evaluate_every: 0,
            patience: None,
            save_every: 200,
            seed: 0,
            workers: None,
            augmentation: Augmentation::default(),
        }
    }
}

/// Exactly two values: an array would take the first of more.
fn two<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f32; 2], D::Error> {
    let values = Vec::<f32>::deserialize(deserializer)?;
    let due = &"an array of length 2";
    <[f32; 2]>::try_from(values).map_err(|values| D::Error::invalid_length(values.len(), due))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ScheduleName {
    Constant,
    WarmupCosine,
    Exponential,
}

/// In which format what the backward pass needs is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Activations {
    F32,
    Bf16,
}

impl Activations {
    fn format(self) -> ActivationFormat {
        match self {
            Self::F32 => ActivationFormat::F32,
            Self::Bf16 => ActivationFormat::Bf16,
        }
    }
}

/// How long the learning rate rises: a whole number is of steps, a fraction is a part of all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Warmup {
    Steps(usize),
    Part(f64),
}

impl<'de> Deserialize<'de> for Warmup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StepsOrPart)
    }
}

/// Reads a warm-up; of anything else it says what is due.
struct StepsOrPart;

impl Visitor<'_> for StepsOrPart {
    type Value = Warmup;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of steps, or a part of them below 1")
    }

    fn visit_u64<E: Error>(self, steps: u64) -> Result<Warmup, E> {
        let due = Unexpected::Unsigned(steps);
        let steps = usize::try_from(steps);
        steps
            .map(Warmup::Steps)
            .map_err(|_| E::invalid_value(due, &self))
    }

    fn visit_i64<E: Error>(self, steps: i64) -> Result<Warmup, E> {
        // Below 0 it is no part either, which is said with the file's other numbers.
        Ok(usize::try_from(steps).map_or(Warmup::Part(steps as f64), Warmup::Steps))
    }

    fn visit_f64<E: Error>(self, part: f64) -> Result<Warmup, E> {
        Ok(Warmup::Part(part))
    }
}

impl Warmup {
    /// In steps, of `all`. A part is rounded up, as `transformers` does with its `warmup_ratio`, and
    /// leaves a step.
    fn steps(self, all: usize) -> usize {
        match self {
            Self::Steps(steps) => steps,
            Self::Part(part) => {
                let steps = (part * all as f64).ceil() as usize;
                steps.min(all.saturating_sub(1))
            }
        }
    }
}

impl fmt::Display for Warmup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => steps.fmt(f),
            Self::Part(part) => part.fmt(f),
        }
    }
}

/// More threads than any machine has that this runs on.
const MOST_WORKERS: usize = 1024;

/// More pixels than any picture is moved by that is to be known again.
const MOST_SHIFT: u32 = 4096;

/// More epochs than anyone makes: a number beyond them has lost a point.
const MOST_EPOCHS: f64 = 1e6;

impl RecipeConfig {
    /// How many steps are made where an epoch has `per_epoch`.
    pub(crate) fn steps(&self, per_epoch: usize) -> usize {
        let epochs = (self.epochs * per_epoch as f64).ceil() as usize;
        self.steps.unwrap_or(epochs)
    }

    /// The recipe, but for where its states are.
    pub(crate) fn recipe(&self, steps: usize, per_epoch: usize) -> Recipe {
        Recipe::new(steps, self.schedule(steps, per_epoch))
            .with_by_epochs(self.steps.is_none())
            .with_accumulate(self.accumulate)
            .with_clip(Some(self.clip).filter(|clip| *clip != 0.0))
            .with_ema(self.ema)
            .with_gradient_checkpointing(self.gradient_checkpointing)
            .with_activations(self.activations.format())
            .with_evaluate_every(self.evaluate_every)
            .with_patience(self.patience)
            .with_save_every(self.save_every)
            .with_seed(self.seed)
    }

    pub(crate) fn optimizer(&self) -> AdamW {
        let optimizer = AdamW::default()
            .with_betas(self.betas)
            .with_weight_decay(self.weight_decay as f32)
            .with_no_decay(self.no_decay.iter().cloned())
            .with_layer_decay(self.layer_decay);
        let rates = self.rates.iter();
        rates.fold(optimizer, |optimizer, (pattern, factor)| {
            optimizer.with_rate(pattern.clone(), *factor)
        })
    }

    fn schedule(&self, steps: usize, per_epoch: usize) -> Schedule {
        let lr = self.lr;
        match self.schedule {
            ScheduleName::Constant => Schedule::constant(lr),
            ScheduleName::WarmupCosine => WarmupCosine::new(lr, steps)
                .with_min(self.min_lr)
                .with_warmup(self.warmup.steps(steps))
                .into(),
            ScheduleName::Exponential => Exponential::new(lr, self.gamma, per_epoch.max(1)).into(),
        }
    }

    /// Refuses numbers that make no sense, whether or not the schedule has a use for them.
    pub(super) fn check(&self) -> Result<(), Failure> {
        at_least_one("[recipe] steps", self.steps.unwrap_or(1))?;
        let epochs = self.epochs > 0.0 && self.epochs <= MOST_EPOCHS;
        let range = format!("above 0, and no more than {MOST_EPOCHS}");
        within("[recipe] epochs", self.epochs, epochs, &range)?;
        at_least_one("[recipe] batch", self.batch)?;
        let questions = self.questions_per_picture.unwrap_or(1);
        at_least_one("[recipe] questions_per_picture", questions)?;
        at_least_one("[recipe] shuffle_buffer", self.shuffle_buffer.unwrap_or(1))?;
        let workers = self.workers.unwrap_or(1);
        let range = format!("from 1 to {MOST_WORKERS}");
        let right = (1..=MOST_WORKERS).contains(&workers);
        within("[recipe] workers", workers, right, &range)?;
        let lr = self.lr > 0.0 && self.lr.is_finite();
        within("[recipe] lr", self.lr, lr, "above 0, and finite")?;
        let min = (0.0..=self.lr).contains(&self.min_lr);
        let range = format!("at least 0 and at most lr, which is {}", self.lr);
        within("[recipe] min_lr", self.min_lr, min, &range)?;
        let part = match self.warmup {
            Warmup::Steps(_) => true,
            Warmup::Part(part) => (0.0..1.0).contains(&part),
        };
        let range = "a number of steps, or a part of them below 1";
        within("[recipe] warmup", self.warmup, part, range)?;
        let gamma = self.gamma > 0.0 && self.gamma.is_finite();
        within("[recipe] gamma", self.gamma, gamma, "above 0, and finite")?;
        below("[recipe] label_smoothing", self.label_smoothing, 1.0)?;
        self.check_steps()?;
        self.check_augmentation()
    }

    /// What each step does, and how many batches make one.
    fn check_steps(&self) -> Result<(), Failure> {
        at_least_one("[recipe] accumulate", self.accumulate)?;
        at_least_one("[recipe] patience", self.patience.unwrap_or(1))?;
        let (clip, decay) = (self.clip, self.weight_decay);
        let range = "at least 0, and finite";
        within(
            "[recipe] clip",
            clip,
            clip >= 0.0 && clip.is_finite(),
            range,
        )?;
        let right = (0.0..=f64::from(f32::MAX)).contains(&decay);
        within("[recipe] weight_decay", decay, right, range)?;
        for beta in self.betas {
            below("[recipe] betas", beta.into(), 1.0)?;
        }
        let layers = self.layer_decay;
        let right = layers > 0.0 && layers <= 1.0;
        within(
            "[recipe] layer_decay",
            layers,
            right,
            "above 0 and at most 1",
        )?;
        for (part, &rate) in &self.rates {
            let key = format!("[recipe] rates, {part}");
            within(&key, rate, rate >= 0.0 && rate.is_finite(), range)?;
        }
        below("[recipe] ema", self.ema.unwrap_or(0.0), 1.0)
    }

    fn check_augmentation(&self) -> Result<(), Failure> {
        let Augmentation { crop, shift, .. } = self.augmentation;
        let range = format!("at most {MOST_SHIFT}: a picture would be all edge");
        let right = shift <= MOST_SHIFT;
        within("[recipe.augmentation] shift", shift, right, &range)?;
        let Some(crop) = crop else {
            return Ok(());
        };
        let [least, most] = crop.scale;
        let right = least > 0.0 && least <= most && most <= 1.0;
        let scale = format!("{:?}", crop.scale);
        let range = "two parts of the picture, the smaller one first, above 0 and at most 1";
        within("[recipe.augmentation] crop scale", scale, right, range)?;
        let [least, most] = crop.ratio;
        let right = least > 0.0 && least <= most && most.is_finite();
        let ratio = format!("{:?}", crop.ratio);
        let range = "two ratios of width to height, the smaller one first, above 0 and finite";
        within("[recipe.augmentation] crop ratio", ratio, right, range)
    }
}
