//! Models that write, and the pipelines that they write in.

use blip2_core::{
    Answer, Blip2Error, Blip2Pipeline, BlipAnswerer, BlipCaptioner, CheckpointFolder, Options,
    Picture, RankOptions, Ranked, Template,
    model::{
        Blip2ForConditionalGeneration, BlipForConditionalGeneration, BlipForQuestionAnswering,
    },
};
use burn::{module::Module, tensor::Tensor};

use crate::{
    error::TrainError,
    objective::{Batch, blip1_answer_loss, blip1_caption_loss, language_model_loss},
    trained::device_of,
};

/// A model that [`Answering`](crate::Answering) trains and evaluates.
pub trait Writes: Module + Clone {
    /// What it writes in.
    type Pipeline: Responds;

    /// The loss on what is to be written; see [`objective`](crate::objective).
    ///
    /// # Errors
    ///
    /// As the objective of the model.
    fn loss(&self, batch: &Batch, smoothing: f64) -> Result<Tensor<1>, TrainError>;

    /// The model with all that the folder says of texts and pictures.
    ///
    /// # Errors
    ///
    /// As the pipeline's builder.
    fn pipeline(
        self,
        folder: &CheckpointFolder,
        template: Option<&Template>,
    ) -> Result<Self::Pipeline, Blip2Error>;
}

/// What answers questions about pictures, or describes them.
pub trait Responds {
    /// An answer to each question.
    ///
    /// # Errors
    ///
    /// As the pipeline's own, and for one that reads no questions.
    fn respond(
        &self,
        asked: &[(Picture<'_>, &str)],
        options: &Options,
    ) -> Result<Vec<Answer>, TrainError>;

    /// A description of each picture.
    ///
    /// # Errors
    ///
    /// As the pipeline's own, and for one that answers questions alone.
    fn describe(
        &self,
        pictures: &[Picture<'_>],
        options: &Options,
    ) -> Result<Vec<Answer>, TrainError>;

    /// The given answers to a question, the likeliest first.
    ///
    /// # Errors
    ///
    /// As the pipeline's own, and for one that reads no questions.
    fn choose(
        &self,
        picture: Picture<'_>,
        question: &str,
        choices: &[String],
        options: &RankOptions,
    ) -> Result<Vec<Ranked>, TrainError>;
}

impl Writes for Blip2ForConditionalGeneration {
    type Pipeline = Blip2Pipeline;

    fn loss(&self, batch: &Batch, smoothing: f64) -> Result<Tensor<1>, TrainError> {
        language_model_loss(self, batch, smoothing)
    }

    fn pipeline(
        self,
        folder: &CheckpointFolder,
        template: Option<&Template>,
    ) -> Result<Blip2Pipeline, Blip2Error> {
        let builder = Blip2Pipeline::builder_from(folder.clone()).device(device_of(&self));
        let builder = match template {
            Some(template) => builder.template(template.clone()),
            None => builder,
        };
        builder.model(self).load()
    }
}

impl Writes for BlipForQuestionAnswering {
    type Pipeline = BlipAnswerer;

    fn loss(&self, batch: &Batch, smoothing: f64) -> Result<Tensor<1>, TrainError> {
        blip1_answer_loss(self, batch, smoothing)
    }

    fn pipeline(
        self,
        folder: &CheckpointFolder,
        _: Option<&Template>,
    ) -> Result<BlipAnswerer, Blip2Error> {
        let builder = BlipAnswerer::builder_from(folder.clone());
        builder.device(device_of(&self)).model(self).load()
    }
}

impl Writes for BlipForConditionalGeneration {
    type Pipeline = BlipCaptioner;

    fn loss(&self, batch: &Batch, smoothing: f64) -> Result<Tensor<1>, TrainError> {
        blip1_caption_loss(self, batch, smoothing)
    }

    fn pipeline(
        self,
        folder: &CheckpointFolder,
        _: Option<&Template>,
    ) -> Result<BlipCaptioner, Blip2Error> {
        let builder = BlipCaptioner::builder_from(folder.clone());
        builder.device(device_of(&self)).model(self).load()
    }
}

impl Responds for Blip2Pipeline {
    fn respond(
        &self,
        asked: &[(Picture<'_>, &str)],
        options: &Options,
    ) -> Result<Vec<Answer>, TrainError> {
        Ok(self.answer_batch(asked.iter().copied(), options)?)
    }

    fn describe(
        &self,
        pictures: &[Picture<'_>],
        options: &Options,
    ) -> Result<Vec<Answer>, TrainError> {
        Ok(self.caption_batch(pictures.iter().copied(), options)?)
    }

    fn choose(
        &self,
        picture: Picture<'_>,
        question: &str,
        choices: &[String],
        options: &RankOptions,
    ) -> Result<Vec<Ranked>, TrainError> {
        Ok(self.rank_with(picture, question, choices, options)?)
    }
}

impl Responds for BlipAnswerer {
    fn respond(
        &self,
        asked: &[(Picture<'_>, &str)],
        options: &Options,
    ) -> Result<Vec<Answer>, TrainError> {
        Ok(self.answer_batch(asked.iter().copied(), options)?)
    }

    fn describe(&self, _: &[Picture<'_>], _: &Options) -> Result<Vec<Answer>, TrainError> {
        let reason = "this BLIP-1 answers questions, and there is none".into();
        Err(TrainError::Batch { reason })
    }

    fn choose(
        &self,
        picture: Picture<'_>,
        question: &str,
        choices: &[String],
        options: &RankOptions,
    ) -> Result<Vec<Ranked>, TrainError> {
        Ok(self.rank_with(picture, question, choices, options)?)
    }
}

/// Why a captioner answers nothing.
const READS_NONE: &str = "this BLIP-1 describes pictures and reads no questions";

impl Responds for BlipCaptioner {
    fn respond(&self, _: &[(Picture<'_>, &str)], _: &Options) -> Result<Vec<Answer>, TrainError> {
        let reason = READS_NONE.into();
        Err(TrainError::Batch { reason })
    }

    fn choose(
        &self,
        _: Picture<'_>,
        _: &str,
        _: &[String],
        _: &RankOptions,
    ) -> Result<Vec<Ranked>, TrainError> {
        let reason = READS_NONE.into();
        Err(TrainError::Batch { reason })
    }

    fn describe(
        &self,
        pictures: &[Picture<'_>],
        options: &Options,
    ) -> Result<Vec<Answer>, TrainError> {
        Ok(self.caption_batch(pictures.iter().copied(), options)?)
    }
}
