//! Prompt templates: how a question becomes the text that the language model reads.

use std::{fmt, str::FromStr};

use crate::error::Blip2Error;

/// A prompt with exactly one place, written `{}`, for the question.
///
/// ```
/// use blip2_core::Template;
///
/// let template: Template = "Question: {} Short answer:".parse()?;
/// assert_eq!(template.render("how many dogs?"), "Question: how many dogs? Short answer:");
/// assert!("no place for the question".parse::<Template>().is_err());
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    before: String,
    after: String,
}

impl Template {
    /// The template for decoder-only language models, from the BLIP-2 paper (section 4.1).
    pub const OPT: &'static str = "Question: {} Answer:";
    /// The template for Flan-T5, from the BLIP-2 paper (section 4.1).
    pub const FLAN_T5: &'static str = "Question: {} Short answer:";
    /// The template for InstructBLIP, which takes questions and instructions as they are.
    pub const INSTRUCTION: &'static str = "{}";

    /// Puts the question, without surrounding white space, in its place.
    pub fn render(&self, question: &str) -> String {
        format!("{}{}{}", self.before, question.trim(), self.after)
    }
}

impl FromStr for Template {
    type Err = Blip2Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("{}") {
            Some((before, after)) if !after.contains("{}") => Ok(Self {
                before: before.to_string(),
                after: after.to_string(),
            }),
            _ => Err(Blip2Error::Template {
                template: text.to_string(),
            }),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{}}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_exactly_one_place() {
        for good in [Template::OPT, Template::FLAN_T5, "{}", "a{}b"] {
            assert_eq!(good.parse::<Template>().unwrap().to_string(), good);
        }
        for bad in ["", "Question:", "{} {}", "{0}"] {
            let error = bad.parse::<Template>().unwrap_err().to_string();
            assert!(error.contains("`{}`"), "{error}");
        }
    }
}
