//! A training, from what was checked to what is written.

use std::{collections::BTreeSet, path::Path};

use blip2_core::{CancelToken, CheckpointFolder};
use blip2_io::{
    dataset::{Dataset, LoadedBatch, Loader, OnBroken},
    preprocessing::ImageProcessor,
};
use blip2_train::{
    AdamW, At, Ended, Group, Losses, Objective, Outcome, Recipe, Scores, Shared, TensorBoard,
    TrainError, Trained, Unfinished, Watch, train_together,
};
use burn::module::Module;

use super::{
    account::Account,
    card::{Card, Of},
    config::Config,
    failure,
    lines::Lines,
    place::Place,
    show,
    together::Together,
};
use crate::{Failure, args::train::TrainArgs, model::spinner, words};

/// What is trained on what, and where it is written.
pub(super) struct Job<'j> {
    pub(super) args: &'j TrainArgs,
    pub(super) config: &'j Config,
    pub(super) place: &'j Place,
    pub(super) folder: &'j CheckpointFolder,
    /// What is trained on, every example of which was checked.
    pub(super) data: Dataset,
    /// What the validation loss is of.
    pub(super) held_out: Option<Dataset>,
    pub(super) on_broken: OnBroken,
    pub(super) cancel: CancelToken,
    pub(super) together: &'j Together,
}

