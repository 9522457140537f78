//! Settings that are written and change nothing.

use super::{Config, ObjectiveName, recipe::ScheduleName};

impl Config {
    /// The settings of the file that change nothing in what it asks for, a line for each with the reason.
    pub(crate) fn idle(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut tell = |key: &str, is_idle: bool, reason: &str| {
            if is_idle && self.written.contains(key) {
                told.push(format!("{key} has no effect: {reason}"));
            }
        };
        let has_steps = self.written.contains("recipe.steps");
        tell("recipe.epochs", has_steps, "`steps` says how many are made");
        let schedule = self.recipe.schedule;
        let is_constant = schedule == ScheduleName::Constant;
        let warms = schedule == ScheduleName::WarmupCosine;
        let reason = match is_constant {
            true => "the schedule is constant",
            false => "the schedule is exponential",
        };
        tell("recipe.min_lr", !warms, reason);
        tell("recipe.warmup", !warms, reason);
        let reason = "the schedule is not exponential";
        tell(
            "recipe.gamma",
            schedule != ScheduleName::Exponential,
            reason,
        );
        let reason = "there is no [validation]";
        tell("recipe.evaluate_every", self.validation.is_none(), reason);
        let reason = "without `evaluate_every` the model is evaluated at the end alone";
        tell("recipe.patience", self.recipe.evaluate_every == 0, reason);
        let Some(validation) = &self.validation else {
            return told;
        };
        let scores = [validation.score].into_iter().chain(validation.others());
        let mut written = scores.filter(|score| score.is_of_written());
        let writes_none = written.next().is_none();
        let reason = match self.train.objective {
            ObjectiveName::Answers => "the model chooses among what is given, and writes nothing",
            ObjectiveName::FirstStage => "the first stage answers nothing",
        };
        for key in ["validation.max_new_tokens", "validation.beams"] {
            tell(key, writes_none, reason);
        }
        let chooses = self.train.objective == ObjectiveName::Answers && writes_none;
        let reason = "choices are ranked one example after another";
        tell("validation.batch", chooses, reason);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(recipe: &str, validation: &str) -> Vec<String> {
        let mut text = format!("model = \"m\"\n[recipe]\n{recipe}\n");
        if !validation.is_empty() {
            text += &format!(
                "[validation]\n{validation}\n[validation.data]\nkind = \"imagefolder\"\nfolder = \"f\"\n"
            );
        }
        Config::parse(&text).unwrap().idle()
    }

    #[test]
    fn what_changes_nothing_is_told_by_its_key() {
        let keys = |told: Vec<String>| {
            let first = |line: String| line.split(' ').next().unwrap().to_string();
            told.into_iter().map(first).collect::<Vec<_>>()
        };
        let score = "score = \"exact-match\"\nbeams = 2";
        for (recipe, validation, expected) in [
            ("steps = 3\nepochs = 2.0", "", &["recipe.epochs"][..]),
            (
                "schedule = \"constant\"\nwarmup = 3",
                "",
                &["recipe.warmup"],
            ),
            ("gamma = 0.5", "", &["recipe.gamma"]),
            (
                "schedule = \"exponential\"\ngamma = 0.5\nmin_lr = 0.0",
                "",
                &["recipe.min_lr"],
            ),
            ("evaluate_every = 3", "", &["recipe.evaluate_every"]),
            ("patience = 3", score, &["recipe.patience"]),
            ("patience = 3\nevaluate_every = 3", score, &[]),
            (
                "",
                "score = \"multiple-choice\"\nbeams = 2",
                &["validation.beams"],
            ),
            (
                "",
                "score = \"multiple-choice\"\nscores = [\"vqa\"]\nbeams = 2",
                &[],
            ),
            ("batch = 3\nwarmup = 0.1", "", &[]),
        ] {
            assert_eq!(
                keys(idle(recipe, validation)),
                expected,
                "{recipe} {validation}"
            );
        }
    }
}
