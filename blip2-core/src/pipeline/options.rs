//! What a call may ask for beside its question.

use std::{fmt, sync::Arc};

use blip2_lm::generate::{CancelToken, GenerationConfig, Generator, TokenConstraint, TokenDecoder};

use super::Template;
use crate::Blip2Error;

/// Options of one call: how to generate, another template, a way to cancel, a constraint.
///
/// ```
/// use blip2_core::{GenerationConfig, Options};
///
/// let options = Options::default()
///     .generation(GenerationConfig { num_beams: 5, ..Default::default() })
///     .template("Q: {} A:".parse()?);
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Options {
    pub(crate) generation: Option<GenerationConfig>,
    pub(crate) template: Option<Template>,
    pub(crate) cancel: CancelToken,
    pub(crate) constraint: Option<Arc<dyn TokenConstraint>>,
}

impl Options {
    /// Generates with these arguments in place of the pipeline's.
    ///
    /// Where they name no end tokens, the checkpoint's hold.
    #[must_use]
    pub fn generation(mut self, generation: GenerationConfig) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Puts questions into this template in place of the pipeline's.
    #[must_use]
    pub fn template(mut self, template: Template) -> Self {
        self.template = Some(template);
        self
    }

    /// Stops when `cancel`, or a clone of it, is cancelled; what was generated so far is returned.
    #[must_use]
    pub fn cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Lets `constraint` decide which tokens may come.
    #[must_use]
    pub fn constraint(mut self, constraint: impl TokenConstraint + 'static) -> Self {
        self.constraint = Some(Arc::new(constraint));
        self
    }
}

impl Options {
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
    pub(crate) fn generator<'d>(
        &self,
        config: GenerationConfig,
        decoder: &'d dyn TokenDecoder,
    ) -> Result<Generator<'d>, Blip2Error> {
        let generator = Generator::new(config)?
            .token_decoder(decoder)
            .cancel_token(self.cancel.clone());
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
            .field("constraint", &self.constraint.is_some())
            .finish_non_exhaustive()
    }
}
