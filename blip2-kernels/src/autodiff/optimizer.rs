//! What an optimiser does with each number, in one pass, on `flex`.

use burn::tensor::{DType, Tensor};
use burn_flex::{Flex, FlexTensor};

use crate::kernel::{
    buffers::Floats,
    flex,
    isa::{Isa, LANES, vectorized},
    threads,
};

/// Numbers that a thread takes at once.
const SHARE: usize = 1 << 14;

/// A step of AdamW (Loshchilov and Hutter, 2019, algorithm 2), as `torch.optim.AdamW` makes it.
///
/// ```
/// use blip2_kernels::AdamWStep;
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex();
/// let mut parameter = Tensor::<1>::from_floats([1.0, -1.0], &device);
/// let mut moments = None;
/// for time in 1..=3 {
///     let gradient = parameter.clone() * 2.0; // of the square
///     let step = AdamWStep { lr: 0.1, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, time };
///     parameter = step.apply(&parameter, &gradient, &mut moments).expect("on plain `flex`");
/// }
/// let values = parameter.into_data().try_to_vec::<f32>().expect("f32");
/// assert!((values[0] - 0.7).abs() < 0.01 && values[1] == -values[0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// The learning rate.
    pub lr: f64,
    /// The decay rates of both moments.
    pub betas: [f32; 2],
    /// What is added to the denominator.
    pub eps: f32,
    /// How fast the parameter decays.
    pub weight_decay: f32,
    /// Which step of the parameter this is, beginning with 1.
    pub time: usize,
}

impl AdamWStep {
    /// The moved parameter; its moments, which are none before the first step, move too. `None`, with
    /// the moments as they were, where the tensors are not on plain `flex`.
    ///
    /// # Shapes
    ///
    /// - all: `[numbers]`
    pub fn apply(
        &self,
        parameter: &Tensor<1>,
        gradient: &Tensor<1>,
        moments: &mut Option<[Tensor<1>; 2]>,
    ) -> Option<Tensor<1>> {
        let dims = parameter.dims();
        let served = |tensor: &Tensor<1>| {
            let plain = tensor.dtype() == DType::F32 && flex::serves(&tensor.device());
            plain && tensor.dims() == dims
        };
        let moments_served = moments.as_ref().is_none_or(|all| all.iter().all(served));
        if !(served(parameter) && served(gradient) && moments_served) {
            return None;
        }
        let (before, gradient) = (flex::lower(parameter)?, flex::lower(gradient)?);
        let held = moments.take().map(|moments| moments.map(owned));
        let mut held = match held {
            Some([Some(first), Some(second)]) => [first, second],
            _ => [0, 1].map(|_| tensor(vec![0.0; dims[0]])),
        };
        let mut after = Floats::any(dims[0]);
        let [first, second] = held.each_mut().map(FlexTensor::storage_mut::<f32>);
        let shares = flex::slice(&before)
            .chunks(SHARE)
            .zip(flex::slice(&gradient).chunks(SHARE))
            .zip(first.chunks_mut(SHARE).zip(second.chunks_mut(SHARE)))
            .zip(after.chunks_mut(SHARE));
        let (isa, rates) = (Isa::active(), self.rates());
        threads::each(shares, |(((before, gradient), (first, second)), after)| {
            after.copy_from_slice(before);
            moved(isa, rates, after, gradient, first, second);
        });
        let lift = |tensor| Tensor::from_primitive::<Flex>(tensor);
        *moments = Some(held.map(lift));
        Some(lift(tensor(after)))
    }

    fn rates(&self) -> Rates {
        let time = i32::try_from(self.time).unwrap_or(i32::MAX);
        let [bias, second_bias] = self.betas.map(|beta| 1.0 - f64::from(beta).powi(time));
        Rates {
            keeps: (1.0 - self.lr * f64::from(self.weight_decay)) as f32,
            rate: (self.lr / bias) as f32,
            root: second_bias.sqrt().recip() as f32,
            betas: self.betas,
            eps: self.eps,
        }
    }
}

/// What each number of a parameter is moved by.
#[derive(Clone, Copy)]
struct Rates {
    keeps: f32,
    /// The learning rate by what the first moment lacks.
    rate: f32,
    /// Makes the second moment's root what it will be.
    root: f32,
    betas: [f32; 2],
    eps: f32,
}