impl Job<'_> {
    /// Checks what depends on the data, loads the model, trains it and writes what comes of it.
    pub(super) fn run<M: Module>(
        &self,
        load: impl FnOnce() -> Result<Trained<M>, TrainError>,
        objective: impl Objective<M>,
    ) -> Result<(), Failure> {
        let loader = self.loader()?;
        let (recipe, optimizer) = self.recipe(&loader)?;
        let account = self.is_first().then(|| self.account()).transpose()?;
        let about = account.as_ref().map(Account::value).transpose()?;
        let recipe = recipe.with_about(about);
        let mut trained = loaded(load)?;
        if let Some(account) = &account {
            trained = trained.of_base(account.model());
        }
        show::plan(self.config, self.folder, &trained, &self.data, recipe.steps)?;
        self.tell_idle(&trained);
        show::processes(self.together.size(), self.together.threads());
        if self.is_first() {
            let [largest, all] = self.needed(&trained)?;
            self.place.check_room(all)?;
            self.place.check_largest(largest)?;
        }
        let objective = Sifted {
            objective,
            precision: self.config.train.unusual_precision(),
        };
        if self.args.dry_run {
            return self.tried(trained, optimizer, &loader, recipe, objective);
        }
        let before = std::fs::read(self.place.account()).ok();
        if let Some(account) = account {
            account.save(&self.place.account())?;
        }
        let trained = self.trained(trained, optimizer, &loader, &recipe, objective);
        match trained {
            Ok(outcome) => self.finished(&outcome),
            // The first process writes what there is, and says what failed.
            Err(Unfinished { error, .. }) if !self.is_first() => Err(failure(error)),
            Err(Unfinished {
                error,
                outcome: Some(outcome),
            }) => Err(self.failed(error, &outcome)),
            Err(Unfinished { error, .. }) => {
                // No step was made: the states, if there are any, are still those of the run before.
                if let Some(before) = before {
                    let _ = blip2_train::write_file(&self.place.account(), &before);
                }
                Err(failure(error))
            }
        }
    }

    /// Tells settings that change nothing of this model on this data.
    fn tell_idle<M: Module>(&self, trained: &Trained<M>) {
        for pattern in trained.idle_patterns() {
            note!("note      lora.{pattern} has no effect: it is of no layer that is adapted");
        }
        let mut parameters = trained.parameters();
        let sees = parameters.any(|named| named.name.starts_with("vision_model."));
        if self.config.recipe.layer_decay != 1.0 && !sees {
            note!(
                "note      recipe.layer_decay has no effect: no layer of the image encoder is trained"
            );
        }
        let mut examples = self.data.examples().iter();
        if self.config.train.template.is_some() && examples.all(|own| own.question.is_none()) {
            note!("note      train.template has no effect: the data has no questions");
        }
    }

    fn is_first(&self) -> bool {
        self.together.is_first()
    }

    /// The steps of the training; numbers that make no sense together are refused.
    fn recipe(&self, loader: &Loader) -> Result<(Recipe, AdamW), Failure> {
        let own = &self.config.recipe;
        let per_epoch = loader.batches().div_ceil(own.accumulate.max(1));
        let baseline = self
            .config
            .validation
            .as_ref()
            .is_some_and(|own| own.before);
        let recipe = own
            .recipe(own.steps(per_epoch), per_epoch)
            .with_baseline(baseline)
            .with_held_out(self.held_out()?)
            .with_cancel(self.cancel.clone())
            .with_states(self.place.states());
        recipe.validate().map_err(failure)?;
        let optimizer = own.optimizer();
        optimizer.validate().map_err(failure)?;
        Ok((recipe, optimizer))
    }

    /// The examples of the validation loss, in order and as they are.
    fn held_out(&self) -> Result<Option<Loader>, Failure> {
        let Some(data) = &self.held_out else {
            return Ok(None);
        };
        let loader = Loader::new(data.clone(), self.processor()?)
            .batch(self.config.recipe.batch)
            .on_broken(self.validation_on_broken());
        Ok(Some(loader))
    }

    /// What becomes of examples that cannot be scored.
    fn validation_on_broken(&self) -> OnBroken {
        let own = self.config.validation.as_ref();
        own.map_or(OnBroken::Fail, |own| own.data.on_broken())
    }

    /// What the training is, after what has changed since the last run was told.
    fn account(&self) -> Result<Account, Failure> {
        let checkpoint = self.folder.checkpoint().map_err(Failure::work)?;
        let account = Account::of(self.config, &checkpoint, &self.data)?;
        if !self.place.has_states() {
            return Ok(account);
        }
        match Account::load(&self.place.account(), &self.place.states()) {
            Some(before) => {
                for change in account.compare(&before)? {
                    note!("changed   {change}");
                }
            }
            None => note!(
                "changed   {} is gone or damaged: what has changed since the states were saved cannot be told",
                self.place.account().display()
            ),
        }
        Ok(account)
    }

    /// The bytes that are written at the most: in a file, and of the model, its adapters and three states, one of
    /// which is being written.
    fn needed<M: Module>(&self, trained: &Trained<M>) -> Result<[u64; 2], Failure> {
        let checkpoint = self.folder.checkpoint().map_err(Failure::work)?;
        // What is trained, and the matrices that adapters are merged into, are written in `f32`.
        let changed: BTreeSet<String> = trained
            .parameters()
            .map(|named| match named.name.strip_suffix(".lora_A.weight") {
                Some(layer) => format!("{layer}.weight"),
                None => named.name.clone(),
            })
            .collect();
        let model = checkpoint.names().map(|name| {
            let numbers: usize = checkpoint
                .shape(name)
                .map_or(0, |shape| shape.iter().product());
            let width = match checkpoint.dtype(name) {
                Some(dtype) if !changed.contains(name) => dtype.size(),
                _ => 4,
            };
            (numbers * width) as u64
        });
        let numbers = trained
            .parameters()
            .map(|named| named.shape.iter().product::<usize>());
        let numbers = 4 * numbers.sum::<usize>() as u64;
        let averaged = u64::from(self.config.recipe.ema.is_some());
        let best = u64::from(self.config.validation.is_some());
        let state = numbers * (3 + averaged + best);
        let model = model.sum::<u64>();
        // An optimizer's file has two moments of each number.
        Ok([model.max(2 * numbers), model + numbers + 3 * state])
    }

    fn trained<M: Module>(
        &self,
        trained: Trained<M>,
        optimizer: AdamW,
        loader: &Loader,
        recipe: &Recipe,
        mut objective: impl Objective<M>,
    ) -> Result<Outcome<M>, Unfinished<M>> {
        let mut watch = (self.watch(recipe.steps), self.board()?);
        let outcome = train_together(
            self.together.training(),
            trained,
            optimizer,
            loader,
            recipe,
            &mut objective,
            &mut watch,
        );
        let (shown, board) = watch;
        // A bar is cleared before anything else is told.
        drop(shown);
        if let Some(board) = board
            && let Some(error) = board.fault()
        {
            let why = words::of_system(error);
            note!("{} is not whole: {why}", board.path().display());
        }
        outcome
    }

    /// The curves for TensorBoard, if they are wanted.
    fn board(&self) -> Result<Option<TensorBoard>, TrainError> {
        let folder = self.place.board();
        let wanted = self.config.tensorboard && self.is_first();
        wanted.then(|| TensorBoard::create(folder)).transpose()
    }

    /// How the training is shown.
    fn watch(&self, steps: usize) -> Box<dyn Watch> {
        if !self.is_first() {
            return Box::new(());
        }
        #[cfg(feature = "dashboard")]
        if self.args.dashboard
            && let Ok(dashboard) = super::dashboard::Dashboard::new(steps)
        {
            return Box::new(dashboard);
        }
        match std::io::IsTerminal::is_terminal(&std::io::stderr()) {
            true => Box::new(show::Bar::new(steps)),
            false => Box::new(Lines::new(steps)),
        }
    }

    /// Writes what a training made that ended well, or was interrupted.
    fn finished<M: Module>(&self, outcome: &Outcome<M>) -> Result<(), Failure> {
        if self.is_first() {
            let written = self.write(outcome);
            written.map_err(|failure| match failure {
                Failure::Work(text) => {
                    Failure::Work(format!("{text}\n{}", self.where_to_go_on(outcome)))
                }
                other => other,
            })?;
            show::outcome(outcome);
        }
        match outcome.ended {
            Ended::Cancelled => Err(Failure::Interrupted(self.where_to_go_on(outcome))),
            _ => Ok(()),
        }
    }

    /// Writes what a training made before it failed, and says where it goes on.
    fn failed<M: Module>(&self, error: TrainError, outcome: &Outcome<M>) -> Failure {
        let is_spoilt = matches!(error, TrainError::NotFinite { .. });
        let Failure::Work(text) = failure(error) else {
            return Failure::Interrupted(self.where_to_go_on(outcome));
        };
        // Whatever ended the training may hinder this too.
        let written = match is_spoilt && outcome.best.is_none() {
            // The last model is the one whose numbers are none.
            true => self.write_metrics(outcome),
            false => self.write(outcome),
        };
        let unwritten = match written {
            Ok(()) => String::new(),
            Err(Failure::Work(other)) => format!("\nwhat was trained is not written: {other}"),
            Err(_) => String::new(),
        };
        let go_on = self.where_to_go_on(outcome);
        Failure::Work(format!("{text}\n{go_on}{unwritten}"))
    }

    fn where_to_go_on<M>(&self, outcome: &Outcome<M>) -> String {
        let steps = outcome.steps;
        match &outcome.state {
            Some(state) => format!(
                "{steps} steps were made; the same command goes on from {}",
                state.display()
            ),
            None => match self.place.check_new() {
                Ok(()) => {
                    format!("{steps} steps were made, and no state was saved: it begins anew")
                }
                Err(_) => format!(
                    "{steps} steps were made, and no state was saved: to begin anew, move away what was written in {}",
                    self.place.out().display()
                ),
            },
        }
    }

    fn write_metrics<M>(&self, outcome: &Outcome<M>) -> Result<(), Failure> {
        let mut metrics = outcome.metrics.clone();
        let since = outcome.steps.saturating_sub(outcome.made);
        metrics.after_written(self.place.out(), since);
        metrics.save(self.place.out()).map_err(failure)
    }

    /// Writes the model if it is the best of some, or the last of all, and what was seen of its training.
    fn write<M: Module>(&self, outcome: &Outcome<M>) -> Result<(), Failure> {
        let trained = self.write_trained(outcome);
        // Whatever hinders the one, the other is written.
        let metrics = self.write_metrics(outcome);
        trained.and(metrics)
    }

    fn write_trained<M: Module>(&self, outcome: &Outcome<M>) -> Result<(), Failure> {
        let is_last = outcome.steps >= outcome.planned || outcome.ended == Ended::Early;
        if outcome.best.is_none() && !is_last {
            return Ok(());
        }
        let kind = self.folder.kind().map_err(Failure::work)?;
        let card = Card::new(self.config, kind, self.data.len(), outcome)?;
        if self.config.lora.is_some() {
            let adapter = self.place.adapter();
            outcome.trained.save_lora(&adapter).map_err(failure)?;
            self.write_template(&adapter)?;
            card.write(Of::Adapter, &adapter)?;
            wrote(&adapter);
            let beyond: Vec<&str> = outcome.trained.beyond_peft().collect();
            if let Some(name) = beyond.first() {
                let more = beyond.len() - 1;
                note!(
                    "      (PEFT cannot put on `{name}`{}: for PEFT, take `model`)",
                    match more {
                        0 => String::new(),
                        more => format!(" and {more} more"),
                    }
                );
            }
        }
        let model = self.place.model();
        outcome.trained.save(&model).map_err(failure)?;
        self.write_template(&model)?;
        card.write(Of::Model, &model)?;
        wrote(&model);
        Ok(())
    }

    /// Puts the template that the model, or its adapter, was trained with beside it: another would ask
    /// it what it does not know.
    fn write_template(&self, folder: &Path) -> Result<(), Failure> {
        let Some(template) = &self.config.train.template else {
            return Ok(());
        };
        let prompts = self.folder.prompts().map_err(Failure::work)?;
        let prompts = prompts.with_answer_template(Some(template.clone()));
        let text = serde_json::to_vec_pretty(&prompts).map_err(Failure::work)?;
        blip2_train::write_file(&folder.join("blip2.json"), &text).map_err(Failure::work)
    }

    /// Makes a single step that is kept nowhere, and shows what it took.
    fn tried<M: Module>(
        &self,
        trained: Trained<M>,
        optimizer: AdamW,
        loader: &Loader,
        recipe: Recipe,
        mut objective: impl Objective<M>,
    ) -> Result<(), Failure> {
        let spinner = spinner("trying a step");
        // The very way of a training, up to its first step: what that would refuse, this does.
        let recipe = recipe.with_trial(true);
        let group = self.together.training();
        let outcome = train_together(
            group,
            trained,
            optimizer,
            loader,
            &recipe,
            &mut objective,
            &mut (),
        );
        spinner.finish_and_clear();
        let outcome = outcome.map_err(|unfinished| failure(unfinished.error))?;
        show::tried(&outcome);
        Ok(())
    }

    fn processor(&self) -> Result<ImageProcessor, Failure> {
        let processor = self.folder.image_processor().map_err(Failure::work)?;
        ImageProcessor::new(processor).map_err(Failure::work)
    }

    fn loader(&self) -> Result<Loader, Failure> {
        let recipe = &self.config.recipe;
        let mut loader = Loader::new(self.data.clone(), self.processor()?)
            .batch(recipe.batch)
            .shuffled(recipe.seed)
            .augmented(recipe.augmentation)
            .on_broken(self.on_broken);
        loader = loader.workers(recipe.workers.unwrap_or(self.together.threads()));
        if let Some(examples) = recipe.questions_per_picture {
            loader = loader.by_picture(examples);
        }
        let usual = self.config.data.as_ref();
        let usual = usual.and_then(|data| data.usual_buffer());
        if let Some(examples) = recipe.shuffle_buffer.or(usual) {
            loader = loader.shuffle_buffer(examples);
        }
        Ok(loader)
    }
}

