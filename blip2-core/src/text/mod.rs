//! The one room where text is handled: templates, prompts, what continues them, rows of ids with
//! their mask, padding, and the checks of special tokens.

mod answer_rows;
mod blip1;
mod blip1_rows;
mod blip2_rows;
mod checks;
mod continuations;
mod digits;
mod labeled_rows;
mod prompts;
mod rows;
mod template;
mod texts;

pub use answer_rows::AnswerRows;
pub(crate) use blip1::{BlipTexts, start_token};
pub(crate) use checks::check_candidates;
pub(crate) use digits::{DigitToken, Digits};
pub use labeled_rows::LabeledRows;
pub(crate) use prompts::{Prompt, Prompts};
pub use rows::{PaddingSide, PromptRows};
pub use template::Template;
pub use texts::TextRows;
