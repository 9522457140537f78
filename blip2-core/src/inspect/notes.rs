//! What is odd about a folder and stands in nobody's way.

use blip2_io::{CheckpointFolder, config::ModelKind};

use crate::family::ANSWERING;

/// Special tokens that no vocabulary has.
pub(super) fn of(folder: &CheckpointFolder, kind: ModelKind) -> Vec<String> {
    let mut notes = Vec::new();
    if kind == ModelKind::GraniteSpeech {
        notes.extend(super::speech::note());
    }
    let Some((beyond, vocabulary)) = special_tokens(folder, kind) else {
        return notes;
    };
    let note = |(key, id)| {
        format!(
            "text_config.{key} = {id} is not below vocab_size = {vocabulary}: there is no such token, and \
             the model is run as if it had none"
        )
    };
    notes.extend(beyond.into_iter().map(note));
    notes
}

/// Those that are beyond the vocabulary, by their keys, and how large that is; `None` of a model that
/// writes nothing.
fn special_tokens(
    folder: &CheckpointFolder,
    kind: ModelKind,
) -> Option<(Vec<(&'static str, u32)>, usize)> {
    if kind.is_language_model() || kind == ModelKind::GraniteSpeech {
        let text = folder.text_config().ok()?;
        return Some((text.ids_beyond_vocabulary(), text.vocab_size()));
    }
    if matches!(kind, ModelKind::BlipCaption | ModelKind::BlipAnswer) {
        let text = folder.blip_config().ok()?.text_config;
        let end = text.sep_token_id.map(|id| ("sep_token_id", id));
        let beyond = end.filter(|(_, id)| *id as usize >= text.vocab_size);
        return Some((beyond.into_iter().collect(), text.vocab_size));
    }
    if !ANSWERING.contains(&kind) {
        return None;
    }
    let text = folder.config().ok()?.text_config;
    Some((text.ids_beyond_vocabulary(), text.vocab_size()))
}
