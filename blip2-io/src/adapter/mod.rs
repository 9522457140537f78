//! Adapters as PEFT saves them: LoRA and what goes with it.

mod config;
mod fault;
mod merged;
mod names;
mod pattern;
mod twins;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use blip2_kernels::LowRankData;
use burn::tensor::{DType, TensorData};

pub use config::{AdapterBias, AdapterConfig, TargetModules};
pub use pattern::LayerPattern;

use crate::{
    adapter_files::{CONFIG, open_tensors},
    checkpoint::Checkpoint,
    error::IoError,
    files::{Files, Reading},
    folder::{CheckpointFolder, found},
    hub::{HubCache, ModelId},
};
use config::Patterns;
use fault::Fault;
use names::{Part, in_base};

/// A folder in which PEFT saved an adapter (LoRA; Hu et al., 2021): `adapter_config.json` and
/// `adapter_model.safetensors` or `adapter_model.bin`. The tensors are not read before they are asked
/// for.
///
/// ```
/// use blip2_io::Adapter;
///
/// let adapter = Adapter::open("../fixtures/peft/opt_list")?;
/// assert_eq!(adapter.config().r, 4);
/// assert!(adapter.layers().all(|layer| layer.ends_with("q_proj") || layer.ends_with("v_proj")));
/// # Ok::<(), blip2_io::IoError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Adapter {
    folder: PathBuf,
    config: AdapterConfig,
    patterns: Patterns,
    tensors: Checkpoint,
    layers: BTreeMap<String, Layer>,
    /// The names in the file of what takes a tensor's place, by that tensor's.
    whole: BTreeMap<String, String>,
}

/// The names in the file of a layer's tensors.
#[derive(Debug, Clone, Default)]
struct Layer {
    a: Option<String>,
    b: Option<String>,
    magnitude: Option<String>,
}

/// A folder without an adapter. Of one that has a name other than `default`, PEFT writes a folder below.
fn absent(folder: &Path) -> IoError {
    match one_below(folder) {
        Some(below) => {
            let reason = format!(
                "{CONFIG} is missing, and is in the folder {}; give that",
                below.display()
            );
            Fault::NotFound.of(folder, reason)
        }
        None => IoError::MissingFile {
            folder: folder.to_path_buf(),
            file: CONFIG.into(),
            remedy: "PEFT's `save_pretrained` writes it beside the adapter's tensors",
        },
    }
}

/// The first folder in a folder that holds an adapter, in the order of the alphabet.
fn one_below(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.join(CONFIG).is_file()).min()
}

