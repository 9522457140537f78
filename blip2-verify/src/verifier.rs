//! The verification of a generation checkpoint under way.

use blip2_core::{
    Blip2Error, Blip2Pipeline,
    model::{Blip2ForConditionalGeneration, ImageFeatures, PromptRows},
};

use crate::{
    case::Case,
    compare::Compare,
    error::VerifyError,
    generation::{Prompts, Writer},
    golden::{Golden, Tolerance},
    report::Report,
    rows::{rows, single},
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

impl<'v> Verifier<'v> {
    pub(crate) fn model(&self) -> &Blip2ForConditionalGeneration {
        self.pipeline.model()
    }

    /// The prompts that the goldens were made with.
    pub(crate) fn rows(&self) -> Result<Option<PromptRows>, VerifyError> {
        rows(self.golden, "input_ids", "attention_mask")
    }

    fn writer(&self) -> Writer<'v> {
        let pipeline = self.pipeline;
        Writer {
            language_model: pipeline.model().language_model(),
            draft: self.draft.map(|draft| draft.model().language_model()),
            config: &pipeline.config().text_config,
            tokenizer: pipeline.tokenizer(),
            decoder_start: pipeline.model().decoder_start(),
            tolerance: self.tolerance,
            scores: self.scores,
        }
    }

    /// Every recorded generation.
    pub(crate) fn generations(&mut self, features: &ImageFeatures) -> Result<(), VerifyError> {
        if let Some(rows) = self.rows()? {
            self.cases("gen", features, rows)?;
        }
        if let Some(rows) = single(self.golden)? {
            self.cases("gen_single", &features.select(&[0]), rows)?;
        }
        let Some(value) = self.golden.json("gen_no_prompt") else {
            return Ok(());
        };
        let Ok(mut case) = Case::read("gen_no_prompt", value) else {
            let reason = "the reference failed too";
            self.report.skip("gen_no_prompt", reason);
            return Ok(());
        };
        case.kwargs.insert("max_new_tokens".into(), 8.into());
        let rows = self.pipeline.prompt_rows(&vec![""; features.len()]);
        let prompts = rows.and_then(|rows| self.prompts(features, rows));
        if let Some(prompts) = self.run("gen_no_prompt", prompts) {
            let outcome = self.writer().replay(&case, &prompts);
            self.report.push("gen_no_prompt", outcome);
        }
        Ok(())
    }

    fn cases(
        &mut self,
        group: &str,
        features: &ImageFeatures,
        rows: PromptRows,
    ) -> Result<(), VerifyError> {
        let prompts = self.prompts(features, rows);
        let Some(prompts) = self.run(group, prompts) else {
            return Ok(());
        };
        let (writer, golden) = (self.writer(), self.golden);
        writer.cases(golden, self.report, group, &prompts)
    }

    fn prompts(&self, features: &ImageFeatures, rows: PromptRows) -> Result<Prompts, Blip2Error> {
        let (embeds, mask) = self.model().inputs_embeds(features, &rows)?;
        let ids = rows.ids().to_vec();
        Ok(Prompts { ids, embeds, mask })
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
