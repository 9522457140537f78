//! Checkpoints in one file, their matrices packed for the kernels.
//!
//! A packed file is a safetensors file. A matrix is a tensor of bytes, as
//! [`PackedMatrix`](blip2_kernels::PackedMatrix) lays them out; the header's metadata says which
//! tensors are matrices, of what shape and in what format, and holds the small files of the
//! checkpoint's folder; a large one, as of an adapter beside the checkpoint, is a tensor of bytes. Matrices stand first and each begins at a multiple of 64 bytes, so that the
//! mapped file is computed with as it is: it opens at once, and processes share its pages.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, BufWriter, Write},
    path::Path,
};

use blip2_kernels::{PackedFormat, Role, TensorRequest, WeightSource, matrix_shape, packed_matrix};
use burn::tensor::{DType, Device};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{PlannedTensor, header};
use crate::{error::IoError, new_file::NewFile};

/// The metadata's key of the list of matrices.
const MATRICES: &str = "blip2.packed";
/// What the keys of the folder's files begin with, and the names of the tensors that are files.
const FILE: &str = "file:";

/// What the metadata says of a matrix.
#[derive(Debug, Serialize, Deserialize)]
struct Described {
    format: String,
    shape: [usize; 2],
}

/// A matrix of a packed file.
#[derive(Debug, Clone, Copy)]
pub(super) struct PackedEntry {
    pub(super) format: PackedFormat,
    pub(super) shape: [usize; 2],
}

impl PackedEntry {
    /// Whether `found` bytes of format `dtype` can be this matrix; else what is wrong.
    pub(super) fn check(&self, name: &str, dtype: DType, found: usize) -> Result<(), String> {
        // The shape comes from the file. It is beyond any file from here on, and the format's
        // arithmetic is still far from where it would overflow.
        const LARGEST: usize = 1 << 40;
        let [outputs, inputs] = self.shape;
        if outputs > LARGEST || inputs > LARGEST || outputs.saturating_mul(inputs) > LARGEST {
            return Err(format!(
                "no file holds a matrix {name} of {outputs} × {inputs}"
            ));
        }
        let expected = self.format.bytes(outputs, inputs);
        if dtype == DType::U8 && expected == found {
            return Ok(());
        }
        Err(format!(
            "{name} should be the {expected} bytes of a packed {} matrix of {outputs} × {inputs}, \
             but is {found} bytes of {dtype:?}",
            self.format
        ))
    }
}

/// What a safetensors header says beside its tensors.
type Metadata = Option<HashMap<String, String>>;

/// The matrices that a header's metadata lists, by name; none in an ordinary file.
pub(super) fn matrices(metadata: &Metadata) -> Result<BTreeMap<String, PackedEntry>, String> {
    let Some(text) = metadata
        .as_ref()
        .and_then(|metadata| metadata.get(MATRICES))
    else {
        return Ok(BTreeMap::new());
    };
    let described: BTreeMap<String, Described> =
        serde_json::from_str(text).map_err(|error| format!("its list of matrices: {error}"))?;
    described
        .into_iter()
        .map(|(name, Described { format, shape })| match format.parse() {
            Ok(format) => Ok((name, PackedEntry { format, shape })),
            Err(error) => Err(format!("{name}: {error}")),
        })
        .collect()
}

/// The files of the folder that a packed file was made of, and the file itself as the one that holds
/// the weights.
pub(crate) fn unpacked_files(path: &Path, data: Bytes) -> Result<BTreeMap<String, Bytes>, IoError> {
    let not_packed = || IoError::NotPacked {
        path: path.to_path_buf(),
    };
    let (start, metadata) = header::read(&data).map_err(|_| not_packed())?;
    let mut files: BTreeMap<String, Bytes> = metadata
        .metadata()
        .iter()
        .flatten()
        .filter_map(|(key, text)| {
            let name = key.strip_prefix(FILE)?;
            Some((name.to_string(), Bytes::from(text.clone())))
        })
        .collect();
    if files.is_empty() {
        return Err(not_packed());
    }
    for (name, info) in metadata.tensors() {
        if let Some(file) = name.strip_prefix(FILE) {
            let (from, to) = info.data_offsets;
            files.insert(file.to_string(), data.slice(start + from..start + to));
        }
    }
    files.insert(super::SINGLE.to_string(), data);
    Ok(files)
}

/// Whether a tensor of a packed file is a file of the folder that it was made of.
pub(super) fn is_file(name: &str) -> bool {
    name.starts_with(FILE)
}

/// What a packed file holds of a folder beside its tensors.
#[derive(Default)]
pub(crate) struct PackedFiles {
    /// By their names: configurations, vocabularies.
    pub(crate) texts: BTreeMap<String, String>,
    /// Such as an adapter's tensors.
    pub(crate) large: BTreeMap<String, Vec<u8>>,
}

/// How one tensor is written.
struct Plan<'t> {
    tensor: &'t PlannedTensor,
    kind: Kind,
    bytes: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    Matrix(PackedFormat),
    Floats(DType),
}

