//! What an adapter changes of a checkpoint.

use std::collections::BTreeMap;

use blip2_core::Checkpoint;
use blip2_io::Adapter;
use burn::tensor::{Device, TensorData};

use super::merged::{Change, Changes};
use crate::{error::TrainError, lora::HEADS};

/// An adapter's changes, by the names of the base's tensors.
pub(super) struct Adapted<'a> {
    adapter: &'a Adapter,
    /// The adapter's names of the layers whose matrices these are.
    layers: BTreeMap<String, &'a str>,
    /// The adapter's names of what takes a tensor's place.
    whole: BTreeMap<String, &'a str>,
}

/// Whether a name is of a head that the base does not have beside its table of tokens.
fn is_tied_head(name: &str, base: &Checkpoint) -> bool {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    const TABLES: [&str; 3] = ["embed_tokens.", "shared.", "word_embeddings."];
    let is_head = HEADS.iter().any(|head| name.ends_with(head));
    let is_table = |name: &str| TABLES.iter().any(|table| name.contains(table));
    is_head && base.names().any(is_table)
}

impl<'a> Adapted<'a> {
    /// Finds the place of everything that the adapter holds, and reads all of it once, so that nothing
    /// is wrong with it when it is written.
    pub(super) fn new(adapter: &'a Adapter, base: &Checkpoint) -> Result<Self, TrainError> {
        let homeless = |name: &str| {
            let reason = match is_tied_head(name, base) {
                true => format!(
                    "`{name}` is the model's table of tokens in this base (`tie_word_embeddings`), which would be read \
                     with the change as well: it cannot be merged; put the adapter on beside its base"
                ),
                false => {
                    format!("`{name}` matches nothing in the model; it was made for another one")
                }
            };
            TrainError::from(adapter.mismatch(reason))
        };
        let contains = |name: &str| base.shape(name).is_some();
        let mut layers = BTreeMap::new();
        for own in adapter.layers() {
            let is_there = |layer: &str| contains(&format!("{layer}.weight"));
            let layer = Adapter::name_in(own, is_there).ok_or_else(|| homeless(own))?;
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
            let name = Adapter::name_in(own, contains).ok_or_else(|| homeless(own))?;
            adapter.replacement(own, base.shape(&name).unwrap_or_default())?;
            whole.insert(name, own);
        }
        Ok(Self {
            adapter,
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
        let own = own()?;
        if let Some(whole) = self.whole.get(name) {
            return self.adapter.replacement(whole, own.shape().as_slice()).ok();
        }
        let layer = self.layers.get(name)?;
        self.adapter.merged(layer, own, &Device::flex()).ok()
    }

    fn more(&self) -> Vec<(&str, &[usize])> {
        Vec::new()
    }
}
