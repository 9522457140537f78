//! Questions with their answers, as a model is trained on them.

use blip2_io::{CheckpointFolder, config::ModelKind};

use super::{Template, blip1_rows::Blip1Rows, blip2_rows::Blip2Rows, labeled_rows::LabeledRows};
use crate::error::Blip2Error;

/// Lays questions and answers, or captions, out as a checkpoint is trained on them: in the prompts and
/// with the end token that its pipeline will use.
///
/// BLIP-1 that answers has no captions, and one that describes has no questions.
///
/// ```
/// use blip2_core::{AnswerRows, CheckpointFolder};
///
/// let folder = CheckpointFolder::open("../blip2-cli/demo")?;
/// let rows = AnswerRows::of(&folder, None)?;
/// let batch = rows.questions(&[("what is it?", "a dog"), ("how many?", "2")])?;
/// assert_eq!(batch.rows.len(), 2);
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Debug)]
pub struct AnswerRows(Member);

#[derive(Debug)]
enum Member {
    Blip1(Box<Blip1Rows>),
    Blip2(Box<Blip2Rows>),
}

impl AnswerRows {
    /// The rows of a checkpoint, with its own template or another.
    ///
    /// # Errors
    ///
    /// If the folder's configuration or tokenizer cannot be read, or names no end token, and for a
    /// template where questions are read as they are (BLIP-1).
    pub fn of(folder: &CheckpointFolder, template: Option<Template>) -> Result<Self, Blip2Error> {
        Ok(Self(match folder.kind()? {
            kind @ (ModelKind::BlipAnswer | ModelKind::BlipCaption) => {
                Member::Blip1(Box::new(Blip1Rows::of(folder, kind, template.as_ref())?))
            }
            _ => Member::Blip2(Box::new(Blip2Rows::of(folder, template)?)),
        }))
    }

    /// Questions, each with its answer.
    ///
    /// # Errors
    ///
    /// For an empty question, for special tokens in a text, for texts that are longer than the
    /// model's context, and if the model reads no questions.
    pub fn questions(&self, pairs: &[(&str, &str)]) -> Result<LabeledRows, Blip2Error> {
        let pairs = pairs
            .iter()
            .map(|(question, answer)| (Some(*question), *answer));
        self.mixed(&pairs.collect::<Vec<_>>())
    }

    /// Captions after the checkpoint's caption prompt.
    ///
    /// # Errors
    ///
    /// As [`questions`](Self::questions), and if the model describes nothing.
    pub fn captions(&self, captions: &[&str]) -> Result<LabeledRows, Blip2Error> {
        let pairs = captions.iter().map(|caption| (None, *caption));
        self.mixed(&pairs.collect::<Vec<_>>())
    }

    /// Questions with their answers, and captions, which have no question.
    ///
    /// # Errors
    ///
    /// As [`questions`](Self::questions) and [`captions`](Self::captions).
    pub fn mixed(&self, pairs: &[(Option<&str>, &str)]) -> Result<LabeledRows, Blip2Error> {
        match &self.0 {
            Member::Blip1(rows) => rows.mixed(pairs),
            Member::Blip2(rows) => rows.mixed(pairs),
        }
    }
}
