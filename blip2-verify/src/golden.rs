//! The goldens beside a checkpoint: `golden.safetensors` and `golden.json`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::{error::VerifyError, report::Outcome};

/// A golden tensor on the host.
#[derive(Debug, Clone)]
pub(crate) struct GoldenTensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: TensorData,
}

impl GoldenTensor {
    /// One row of a batch as a golden of its own.
    pub(crate) fn row(shape: &[usize], values: &[f32]) -> Self {
        let mut shape = shape.to_vec();
        if let Some(batch) = shape.first_mut() {
            *batch = 1;
        }
        let data = TensorData::new(values.to_vec(), shape.clone()).convert_dtype(DType::F32);
        Self { shape, data }
    }

    pub(crate) fn floats(&self) -> Result<Vec<f32>, VerifyError> {
        self.data
            .clone()
            .convert_dtype(DType::F32)
            .try_into_vec::<f32>()
            .map_err(|error| VerifyError::golden(format!("not a tensor of floats: {error:?}")))
    }

    pub(crate) fn ints(&self) -> Result<Vec<i64>, VerifyError> {
        self.data
            .clone()
            .convert_dtype(DType::I64)
            .try_into_vec::<i64>()
            .map_err(|error| VerifyError::golden(format!("not a tensor of integers: {error:?}")))
    }

    /// The tensor on `device`, in `f32`.
    pub(crate) fn tensor<const D: usize>(&self, device: &Device) -> Result<Tensor<D>, VerifyError> {
        let shape: [usize; D] = self.shape.as_slice().try_into().map_err(|_| {
            VerifyError::golden(format!(
                "expected {D} axes, found the shape {:?}",
                self.shape
            ))
        })?;
        let data = TensorData::new(self.floats()?, shape);
        Ok(Tensor::from_data(data, (device, DType::F32)))
    }

    /// The rows of a matrix of token ids.
    pub(crate) fn rows(&self) -> Result<Vec<Vec<i64>>, VerifyError> {
        match self.shape.as_slice() {
            [_, width] if *width > 0 => {
                Ok(self.ints()?.chunks(*width).map(<[i64]>::to_vec).collect())
            }
            _ => Err(VerifyError::golden(format!(
                "not a matrix of ids: shape {:?}",
                self.shape
            ))),
        }
    }
}

/// All goldens of a folder; remembers which were looked at, so that the rest can be named.
#[derive(Debug)]
pub(crate) struct Golden {
    tensors: BTreeMap<String, GoldenTensor>,
    json: serde_json::Map<String, Value>,
    seen: RefCell<BTreeSet<String>>,
}

impl Golden {
    /// Whether `folder` holds goldens.
    pub(crate) fn exists(folder: &Path) -> bool {
        folder.join("golden.json").is_file()
    }

    /// Reads `golden.json` and, if it is there, `golden.safetensors`.
    pub(crate) fn open(folder: &Path) -> Result<Self, VerifyError> {
        let path = folder.join("golden.json");
        let text = fs::read(&path).map_err(|error| VerifyError::read(&path, error))?;
        let json = serde_json::from_slice(&text).map_err(|error| VerifyError::Golden {
            path: path.clone(),
            detail: error.to_string(),
        })?;
        let path = folder.join("golden.safetensors");
        let tensors = if path.is_file() {
            read_tensors(&path)?
        } else {
            BTreeMap::new()
        };
        Ok(Self {
            tensors,
            json,
            seen: RefCell::default(),
        })
    }

    pub(crate) fn tensor(&self, key: &str) -> Option<&GoldenTensor> {
        self.seen.borrow_mut().insert(key.to_string());
        self.tensors.get(key)
    }

    pub(crate) fn json(&self, key: &str) -> Option<&Value> {
        self.seen.borrow_mut().insert(key.to_string());
        self.json.get(key)
    }

    /// `prefix.0`, `prefix.1`, … as far as they go.
    pub(crate) fn series(&self, prefix: &str) -> Vec<(String, &GoldenTensor)> {
        (0..)
            .map(|n| format!("{prefix}.{n}"))
            .map_while(|key| self.tensor(&key).map(|tensor| (key, tensor)))
            .collect()
    }

