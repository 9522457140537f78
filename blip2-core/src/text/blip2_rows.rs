//! Questions with their answers, as BLIP-2 and InstructBLIP are trained on them.

use blip2_io::{CheckpointFolder, config::TextConfig};
use blip2_lm::{GenerationConfig, LmError};

use super::{
    PaddingSide, PromptRows, Template,
    labeled_rows::{IGNORED, LabeledRows},
    prompts::Prompts,
};
use crate::error::Blip2Error;

/// The rows of BLIP-2 and InstructBLIP.
#[derive(Debug)]
pub(super) struct Blip2Rows {
    prompts: Prompts,
    end: u32,
    form: Form,
    /// How many positions a row may have; `None` for any number.
    context: Option<usize>,
    /// The positions that a picture has where it has none among the tokens.
    added: usize,
}

/// Where answers stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// After the prompt, with a space that is a token's part (OPT).
    Spaced,
    /// After the prompt; the tokenizer puts the space (LLaMA).
    After,
    /// In the decoder's rows (T5).
    Decoder,
}

impl Blip2Rows {
    /// The rows of a checkpoint, with its own template or another.
    pub(super) fn of(
        folder: &CheckpointFolder,
        template: Option<Template>,
    ) -> Result<Self, Blip2Error> {
        let config = folder.config()?;
        let reader = match config.model_type.reads_instructions() {
            true => Some(folder.qformer_tokenizer()?),
            false => None,
        };
        let tokenizer = folder.tokenizer()?;
        let generation: GenerationConfig = folder.generation_config()?.unwrap_or_default();
        let ends = [
            &generation.eos_token_id[..],
            config.text_config.eos_token_ids(),
        ];
        let vocabulary = config.text_config.vocab_size();
        let mut ends = ends.into_iter().flatten().copied();
        let end = ends.find(|id| (*id as usize) < vocabulary);
        let end = end
            .or(tokenizer.eos_token_id())
            .ok_or(Blip2Error::NoEndToken)?;
        let form = match &config.text_config {
            TextConfig::T5(_) => Form::Decoder,
            TextConfig::Llama(_) => Form::After,
            _ => Form::Spaced,
        };
        let context = config.text_config.context();
        let added = match config.image_token_index {
            Some(_) => 0,
            None => config.num_query_tokens,
        };
        let prompts = Prompts::new(&config, tokenizer, reader, folder.prompts()?, template)?;
        Ok(Self {
            prompts,
            end,
            form,
            context,
            added,
        })
    }

    /// Questions with their answers, and captions, which have no question.
    pub(super) fn mixed(&self, pairs: &[(Option<&str>, &str)]) -> Result<LabeledRows, Blip2Error> {
        let prompts: Vec<String> = pairs
            .iter()
            .map(|(question, _)| match question {
                Some(question) => self.prompts.rendered(question, None),
                None => Ok(self.prompts.caption_prompt().to_string()),
            })
            .collect::<Result<_, _>>()?;
        let pairs = prompts.iter().zip(pairs);
        let pairs: Vec<_> = pairs
            .map(|(prompt, (_, answer))| (prompt.as_str(), *answer))
            .collect();
        self.continuations(&pairs)
    }

    /// Raw prompts, each with what is to be written after it.
    fn continuations(&self, pairs: &[(&str, &str)]) -> Result<LabeledRows, Blip2Error> {
        let mut answers = Vec::new();
        for (_, answer) in pairs {
            answers.push(self.answer(answer.trim())?);
        }
        let prompts: Vec<_> = pairs
            .iter()
            .map(|(prompt, _)| self.prompts.raw(prompt))
            .collect::<Result<_, _>>()?;
        let instructions = self.prompts.instructions(&prompts)?;
        if self.form == Form::Decoder {
            let longest = answers.iter().map(Vec::len).max().unwrap_or(0);
            let labels = answers.iter().map(|answer| {
                let padding = std::iter::repeat_n(IGNORED, longest - answer.len());
                answer
                    .iter()
                    .map(|&id| i64::from(id))
                    .chain(padding)
                    .collect()
            });
            let rows = self.prompts.lay_out(&prompts)?;
            return Ok(LabeledRows {
                labels: labels.collect(),
                rows,
                instructions,
            });
        }
        let whole: Vec<_> = prompts
            .into_iter()
            .zip(&answers)
            .map(|(prompt, answer)| prompt.followed_by(answer))
            .collect();
        // No position attends to what follows it, so padding there changes nothing, as in LAVIS; before the
        // text it would move LLaMA's positions away from the picture's.
        let rows = self.prompts.padded(&whole, PaddingSide::Right)?;
        self.check_context(&rows)?;
        let labels = rows.mask().iter().zip(&answers).map(|(mask, answer)| {
            let end = mask.iter().filter(|counts| **counts).count();
            let before = std::iter::repeat_n(IGNORED, end - answer.len());
            let after = std::iter::repeat_n(IGNORED, mask.len() - end);
            let answer = answer.iter().map(|&id| i64::from(id));
            before.chain(answer).chain(after).collect()
        });
        Ok(LabeledRows {
            labels: labels.collect(),
            instructions,
            rows,
        })
    }

    /// Refuses rows that are longer than the context.
    fn check_context(&self, rows: &PromptRows) -> Result<(), Blip2Error> {
        let Some(context) = self.context else {
            return Ok(());
        };
        let counted = rows
            .mask()
            .iter()
            .map(|mask| mask.iter().filter(|counts| **counts).count());
        let mut lengths = counted.map(|count| count + self.added).enumerate();
        match lengths.find(|(_, tokens)| *tokens > context) {
            Some((row, tokens)) => Err(LmError::ContextTooLong {
                row,
                tokens,
                context,
            }
            .into()),
            None => Ok(()),
        }
    }

    /// An answer's tokens followed by the end token.
    fn answer(&self, answer: &str) -> Result<Vec<u32>, Blip2Error> {
        let tokenizer = &self.prompts.tokenizer;
        if let Some(token) = tokenizer.special_token_in(answer) {
            return Err(Blip2Error::SpecialTokenInText { token });
        }
        let spaced = match self.form {
            Form::Spaced if !answer.is_empty() => format!(" {answer}"),
            _ => answer.to_string(),
        };
        let mut ids = tokenizer.encode_with(&spaced, false)?;
        ids.push(self.end);
        Ok(ids)
    }
}
