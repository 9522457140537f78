//! What a call may ask for beside its question.

use std::{fmt, sync::Arc};

use blip2_lm::generate::{
    CancelToken, GenerationConfig, Generator, NextTokens, Position, TokenConstraint, TokenDecoder,
};

use super::stop::{Stop, stopping};
use crate::{error::Blip2Error, text::Template};

/// Options of one call: how to generate, another template, a way to cancel, a deadline, a
/// constraint.
///
/// ```
/// use blip2_core::{GenerationConfig, Options};
///
/// let options = Options::default()
///     .with_generation(GenerationConfig::default().with_num_beams(5))
///     .with_template("Q: {} A:".parse()?);
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Options {
    pub(crate) generation: Option<GenerationConfig>,
    pub(crate) template: Option<Template>,
    pub(super) stop: Stop,
    pub(crate) constraint: Option<Arc<dyn TokenConstraint>>,
}

impl Options {
    /// Generates with these arguments in place of the pipeline's.
    ///
    /// Where they name no end tokens, the checkpoint's hold.
    #[must_use]
    pub fn with_generation(mut self, generation: GenerationConfig) -> Self {
        self.generation = Some(generation);
        self
    }

    /// The arguments of generation, if these options name any.
    pub fn generation(&self) -> Option<&GenerationConfig> {
        self.generation.as_ref()
    }

    /// Puts questions into this template in place of the pipeline's.
    #[must_use]
    pub fn with_template(mut self, template: Template) -> Self {
        self.template = Some(template);
        self
    }

    /// Lets `constraint` decide which tokens may come.
    #[must_use]
    pub fn with_constraint(mut self, constraint: impl TokenConstraint + 'static) -> Self {
        self.constraint = Some(Arc::new(constraint));
        self
    }

    /// Lets a closure decide which tokens may come; what it answers must depend on the position
    /// alone.
    ///
    /// ```
    /// use blip2_core::{Options, generate::NextTokens};
    ///
    /// // Nothing but even ids.
    /// let options = Options::default().with_constraint_fn(|at| {
    ///     NextTokens::Only((4..100).filter(|id| id % 2 == 0 && !at.generated().contains(id)).collect())
    /// });
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn with_constraint_fn(
        self,
        next_tokens: impl Fn(Position<'_>) -> NextTokens + Send + Sync + 'static,
    ) -> Self {
        self.with_constraint(Closure(next_tokens))
    }
}

stopping!(
    Options,
    "It is looked at before each stage (preparing the picture, the image encoder, the Q-Former, the \
     prompt) and before each token. What was generated so far is returned, with \
     [`FinishReason::Cancelled`](crate::FinishReason::Cancelled) or, at a deadline, \
     [`FinishReason::Deadline`](crate::FinishReason::Deadline); of a call that was stopped before its \
     first token the text is empty.",
    r#"```
# let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
# let image = blip2.open("../examples/images/red-triangle.png")?;
use std::time::Duration;

use blip2_core::{CancelToken, FinishReason, Options};

let cancel = CancelToken::new();
let options = Options::default().with_cancel(cancel.clone());
cancel.cancel(); // from any thread, at any time
let answer = blip2.answer_with(&image, "what is this?", &options)?;
assert_eq!(answer.finish_reason, FinishReason::Cancelled);

let options = Options::default().with_timeout(Duration::ZERO);
let answer = blip2.answer_with(&image, "what is this?", &options)?;
assert_eq!(answer.finish_reason, FinishReason::Deadline);
# Ok::<(), Box<dyn std::error::Error>>(())
```"#
);

/// A constraint that is a closure.
struct Closure<F>(F);

impl<F: Fn(Position<'_>) -> NextTokens + Send + Sync> TokenConstraint for Closure<F> {
    fn next_tokens(&self, at: Position<'_>, _scores: &mut [f32]) -> NextTokens {
        (self.0)(at)
    }
}

impl Options {
    /// The options of a call that begins now.
    pub(crate) fn begun(&self) -> Self {
        let stop = self.stop.shared();
        Self {
            stop,
            ..self.clone()
        }
    }

    /// What stops the call.
    pub(crate) fn cancel(&self) -> &CancelToken {
        &self.stop.cancel
    }

    /// A call's arguments: its own, with end tokens and stop strings of `usual` where they name
    /// none, or else `usual`.
    pub(crate) fn generation_over(&self, usual: &GenerationConfig) -> GenerationConfig {
        let Some(own) = &self.generation else {
            return usual.clone();
        };
        let mut config = own.clone();
        if config.eos_token_id.is_empty() {
            config.eos_token_id.clone_from(&usual.eos_token_id);
        }
        if config.stop_strings.is_empty() {
            config.stop_strings.clone_from(&usual.stop_strings);
        }
        config
    }

    /// A generator by these arguments, and by the call's constraint and token to cancel it.
    pub(crate) fn generator(
        &self,
        config: GenerationConfig,
        decoder: Arc<dyn TokenDecoder>,
    ) -> Result<Generator<'static>, Blip2Error> {
        let generator = Generator::new(config)?
            .token_decoder(decoder)
            .cancel_token(self.cancel().clone());
        Ok(match &self.constraint {
            Some(constraint) => generator.constraint(constraint.clone()),
            None => generator,
        })
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("generation", &self.generation)
            .field("template", &self.template)
            .field("timeout", &self.stop.timeout)
            .field("constraint", &self.constraint.is_some())
            .finish_non_exhaustive()
    }
}
