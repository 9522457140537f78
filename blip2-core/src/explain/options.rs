//! What an explanation may ask for.

use super::Method;
use crate::verbs::Options;

/// Options of a call that explains: by which method, of which text, and how that is generated if the
/// model is to write it.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// use blip2_core::explain::{ExplainOptions, Method};
///
/// // What speaks for an answer that the model did not give?
/// let options = ExplainOptions::default().with_method(Method::Occlusion).with_text("blue");
/// let blue = blip2.explain_answer(&image, "what color is the shape?", &options)?;
/// assert_eq!(blue.text, "blue");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ExplainOptions {
    pub(super) method: Method,
    pub(super) given: Given,
    pub(super) call: Options,
}

/// What is explained.
#[derive(Debug, Clone, Default)]
pub(super) enum Given {
    /// What the model writes.
    #[default]
    Written,
    Text(String),
    Tokens(Vec<u32>),
}

impl ExplainOptions {
    /// Explains by this method. Default: [`Method::Relevance`].
    #[must_use]
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Explains this text in place of what the model would write. Of a comparison it has no meaning.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.given = Given::Text(text.into());
        self
    }

    /// Explains these tokens, such as an answer's [`token_ids`](crate::Answer::token_ids), in place of
    /// what the model would write. Of a comparison they have no meaning.
    #[must_use]
    pub fn with_tokens(mut self, tokens: impl Into<Vec<u32>>) -> Self {
        self.given = Given::Tokens(tokens.into());
        self
    }

    /// Generates by these options, and stops as they say: with [`Cancelled`](crate::Blip2Error::Cancelled)
    /// or [`Deadline`](crate::Blip2Error::Deadline), since half an explanation is none.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.call = options;
        self
    }
}
