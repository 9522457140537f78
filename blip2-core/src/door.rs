//! Which door each member of the family has.

use blip2_io::config::ModelKind;

/// What opens a folder of this kind: the name of a type of this crate, or of another of the
/// workspace.
///
/// ```
/// use blip2_core::{CheckpointFolder, opened_with};
///
/// let folder = CheckpointFolder::open("../blip2-cli/demo")?;
/// assert_eq!(opened_with(folder.kind()?), "Blip2Pipeline");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn opened_with(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Blip2 | ModelKind::InstructBlip | ModelKind::InstructBlipVideo => {
            "Blip2Pipeline"
        }
        ModelKind::Blip2Retrieval => "Blip2Retrieval",
        ModelKind::Blip2Text => "TextEmbedder",
        ModelKind::Blip2Vision => "ImageEmbedder",
        ModelKind::ClipVision => "blip2_vision::ClipVisionModel",
        ModelKind::ClipVisionProjected => "blip2_vision::ClipVisionModelWithProjection",
        ModelKind::BlipCaption => "BlipCaptioner",
        ModelKind::BlipAnswer => "BlipAnswerer",
        ModelKind::BlipRetrieval => "BlipRetrieval",
        ModelKind::GraniteSpeech => "SpeechPipeline",
        kind if kind.is_language_model() => "blip2_lm::LanguageModel",
        _ => "nothing in this version",
    }
}