fn wrote(path: &Path) {
    note!("wrote {}", path.display());
}

/// An objective whose examples were all checked: it need not do so again.
struct Sifted<O> {
    objective: O,
    /// What is not trained is held in, where that is unusual: scores are of it too.
    precision: Option<String>,
}

impl<O> Sifted<O> {
    fn in_precision(&self, measure: Option<String>) -> Option<String> {
        match &self.precision {
            None => measure,
            Some(precision) => Some(format!("{}, in {precision}", measure?)),
        }
    }
}

impl<M, O: Objective<M>> Objective<M> for Sifted<O> {
    fn losses(&mut self, model: &M, batch: &LoadedBatch, at: At) -> Result<Losses, TrainError> {
        self.objective.losses(model, batch, at)
    }

    fn losses_together(
        &mut self,
        model: &M,
        shared: &Shared<'_>,
        at: At,
    ) -> Result<Option<Losses>, TrainError> {
        self.objective.losses_together(model, shared, at)
    }

    fn score(&mut self, model: &M, cancel: &CancelToken) -> Result<Option<Scores>, TrainError> {
        self.objective.score(model, cancel)
    }

    fn score_together(
        &mut self,
        model: &M,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<Option<Scores>, TrainError> {
        self.objective.score_together(model, cancel, group)
    }

    fn measure(&self) -> Option<String> {
        self.in_precision(self.objective.measure())
    }

    fn measure_of_the_whole(&self) -> Option<String> {
        self.in_precision(self.objective.measure_of_the_whole())
    }

    fn try_score(
        &mut self,
        model: &M,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<(), TrainError> {
        self.objective.try_score(model, cancel, group)
    }
}

/// The model, while a spinner turns.
fn loaded<M>(load: impl FnOnce() -> Result<Trained<M>, TrainError>) -> Result<Trained<M>, Failure> {
    let spinner = spinner("loading");
    let trained = load().map_err(failure);
    spinner.finish_and_clear();
    trained
}
