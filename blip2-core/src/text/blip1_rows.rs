//! Questions with their answers, and captions, as BLIP-1 is trained on them.

use blip2_io::{
    CheckpointFolder,
    config::{BlipTextConfig, ModelKind},
};
use blip2_lm::LmError;

use super::{
    PaddingSide, PromptRows, Template,
    blip1::{BlipTexts, start_token},
    checks::check_plain,
    labeled_rows::{IGNORED, LabeledRows},
};
use crate::error::Blip2Error;

/// The rows of BLIP-1. What is written begins with the token that generation begins with, as in the
/// authors' own training, and ends with the tokenizer's separator.
#[derive(Debug)]
pub(super) struct Blip1Rows {
    texts: BlipTexts,
    start: u32,
    end: u32,
    context: usize,
    answers: bool,
}

impl Blip1Rows {
    /// The rows of a checkpoint that answers or describes.
    pub(super) fn of(
        folder: &CheckpointFolder,
        kind: ModelKind,
        template: Option<&Template>,
    ) -> Result<Self, Blip2Error> {
        if template.is_some() {
            return Err(BlipTexts::no_template());
        }
        let config = folder.blip_config()?;
        let BlipTextConfig {
            bos_token_id,
            sep_token_id,
            max_position_embeddings,
            vocab_size,
            ..
        } = config.text_config;
        Ok(Self {
            texts: BlipTexts::new(&config, folder.tokenizer()?)?,
            start: start_token(bos_token_id)?,
            end: sep_token_id
                .filter(|id| (*id as usize) < vocab_size)
                .ok_or(Blip2Error::NoEndToken)?,
            context: max_position_embeddings,
            answers: kind == ModelKind::BlipAnswer,
        })
    }

    pub(super) fn mixed(&self, pairs: &[(Option<&str>, &str)]) -> Result<LabeledRows, Blip2Error> {
        let written = pairs.iter().map(|(_, text)| self.written(text));
        let written: Vec<Vec<u32>> = written.collect::<Result<_, _>>()?;
        let labels = labels(&written);
        let read = match self.answers {
            true => pairs
                .iter()
                .map(|(question, _)| self.question(*question))
                .collect::<Result<_, _>>()?,
            false => {
                let asked = pairs.iter().any(|(question, _)| question.is_some());
                if asked {
                    let reason = "this BLIP-1 describes pictures and reads no questions".into();
                    return Err(Blip2Error::Rows { reason });
                }
                written
            }
        };
        let pad = self.texts.pad_token;
        Ok(LabeledRows {
            rows: PromptRows::lay_out(&read, None, 0, pad, PaddingSide::Right)?,
            instructions: None,
            labels,
        })
    }

    fn question(&self, question: Option<&str>) -> Result<Vec<u32>, Blip2Error> {
        let question = question.ok_or_else(|| Blip2Error::Rows {
            reason: "this BLIP-1 answers questions, and there is none".into(),
        })?;
        self.texts.question(question, None)
    }

    /// What the decoder reads and writes.
    fn written(&self, text: &str) -> Result<Vec<u32>, Blip2Error> {
        check_plain(text, &self.texts.tokenizer)?;
        let inner = self.texts.continuation(text)?;
        let ids = [&[self.start], &inner[..], &[self.end]].concat();
        if ids.len() > self.context {
            return Err(LmError::ContextTooLong {
                row: 0,
                tokens: ids.len(),
                context: self.context,
            }
            .into());
        }
        Ok(ids)
    }
}

/// The decoder writes each of its tokens but the first, which the loss passes over.
fn labels(written: &[Vec<u32>]) -> Vec<Vec<i64>> {
    let longest = written.iter().map(Vec::len).max().unwrap_or(0);
    let row = |ids: &Vec<u32>| {
        let padding = std::iter::repeat_n(IGNORED, longest - ids.len());
        ids.iter().map(|&id| i64::from(id)).chain(padding).collect()
    };
    written.iter().map(row).collect()
}
