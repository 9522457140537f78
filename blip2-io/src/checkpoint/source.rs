//! A checkpoint as a source of weights.

use blip2_kernels::{TensorRequest, WeightSource};
use burn::tensor::{AllocationProperty, Bytes, TensorData};

use super::{Checkpoint, Entry, LoadReport, account::Account};
use crate::IoError;

/// Answers a model's requests from a checkpoint and keeps the account.
///
/// A tensor that is held as it is stored is a view into the mapped file and costs no memory of its
/// own; any other is converted by itself, so that the model is never there twice.
///
/// ```no_run
/// use blip2_io::{Checkpoint, CheckpointWeights};
/// use blip2_kernels::Weights;
/// use burn::tensor::Device;
///
/// let checkpoint = Checkpoint::open("models/my-model")?;
/// let source = CheckpointWeights::new(&checkpoint);
/// let device = Device::flex();
/// let head = Weights::new(&source, &device).linear("lm_head", 768, 50272, false);
/// source.finish(&[])?; // everything asked for was there
/// # let _ = head;
/// # Ok::<(), blip2_io::IoError>(())
/// ```
#[derive(Debug)]
pub struct CheckpointWeights<'c> {
    checkpoint: &'c Checkpoint,
    account: Account,
}

impl<'c> CheckpointWeights<'c> {
    /// A source over `checkpoint` with a clean account.
    pub fn new(checkpoint: &'c Checkpoint) -> Self {
        Self {
            checkpoint,
            account: Account::default(),
        }
    }

    /// Closes the account.
    ///
    /// Unused tensors are reported and are no error, as in `transformers`; names that end in one
    /// of `ignorable` (duplicates of tied weights, buffers) are not even reported.
    ///
    /// # Errors
    ///
    /// [`IoError::Weights`] with everything that is missing or misshapen, not just the first.
    pub fn finish(&self, ignorable: &[&str]) -> Result<LoadReport, IoError> {
        let report = self.account.report(self.checkpoint, ignorable);
        if report.is_complete() {
            Ok(report)
        } else {
            let path = self.checkpoint.folder.clone();
            Err(IoError::Weights {
                path,
                report: Box::new(report),
            })
        }
    }
}

impl WeightSource for CheckpointWeights<'_> {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        let entry = self
            .account
            .find(self.checkpoint, request.name, request.shape)?;
        let held = request.storage(entry.dtype);
        let data = self.checkpoint.data(entry)?;
        if held == entry.dtype {
            return Some(data);
        }
        let converted = data.convert_dtype(held);
        self.checkpoint.release(request.name);
        Some(converted)
    }

    fn release(&self, request: &TensorRequest<'_>) {
        self.checkpoint.release(request.name);
    }

    fn contains(&self, name: &str) -> bool {
        self.checkpoint.tensors.contains_key(name)
    }
}

impl Checkpoint {
    /// A tensor's numbers as they are stored: a view into the map where its place in the file
    /// suits its format, else a copy.
    pub(super) fn data(&self, entry: &Entry) -> Option<TensorData> {
        let bytes = self.bytes(entry)?;
        let aligned = bytes.as_ptr().addr().is_multiple_of(entry.dtype.size());
        let bytes = if aligned && !bytes.is_empty() {
            Bytes::from_shared(bytes, AllocationProperty::File)
        } else {
            Bytes::from_bytes_vec(bytes.to_vec())
        };
        Some(TensorData::from_bytes(
            bytes,
            entry.shape.clone(),
            entry.dtype,
        ))
    }
}
