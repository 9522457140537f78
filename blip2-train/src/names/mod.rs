//! Parameters by their Hugging Face names.

mod nearest;
mod pattern;

use std::collections::{BTreeSet, HashMap};

use blip2_kernels::Role;
use burn::module::ParamId;

pub use nearest::nearest_name;
pub use pattern::{NamePattern, Selection};

pub(crate) use nearest::check;
pub(crate) use pattern::{any_matches, within};

/// A parameter of a model.
///
/// ```
/// # use blip2_core::CheckpointFolder;
/// # use blip2_train::Training;
/// # let folder = CheckpointFolder::open("../blip2-cli/demo")?;
/// let trained = Training::of(&folder)?.part("language_projection").load()?;
/// for parameter in trained.parameters() {
///     println!("{} {:?}", parameter.name, parameter.shape);
///     assert_eq!(parameter.decays(), parameter.name.ends_with(".weight")); // and not the bias
/// }
/// assert_eq!(trained.parameters().count(), 2);
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named {
    /// Its Hugging Face name; of an adapter the layer's, with `.lora_A.weight`, `.lora_B.weight` or
    /// `.lora_magnitude_vector`.
    pub name: String,
    /// Its shape in a checkpoint.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

/// The parameters of a model, as far as they are tensors of Burn: packed matrices are none.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub(crate) by_id: HashMap<ParamId, Named>,
    /// Linear layers, packed or not.
    pub(crate) layers: BTreeSet<String>,
    /// Tensors that a model may hold once for themselves and a head, packed or not.
    pub(crate) tables: BTreeSet<String>,
}

impl Named {
    /// Whether it belongs to an adapter.
    pub fn is_lora(&self) -> bool {
        let ends = [".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"];
        ends.iter().any(|end| self.name.ends_with(end))
    }

    /// Whether it is a matrix or a table rather than a bias or a scale: recipes of BLIP-2 have weight
    /// decay (Loshchilov and Hutter, 2019) for these alone.
    pub fn decays(&self) -> bool {
        !matches!(self.role, Role::Bias | Role::Scale) && self.shape.len() > 1
    }
}

impl Names {
    /// The parameter of an id.
    pub fn get(&self, id: &ParamId) -> Option<&Named> {
        self.by_id.get(id)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Named> {
        let mut all: Vec<_> = self.by_id.values().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.into_iter()
    }

    /// The linear layers, which adapters can be for.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &str> + Clone {
        self.layers.iter().map(String::as_str)
    }
}
