//! Refusing what would not fit.

use blip2_kernels::{Precision, device as gpu};
use burn::tensor::Device;

use super::{MemoryPlan, MemoryPrediction, Workload, machine, plan::PROCESS};
use crate::{
    device::is_host,
    error::Blip2Error,
    fit::{Fit, NotEnoughMemory},
};

/// A pipeline's plan and what it may take.
#[derive(Debug)]
pub struct MemoryLimit {
    plan: MemoryPlan,
    /// Without one, nothing is refused.
    allowed: Option<u64>,
    /// The bytes of the device's largest buffer, where there is such a limit.
    largest_buffer: Option<u64>,
}

impl MemoryLimit {
    fn new(plan: MemoryPlan, allowed: Option<u64>) -> Self {
        Self {
            plan,
            allowed,
            largest_buffer: None,
        }
    }

    /// The limit of a model that is being loaded on `device`: that of the settings, or the machine's.
    pub(crate) fn of_settings(plan: MemoryPlan, limit: Option<u64>, device: &Device) -> Self {
        match limit {
            None if is_host(device) => Self::of_machine(plan),
            limit => Self {
                largest_buffer: gpu::largest_buffer(device),
                ..Self::new(plan, limit.or_else(|| left_on(device)))
            },
        }
    }

    /// What the machine has left; the program itself is in memory already.
    fn of_machine(plan: MemoryPlan) -> Self {
        let allowed = machine::available().map(|left| left.saturating_add(PROCESS));
        Self::new(plan, allowed)
    }

    pub(crate) fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Refuses work of which the peak that `part` speaks of would be too much.
    pub(crate) fn check(
        &self,
        work: &Workload,
        part: fn(&MemoryPrediction) -> u64,
    ) -> Result<(), Blip2Error> {
        self.check_buffers(work)?;
        let Some(allowed) = self.allowed else {
            return Ok(());
        };
        let predicted = part(&self.plan.predict(work));
        if predicted <= allowed {
            return Ok(());
        }
        // Each change is tried alone, with all else as it was asked for: a user who reads the error
        // wants to give up one thing, and chooses which.
        let fits = |plan: &MemoryPlan, work: &Workload| part(&plan.predict(work)) <= allowed;
        let batch = largest(work.batch, |batch| {
            fits(&self.plan, &Workload { batch, ..*work })
        });
        let beams = largest(work.beams, |beams| {
            fits(&self.plan, &Workload { beams, ..*work })
        });
        let sound = self.shorter(work, |work| fits(&self.plan, work));
        Err(Blip2Error::Memory(NotEnoughMemory {
            predicted,
            allowed,
            piece: None,
            reads_sound: self.plan.reads_sound(),
            fits: self
                .narrower(|plan| fits(plan, work))
                .map(Fit::Precision)
                .into_iter()
                .chain(batch.map(Fit::Batch))
                .chain(beams.map(Fit::Beams))
                .chain(sound.map(Fit::SoundFrames))
                .collect(),
        }))
    }

    /// Refuses weights, and work, of which a tensor is larger than any buffer of the device.
    fn check_buffers(&self, work: &Workload) -> Result<(), Blip2Error> {
        let Some(allowed) = self.largest_buffer else {
            return Ok(());
        };
        let refused = |piece: String, predicted, fits| {
            Err(Blip2Error::Memory(NotEnoughMemory {
                predicted,
                allowed,
                piece: Some(piece),
                fits,
                reads_sound: self.plan.reads_sound(),
            }))
        };
        let fits = |plan: &MemoryPlan| {
            let largest = plan.largest_weight();
            largest.is_none_or(|(_, bytes)| bytes <= allowed)
        };
        if let Some((name, bytes)) = self.plan.largest_weight()
            && bytes > allowed
        {
            let narrower = self.narrower(fits).map(Fit::Precision);
            return refused(format!("`{name}`"), bytes, Vec::from_iter(narrower));
        }
        let Some((piece, bytes)) = self.plan.largest_piece(work) else {
            return Ok(());
        };
        if bytes <= allowed {
            return Ok(());
        }
        let fits = |work: &Workload| {
            let largest = self.plan.largest_piece(work);
            largest.is_none_or(|(_, bytes)| bytes <= allowed)
        };
        let batch = largest(work.batch, |batch| fits(&Workload { batch, ..*work }));
        let beams = largest(work.beams, |beams| fits(&Workload { beams, ..*work }));
        let sound = self.shorter(work, fits);
        let fits = batch.map(Fit::Batch).into_iter();
        let fits = fits.chain(beams.map(Fit::Beams));
        let fits = fits.chain(sound.map(Fit::SoundFrames)).collect();
        refused(piece.to_string(), bytes, fits)
    }

    /// The most frames of sound that fit, in whole seconds, where sound is what there is too much of.
    fn shorter(&self, work: &Workload, fits: impl Fn(&Workload) -> bool) -> Option<usize> {
        const SECOND: usize = 50;
        let seconds = work.sound_frames.div_ceil(SECOND);
        let fits = |seconds: usize| {
            let sound_frames = seconds * SECOND;
            fits(&Workload {
                sound_frames,
                ..*work
            })
        };
        let found = self.plan.reads_sound().then(|| largest(seconds, fits));
        found.flatten().map(|seconds| seconds * SECOND)
    }

