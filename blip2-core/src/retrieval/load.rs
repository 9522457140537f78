//! How the models of retrieval are loaded.

use blip2_io::{
    CheckpointFolder,
    config::{Blip2Config, ModelKind},
};
use blip2_kernels::Weights;

use super::{Blip2Retrieval, ImageEmbedder, TextEmbedder};
use crate::{
    error::Blip2Error,
    load::{IGNORABLE_BESIDE_RETRIEVAL, Load, Opened, Pictures, Settings, Takes},
    model::{
        Blip2ForImageTextRetrieval, Blip2TextModelWithProjection, Blip2VisionModelWithProjection,
    },
    precision::PrecisionPlan,
    text::TextRows,
};

const PICTURES_ALONE: Takes = Takes {
    template: false,
    generation: false,
    pictures: true,
    image_size: false,
    memory_limit: false,
    speculative: false,
    vision_precision: true,
    text_precision: false,
};

const TEXTS_ALONE: Takes = Takes {
    pictures: false,
    vision_precision: false,
    ..PICTURES_ALONE
};

impl Load for Blip2Retrieval {
    type Config = Blip2Config;
    type Model = Blip2ForImageTextRetrieval;
    type Texts = TextRows;
    type Pictures = Pictures;
    type Memory = ();

    const NAME: &'static str = "Blip2Retrieval";
    const KINDS: &'static [ModelKind] = &[ModelKind::Blip2Retrieval];
    const TAKES: Takes = PICTURES_ALONE;
    const IGNORABLE: Option<&'static [&'static str]> = Some(&IGNORABLE_BESIDE_RETRIEVAL);

    fn build_model(
        config: &Blip2Config,
        weights: &Weights<'_>,
        precision: PrecisionPlan,
    ) -> Result<Self::Model, Blip2Error> {
        Self::Model::build(config, &weights.with_precision(precision.vision))
    }

    fn read_texts(
        folder: &CheckpointFolder,
        config: &Blip2Config,
        _: &Settings,
    ) -> Result<TextRows, Blip2Error> {
        TextRows::new(config, folder.tokenizer()?)
    }

    fn read_pictures(
        folder: &CheckpointFolder,
        _: &Blip2Config,
        settings: &Settings,
    ) -> Result<Pictures, Blip2Error> {
        Pictures::of(folder, settings, 1)
    }

    fn memory(
        _: &Opened<Blip2Config>,
        _: &Settings,
        _: &Pictures,
        _: bool,
    ) -> Result<(), Blip2Error> {
        Ok(())
    }
}

impl Load for ImageEmbedder {
    type Config = Blip2Config;
    type Model = Blip2VisionModelWithProjection;
    type Texts = ();
    type Pictures = Pictures;
    type Memory = ();

    const NAME: &'static str = "ImageEmbedder";
    const KINDS: &'static [ModelKind] = &[ModelKind::Blip2Vision, ModelKind::Blip2Retrieval];
    const TAKES: Takes = PICTURES_ALONE;
    const IGNORABLE: Option<&'static [&'static str]> = None;

    fn build_model(
        config: &Blip2Config,
        weights: &Weights<'_>,
        precision: PrecisionPlan,
    ) -> Result<Self::Model, Blip2Error> {
        Self::Model::build(config, &weights.with_precision(precision.vision))
    }

    fn read_texts(_: &CheckpointFolder, _: &Blip2Config, _: &Settings) -> Result<(), Blip2Error> {
        Ok(())
    }

    fn read_pictures(
        folder: &CheckpointFolder,
        _: &Blip2Config,
        settings: &Settings,
    ) -> Result<Pictures, Blip2Error> {
        Pictures::of(folder, settings, 1)
    }

    fn memory(
        _: &Opened<Blip2Config>,
        _: &Settings,
        _: &Pictures,
        _: bool,
    ) -> Result<(), Blip2Error> {
        Ok(())
    }
}

impl Load for TextEmbedder {
    type Config = Blip2Config;
    type Model = Blip2TextModelWithProjection;
    type Texts = TextRows;
    type Pictures = ();
    type Memory = ();

    const NAME: &'static str = "TextEmbedder";
    const KINDS: &'static [ModelKind] = &[ModelKind::Blip2Text, ModelKind::Blip2Retrieval];
    const TAKES: Takes = TEXTS_ALONE;
    const IGNORABLE: Option<&'static [&'static str]> = None;

    fn build_model(
        config: &Blip2Config,
        weights: &Weights<'_>,
        _: PrecisionPlan,
    ) -> Result<Self::Model, Blip2Error> {
        Self::Model::build(config, weights)
    }

    fn read_texts(
        folder: &CheckpointFolder,
        config: &Blip2Config,
        _: &Settings,
    ) -> Result<TextRows, Blip2Error> {
        TextRows::new(config, folder.tokenizer()?)
    }

    fn read_pictures(
        _: &CheckpointFolder,
        _: &Blip2Config,
        _: &Settings,
    ) -> Result<(), Blip2Error> {
        Ok(())
    }

    fn memory(_: &Opened<Blip2Config>, _: &Settings, _: &(), _: bool) -> Result<(), Blip2Error> {
        Ok(())
    }
}
