//! What stands between a folder and an answer beside its weights.

use blip2_io::{
    CheckpointFolder,
    config::{Ability, ModelKind},
    preprocessing::{ImageProcessor, Size},
};

use crate::{
    blip1::{BlipAnswerer, BlipCaptioner, BlipRetrieval},
    error::Blip2Error,
    load::{FolderConfig, Load, Settings},
    pipeline::Blip2Pipeline,
    retrieval::Blip2Retrieval,
};

/// Everything that a load of the folder's model would refuse, but for its weights.
pub(super) fn of(folder: &CheckpointFolder, kind: ModelKind) -> Vec<String> {
    let mut obstacles = Vec::new();
    let mut note = |result: Result<(), Blip2Error>| {
        if let Err(error) = result {
            obstacles.push(error.to_string());
        }
        obstacles.len()
    };
    let none = [ModelKind::ClipVision, ModelKind::ClipVisionProjected];
    if none.contains(&kind) || kind.is_language_model() {
        return obstacles;
    }
    if kind != ModelKind::Blip2Vision {
        let mut found = note(folder.tokenizer().map(drop).map_err(Into::into));
        if reads_twice(kind) {
            found = note(folder.qformer_tokenizer().map(drop).map_err(Into::into));
        }
        if found == 0 {
            note(texts(folder, kind));
        }
    }
    if kind == ModelKind::GraniteSpeech {
        #[cfg(feature = "speech")]
        note(sounds(folder));
    } else if kind != ModelKind::Blip2Text {
        note(pictures(folder, kind));
    }
    obstacles
}

/// Whether a Q-Former reads the question by a tokenizer of its own.
fn reads_twice(kind: ModelKind) -> bool {
    matches!(kind, ModelKind::InstructBlip | ModelKind::InstructBlipVideo)
}

/// Whether tokenizers and templates fit the model.
fn texts(folder: &CheckpointFolder, kind: ModelKind) -> Result<(), Blip2Error> {
    fn read<P: Load>(folder: &CheckpointFolder) -> Result<(), Blip2Error> {
        let config = <P::Config as FolderConfig>::read(folder)?;
        P::read_texts(folder, &config, &Settings::default()).map(drop)
    }
    match kind {
        ModelKind::Blip2Retrieval | ModelKind::Blip2Text => read::<Blip2Retrieval>(folder),
        ModelKind::BlipCaption => read::<BlipCaptioner>(folder),
        ModelKind::BlipAnswer => read::<BlipAnswerer>(folder),
        ModelKind::BlipRetrieval => read::<BlipRetrieval>(folder),
        #[cfg(feature = "speech")]
        ModelKind::GraniteSpeech => read::<crate::speech::SpeechPipeline>(folder),
        #[cfg(not(feature = "speech"))]
        ModelKind::GraniteSpeech => Ok(()),
        _ => read::<Blip2Pipeline>(folder),
    }
}

/// Whether sound is prepared as the encoder reads it, and the adapter is there that makes the language
/// model understand it.
#[cfg(feature = "speech")]
fn sounds(folder: &CheckpointFolder) -> Result<(), Blip2Error> {
    use crate::speech::SpeechPipeline;

    let config = folder.speech_config()?;
    SpeechPipeline::read_pictures(folder, &config, &Settings::default())?;
    SpeechPipeline::own_adapter(folder, &config).map(drop)
}

/// Whether pictures are prepared as the image encoder sees them.
fn pictures(folder: &CheckpointFolder, kind: ModelKind) -> Result<(), Blip2Error> {
    let processor = ImageProcessor::new(folder.image_processor()?)?;
    let blip1 = kind.can(Ability::Describe)
        || kind.can(Ability::AnswerQuestion)
        || kind == ModelKind::BlipRetrieval;
    let trained = match blip1 {
        true => folder.blip_config()?.vision_config.image_size,
        false => folder.config()?.vision_config.image_size,
    };
    let found = processor.config().output_size();
    match found {
        Some(Size { height, width }) if [height, width].map(|n| n as usize) == [trained; 2] => {
            Ok(())
        }
        found => Err(Blip2Error::PictureSize { found, trained }),
    }
}
