//! The prompts that a checkpoint folder brings.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `blip2.json`: the prompts of a fine-tuned model, beside its weights. Every key may be left out;
/// an unknown key is an error.
///
/// ```
/// use blip2_io::config::PromptConfig;
///
/// let prompts: PromptConfig = serde_json::from_str(r#"{ "answer_template": "Q: {} A:" }"#)?;
/// prompts.validate()?;
/// assert!(serde_json::from_str::<PromptConfig>(r#"{ "anwser_template": "Q: {}" }"#).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PromptConfig {
    /// What a question is put into, with `{}` for the question. Default: the language model's.
    pub answer_template: Option<String>,
    /// What a caption continues. Default: nothing.
    pub caption_prompt: Option<String>,
    /// Texts that end an answer, beside the end token. Default none.
    pub stop: Vec<String>,
}

setters! { PromptConfig {
    with_answer_template(answer_template: Option<String>),
    with_caption_prompt(caption_prompt: Option<String>),
    with_stop(stop: Vec<String>),
} }

impl PromptConfig {
    /// Checks that the template has exactly one place for the question.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if let Some(template) = &self.answer_template
            && template.matches("{}").count() != 1
        {
            let reason = "must contain {} exactly once, where the question goes".into();
            return Err(ConfigError::value(
                "blip2.json",
                "answer_template",
                template,
                reason,
            ));
        }
        if self.stop.iter().any(String::is_empty) {
            let reason = "an empty text would end every answer".into();
            return Err(ConfigError::value("blip2.json", "stop", "\"\"", reason));
        }
        Ok(())
    }
}
