//! What several models of one source hold together.

use std::{any::Any, cell::RefCell, collections::HashMap, fmt};

use super::{precision::Precision, request::TensorRequest, role::Role};

/// What a model was built of, for others of the same source that differ from it in a few tensors: these
/// take all else from it, so that the numbers are in memory once.
///
/// ```
/// use blip2_kernels::{Bias, RandomWeights, SharedWeights, Weights};
/// use burn::tensor::{Device, Tensor};
///
/// let (source, device, shared) = (RandomWeights::new(0, 0.02), Device::flex(), SharedWeights::new());
/// let fc = Weights::new(&source, &device).sharing(&shared, &|_| false).linear("fc", 8, 8, Bias::With);
/// // Another source has a bias of its own, and is never asked for the matrix.
/// let other = RandomWeights::new(1, 0.02);
/// let own_bias = |name: &str| name == "fc.bias";
/// let weights = Weights::new(&other, &device).sharing(&shared, &own_bias);
/// let adapted = weights.linear("fc", 8, 8, Bias::With);
/// let x = Tensor::<2>::zeros([1, 8], &device);
/// assert_ne!(fc.forward(x.clone()).into_data(), adapted.forward(x).into_data());
/// ```
#[derive(Default)]
pub struct SharedWeights {
    held: RefCell<HashMap<Key, Box<dyn Any>>>,
}

/// A tensor as a model holds it: a draft of a language model has the same names in another precision.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    name: String,
    role: Role,
    precision: Precision,
    packs: bool,
}

impl Key {
    fn of(request: &TensorRequest<'_>) -> Self {
        Self {
            name: request.name.to_string(),
            role: request.role,
            precision: request.precision,
            packs: request.packs,
        }
    }
}

impl SharedWeights {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn get<T: Any + Clone>(&self, key: &Key) -> Option<T> {
        self.held.borrow().get(key)?.downcast_ref().cloned()
    }
}

/// What a cursor shares.
#[derive(Clone, Copy)]
pub(super) struct Sharing<'a> {
    pub(super) shared: &'a SharedWeights,
    /// Whether the tensor of a name is this model's own.
    pub(super) own: &'a dyn Fn(&str) -> bool,
}

impl Sharing<'_> {
    /// What a request became in a model before, or what it becomes now by `make`.
    pub(super) fn part<T: Any + Clone>(
        &self,
        request: &TensorRequest<'_>,
        make: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        if (self.own)(request.name) {
            return make();
        }
        let key = Key::of(request);
        if let Some(held) = self.shared.get(&key) {
            return Some(held);
        }
        let made = make()?;
        let mut held = self.shared.held.borrow_mut();
        held.insert(key, Box::new(made.clone()));
        Some(made)
    }
}

impl fmt::Debug for SharedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held.borrow().len();
        f.debug_struct("SharedWeights")
            .field("held", &held)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;
    use crate::{
        layer::linear::Linear,
        weights::{bias::Bias, cursor::Weights, random::RandomWeights, source::WeightSource},
    };

    /// Random numbers, and what was asked for.
    struct Told(RandomWeights, RefCell<Vec<String>>);

    impl WeightSource for Told {
        fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
            self.1.borrow_mut().push(request.name.to_string());
            self.0.tensor(request)
        }

        fn contains(&self, _: &str) -> bool {
            true
        }
    }

    #[test]
    fn what_is_shared_is_read_once_and_the_rest_by_each() {
        let (device, shared) = (Device::flex(), SharedWeights::new());
        let [first, second] = [0, 1].map(|seed| {
            let asked = RefCell::default();
            Told(RandomWeights::new(seed, 0.02), asked)
        });
        let plain = Weights::new(&first, &device);
        let own = |name: &str| name == "b.weight";
        let other = Weights::new(&second, &device);
        let model = |weights: &Weights<'_>| -> Vec<Linear> {
            let layer = |name| weights.linear(name, 8, 8, Bias::With);
            let head = weights.head("a", 8, 8, Bias::Without);
            let narrow = weights.with_precision(Precision::Int4);
            vec![
                layer("a"),
                layer("b"),
                head,
                narrow.linear("a", 8, 8, Bias::With),
            ]
        };
        let one = model(&plain.sharing(&shared, &|_| false));
        // Of one name, a head and a matrix of fewer bits are others.
        let asked = [
            "a.weight", "a.bias", "b.weight", "b.bias", "a.weight", "a.weight", "a.bias",
        ];
        assert_eq!(*first.1.borrow(), asked);
        let two = model(&other.sharing(&shared, &own));
        assert_eq!(*second.1.borrow(), ["b.weight"]);
        let x = Tensor::<2>::ones([1, 8], &device);
        let same = |place: usize| {
            let of = |model: &[Linear]| model[place].forward(x.clone()).into_data();
            of(&one) == of(&two)
        };
        assert_eq!([0, 1, 2, 3].map(same), [true, false, true, true]);
    }
}