/// Writes a packed file to `path`: `tensors` in their precisions, from `source`, and `files`. One tensor is
/// in memory at a time; the file appears under its name when it is whole.
///
/// # Errors
///
/// [`IoError::Write`], and [`IoError::NoTensor`] where the source lacks one.
pub(crate) fn write(
    path: &Path,
    files: &PackedFiles,
    tensors: &[PlannedTensor],
    source: &dyn WeightSource,
    device: &Device,
) -> Result<u64, IoError> {
    let plans = plan(tensors, device);
    let failed = |source| IoError::write(path, source);
    // Whole or not at all: a process that maps the old file keeps it.
    let mut file = BufWriter::new(NewFile::create(path).map_err(failed)?);
    let header = header(&plans, files);
    let mut len = header.len() as u64;
    file.write_all(&header).map_err(failed)?;
    for plan in &plans {
        write_tensor(plan, source, device, &mut file)
            .ok_or_else(|| IoError::NoTensor {
                path: path.to_path_buf(),
                tensor: plan.tensor.name.clone(),
            })?
            .map_err(failed)?;
        len += plan.bytes as u64;
    }
    for content in files.large.values() {
        file.write_all(content).map_err(failed)?;
        len += content.len() as u64;
    }
    let file = file
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.finish().map_err(failed)?;
    Ok(len)
}

/// Every tensor once, matrices first, then wide numbers before narrow ones: each begins at a
/// multiple of its own alignment.
fn plan<'t>(tensors: &'t [PlannedTensor], device: &Device) -> Vec<Plan<'t>> {
    let mut by_name: BTreeMap<&str, Plan<'t>> = BTreeMap::new();
    for tensor in tensors {
        let stored = tensor.stored.unwrap_or(DType::F32);
        let elements: usize = tensor.shape.iter().product();
        let (kind, bytes) = match (tensor.role, matrix_shape(&tensor.shape)) {
            (Role::Matrix | Role::Head, Some([outputs, inputs])) => {
                let format = tensor.precision.packed(stored, tensor.role);
                (Kind::Matrix(format), format.bytes(outputs, inputs))
            }
            (role, _) => {
                let held = if role.follows_precision() {
                    tensor.precision.storage(stored, device)
                } else {
                    DType::F32
                };
                (Kind::Floats(held), elements * held.size())
            }
        };
        let plan = Plan {
            tensor,
            kind,
            bytes,
        };
        by_name.entry(&tensor.name).or_insert(plan);
    }
    let mut plans: Vec<_> = by_name.into_values().collect();
    // Packed matrices are whole multiples of 64 bytes, so each leaves the next one aligned; then an
    // `f32` can follow at any multiple of 4 and a 16-bit number at any of 2. No byte is padding. The
    // sort is stable: names stay in order, and equal plans give equal files.
    plans.sort_by_key(|plan| match plan.kind {
        Kind::Matrix(_) => 0,
        Kind::Floats(dtype) => 16 - dtype.size(),
    });
    plans
}

/// The header with its length before it, padded so that the first matrix begins at a multiple of 64.
fn header(plans: &[Plan<'_>], files: &PackedFiles) -> Vec<u8> {
    let mut entries = Map::new();
    let mut matrices = BTreeMap::new();
    let mut at = 0;
    for plan in plans {
        let name = plan.tensor.name.clone();
        let stored = plan.tensor.shape.clone();
        let (dtype, shape) = match (plan.kind, matrix_shape(&stored)) {
            (Kind::Matrix(format), Some(shape)) => {
                let format = format.to_string();
                matrices.insert(name.clone(), Described { format, shape });
                ("U8", vec![plan.bytes])
            }
            (Kind::Floats(DType::F16), _) => ("F16", stored),
            (Kind::Floats(DType::BF16), _) => ("BF16", stored),
            _ => ("F32", stored),
        };
        let offsets = [at, at + plan.bytes];
        entries.insert(
            name,
            json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }),
        );
        at += plan.bytes;
    }
    // Behind the numbers: a file of any length leaves none of them unaligned.
    for (name, content) in &files.large {
        let offsets = [at, at + content.len()];
        entries.insert(
            format!("{FILE}{name}"),
            json!({ "dtype": "U8", "shape": [content.len()], "data_offsets": offsets }),
        );
        at += content.len();
    }
    let mut metadata = Map::new();
    metadata.insert("format".into(), "pt".into());
    metadata.insert(MATRICES.into(), json!(matrices).to_string().into());
    for (name, text) in &files.texts {
        metadata.insert(format!("{FILE}{name}"), text.as_str().into());
    }
    entries.insert("__metadata__".into(), Value::Object(metadata));
    let mut text = Value::Object(entries).to_string().into_bytes();
    // The format begins with the header's length in 8 bytes, and allows spaces after its JSON.
    let len = (text.len() + 8).next_multiple_of(64) - 8;
    text.resize(len, b' ');
    let mut header = (len as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    header
}

/// Writes a tensor; `None` where the source lacks it.
fn write_tensor(
    plan: &Plan<'_>,
    source: &dyn WeightSource,
    device: &Device,
    file: &mut impl Write,
) -> Option<io::Result<()>> {
    let request = TensorRequest {
        name: &plan.tensor.name,
        shape: &plan.tensor.shape,
        role: plan.tensor.role,
        precision: plan.tensor.precision,
        device,
        packs: matches!(plan.kind, Kind::Matrix(_)),
    };
    Some(match plan.kind {
        Kind::Matrix(_) => file.write_all(packed_matrix(source, &request)?.bytes()),
        Kind::Floats(held) => {
            let data = source.tensor(&request)?.convert_dtype(held);
            file.write_all(data.as_bytes())
        }
    })
}