impl Adapter {
    /// The adapter in a folder, or the one in the hub's cache that its id stands for.
    ///
    /// # Errors
    ///
    /// [`IoError`] naming the file: what is missing or damaged, no LoRA, or has a setting or a tensor
    /// that is not supported.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, IoError> {
        let folder = found(folder.as_ref())?;
        Self::of_files(&Files::disk(&folder, Reading::Mapped))
    }

    /// The adapter that lies beside a checkpoint, if one does, as a model that hears has it: in its folder,
    /// or in the file that it was packed to.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// ```
    /// use blip2_io::{Adapter, CheckpointFolder};
    ///
    /// let folder = CheckpointFolder::open("../fixtures/granite_speech_lora")?;
    /// assert!(Adapter::beside(&folder)?.is_some());
    /// # Ok::<(), blip2_io::IoError>(())
    /// ```
    pub fn beside(checkpoint: &CheckpointFolder) -> Result<Option<Self>, IoError> {
        let files = checkpoint.files();
        match files.has(CONFIG) {
            true => Self::of_files(files).map(Some),
            false => Ok(None),
        }
    }

    fn of_files(files: &Files) -> Result<Self, IoError> {
        let folder = files.folder().to_path_buf();
        let path = files.path(CONFIG);
        let text = files.read(CONFIG)?.ok_or_else(|| absent(&folder))?;
        let config = AdapterConfig::read(&path, &text)?;
        let mut adapter = Self {
            folder,
            patterns: config.patterns(&path)?,
            config,
            tensors: open_tensors(files)?,
            layers: BTreeMap::new(),
            whole: BTreeMap::new(),
        };
        adapter.sort()?;
        Ok(adapter)
    }

    /// Whether a folder, or what the hub's cache has of an id, holds an adapter and no model.
    pub fn is_alone(folder: impl AsRef<Path>) -> bool {
        let Ok(folder) = found(folder.as_ref()) else {
            return false;
        };
        folder.join(CONFIG).is_file() && !folder.join("config.json").is_file()
    }

    /// The folder of the model that it was trained on, by its `base_model_name_or_path`: a path as it
    /// is or beside this folder, or an id of the hub that the cache has.
    ///
    /// # Errors
    ///
    /// [`IoError::Adapter`] if it names none, or none that is here.
    pub fn base(&self) -> Result<PathBuf, IoError> {
        let Some(name) = self.config.base_model_name_or_path.as_deref() else {
            let reason = "it names no base model; open that and give this folder as its adapter";
            return Err(self.mismatch(reason));
        };
        let beside = self.folder.parent().unwrap_or(Path::new("")).join(name);
        let is_model = |path: &PathBuf| path.join("config.json").is_file() || path.is_file();
        let found = [PathBuf::from(name), beside].into_iter().find(is_model);
        found.or_else(|| self.cached(name)).ok_or_else(|| {
            let reason = format!(
                "its base model `{name}` is not here; open that model from where you have it and give \
                 this folder as its adapter"
            );
            self.mismatch(reason)
        })
    }

    /// The base in the hub's cache, at the revision that the adapter names.
    fn cached(&self, name: &str) -> Option<PathBuf> {
        let id: ModelId = name.parse().ok()?;
        let id = match self.config.revision.as_deref() {
            Some(revision) => id.at(revision).ok()?,
            None => id,
        };
        HubCache::of_environment().find(&id)
    }

    /// Finds out what each tensor is for.
    fn sort(&mut self) -> Result<(), IoError> {
        let names: Vec<String> = self.tensors.names().map(str::to_string).collect();
        for name in names {
            match Part::of(&name) {
                Part::A(layer) => self.layers.entry(layer).or_default().a = Some(name),
                Part::B(layer) => self.layers.entry(layer).or_default().b = Some(name),
                Part::Magnitude(layer) => {
                    self.layers.entry(layer).or_default().magnitude = Some(name);
                }
                Part::Whole(tensor) => {
                    self.whole.insert(tensor, name);
                }
                Part::Idle => {}
                Part::Unknown => {
                    let reason = format!(
                        "the tensor `{name}` is no part of an adapter of a linear layer, and others \
                         are not supported; merge the adapter into its base with PEFT's \
                         `merge_and_unload`, and save that"
                    );
                    return Err(Fault::Unsupported.of(&self.folder, reason));
                }
            }
        }
        self.check_layers()
    }

    fn check_layers(&self) -> Result<(), IoError> {
        for (name, layer) in &self.layers {
            let reason = match layer {
                Layer { a: None, .. } => format!("`{name}` has no lora_A"),
                Layer { b: None, .. } => format!("`{name}` has no lora_B"),
                Layer { magnitude, .. } if magnitude.is_some() != self.config.use_dora => {
                    let (says, has) = match self.config.use_dora {
                        true => ("is true", "has no"),
                        false => ("is not true", "has a"),
                    };
                    format!("`use_dora` {says}, but `{name}` {has} lora_magnitude_vector")
                }
                _ => continue,
            };
            return Err(Fault::Malformed.of(&self.folder, reason));
        }
        if self.layers.is_empty() && self.whole.is_empty() {
            return Err(Fault::Malformed.of(&self.folder, "it holds no tensors"));
        }
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// What it says of itself.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// The layers that it adapts, by its own names for them.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }

    /// The tensors whose place it takes, by its own names for them: of `modules_to_save`, and biases.
    pub fn replaced(&self) -> impl Iterator<Item = &str> {
        self.whole.keys().map(String::as_str)
    }

    /// The shape `[outputs, inputs]` of a layer that it adapts, as its own tensors have it.
    pub fn shape(&self, layer: &str) -> Option<[usize; 2]> {
        let layer = self.layers.get(layer)?;
        let side = |name: &Option<String>, axis: usize| {
            self.tensors.shape(name.as_deref()?)?.get(axis).copied()
        };
        Some([side(&layer.b, 0)?, side(&layer.a, 1)?])
    }

    /// The bytes that it takes in memory, in `f32`.
    pub fn size(&self) -> u64 {
        let numbers = |name| {
            self.tensors
                .shape(name)
                .map_or(0, |shape| shape.iter().product())
        };
        let all: usize = self.tensors.names().map(numbers).sum();
        4 * all as u64
    }

    /// A base's name of a layer or of a tensor of this adapter, if `contains` knows one: the language
    /// model has stood at other places in other versions of `transformers`.
    pub fn name_in(name: &str, contains: impl Fn(&str) -> bool) -> Option<String> {
        in_base(name, contains)
    }

    /// The tensors of which one may be a copy that its base need not hold: of a head, the tables of tokens
    /// which it may be.
    pub fn originals(name: &str) -> impl Iterator<Item = String> {
        twins::originals(name)
    }

    /// The tensors that may be copies of one, which a base that has it need not hold.
    pub fn copies(name: &str) -> impl Iterator<Item = String> {
        twins::copies(name)
    }

    /// Whether what takes two tensors' places is the same.
    pub fn puts_the_same(&self, one: &str, other: &str) -> bool {
        let [Some(one), Some(other)] = [one, other].map(|name| self.whole.get(name)) else {
            return false;
        };
        !self.tensors.differ(one, other)
    }

    /// Whether what takes a tensor's place is only a copy of what takes its original's.
    pub fn repeats(&self, tensor: &str) -> bool {
        let mut originals = Self::originals(tensor);
        originals.any(|original| self.puts_the_same(tensor, &original))
    }

    /// An error that says why it does not go with a model.
    pub fn mismatch(&self, reason: impl Into<String>) -> IoError {
        Fault::Mismatch.of(&self.folder, reason)
    }

    /// What it adds to a layer of the shape `[outputs, inputs]`, in `f32`; the layer by this adapter's
    /// name for it.
    ///
    /// # Errors
    ///
    /// [`IoError::Adapter`] if the tensors are not of the layer's shape and the adapter's rank: told
    /// before a number is read.
    pub fn low_rank(
        &self,
        layer: &str,
        [outputs, inputs]: [usize; 2],
    ) -> Result<LowRankData, IoError> {
        let found = self.layers.get(layer).cloned().unwrap_or_default();
        let rank = self.patterns.rank(&self.config, layer);
        Ok(LowRankData {
            a: self.numbers(found.a.as_deref(), layer, &[rank, inputs])?,
            b: self.numbers(found.b.as_deref(), layer, &[outputs, rank])?,
            scale: self.patterns.scale(&self.config, layer),
            dropout: self.config.lora_dropout,
            magnitude: None,
        })
    }

    /// The lengths that DoRA gives the rows of a layer's matrix, `[outputs]`; `None` without DoRA.
    ///
    /// # Errors
    ///
    /// As [`low_rank`](Self::low_rank).
    pub fn magnitude(&self, layer: &str, outputs: usize) -> Result<Option<TensorData>, IoError> {
        let found = self
            .layers
            .get(layer)
            .and_then(|layer| layer.magnitude.as_deref());
        match found {
            Some(name) => self.numbers(Some(name), layer, &[outputs]).map(Some),
            None => Ok(None),
        }
    }

    /// What takes a tensor's place, as it is stored; the tensor by this adapter's name for it.
    ///
    /// # Errors
    ///
    /// As [`low_rank`](Self::low_rank).
    pub fn replacement(&self, tensor: &str, shape: &[usize]) -> Result<TensorData, IoError> {
        let name = self.whole.get(tensor).map(String::as_str);
        self.stored(name, tensor, shape)
    }

    fn numbers(
        &self,
        name: Option<&str>,
        of: &str,
        shape: &[usize],
    ) -> Result<TensorData, IoError> {
        let data = self.stored(name, of, shape)?.convert_dtype(DType::F32);
        let finite = data
            .as_slice::<f32>()
            .is_ok_and(|numbers| numbers.iter().all(|x| x.is_finite()));
        match finite {
            true => Ok(data),
            false => Err(IoError::NotFinite {
                path: self.folder.clone(),
                tensor: name.unwrap_or(of).to_string(),
            }),
        }
    }

    fn stored(&self, name: Option<&str>, of: &str, shape: &[usize]) -> Result<TensorData, IoError> {
        let name = name.unwrap_or(of);
        let found = self.tensors.shape(name);
        if found != Some(shape) {
            let found = found.map_or("missing".into(), |found| format!("of the shape {found:?}"));
            let reason = format!(
                "the tensor `{name}` is {found}, where the base and the adapter's rank want {shape:?}; \
                 it was made for another model"
            );
            return Err(Fault::Mismatch.of(&self.folder, reason));
        }
        let data = self
            .tensors
            .tensor(name)
            .filter(|data| data.dtype().is_float());
        data.ok_or_else(|| {
            Fault::Malformed.of(
                &self.folder,
                format!("the tensor `{name}` holds no numbers of weights"),
            )
        })
    }

    /// A hash of what it changes in the parts of the model whose names have one of `parts` in them;
    /// `None` if that is nothing.
    pub fn fingerprint(&self, parts: &[&str]) -> Option<String> {
        let touches = |name: &str| parts.iter().any(|part| name.contains(part));
        if !self.tensors.names().any(touches) {
            return None;
        }
        let touched: Vec<&str> = self.tensors.names().filter(|name| touches(name)).collect();
        Some(
            self.tensors
                .fingerprint(&touched, &format!("{:?}", self.config)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::ErrorKind;

    /// PEFT writes an adapter with a name of its own into a folder below the one that it is given.
    #[test]
    fn a_folder_above_an_adapter_is_told_the_one_that_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let refused = || Adapter::open(folder.path()).unwrap_err();
        let plain = refused().to_string();
        assert!(plain.contains("save_pretrained"), "{plain}");
        let own = folder.path().join("colours");
        fs::create_dir(&own).unwrap();
        fs::write(own.join(CONFIG), "{}").unwrap();
        let error = refused();
        let said = error.to_string();
        let below = own.display().to_string();
        assert!(
            said.contains(&below) && said.contains("give that"),
            "{said}"
        );
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
