//! How a folder is verified.

use blip2_core::{Blip2Error, Device, Precision, PrecisionPlan, device_by_name};

use crate::golden::Tolerance;

/// How to verify.
///
/// ```
/// use blip2_core::Precision;
/// use blip2_verify::{VerifyOptions, verify};
///
/// let narrow = VerifyOptions::on("flex")?.with_precision(Precision::Bf16);
/// let report = &verify("../fixtures/blip2_opt", &narrow)?[0];
/// assert!(report.rounds && report.passed()); // every stage gives numbers
/// println!("logits are off by {:?} of the largest", report.logits_distance());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    pub(crate) device: Device,
    pub(crate) tolerance: f64,
    pub(crate) scores: f64,
    pub(crate) precision: PrecisionPlan,
    pub(crate) speculative: bool,
}

impl VerifyOptions {
    /// Verifies on `device` in `f32`, within 1e-4: see [`with_tolerance`](Self::with_tolerance).
    pub fn new(device: Device) -> Self {
        Self {
            device,
            tolerance: 1e-4,
            scores: 1e-3,
            precision: Precision::F32.into(),
            speculative: false,
        }
    }

    /// Verifies on the device of this name, with the tolerances that it is held to: 1e-4 on CPUs
    /// and 1e-3 on GPUs, whose sums run in another order; and for beam scores 1e-3 on `flex`, the
    /// default device, and 1e-2 on all others.
    ///
    /// On `flex` floats are held as they are stored, since its kernels multiply narrow ones with
    /// activations in `f32`: the numbers are those of `f32`, in half the memory.
    ///
    /// # Errors
    ///
    /// As [`device_by_name`].
    pub fn on(device: &str) -> Result<Self, Blip2Error> {
        let options = Self::new(device_by_name(device)?);
        Ok(match device {
            "flex" => options.with_precision(Precision::AsStored),
            "ndarray" => options.with_scores(1e-2),
            _ => options.with_tolerance(1e-3).with_scores(1e-2),
        })
    }

    /// How far a beam's score may be from the golden, absolutely. Default 1e-3.
    #[must_use]
    pub fn with_scores(mut self, bound: f64) -> Self {
        self.scores = bound;
        self
    }

    /// A stage passes if its largest absolute difference is at most `base × max(1, largest
    /// absolute value of the golden / 10)`; where the golden's own error against 64-bit floats is
    /// known, the base is at least four times that.
    #[must_use]
    pub fn with_tolerance(mut self, base: f64) -> Self {
        self.tolerance = base;
        self
    }

    /// Holds the model's matrices in this precision. The goldens are of `f32`: in a precision that
    /// rounds, how far each stage is from them is reported, not judged.
    #[must_use]
    pub fn with_precision(mut self, precision: impl Into<PrecisionPlan>) -> Self {
        self.precision = precision.into();
        self
    }

    /// Checks every recorded text without beams once more with the same language model in `int4`
    /// writing ahead ([`Speculative`](blip2_lm::generate::Speculative)): its tokens must be the same. Takes
    /// the memory of that model too. Checkpoints of other members, which have no such draft, are checked as
    /// without it.
    #[must_use]
    pub fn with_speculative(mut self, speculative: bool) -> Self {
        self.speculative = speculative;
        self
    }

    /// How the model's matrices are held.
    pub fn precision(&self) -> PrecisionPlan {
        self.precision
    }

    pub(crate) fn rounds(&self) -> bool {
        let exact = |precision| matches!(precision, Precision::F32 | Precision::AsStored);
        !exact(self.precision.vision) || !exact(self.precision.language_model)
    }

    pub(crate) fn base(&self) -> Tolerance {
        Tolerance(self.tolerance)
    }
}
