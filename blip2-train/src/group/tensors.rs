//! Tensors that processes sum up, or send to one another.

use std::collections::BTreeMap;

use burn::tensor::{Bytes, DType, Device, Tensor, TensorData};

use super::{
    agree::{agreed, together},
    processes::Group,
};
use crate::{error::TrainError, gradients::Gradients};

/// How many numbers are summed in one call: small tensors go together, since each call waits for all
/// processes.
const BUCKET: usize = 1 << 22;

/// The sum over all processes of each one's gradients times its `factor`. `names` are those of all
/// processes' gradients, each with how many numbers it has; a process that has none of a name adds
/// nothing to it.
pub(crate) fn summed(
    group: &dyn Group,
    gradients: Gradients,
    factor: f64,
    names: &BTreeMap<String, usize>,
    device: &Device,
) -> Result<Gradients, TrainError> {
    let mut own = gradients.by_name;
    let mut found = Gradients::default();
    let mut names = names.iter().peekable();
    while names.peek().is_some() {
        let mut bucket: Vec<f32> = Vec::new();
        let mut parts = Vec::new();
        while let Some((name, count)) =
            names.next_if(|(_, count)| parts.is_empty() || bucket.len() + **count <= BUCKET)
        {
            match own.remove(name) {
                Some(gradient) => bucket.extend((gradient * factor).into_data().iter::<f32>()),
                None => bucket.resize(bucket.len() + count, 0.0),
            }
            parts.push((name, *count));
        }
        group.sum(&mut bucket)?;
        let mut rest = bucket.as_slice();
        for (name, count) in parts {
            let (numbers, others) = rest.split_at(count);
            rest = others;
            let data = TensorData::new(numbers.to_vec(), [count]);
            let sum = Tensor::from_data(data, device);
            found.by_name.insert(name.clone(), sum);
        }
    }
    Ok(found)
}

/// A set of tensors of `f32` as process 0 has it.
pub(crate) fn sent(
    group: &dyn Group,
    set: BTreeMap<String, TensorData>,
) -> Result<BTreeMap<String, TensorData>, TrainError> {
    if group.size() == 1 {
        return Ok(set);
    }
    let shapes = set.iter();
    let shapes = shapes.map(|(name, data)| (name.clone(), data.shape().to_vec()));
    let shapes: BTreeMap<String, Vec<usize>> = shapes.collect();
    let shapes: BTreeMap<String, Vec<usize>> = told(group, &shapes)?;
    let mut set = set;
    let mut found = BTreeMap::new();
    for (name, shape) in shapes {
        let own = set.remove(&name).map(|data| data.convert_dtype(DType::F32));
        let mut bytes = own.map_or_else(Vec::new, |data| data.as_bytes().to_vec());
        group.broadcast(&mut bytes)?;
        let data = TensorData::from_bytes(Bytes::from_bytes_vec(bytes), shape, DType::F32);
        found.insert(name, data);
    }
    Ok(found)
}

/// A value as process 0 has it.
pub(crate) fn told<T: serde::Serialize + serde::de::DeserializeOwned>(
    group: &dyn Group,
    value: &T,
) -> Result<T, TrainError> {
    let failed = |error: serde_json::Error| TrainError::Group {
        reason: format!("what process 0 tells cannot be read: {error}"),
    };
    let mut bytes = serde_json::to_vec(value).map_err(failed)?;
    group.broadcast(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(failed)
}

/// Rows that each process made some of, by numbers: the numbers in order, and the rows together,
/// `[rows, ...]` with the shape of a row behind. `own` are this process's; `None` where nobody has any.
pub(crate) fn rows_of_all<const D: usize>(
    group: &dyn Group,
    own: Result<(Vec<usize>, Option<Tensor<D>>), TrainError>,
    device: &Device,
) -> Result<(Vec<usize>, Option<Tensor<D>>), TrainError> {
    if group.size() == 1 {
        return own;
    }
    let (numbers, tensor) = together(group, own)?;
    let shape = tensor.as_ref().map(|tensor| tensor.dims().to_vec());
    let told = agreed(group, Ok((numbers, shape)))?;
    let own = tensor.map(|tensor| tensor.into_data().convert_dtype(DType::F32));
    let bytes = own.as_ref().map_or(&[][..], TensorData::as_bytes);
    let mut rows = BTreeMap::new();
    let mut row_shape = None;
    for ((numbers, shape), bytes) in told.into_iter().zip(group.gather(bytes)?) {
        let Some(shape) = shape else { continue };
        let size = bytes.len() / numbers.len().max(1);
        rows.extend(
            numbers
                .into_iter()
                .zip(bytes.chunks(size.max(1)).map(<[u8]>::to_vec)),
        );
        row_shape = Some(shape);
    }
    let Some(mut shape) = row_shape else {
        return Ok((Vec::new(), None));
    };
    if let Some(first) = shape.first_mut() {
        *first = rows.len();
    }
    let (numbers, rows): (Vec<usize>, Vec<Vec<u8>>) = rows.into_iter().unzip();
    let bytes = Bytes::from_bytes_vec(rows.concat());
    let data = TensorData::from_bytes(bytes, shape, DType::F32);
    Ok((numbers, Some(Tensor::from_data(data, device))))
}
