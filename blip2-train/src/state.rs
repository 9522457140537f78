//! What training leaves on disk: states to go on from, and models.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use blip2_core::Checkpoint;
use burn::{
    module::Module,
    optim::{AdamWState, AdaptiveMomentumState},
    tensor::{DType, Device, Tensor, TensorData},
};
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{AdamW, TrainError, Trained, lora::floats};

const TRAINED: &str = "trained.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const PROGRESS: &str = "progress.json";
/// What the names of further sets of tensors end with.
const KEPT_SET: &str = "kept.safetensors";
/// What the names of states begin with; the step's number follows.
const STATE: &str = "step-";
/// What the names of states begin with that are not whole.
const WRITING: &str = "writing-";
/// How many states are kept: the last may be what a fault of the disk spoilt.
const KEPT: usize = 2;

/// How far a training is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// How many steps were made.
    pub step: usize,
    /// What the training itself wants to know when it goes on: its place in the data, the best
    /// score so far.
    #[serde(default)]
    pub notes: Value,
    /// Tensors that it wants to know, by a name of each set.
    #[serde(skip)]
    tensors: BTreeMap<String, BTreeMap<String, TensorData>>,
}

impl Progress {
    /// So many steps, and notes.
    ///
    /// # Errors
    ///
    /// For notes that JSON cannot hold.
    pub fn new(step: usize, notes: &impl Serialize) -> Result<Self, TrainError> {
        let notes = serde_json::to_value(notes)
            .map_err(|error| TrainError::state(Path::new(PROGRESS), error))?;
        let tensors = BTreeMap::new();
        Ok(Self {
            step,
            notes,
            tensors,
        })
    }

    /// Keeps a set of tensors beside the notes, under a file's name.
    pub fn keep(&mut self, name: &str, tensors: BTreeMap<String, TensorData>) {
        self.tensors.insert(name.to_string(), tensors);
    }

    /// A set of tensors that was kept; empty if there is none.
    pub fn tensors(&self, name: &str) -> BTreeMap<String, TensorData> {
        self.tensors.get(name).cloned().unwrap_or_default()
    }

    /// The notes, as what they were.
    ///
    /// # Errors
    ///
    /// [`TrainError::State`] if they were something else.
    pub fn notes<T: DeserializeOwned>(&self, folder: &Path) -> Result<T, TrainError> {
        serde_json::from_value(self.notes.clone()).map_err(|error| TrainError::state(folder, error))
    }
}

