//! Tensors in safetensors files.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensorError, SafeTensors, View, tensor::TensorView};

use super::whole::{partial, publish, read_file, share};
use crate::error::TrainError;

/// Writes tensors of `f32`.
pub(crate) fn write_tensors<'t>(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, &'t TensorData)>,
    metadata: Option<HashMap<String, String>>,
) -> Result<(), TrainError> {
    let tensors = tensors.into_iter().map(|(name, data)| (name, Floats(data)));
    save_tensors(path, tensors, metadata.unwrap_or_default(), || Ok(()))
}

/// Writes tensors, each of which is made when its turn comes, so that the file appears whole or not at
/// all: `checked` says whether what was made may appear.
pub(crate) fn save_tensors<V: View>(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, V)>,
    mut metadata: HashMap<String, String>,
    checked: impl FnOnce() -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    // `transformers` refuses a file that does not say so.
    metadata.insert("format".into(), "pt".into());
    let partial = partial(path);
    let written = safetensors::serialize_to_file(tensors, Some(metadata), &partial);
    let written = written.map_err(|error| match error {
        SafeTensorError::IoError(source) => TrainError::file(path, source),
        other => TrainError::format(path, other),
    });
    let published = written.and_then(|()| checked()).and_then(|()| {
        share(&partial)
            .and_then(|()| publish(&partial, path))
            .map_err(|error| TrainError::file(path, error))
    });
    if published.is_err() {
        // On a full disk it would be what fills it.
        let _ = fs::remove_file(&partial);
    }
    published
}

/// What a file of tensors holds.
pub(crate) struct Contents {
    pub(crate) tensors: BTreeMap<String, TensorData>,
    /// The texts of its header.
    pub(crate) metadata: HashMap<String, String>,
}

/// Reads all tensors of a file, each of which must hold floating-point numbers.
pub(crate) fn read_tensors(path: &Path) -> Result<Contents, TrainError> {
    let bytes = read_file(path)?;
    let fault = |error| TrainError::format(path, error);
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(fault)?;
    let views = SafeTensors::deserialize(&bytes).map_err(fault)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in views.iter() {
        let data = floats(&view)
            .ok_or_else(|| TrainError::state(path, format!("`{name}` holds no numbers")))?;
        tensors.insert(name.to_string(), data);
    }
    Ok(Contents {
        tensors,
        metadata: header.metadata().clone().unwrap_or_default(),
    })
}

/// A tensor's numbers in `f32`.
fn floats(view: &TensorView<'_>) -> Option<TensorData> {
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        _ => return None,
    };
    let bytes = burn::tensor::Bytes::from_bytes_vec(view.data().to_vec());
    let data = TensorData::from_bytes(bytes, view.shape().to_vec(), dtype);
    Some(data.convert_dtype(DType::F32))
}

/// Numbers of `f32`, for safetensors to write.
struct Floats<'d>(&'d TensorData);

impl View for Floats<'_> {
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
