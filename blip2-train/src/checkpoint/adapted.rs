//! What an adapter changes of a checkpoint.

use std::collections::BTreeMap;

use blip2_core::Checkpoint;
use blip2_io::Adapter;
use burn::tensor::{Device, TensorData};

use super::merged::{Change, Changes};
use crate::error::TrainError;

/// An adapter's changes, by the names of the base's tensors.
pub(super) struct Adapted<'a> {
    adapter: &'a Adapter,
    base: &'a Checkpoint,
    /// The adapter's names of the layers whose matrices these are.
    layers: BTreeMap<String, &'a str>,
    /// The adapter's names of what takes a tensor's place.
    whole: BTreeMap<String, &'a str>,
}

/// Whether a tensor is in the base as another one, of which it is a copy.
fn is_copy(name: &str, base: &Checkpoint) -> bool {
    let is_there = |original: String| base.shape(&original).is_some();
    Adapter::name_in(name, |name| Adapter::originals(name).any(is_there)).is_some()
}

/// Whether a tensor's copy, which the base does not hold apart, keeps its numbers when the adapter's take the
/// tensor's place: of the table of tokens, a head that is it.
fn parts_from_copy(adapter: &Adapter, own: &str, name: &str, base: &Checkpoint) -> bool {
    /// What the model does not read: prompts are embedded by T5's own table.
    const UNREAD: &str = "encoder.embed_tokens.weight";
    let is_one = |copy: &str| base.shape(copy).is_none() && !copy.ends_with(UNREAD);
    let mut copies = Adapter::copies(name).zip(Adapter::copies(own));
    copies.any(|(copy, of_adapter)| is_one(&copy) && !adapter.puts_the_same(own, &of_adapter))
}

impl<'a> Adapted<'a> {
    /// Finds the place of everything that the adapter holds, and reads all of it once, so that nothing
    /// is wrong with it when it is written.
    pub(super) fn new(adapter: &'a Adapter, base: &'a Checkpoint) -> Result<Self, TrainError> {
        let tied = |name: &str| {
            let reason = format!(
                "`{name}` is one with another tensor of this base (`tie_word_embeddings`: a head and its table of \
                 tokens), which would be read with the change as well: it cannot be merged; put the adapter on \
                 beside its base"
            );
            TrainError::from(adapter.mismatch(reason))
        };
        let homeless = |name: &str, tensor: &str| {
            if is_copy(tensor, base) {
                return tied(name);
            }
            let reason =
                format!("`{name}` matches nothing in the model; it was made for another one");
            TrainError::from(adapter.mismatch(reason))
        };
        let contains = |name: &str| base.shape(name).is_some();
        let mut layers = BTreeMap::new();
        for own in adapter.layers() {
            let is_there = |layer: &str| contains(&format!("{layer}.weight"));
            let layer = Adapter::name_in(own, is_there)
                .ok_or_else(|| homeless(own, &format!("{own}.weight")))?;
            let matrix = format!("{layer}.weight");
            let Some(&[outputs, inputs]) = base.shape(&matrix) else {
                let reason = format!("`{own}` is no linear layer of the model");
                return Err(adapter.mismatch(reason).into());
            };
            adapter.low_rank(own, [outputs, inputs])?;
            adapter.magnitude(own, outputs)?;
            layers.insert(matrix, own);
        }
        let mut whole = BTreeMap::new();
        for own in adapter.replaced() {
            let Some(name) = Adapter::name_in(own, contains) else {
                match adapter.repeats(own) {
                    true => continue,
                    false => return Err(homeless(own, own)),
                }
            };
            if parts_from_copy(adapter, own, &name, base) {
                return Err(tied(own));
            }
            adapter.replacement(own, base.shape(&name).unwrap_or_default())?;
            whole.insert(name, own);
        }
        Ok(Self {
            adapter,
            base,
            layers,
            whole,
        })
    }
}

impl Changes for Adapted<'_> {
    fn of(&self, name: &str) -> Change {
        match self.layers.contains_key(name) || self.whole.contains_key(name) {
            true => Change::Merged,
            false => Change::None,
        }
    }

    fn numbers(&self, name: &str, own: &dyn Fn() -> Option<TensorData>) -> Option<TensorData> {
        // PEFT saves the matrices of heads beside what it adds to them.
        let plain = match self.whole.get(name) {
            Some(whole) => {
                let shape = self.base.shape(name)?;
                self.adapter.replacement(whole, shape).ok()?
            }
            None => own()?,
        };
        match self.layers.get(name) {
            Some(layer) => self.adapter.merged(layer, plain, &Device::flex()).ok(),
            None => Some(plain),
        }
    }

    fn more(&self) -> Vec<(&str, &[usize])> {
        Vec::new()
    }

    /// PEFT puts a module in one place alone.
    fn is_of_copies(&self) -> bool {
        false
    }
}
