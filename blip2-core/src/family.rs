//! Which members of the family a call takes.

use blip2_io::{CheckpointFolder, config::ModelKind};

use crate::error::Blip2Error;

/// What a pipeline runs.
pub(crate) const ANSWERING: [ModelKind; 3] = [
    ModelKind::Blip2,
    ModelKind::InstructBlip,
    ModelKind::InstructBlipVideo,
];

/// What a BLIP-1 may be.
pub(crate) const BLIP1: [ModelKind; 3] = [
    ModelKind::BlipAnswer,
    ModelKind::BlipCaption,
    ModelKind::BlipRetrieval,
];

/// Refuses folders of other kinds than these, whose weights would otherwise be missing one by one.
/// The first is what is named as wanted.
pub(crate) fn expect(folder: &CheckpointFolder, wanted: &[ModelKind]) -> Result<(), Blip2Error> {
    let found = folder.kind()?;
    let Some(first) = wanted.first().filter(|_| !wanted.contains(&found)) else {
        return Ok(());
    };
    Err(Blip2Error::WrongModel {
        path: folder.path().to_path_buf(),
        found,
        wanted: *first,
    })
}
