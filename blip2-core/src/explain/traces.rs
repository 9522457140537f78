//! What an explanation asks of a member.

use blip2_kernels::Keep;
use burn::tensor::Tensor;

use super::{Method, scene::Prepared, trail::Trail};
use crate::{
    error::Blip2Error,
    picture::Picture,
    text::PromptRows,
    verbs::{Compares, Writer},
};

/// A member that writes, by the steps of an explanation.
pub(crate) trait TracesText: Writer {
    /// A picture for the image encoder.
    fn prepare_picture(&self, picture: Picture<'_>) -> Result<Prepared, Blip2Error>;

    /// Refuses what would take more memory than the member may, where that is predicted.
    fn check_memory(
        &self,
        _picture: &Picture<'_>,
        _prompt: &Self::Prompt,
        _tokens: usize,
        _method: Method,
    ) -> Result<(), Blip2Error> {
        Ok(())
    }

    /// The tokens of a text that is given, as they follow a prompt.
    fn given(&self, prompt: &Self::Prompt, text: &str) -> Result<Vec<u32>, Blip2Error>;

    /// Scores the tokens after a prompt about each picture, `[batch · frames, 3, height, width]`, in
    /// one pass.
    fn trace(
        &self,
        pixels: Tensor<4>,
        prompt: &Self::Prompt,
        tokens: &[u32],
        keep: Keep,
    ) -> Result<Trail, Blip2Error>;
}

/// How a picture and a text are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Match,
    Similarity,
}

/// A member that compares, by the steps of an explanation.
pub(crate) trait TracesComparison: Compares {
    /// A picture for the image encoder.
    fn prepare_picture(&self, picture: Picture<'_>) -> Result<Prepared, Blip2Error>;

    /// Compares a text with each picture, `[batch, 3, height, width]`, in one pass.
    fn trace(
        &self,
        pixels: Tensor<4>,
        text: &PromptRows,
        comparison: Comparison,
        keep: Keep,
    ) -> Result<Trail, Blip2Error>;
}
