//! A checkpoint as a source of weights.

use std::{io, sync::Arc};

use blip2_kernels::{PackedMatrix, Precision, TensorRequest, WeightSource};
use burn::tensor::{AllocationProperty, Bytes, TensorData};

use super::{Checkpoint, Entry, Place, account::Account};
use crate::{error::IoError, report::LoadReport};

/// The tensors of a checkpoint as a model asks for them, with a record of what was asked: what is
/// missing, misshapen or unused.
///
/// A tensor that is held as it is stored is a view into the mapped file and costs no memory of its
/// own; any other is converted by itself, so that the model is never there twice.
///
/// ```no_run
/// use blip2_io::{Checkpoint, CheckpointWeights};
/// use blip2_kernels::{Bias, Weights};
/// use burn::tensor::Device;
///
/// let checkpoint = Checkpoint::open("models/my-model")?;
/// let source = CheckpointWeights::new(&checkpoint);
/// let device = Device::flex();
/// let head = Weights::new(&source, &device).linear("lm_head", 768, 50272, Bias::Without);
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
    /// A source over `checkpoint`, of which nothing was asked yet.
    pub fn new(checkpoint: &'c Checkpoint) -> Self {
        Self {
            checkpoint,
            account: Account::default(),
        }
    }

    /// What was missing, misshapen or unused.
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
    /// The matrix as a packed file holds it, if that is in the format asked for: a view into the
    /// map.
    fn packed(&self, request: &TensorRequest<'_>) -> Option<PackedMatrix> {
        let entry = self.checkpoint.tensors.get(request.name)?;
        let format = entry.packed?;
        let stored = entry.dtype;
        let wanted = match request.precision {
            Precision::AsStored => format,
            precision => precision.packed(stored, request.role),
        };
        if wanted != format {
            return None;
        }
        let entry = self
            .account
            .find(self.checkpoint, request.name, request.shape)?;
        self.checkpoint.packed(entry)
    }

    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        let entry = self
            .account
            .find(self.checkpoint, request.name, request.shape)?;
        let held = request.storage(entry.dtype);
        let data = match self.checkpoint.data(entry) {
            Ok(data) => data,
            Err(error) => {
                self.account.unreadable(request.name, request.shape, &error);
                return None;
            }
        };
        if held == entry.dtype {
            return Some(data);
        }
        let converted = data.convert_dtype(held);
        // The pages that were read for it are of no more use, and would count as the process's.
        self.checkpoint.release(request.name);
        Some(converted)
    }

    fn release(&self, request: &TensorRequest<'_>) {
        self.checkpoint.release(request.name);
    }

    fn contains(&self, name: &str) -> bool {
        self.checkpoint.tensors.contains_key(name)
    }

    fn differ(&self, name: &str, other: &str) -> bool {
        self.checkpoint.differ(name, other)
    }
}

impl Checkpoint {
    /// A tensor's numbers as they are stored, a view into the map where that can be; of a packed
    /// matrix in `f32`.
    pub fn tensor(&self, name: &str) -> Option<TensorData> {
        self.data(self.tensors.get(name)?).ok()
    }

    /// Whether there are tensors of both names, with other numbers in each: both are read, unless one is a
    /// view of the other.
    pub fn differ(&self, name: &str, other: &str) -> bool {
        let [Some(a), Some(b)] = [name, other].map(|name| self.tensors.get(name)) else {
            return false;
        };
        let alike = (a.dtype, &a.shape, a.packed) == (b.dtype, &b.shape, b.packed);
        let is_same = alike
            && match (self.bytes(a), self.bytes(b)) {
                (Ok(a), Ok(b)) => a.as_ptr() == b.as_ptr() || a == b,
                _ => false,
            };
        self.release(name);
        self.release(other);
        !is_same
    }

    /// A matrix that is stored packed.
    fn packed(&self, entry: &Entry) -> Option<PackedMatrix> {
        let format = entry.packed?;
        let &[outputs, inputs] = entry.shape.as_slice() else {
            return None;
        };
        PackedMatrix::from_bytes(format, outputs, inputs, Arc::new(self.bytes(entry).ok()?)).ok()
    }

    /// A tensor's numbers as they are stored: a view into the map where its place in the file
    /// suits its format, else a copy.
    pub(super) fn data(&self, entry: &Entry) -> io::Result<TensorData> {
        if let Some(packed) = self.packed(entry) {
            let [outputs, inputs] = [packed.outputs(), packed.inputs()];
            let mut values = vec![0f32; outputs * inputs];
            for (output, row) in values.chunks_exact_mut(inputs.max(1)).enumerate() {
                packed.read_row(output, row);
            }
            return Ok(TensorData::new(values, entry.shape.clone()));
        }
        let bytes = match &entry.place {
            Place::Pickled(tensor) => {
                let bytes = Bytes::from_bytes_vec(tensor.read()?);
                return Ok(TensorData::from_bytes(
                    bytes,
                    entry.shape.clone(),
                    entry.dtype,
                ));
            }
            Place::Range(_) => self.bytes(entry)?,
        };
        // A safetensors header may have any length, so its tensors may begin anywhere; Burn reads
        // them as slices of their format, which must be aligned.
        let aligned = bytes.as_ptr().addr().is_multiple_of(entry.dtype.size());
        let bytes = if aligned && !bytes.is_empty() {
            Bytes::from_shared(bytes, AllocationProperty::File)
        } else {
            Bytes::from_bytes_vec(bytes.to_vec())
        };
        Ok(TensorData::from_bytes(
            bytes,
            entry.shape.clone(),
            entry.dtype,
        ))
    }
}