vectorized! {
    fn moved(
        rates: Rates,
        parameter: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let Rates { keeps, rate, root, betas: [beta, other], eps } = rates;
        let moments = first.iter_mut().zip(second);
        for ((x, gradient), (first, second)) in parameter.iter_mut().zip(gradient).zip(moments) {
            *first = beta * *first + (1.0 - beta) * gradient;
            *second = other * *second + (1.0 - other) * gradient * gradient;
            *x = *x * keeps - rate * *first / (second.sqrt() * root + eps);
        }
    }
}

/// The sum of the squares of a tensor's numbers, in 64 bits.
pub fn sum_of_squares(numbers: &Tensor<1>) -> f64 {
    match flex::lower(numbers) {
        Some(lowered) => {
            let values = flex::slice(&lowered);
            let mut sums = vec![0f64; values.len().div_ceil(SHARE)];
            let shares = values.chunks(SHARE).zip(&mut sums);
            threads::each(shares, |(values, sum)| {
                *sum = squares(Isa::active(), values)
            });
            sums.iter().sum()
        }
        None => f64::from(numbers.clone().square().sum().into_scalar::<f32>()),
    }
}

vectorized! {
    fn squares(values: &[f32]) -> f64 {
        let mut sums = [0f64; LANES];
        let (whole, rest) = values.as_chunks::<LANES>();
        for values in whole {
            for lane in 0..LANES {
                sums[lane] += f64::from(values[lane]) * f64::from(values[lane]);
            }
        }
        let rest: f64 = rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        sums.iter().sum::<f64>() + rest
    }
}

/// A contiguous tensor of its own.
fn owned(tensor: Tensor<1>) -> Option<FlexTensor> {
    let tensor = tensor.try_into_primitive::<Flex>().ok()?;
    let whole = tensor.layout().shape().num_elements() == tensor.storage::<f32>().len();
    Some(match whole && tensor.as_slice::<f32>().is_some() {
        true => tensor,
        false => tensor.to_contiguous(),
    })
}

fn tensor(values: impl Into<Floats>) -> FlexTensor {
    let values = values.into();
    let shape = burn::tensor::Shape::from([values.len()]);
    let layout = burn_flex::Layout::contiguous(shape);
    FlexTensor::new(values.into_bytes(), layout, DType::F32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_values;
    use burn::{
        optim::{AdamWConfig, Optimizer},
        tensor::{Device, TensorData, Tolerance},
    };

    #[test]
    fn steps_are_those_of_burn() {
        let device = Device::flex();
        let random = |seed| {
            let values = random_values(SHARE + 5, seed);
            Tensor::<1>::from_data(TensorData::new(values, [SHARE + 5]), &device)
        };
        let rule = AdamWConfig::new()
            .with_beta_1(0.8)
            .with_beta_2(0.95)
            .with_epsilon(1e-6)
            .with_weight_decay(0.05)
            .build();
        let (mut own, mut other) = (random(0), random(0));
        let (mut moments, mut state) = (None, None);
        for time in 1..4 {
            let gradient = random(time as u64);
            let step = AdamWStep {
                lr: 1e-2,
                betas: [0.8, 0.95],
                eps: 1e-6,
                weight_decay: 0.05,
                time,
            };
            own = step.apply(&own, &gradient, &mut moments).unwrap();
            (other, state) = rule.step(1e-2, other, gradient, state);
            own.to_data()
                .assert_approx_eq::<f32>(&other.to_data(), Tolerance::absolute(1e-6));
        }
        let recorded = own.autodiff();
        let step = AdamWStep {
            lr: 1.0,
            betas: [0.9; 2],
            eps: 0.0,
            weight_decay: 0.0,
            time: 1,
        };
        assert!(step.apply(&recorded, &other, &mut moments).is_none());
        assert!(moments.is_some());
    }

    #[test]
    fn squares_are_summed_on_every_device() {
        let values = random_values(SHARE + 3, 1);
        let exact: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
        let tensor = Tensor::<1>::from_data(TensorData::new(values, [SHARE + 3]), &Device::flex());
        assert!((sum_of_squares(&tensor) - exact).abs() < 1e-9 * exact);
        let recorded = tensor.autodiff();
        assert!((sum_of_squares(&recorded) - exact).abs() < 1e-4 * exact);
    }
}
