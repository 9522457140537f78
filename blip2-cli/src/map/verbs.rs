//! What is computed of each row, and the columns that it gives.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use blip2_io::tables::{Table, vector_type};

use super::asked::{Asked, Given};
use crate::{Failure, args::map::MapArgs};

/// What is computed of each row.
#[derive(Debug)]
pub(super) struct Verbs {
    /// A caption, after a prompt if there is one.
    pub(super) caption: Option<Option<Asked>>,
    pub(super) answer: bool,
    /// What is asked, by --answer or --question.
    pub(super) question: Option<Asked>,
    pub(super) rank: Option<Given>,
    pub(super) score: Option<Asked>,
    pub(super) embed: bool,
    pub(super) matched: Option<Asked>,
}

impl Verbs {
    /// As the command line says, of this table.
    pub(super) fn of(args: &MapArgs, table: &Table) -> Result<Self, Failure> {
        let asked = |option: &str, given: &Option<String>| {
            let asked = given
                .as_deref()
                .map(|given| Asked::of(option, given, table));
            asked.transpose()
        };
        let (option, question) = match &args.answer {
            Some(_) => ("--answer", &args.answer),
            None => ("--question", &args.question),
        };
        let prompt = asked("--prompt", &args.prompt)?;
        let verbs = Self {
            caption: args.caption.then_some(prompt),
            answer: args.answer.is_some(),
            question: asked(option, question)?,
            rank: args
                .rank
                .as_deref()
                .map(|given| Given::of(given, table))
                .transpose()?,
            score: asked("--score", &args.score)?,
            embed: args.embed,
            matched: asked("--match", &args.matched)?,
        };
        if verbs.rank.is_some() && verbs.question.is_none() {
            return Err(Failure::usage(
                "--rank ranks answers: give their question, by --question or --answer",
            ));
        }
        if args.question.is_some() && verbs.rank.is_none() && verbs.score.is_none() {
            return Err(Failure::usage(
                "--question is for --rank and --score; give it to --answer to have it answered",
            ));
        }
        if args.template.is_some() && verbs.question.is_none() {
            return Err(Failure::usage("--template is for questions; leave it out"));
        }
        Ok(verbs)
    }

    /// The columns that are read as texts, and whether their lists are.
    pub(super) fn columns(&self) -> Vec<(&str, bool)> {
        let prompt = self.caption.as_ref().and_then(Option::as_ref);
        let asked = [
            prompt,
            self.question.as_ref(),
            self.score.as_ref(),
            self.matched.as_ref(),
        ];
        let texts = asked.into_iter().flatten().filter_map(Asked::column);
        let lists = self.rank.as_ref().and_then(Given::column);
        let texts = texts.map(|name| (name, false));
        texts.chain(lists.map(|name| (name, true))).collect()
    }

    /// Whether a text is written or scored.
    pub(super) fn writes(&self) -> bool {
        self.caption.is_some() || self.answer || self.rank.is_some() || self.score.is_some()
    }

    /// The new columns, the error's last; `shape` is that of a vector of --embed.
    pub(super) fn fields(&self, prefix: &str, shape: &[usize]) -> Vec<Field> {
        let text = DataType::Utf8;
        let number = DataType::Float32;
        let mut fields = Vec::new();
        let mut add = |name: &str, data_type: &DataType| {
            fields.push(Field::new(
                format!("{prefix}{name}"),
                data_type.clone(),
                true,
            ));
        };
        let written = [(self.caption.is_some(), "caption"), (self.answer, "answer")];
        for (_, name) in written.into_iter().filter(|(is_asked, _)| *is_asked) {
            add(name, &text);
            add(&format!("{name}_confidence"), &number);
            add(&format!("{name}_log_prob"), &number);
            add(&format!("{name}_finish_reason"), &text);
        }
        if self.rank.is_some() {
            add("best", &text);
            add("best_share", &number);
            add("best_log_prob", &number);
            add("shares", &shares());
        }
        if self.score.is_some() {
            add("score", &number);
            add("score_confidence", &number);
        }
        if self.embed {
            add("embedding", &vector_type(shape));
        }
        if self.matched.is_some() {
            add("match_probability", &number);
            add("match_logit", &number);
            add("similarity", &number);
        }
        add("error", &text);
        fields
    }
}

/// The type of shares: one for each given answer.
fn shares() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Float32, true)))
}
