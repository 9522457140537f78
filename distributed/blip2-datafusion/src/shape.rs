//! The shape of a picture's embedding, as the configuration alone tells it.

use blip2_core::{
    Blip2Error, CheckpointFolder, ModelKind,
    config::{Blip2Config, BlipConfig},
};

/// Of BLIP-2: where it is one of retrieval a vector for each query, in the space that pictures share with
/// texts, and otherwise the image encoder's pooled output.
pub(crate) fn of_blip2(config: &Blip2Config, retrieval: bool) -> Vec<usize> {
    match retrieval {
        true => vec![config.num_query_tokens, config.image_text_hidden_size],
        false => vec![config.vision_config.hidden_size],
    }
}

/// Of BLIP-1, likewise; a picture has one vector.
pub(crate) fn of_blip1(config: &BlipConfig, retrieval: bool) -> Vec<usize> {
    match retrieval {
        true => vec![config.image_text_hidden_size],
        false => vec![config.vision_config.hidden_size],
    }
}

/// Of a folder's model.
pub(crate) fn of_folder(
    folder: &CheckpointFolder,
    kind: ModelKind,
) -> Result<Vec<usize>, Blip2Error> {
    Ok(match kind {
        ModelKind::BlipRetrieval => of_blip1(&folder.blip_config()?, true),
        ModelKind::BlipCaption | ModelKind::BlipAnswer => of_blip1(&folder.blip_config()?, false),
        kind => of_blip2(&folder.config()?, kind == ModelKind::Blip2Retrieval),
    })
}
