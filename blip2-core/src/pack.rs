//! Packing a checkpoint into one file.

use std::path::Path;

use blip2_io::{CheckpointFolder, IoError, checkpoint::WeightPlan};
use blip2_kernels::Weights;

use crate::{
    device::default_device, error::Blip2Error, family, load::IGNORABLE_OF_ANSWERING,
    model::Blip2ForConditionalGeneration, precision::PrecisionPlan,
};

/// Writes the checkpoint in `folder` to one file at `path`, its matrices in `precision` and laid out
/// as the CPU kernels read them, with its configuration, tokenizer and preprocessing inside. Returns
/// the file's size in bytes.
///
/// The file is opened like a folder, by [`Blip2Pipeline::from_pretrained`]. It is mapped and computed
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
/// [`Blip2Error`] where the folder holds no model that answers, its weights do not fit its
/// configuration (all faults are listed), or the file cannot be written.
///
/// [`Blip2Pipeline::from_pretrained`]: crate::Blip2Pipeline::from_pretrained
pub fn pack(
    folder: impl AsRef<Path>,
    precision: impl Into<PrecisionPlan>,
    path: impl AsRef<Path>,
) -> Result<u64, Blip2Error> {
    let folder = CheckpointFolder::open(folder)?;
    family::expect(&folder, &family::ANSWERING)?;
    let config = folder.config()?;
    // What is written must be readable again.
    folder.tokenizer()?;
    if config.model_type.reads_instructions() {
        folder.qformer_tokenizer()?;
    }
    folder.image_processor()?;
    let checkpoint = folder.checkpoint()?;
    let device = default_device()?;
    let plan = WeightPlan::new(&checkpoint);
    let weights = Weights::new(&plan, &device);
    Blip2ForConditionalGeneration::build(&config, &weights, precision.into())?;
    let report = plan.report(&IGNORABLE_OF_ANSWERING);
    if !report.is_complete() {
        let (path, report) = (folder.path().to_path_buf(), Box::new(report));
        return Err(IoError::Weights { path, report }.into());
    }
    Ok(folder.pack(&plan.tensors(), &device, path)?)
}