impl<M: Module> Trained<M> {
    /// Saves everything that the next steps depend on below `folder`: what is trained, the
    /// optimiser's state, and `progress`. It appears under its name when it is whole, so that a
    /// process that is killed leaves the state before it.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save_state(
        &self,
        optimizer: &AdamW,
        progress: &Progress,
        folder: impl AsRef<Path>,
    ) -> Result<PathBuf, TrainError> {
        let folder = folder.as_ref();
        let writing = folder.join(format!("{WRITING}{}", std::process::id()));
        let whole = folder.join(format!("{STATE}{:09}", progress.step));
        if writing.exists() {
            fs::remove_dir_all(&writing).map_err(|error| TrainError::file(&writing, error))?;
        }
        fs::create_dir_all(&writing).map_err(|error| TrainError::file(&writing, error))?;
        let values = self.values();
        let values = values.iter().map(|(name, data)| (name.clone(), data));
        write_tensors(&writing.join(TRAINED), values, None)?;
        let moments = moments(optimizer);
        let moments = moments.iter().map(|(name, data)| (name.clone(), data));
        let steps = HashMap::from([("steps".to_string(), optimizer.steps.to_string())]);
        write_tensors(&writing.join(OPTIMIZER), moments, Some(steps))?;
        for (set, tensors) in &progress.tensors {
            let tensors = tensors.iter().map(|(name, data)| (name.clone(), data));
            write_tensors(&writing.join(format!("{set}.{KEPT_SET}")), tensors, None)?;
        }
        let text = serde_json::to_vec_pretty(progress)
            .map_err(|error| TrainError::state(&writing, error))?;
        write_file(&writing.join(PROGRESS), &text)?;
        if whole.exists() {
            fs::remove_dir_all(&whole).map_err(|error| TrainError::file(&whole, error))?;
        }
        fs::rename(&writing, &whole).map_err(|error| TrainError::file(&whole, error))?;
        let states = states(folder)?;
        for (_, old) in states.iter().rev().skip(KEPT) {
            fs::remove_dir_all(old).map_err(|error| TrainError::file(old, error))?;
        }
        clear_abandoned(folder);
        Ok(whole)
    }

    /// Goes on from the last state below `folder`; `None` if there is none, and then nothing has
    /// changed.
    ///
    /// # Errors
    ///
    /// [`TrainError::State`] for a state of another training, and for one that cannot be read.
    pub fn resume(
        &mut self,
        optimizer: &mut AdamW,
        folder: impl AsRef<Path>,
    ) -> Result<Option<Progress>, TrainError> {
        let Some((_, state)) = states(folder.as_ref())?.pop() else {
            return Ok(None);
        };
        let path = state.join(PROGRESS);
        let text = fs::read(&path).map_err(|error| TrainError::file(&path, error))?;
        let mut progress: Progress =
            serde_json::from_slice(&text).map_err(|error| TrainError::state(&path, error))?;
        progress.tensors = kept_sets(&state)?;
        let path = state.join(OPTIMIZER);
        let (moments, metadata) = read_tensors(&path)?;
        let steps = metadata.get("steps").and_then(|steps| steps.parse().ok());
        let steps = steps.ok_or_else(|| TrainError::state(&path, "it says no number of steps"))?;
        let path = state.join(TRAINED);
        let (values, _) = read_tensors(&path)?;
        self.restore(&values, &path)?;
        optimizer.states = states_of(moments, self.device());
        optimizer.steps = steps;
        Ok(Some(progress))
    }
}

/// Removes what processes left that were killed while they wrote. That it stays costs space alone.
fn clear_abandoned(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with(WRITING) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The sets of tensors that a state keeps besides.
fn kept_sets(state: &Path) -> Result<BTreeMap<String, BTreeMap<String, TensorData>>, TrainError> {
    let mut sets = BTreeMap::new();
    let failed = |error| TrainError::file(state, error);
    for entry in fs::read_dir(state).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let set = name.and_then(|name| name.strip_suffix(KEPT_SET)?.strip_suffix('.'));
        if let Some(set) = set {
            sets.insert(set.to_string(), read_tensors(&path)?.0);
        }
    }
    Ok(sets)
}

/// The states below a folder with their steps, in that order.
fn states(folder: &Path) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| TrainError::file(folder, error))?,
    };
    let mut states = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|error| TrainError::file(folder, error))?
            .path();
        let name = path.file_name().and_then(|name| name.to_str());
        let step = name.and_then(|name| name.strip_prefix(STATE)?.parse().ok());
        states.extend(step.map(|step| (step, path)));
    }
    states.sort();
    Ok(states)
}

/// The optimiser's numbers by name: both moments, and how often each parameter moved.
fn moments(optimizer: &AdamW) -> BTreeMap<String, TensorData> {
    let mut found = BTreeMap::new();
    for (name, state) in &optimizer.states {
        let AdaptiveMomentumState {
            time,
            moment_1,
            moment_2,
            ..
        } = &state.momentum;
        found.insert(format!("{name}|m"), moment_1.clone().into_data());
        found.insert(format!("{name}|v"), moment_2.clone().into_data());
        // Exact in an `f32` for as long as anyone trains.
        found.insert(
            format!("{name}|t"),
            TensorData::new(vec![*time as f32], [1]),
        );
    }
    found
}