    /// The widest precision that fits and is narrower than what is planned; of two as wide, the
    /// first that a user would be told of.
    fn narrower(&self, fits: impl Fn(&MemoryPlan) -> bool) -> Option<Precision> {
        let planned = self.plan.weights(None);
        Precision::ALL
            .into_iter()
            .rev()
            .filter(|precision| *precision != Precision::AsStored)
            .map(|precision| (precision, self.plan.with_precision(precision)))
            .filter(|(_, plan)| plan.weights(None) < planned && fits(plan))
            .max_by_key(|(_, plan)| plan.weights(None))
            .map(|(precision, _)| precision)
    }
}

/// What a GPU's memory has left, where its driver tells what it has.
fn left_on(device: &Device) -> Option<u64> {
    let held = gpu::memory_in_use(device)?;
    Some(gpu::memory(device)?.saturating_sub(held))
}

/// The largest number below `count`, and above zero, that fits; more of them never take less.
fn largest(count: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    // Bisection, since a prediction costs little and grows with the count: `good` fits, or is zero,
    // and `bad` does not.
    let (mut good, mut bad) = (0, count);
    while bad.saturating_sub(good) > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    (good > 0).then_some(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::Preset;

    fn limit(allowed: u64) -> MemoryLimit {
        let plan = MemoryPlan::new(&Preset::Blip2Opt2_7b.config(), Precision::F32).unwrap();
        MemoryLimit::new(plan, Some(allowed))
    }

    fn refused(allowed: u64, work: Workload) -> NotEnoughMemory {
        match limit(allowed).check(&work, MemoryPrediction::peak) {
            Err(Blip2Error::Memory(error)) => error,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn the_largest_that_fits_is_found() {
        for (count, most, found) in [(8, 3, Some(3)), (8, 7, Some(7)), (8, 0, None), (1, 0, None)] {
            assert_eq!(largest(count, |n| n <= most), found);
        }
    }

    #[test]
    fn what_no_buffer_holds_is_refused_with_what_would_fit() {
        let limit = |bytes| MemoryLimit {
            largest_buffer: Some(bytes),
            ..limit(u64::MAX)
        };
        let refused =
            |bytes, work: Workload| match limit(bytes).check(&work, MemoryPrediction::peak) {
                Err(Blip2Error::Memory(error)) => error,
                other => unreachable!("{other:?}"),
            };
        let one = Workload::default();
        // The table of tokens, which is the head: 50,304 by 2,560.
        let table = 4 * 50_304 * 2_560;
        assert!(limit(table).check(&one, MemoryPrediction::peak).is_ok());
        let error = refused(table - 1, one);
        assert_eq!((error.predicted, error.allowed), (table, table - 1));
        assert_eq!(error.fits, [Fit::Precision(Precision::Bf16)]);
        let text = error.to_string();
        assert!(text.contains("embed_tokens"), "{text}");
        assert!(text.contains("bf16 weights"), "{text}");
        let error = refused(table / 4 + (1 << 20), one);
        assert_eq!(error.fits, [Fit::Precision(Precision::Int8)]);
        assert_eq!(refused(1 << 20, one).fits, []);

        // Of 257 positions each, 6,144 wide.
        let many = one.with_batch(100);
        let error = refused(table, many);
        assert_eq!(error.predicted, 4 * 100 * 257 * 6_144);
        assert_eq!(error.fits, [Fit::Batch(81)]);
        assert!(error.to_string().contains("image encoder"), "{error}");
    }

    #[test]
    fn a_refusal_says_what_would_fit() {
        let one = Workload::default();
        assert!(limit(16 << 30).check(&one, MemoryPrediction::peak).is_ok());

        let error = refused(10 << 30, one);
        assert!(error.predicted > 15_000_000_000 && error.allowed == 10 << 30);
        assert_eq!(error.fits, [Fit::Precision(Precision::Bf16)]);
        let text = error.to_string();
        assert!(
            text.contains("10737418240 bytes") && text.contains("bf16 weights"),
            "{text}"
        );

        let many = Workload {
            batch: 256,
            beams: 5,
            ..one
        };
        let error = refused(20 << 30, many);
        for fit in &error.fits {
            let work = match *fit {
                Fit::Batch(batch) => Workload { batch, ..many },
                Fit::Beams(beams) => Workload { beams, ..many },
                Fit::Precision(_) | Fit::SoundFrames(_) => continue,
            };
            let limit = limit(20 << 30);
            assert!(limit.check(&work, MemoryPrediction::peak).is_ok(), "{fit}");
            let more = Workload {
                batch: work.batch + usize::from(work.batch < many.batch),
                beams: work.beams + usize::from(work.beams < many.beams),
                ..work
            };
            assert!(
                limit.check(&more, MemoryPrediction::peak).is_err(),
                "{fit} is the most"
            );
        }
        assert!(
            error.fits.iter().any(|fit| matches!(fit, Fit::Batch(_))),
            "{error:?}"
        );

        assert!(refused(1 << 30, one).to_string().contains("smaller model"));
    }
}
