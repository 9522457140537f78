//! The verification of a generation checkpoint under way.

use blip2_core::{
    Blip2Pipeline,
    model::{Blip2ForConditionalGeneration, PromptRows},
};

use crate::{
    compare::Compare,
    error::VerifyError,
    golden::{Golden, Tolerance},
    report::Report,
    rows::rows,
};

/// A verification under way.
pub(crate) struct Verifier<'v> {
    pub(crate) pipeline: &'v Blip2Pipeline,
    /// The same model in four bits, if it is to write ahead of the other.
    pub(crate) draft: Option<&'v Blip2Pipeline>,
    pub(crate) golden: &'v Golden,
    pub(crate) report: &'v mut Report,
    pub(crate) tolerance: Tolerance,
    /// How far a beam's score may be from its golden.
    pub(crate) scores: f64,
}

impl Verifier<'_> {
    pub(crate) fn model(&self) -> &Blip2ForConditionalGeneration {
        self.pipeline.model()
    }

    /// The prompts that the goldens were made with.
    pub(crate) fn rows(&self) -> Result<Option<PromptRows>, VerifyError> {
        rows(self.golden, "input_ids", "attention_mask")
    }
}

impl Compare for Verifier<'_> {
    fn golden(&self) -> &Golden {
        self.golden
    }

    fn report(&mut self) -> &mut Report {
        self.report
    }

    fn tolerance(&self) -> Tolerance {
        self.tolerance
    }
}
