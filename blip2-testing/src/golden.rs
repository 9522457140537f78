//! Tensors that the reference read and gave.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::view::{floats, integers};

/// The tensors of a safetensors file, by their names.
pub struct Goldens {
    path: PathBuf,
    tensors: BTreeMap<String, Golden>,
}

/// A golden tensor; ids and masks are whole numbers in it.
#[derive(Clone)]
pub struct Golden {
    /// Its size along each axis.
    pub shape: Vec<usize>,
    /// Its elements, row by row.
    pub values: Vec<f32>,
}

impl Goldens {
    /// Reads the tensors of `f32` and `i64` of a file.
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_path_buf();
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = tensors.iter();
        let tensors =
            tensors.filter_map(|(key, view)| Some((key.to_string(), Golden::new(&view)?)));
        Self {
            tensors: tensors.collect(),
            path,
        }
    }

    /// The tensor of that name, if the file holds it.
    pub fn find(&self, key: &str) -> Option<&Golden> {
        self.tensors.get(key)
    }

    /// The tensor of that name, which the file must hold.
    #[track_caller]
    pub fn get(&self, key: &str) -> &Golden {
        let found = self.find(key);
        found.unwrap_or_else(|| panic!("{} has no {key}", self.path.display()))
    }

    /// The goldens `key.0`, `key.1` and so on, of which there must be some.
    #[track_caller]
    pub fn series(&self, key: &str) -> Vec<&Golden> {
        let names = (0..).map(|n| format!("{key}.{n}"));
        let series: Vec<_> = names.map_while(|name| self.find(&name)).collect();
        assert!(!series.is_empty(), "{} has no {key}", self.path.display());
        series
    }
}

impl Golden {
    /// `None` for a format of another kind, such as what the reference gave in 16 bits.
    fn new(view: &TensorView<'_>) -> Option<Self> {
        let values = match view.dtype() {
            Dtype::F32 => floats(view),
            Dtype::I64 => integers(view)
                .into_iter()
                .map(|value| value as f32)
                .collect(),
            _ => return None,
        };
        Some(Self {
            shape: view.shape().to_vec(),
            values,
        })
    }

    /// Its rows along the last axis, each element converted.
    pub fn rows<T>(&self, convert: impl Fn(f32) -> T) -> Vec<Vec<T>> {
        let convert = |row: &[f32]| row.iter().map(|&value| convert(value)).collect();
        let width = self.shape.last().copied().unwrap_or(1);
        self.values.chunks_exact(width).map(convert).collect()
    }

    /// It as Burn's data.
    pub fn data(&self) -> TensorData {
        TensorData::new(self.values.clone(), self.shape.clone())
    }

    /// It on a device.
    #[track_caller]
    pub fn tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        Tensor::from_data(self.data(), device)
    }
}