fn states_of(
    mut moments: BTreeMap<String, TensorData>,
    device: &Device,
) -> BTreeMap<String, AdamWState<1>> {
    let names: Vec<String> = moments
        .keys()
        .filter_map(|key| key.strip_suffix("|t").map(str::to_string))
        .collect();
    let mut states = BTreeMap::new();
    for name in names {
        let mut take = |part: &str| moments.remove(&format!("{name}|{part}"));
        let (Some(m), Some(v), Some(t)) = (take("m"), take("v"), take("t")) else {
            continue;
        };
        let time = t.iter::<f32>().next().unwrap_or(0.0) as usize;
        let momentum = AdaptiveMomentumState {
            time,
            moment_1: Tensor::from_data(m, device),
            moment_2: Tensor::from_data(v, device),
            max_moment_2: None,
        };
        states.insert(name, AdamWState::new(momentum));
    }
    states
}

/// Writes a file so that it appears whole or not at all.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<(), TrainError> {
    let partial = partial(path);
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written
        .and_then(|()| fs::rename(&partial, path))
        .map_err(|error| TrainError::file(path, error))
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Writes tensors of `f32`, as [`write_file`].
pub(crate) fn write_tensors<'t>(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, &'t TensorData)>,
    metadata: Option<HashMap<String, String>>,
) -> Result<(), TrainError> {
    let tensors = tensors
        .into_iter()
        .map(|(name, data)| (name, Numbers(data)));
    let mut all = metadata.unwrap_or_default();
    all.insert("format".into(), "pt".into());
    save_tensors(path, tensors, all)
}

fn save_tensors<V: View>(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, V)>,
    metadata: HashMap<String, String>,
) -> Result<(), TrainError> {
    let partial = partial(path);
    let written = safetensors::serialize_to_file(tensors, Some(metadata), &partial);
    written.map_err(|error| match error {
        SafeTensorError::IoError(source) => TrainError::file(path, source),
        other => TrainError::state(path, other),
    })?;
    as_others(&partial)
        .and_then(|()| File::open(&partial)?.sync_all())
        .and_then(|()| fs::rename(&partial, path))
        .map_err(|error| TrainError::file(path, error))
}

/// Lets those read a file who may read what this process writes: safetensors makes files that only
/// their owner may.
fn as_others(path: &Path) -> io::Result<()> {
    let probe = partial(path);
    let permissions = File::create(&probe)?.metadata()?.permissions();
    fs::remove_file(&probe)?;
    fs::set_permissions(path, permissions)
}

/// What a file of tensors holds: these, and its header's texts.
type Contents = (BTreeMap<String, TensorData>, HashMap<String, String>);

fn read_tensors(path: &Path) -> Result<Contents, TrainError> {
    let bytes = fs::read(path).map_err(|error| TrainError::file(path, error))?;
    let fault = |error| TrainError::state(path, error);
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(fault)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(fault)?;
    let mut found = BTreeMap::new();
    for (name, view) in tensors.iter() {
        let data = floats(&view)
            .ok_or_else(|| TrainError::state(path, format!("`{name}` holds no numbers")))?;
        found.insert(name.to_string(), data);
    }
    Ok((found, header.metadata().clone().unwrap_or_default()))
}

/// Numbers of `f32`, seen as a file has them.
struct Numbers<'d>(&'d TensorData);

impl View for Numbers<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.0.shape().as_slice()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.0.as_bytes())
    }

    fn data_len(&self) -> usize {
        self.0.as_bytes().len()
    }
}

/// A tensor of a model that is saved: read, and changed, when it is written.
struct Saved<'s> {
    checkpoint: &'s Checkpoint,
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    values: &'s BTreeMap<String, TensorData>,
    scale: f64,
}

impl Saved<'_> {
    /// Its numbers after training.
    fn numbers(&self) -> Option<TensorData> {
        let base = match self.values.get(&self.name) {
            Some(data) => data.clone(),
            None => self.checkpoint.tensor(&self.name)?,
        };
        let Some([a, b]) = adapter(&self.name, self.values) else {
            return Some(base);
        };
        let device = Device::flex();
        let tensor = |data: TensorData| Tensor::<2>::from_data(data, (&device, DType::F32));
        let base = tensor(base.convert_dtype(DType::F32));
        let change = tensor(b.clone()).matmul(tensor(a.clone())) * self.scale;
        Some((base + change).into_data())
    }
}

