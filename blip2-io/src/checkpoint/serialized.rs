//! A checkpoint's tensors as the bytes of one safetensors file.

use burn::tensor::DType;
use safetensors::{Dtype, serialize, tensor::TensorView};

use super::Checkpoint;
use crate::error::IoError;

impl Checkpoint {
    /// The bytes of a safetensors file with these tensors, in the formats in which they are stored.
    ///
    /// # Errors
    ///
    /// [`IoError`] naming the file that cannot be read, or the tensor that no such file can hold.
    pub(crate) fn to_safetensors(&self) -> Result<Vec<u8>, IoError> {
        let mut tensors = Vec::new();
        for (name, entry) in &self.tensors {
            let bytes = self.bytes(entry);
            let bytes = bytes.map_err(|error| IoError::read(&self.folder, error))?;
            let Some(dtype) = stored(entry.dtype).filter(|_| entry.packed.is_none()) else {
                let detail = format!("{name} is {:?}, and no tensor of an adapter", entry.dtype);
                return Err(IoError::safetensors(&self.folder, detail));
            };
            tensors.push((name, dtype, &entry.shape, bytes));
        }
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, (*shape).clone(), bytes);
            Ok((name.as_str(), view?))
        });
        let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        views
            .and_then(|views| serialize(views, None))
            .map_err(|error| IoError::safetensors(&self.folder, error))
    }
}

fn stored(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::U8 => Dtype::U8,
        DType::Bool(_) => Dtype::BOOL,
        _ => return None,
    })
}