    pub(crate) fn tensor_keys(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The goldens that nobody looked at.
    pub(crate) fn unseen(&self) -> Vec<String> {
        let seen = self.seen.borrow();
        let keys = self.tensors.keys().chain(self.json.keys());
        keys.filter(|key| !seen.contains(*key)).cloned().collect()
    }
}

fn read_tensors(path: &Path) -> Result<BTreeMap<String, GoldenTensor>, VerifyError> {
    let broken = |detail: String| VerifyError::Golden {
        path: PathBuf::from(path),
        detail,
    };
    let bytes = fs::read(path).map_err(|error| VerifyError::read(path, error))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                Dtype::F64 => DType::F64,
                Dtype::I64 => DType::I64,
                Dtype::I32 => DType::I32,
                Dtype::U8 => DType::U8,
                other => return Err(broken(format!("`{name}` has the unknown type {other:?}"))),
            };
            let shape = view.shape().to_vec();
            let data = TensorData::try_from_bytes_vec(view.data().to_vec(), shape.clone(), dtype)
                .map_err(|error| broken(format!("`{name}`: {error:?}")))?;
            Ok((name, GoldenTensor { shape, data }))
        })
        .collect()
}

/// How far numbers may be from their golden.
///
/// A stage passes if its largest absolute difference is at most `base × max(1, largest absolute
/// value of the golden / 10)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance(pub(crate) f64);

impl Tolerance {
    /// The tolerance for a golden whose own error against 64-bit floats is known.
    pub(crate) fn at_least(self, reference_error: f64) -> Self {
        Self(self.0.max(4.0 * reference_error))
    }

    /// Compares a result with its golden.
    pub(crate) fn compare(self, shape: &[usize], found: &[f32], golden: &GoldenTensor) -> Outcome {
        let expected = match golden.floats() {
            Ok(expected) => expected,
            Err(error) => {
                return Outcome::failed(error);
            }
        };
        if shape != golden.shape || found.len() != expected.len() {
            let error = format!("shape {shape:?} where the golden has {:?}", golden.shape);
            return Outcome::Failed { error };
        }
        let scale = expected
            .iter()
            .fold(0f64, |max, &value| max.max(f64::from(value).abs()));
        let max_abs = found
            .iter()
            .zip(&expected)
            .fold(0f64, |max, (&found, &expected)| {
                let difference = (f64::from(found) - f64::from(expected)).abs();
                // Not `f64::max`, which would pass over NaN.
                if difference <= max {
                    max
                } else if difference.is_nan() {
                    f64::INFINITY
                } else {
                    difference
                }
            });
        Outcome::Tensor {
            max_abs,
            max_rel: if scale > 0.0 {
                max_abs / scale
            } else {
                max_abs
            },
            tolerance: self.0 * (scale / 10.0).max(1.0),
        }
    }

    /// Compares a tensor with its golden.
    pub(crate) fn compare_tensor<const D: usize>(
        self,
        found: Tensor<D>,
        golden: &GoldenTensor,
    ) -> Outcome {
        let shape = found.dims();
        match found
            .into_data()
            .convert_dtype(DType::F32)
            .try_into_vec::<f32>()
        {
            Ok(values) => self.compare(&shape, &values, golden),
            Err(error) => Outcome::Failed {
                error: format!("no result to read: {error:?}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(values: [f32; 3]) -> GoldenTensor {
        GoldenTensor {
            shape: vec![3],
            data: TensorData::from(values),
        }
    }

    #[test]
    fn comparing_finds_the_largest_difference_and_scales_the_tolerance() {
        let outcome =
            Tolerance(1e-4).compare(&[3], &[0.0, 50.0004, -2.0], &golden([0.0, 50.0, -2.0]));
        let Outcome::Tensor {
            max_abs, tolerance, ..
        } = outcome
        else {
            panic!("{outcome:?}")
        };
        assert!((max_abs - 4e-4).abs() < 1e-5);
        assert!((tolerance - 5e-4).abs() < 1e-9);
        assert!(outcome.passed());
    }

    #[test]
    fn nan_and_other_shapes_never_pass() {
        let golden = golden([1.0, 2.0, 3.0]);
        assert!(
            !Tolerance(1e9)
                .compare(&[3], &[1.0, f32::NAN, 3.0], &golden)
                .passed()
        );
        assert!(
            !Tolerance(1e9)
                .compare(&[1, 3], &[1.0, 2.0, 3.0], &golden)
                .passed()
        );
    }
}