/// The adapter of the layer whose matrix has this name.
fn adapter<'v>(
    name: &str,
    values: &'v BTreeMap<String, TensorData>,
) -> Option<[&'v TensorData; 2]> {
    let layer = name.strip_suffix(".weight")?;
    let part = |part: &str| values.get(&format!("{layer}.{part}.weight"));
    Some([part("lora_A")?, part("lora_B")?])
}

impl View for Saved<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self.numbers() {
            Some(data) => Cow::Owned(data.as_bytes().to_vec()),
            // Asked for by a name of the checkpoint's own list.
            None => Cow::Owned(vec![0; self.data_len()]),
        }
    }

    fn data_len(&self) -> usize {
        let width = match self.dtype {
            Dtype::F64 | Dtype::I64 => 8,
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::U8 | Dtype::BOOL => 1,
            _ => 2,
        };
        self.shape.iter().product::<usize>() * width
    }
}

/// Writes the checkpoint of `source` to `folder` with trained values in it, adapters merged.
pub(crate) fn save_model(
    source: &Path,
    checkpoint: &Checkpoint,
    values: &BTreeMap<String, TensorData>,
    scale: f64,
    folder: &Path,
) -> Result<(), TrainError> {
    fs::create_dir_all(folder).map_err(|error| TrainError::file(folder, error))?;
    copy_files(source, folder)?;
    let mut all = Vec::new();
    for name in checkpoint.names() {
        let Some(shape) = checkpoint.shape(name) else {
            continue;
        };
        let changed = values.contains_key(name) || adapter(name, values).is_some();
        let dtype = match checkpoint.dtype(name) {
            _ if changed => Dtype::F32,
            Some(DType::F64) => Dtype::F64,
            Some(DType::F16) => Dtype::F16,
            Some(DType::BF16) => Dtype::BF16,
            Some(DType::I64) => Dtype::I64,
            Some(DType::I32) => Dtype::I32,
            Some(DType::U8) => Dtype::U8,
            Some(DType::Bool(_)) => Dtype::BOOL,
            _ => Dtype::F32,
        };
        let saved = Saved {
            checkpoint,
            name: name.to_string(),
            shape: shape.to_vec(),
            dtype,
            values,
            scale,
        };
        all.push((name.to_string(), saved));
    }
    // What the checkpoint did not have: the first stage's head.
    let known: BTreeSet<&str> = checkpoint.names().collect();
    for (name, data) in values {
        if !known.contains(name.as_str()) && !name.contains(".lora_") {
            let saved = Saved {
                checkpoint,
                name: name.clone(),
                shape: data.shape().to_vec(),
                dtype: Dtype::F32,
                values,
                scale,
            };
            all.push((name.clone(), saved));
        }
    }
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    save_tensors(&folder.join("model.safetensors"), all, metadata)
}

/// Writes a checkpoint that is no other's: all of these tensors.
pub(crate) fn save_fresh(
    values: &BTreeMap<String, TensorData>,
    config: &Value,
    folder: &Path,
) -> Result<(), TrainError> {
    fs::create_dir_all(folder).map_err(|error| TrainError::file(folder, error))?;
    let values = values.iter().map(|(name, data)| (name.clone(), data));
    write_tensors(&folder.join("model.safetensors"), values, None)?;
    let path = folder.join("config.json");
    write_file(&path, format!("{config:#}\n").as_bytes())
}

/// Copies everything but weights, folders in it included.
fn copy_files(from: &Path, to: &Path) -> Result<(), TrainError> {
    let entries = fs::read_dir(from).map_err(|error| TrainError::file(from, error))?;
    for entry in entries {
        let path = entry.map_err(|error| TrainError::file(from, error))?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        let text = name.to_string_lossy();
        let weights = text.contains(".safetensors") || text.starts_with("pytorch_model");
        if weights {
            continue;
        }
        let target = to.join(name);
        if path.is_dir() {
            fs::create_dir_all(&target).map_err(|error| TrainError::file(&target, error))?;
            copy_files(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(|error| TrainError::file(&target, error))?;
        }
    }
    Ok(())
}
