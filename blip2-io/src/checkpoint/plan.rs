//! What a model would ask for, without loading it.

use std::cell::RefCell;

use blip2_kernels::{
    PackedFormat, Precision, Role, TensorRequest, WeightSource, matrix_shape, packs,
};
use burn::tensor::{DType, Device, TensorData};

use super::{Checkpoint, account::Account};
use crate::report::LoadReport;

/// One tensor of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedTensor {
    /// Its full name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// The precision asked for it.
    pub precision: Precision,
    /// The format it is stored in; `None` if the checkpoint does not hold it in this shape.
    pub stored: Option<DType>,
    /// The format that the checkpoint holds it packed in, if it does.
    pub packed: Option<PackedFormat>,
}

impl PlannedTensor {
    /// The number of elements.
    pub fn parameters(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }

    /// The bytes it takes on `device`, if matrices are held in `precision`.
    pub fn bytes(&self, precision: Precision, device: &Device) -> u64 {
        // A part that insists on a precision (the Q-Former) keeps it.
        let precision = match self.precision {
            Precision::AsStored => precision,
            insisted => insisted,
        };
        if let (Some(format), Some([outputs, inputs]), Precision::AsStored) =
            (self.packed, matrix_shape(&self.shape), precision)
            && packs(device)
        {
            return format.bytes(outputs, inputs) as u64;
        }
        let stored = self.stored.unwrap_or(DType::F32);
        precision.held_bytes(self.role, &self.shape, stored, device)
    }
}

/// A source that holds no numbers: it writes down what it is asked for. Build a model against it
/// to learn the model's tensors, parameters and memory, at no cost.
///
/// ```
/// use blip2_io::{Checkpoint, checkpoint::WeightPlan};
/// use blip2_kernels::{Bias, Weights};
/// use burn::tensor::Device;
///
/// let (checkpoint, device) = (Checkpoint::open("../fixtures/blip2_itr")?, Device::flex());
/// let plan = WeightPlan::new(&checkpoint);
/// let weights = Weights::new(&plan, &device);
/// weights.linear("itm_hed", 24, 2, Bias::Without); // or a whole model
/// assert_eq!(plan.tensors()[0].parameters(), 48);
/// let report = plan.report(&[]);
/// assert_eq!(report.missing[0].suggestion.as_deref(), Some("itm_head.weight"));
/// assert!(report.unused.iter().any(|name| name == "query_tokens"));
/// # Ok::<(), blip2_io::IoError>(())
/// ```
#[derive(Debug)]
pub struct WeightPlan<'c> {
    checkpoint: Option<&'c Checkpoint>,
    absent: Vec<String>,
    tensors: RefCell<Vec<PlannedTensor>>,
}

impl<'c> WeightPlan<'c> {
    /// A plan of what a model would take from `checkpoint`.
    pub fn new(checkpoint: &'c Checkpoint) -> Self {
        Self {
            checkpoint: Some(checkpoint),
            absent: Vec::new(),
            tensors: RefCell::default(),
        }
    }

    /// A plan without a checkpoint: every optional part exists, nothing is stored.
    pub fn without_checkpoint() -> Self {
        Self {
            checkpoint: None,
            absent: Vec::new(),
            tensors: RefCell::default(),
        }
    }

    /// Answers [`contains`](WeightSource::contains) with no for names that end in `suffix`, so
    /// that a model leaves an optional part (such as a separate output head) out.
    #[must_use]
    pub fn without(mut self, suffix: impl Into<String>) -> Self {
        self.absent.push(suffix.into());
        self
    }

    /// What a load would report, without loading. Names that end in one of
    /// `ignorable` are not reported as unused.
    pub fn report(&self, ignorable: &[&str]) -> LoadReport {
        let Some(checkpoint) = self.checkpoint else {
            return LoadReport::default();
        };
        let account = Account::default();
        for tensor in self.tensors.borrow().iter() {
            account.find(checkpoint, &tensor.name, &tensor.shape);
        }
        account.report(checkpoint, ignorable)
    }

    /// What was asked for, in that order.
    pub fn tensors(&self) -> Vec<PlannedTensor> {
        self.tensors.borrow().clone()
    }
}

impl WeightSource for WeightPlan<'_> {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        let stored = self.checkpoint.and_then(|checkpoint| {
            let entry = checkpoint.tensors.get(request.name)?;
            entry.fits(request.shape).then_some(entry.dtype)
        });
        self.tensors.borrow_mut().push(PlannedTensor {
            name: request.name.to_string(),
            shape: request.shape.to_vec(),
            role: request.role,
            precision: request.precision,
            stored,
            packed: self
                .checkpoint
                .and_then(|checkpoint| checkpoint.packed_format(request.name)),
        });
        None
    }

    fn contains(&self, name: &str) -> bool {
        let absent = |suffix: &String| name.ends_with(suffix.as_str());
        !self.absent.iter().any(absent)
            && self
                .checkpoint
                .is_none_or(|checkpoint| checkpoint.shape(name).is_some())
    }

    fn differ(&self, name: &str, other: &str) -> bool {
        self.checkpoint
            .is_some_and(|checkpoint| checkpoint.differ(name, other))
    }
}
