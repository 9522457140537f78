//! A checkpoint as a source of weights.

use std::{cell::RefCell, collections::BTreeMap, collections::BTreeSet};

use blip2_kernels::{TensorRequest, WeightSource};
use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};

use super::{Checkpoint, Entry, LoadReport, Misshapen, Missing};
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
    account: RefCell<Account>,
}

#[derive(Debug, Default)]
struct Account {
    used: BTreeSet<String>,
    missing: BTreeMap<String, Vec<usize>>,
    misshapen: Vec<Misshapen>,
}

impl<'c> CheckpointWeights<'c> {
    /// A source over `checkpoint` with a clean account.
    pub fn new(checkpoint: &'c Checkpoint) -> Self {
        Self {
            checkpoint,
            account: RefCell::default(),
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
        let account = self.account.borrow();
        let names = self.checkpoint.names();
        let unused: Vec<String> = names
            .filter(|name| !account.used.contains(*name))
            .filter(|name| !ignorable.iter().any(|suffix| name.ends_with(suffix)))
            .map(str::to_string)
            .collect();
        let missing = account.missing.iter().map(|(name, shape)| Missing {
            name: name.clone(),
            shape: shape.clone(),
            suggestion: suggest(name, shape, &unused, self.checkpoint),
        });
        let report = LoadReport {
            missing: missing.collect(),
            misshapen: account.misshapen.clone(),
            unused,
        };
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
        let mut account = self.account.borrow_mut();
        let Some(entry) = self.checkpoint.tensors.get(request.name) else {
            account
                .missing
                .insert(request.name.to_string(), request.shape.to_vec());
            return None;
        };
        account.used.insert(request.name.to_string());
        let mut misshapen = |found: String| {
            account.misshapen.push(Misshapen {
                name: request.name.to_string(),
                expected: request.shape.to_vec(),
                found,
            });
        };
        if entry.shape != request.shape {
            misshapen(format!("{:?}", entry.shape));
            return None;
        }
        if !entry.dtype.is_float() {
            misshapen(format!("integers ({:?})", entry.dtype));
            return None;
        }
        let held = if request.role.follows_precision() {
            request.precision.storage(entry.dtype, request.device)
        } else {
            DType::F32
        };
        let data = self.checkpoint.data(entry)?;
        Some(if held == entry.dtype {
            data
        } else {
            data.convert_dtype(held)
        })
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

/// The unused name that most looks like the missing one: same shape, longest common ending.
fn suggest(
    missing: &str,
    shape: &[usize],
    unused: &[String],
    checkpoint: &Checkpoint,
) -> Option<String> {
    let common_ending = |name: &str| {
        name.rsplit('.')
            .zip(missing.rsplit('.'))
            .take_while(|(a, b)| a == b)
            .count()
    };
    unused
        .iter()
        .filter(|name| checkpoint.shape(name) == Some(shape))
        .map(|name| (common_ending(name), name))
        .filter(|(common, _)| *common > 0)
        .max_by_key(|(common, _)| *common)
        .map(|(_, name)| name.clone())
}
