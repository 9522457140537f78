//! Packing a checkpoint into one file.

use std::path::Path;

use blip2_io::{CheckpointFolder, IoError, check_apart, checkpoint::WeightPlan, config::ModelKind};
use blip2_kernels::Weights;

use crate::{
    blip1::{BlipAnswerer, BlipCaptioner, BlipRetrieval},
    device::default_device,
    error::Blip2Error,
    family,
    load::{FolderConfig, Load, Settings},
    pipeline::Blip2Pipeline,
    precision::PrecisionPlan,
    retrieval::{Blip2Retrieval, ImageEmbedder, TextEmbedder},
};

/// Writes the checkpoint in `folder` to one file at `path`, its matrices in `precision` and laid out
/// as the CPU kernels read them, with its configuration, tokenizer and preprocessing inside, and of a Granite
/// Speech the adapter beside it. Returns the file's size in bytes.
///
/// The file is opened like a folder, such as by [`Blip2Pipeline::from_pretrained`]; any [`Member`] of the
/// family can be packed. It is mapped and computed
/// with as it is: it opens at once, in no memory beside its own pages, which processes share.
/// Packing holds one tensor in memory at a time.
///
/// ```no_run
/// use blip2_core::{Blip2Pipeline, Precision, pack};
///
/// pack("models/blip2-opt-2.7b", Precision::Int8, "blip2-opt-2.7b.int8.safetensors")?;
/// let blip2 = Blip2Pipeline::from_pretrained("blip2-opt-2.7b.int8.safetensors")?;
/// # let _ = blip2;
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
///
/// # Errors
///
/// [`Blip2Error`] where the folder holds no member of the family or only a part of one, its weights do not
/// fit its configuration (all faults are listed), or the file cannot be written or would be written over
/// what is read.
///
/// [`Member`]: crate::Member
pub fn pack(
    folder: impl AsRef<Path>,
    precision: impl Into<PrecisionPlan>,
    path: impl AsRef<Path>,
) -> Result<u64, Blip2Error> {
    let (folder, precision) = (CheckpointFolder::open(folder)?, precision.into());
    let path = path.as_ref();
    check_apart(path, folder.path())?;
    match folder.kind()? {
        ModelKind::Blip2Retrieval => pack_member::<Blip2Retrieval>(&folder, precision, path),
        ModelKind::Blip2Vision => pack_member::<ImageEmbedder>(&folder, precision, path),
        ModelKind::Blip2Text => pack_member::<TextEmbedder>(&folder, precision, path),
        ModelKind::BlipAnswer => pack_member::<BlipAnswerer>(&folder, precision, path),
        ModelKind::BlipCaption => pack_member::<BlipCaptioner>(&folder, precision, path),
        ModelKind::BlipRetrieval => pack_member::<BlipRetrieval>(&folder, precision, path),
        #[cfg(feature = "speech")]
        ModelKind::GraniteSpeech => {
            pack_member::<crate::speech::SpeechPipeline>(&folder, precision, path)
        }
        _ => pack_member::<Blip2Pipeline>(&folder, precision, path),
    }
}

fn pack_member<P: Load>(
    folder: &CheckpointFolder,
    precision: PrecisionPlan,
    path: &Path,
) -> Result<u64, Blip2Error> {
    family::expect(folder, P::KINDS)?;
    let settings = Settings::of_precision(precision);
    settings.check(P::TAKES, P::NAME)?;
    let config = P::Config::read(folder)?;
    // What is written must be readable again.
    P::read_texts(folder, &config, &settings)?;
    P::read_pictures(folder, &config, &settings)?;
    P::own_adapter(folder, &config)?;
    let checkpoint = folder.checkpoint()?;
    let device = default_device()?;
    let plan = WeightPlan::new(&checkpoint);
    P::build_model(&config, &Weights::new(&plan, &device), precision)?;
    let report = plan.report(P::IGNORABLE.unwrap_or_default());
    if !report.is_complete() {
        let (path, report) = (folder.path().to_path_buf(), Box::new(report));
        return Err(IoError::Weights { path, report }.into());
    }
    // What is no number would be found at the first answer, when the folder may be gone.
    checkpoint.verify_finite()?;
    Ok(folder.pack(&plan.tensors(), &device, path)?)
}
