//! The tensors of the folder to be written, each read only when it is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use pytorch_reader::{DType, Tensor};
use safetensors::Dtype;

use super::Mapped;
use crate::{checkpoint::Checkpoint, error::IoError, torch};

/// A tensor of the folder.
pub(super) struct Piece {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    content: Content,
}

/// Where its numbers come from.
enum Content {
    /// The whole of a tensor, or one of its thirds.
    Pth {
        tensor: Tensor,
        third: Option<usize>,
    },
    /// The biases of queries and values, with zeros for keys between them.
    Fused { query: Tensor, value: Tensor },
    /// A tensor of another checkpoint, with rows after it that are the mean of its own.
    Stored {
        checkpoint: Arc<Checkpoint>,
        name: String,
        more_rows: usize,
    },
}

/// Everything that is to be written, by its Hugging Face name.
#[derive(Default)]
pub(super) struct Pieces {
    pieces: BTreeMap<String, Piece>,
    /// Biases that wait for their other half, by the fused one's name.
    queries: BTreeMap<String, Tensor>,
    values: BTreeMap<String, Tensor>,
    pub(super) temperature: Option<f32>,
}

/// The tensors of a file, by name: those below `model`, where LAVIS puts them, or at the root, where
/// the files of image encoders have them.
pub(super) fn open(path: &Path) -> Result<BTreeMap<String, Tensor>, IoError> {
    let tensors = torch::open(path)?;
    let nested = tensors.keys().any(|name| name.starts_with("model."));
    let tensors = tensors
        .into_iter()
        .filter_map(|(name, tensor)| match nested {
            // Beside the model a file may hold the optimiser and more.
            true => Some((name.strip_prefix("model.")?.to_string(), tensor)),
            false => Some((name, tensor)),
        });
    Ok(tensors.collect())
}

impl Pieces {
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.pieces.contains_key(name)
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.pieces.get(name)?.shape)
    }

    /// The numbers that follow `prefix` in names, in order.
    pub(super) fn layers(&self, prefix: &str) -> BTreeSet<usize> {
        let layer = |name: &String| {
            let rest = name.strip_prefix(prefix)?;
            rest.split('.').next()?.parse().ok()
        };
        self.pieces.keys().filter_map(layer).collect()
    }

    pub(super) fn has_vision(&self) -> bool {
        self.contains("vision_model.embeddings.class_embedding")
    }

    /// Adds a LAVIS tensor of the file `path`.
    pub(super) fn add(
        &mut self,
        mapped: Mapped,
        tensor: Tensor,
        path: &Path,
    ) -> Result<(), IoError> {
        let name = tensor.name.clone();
        let fault = |reason: String| IoError::Lavis {
            path: path.to_path_buf(),
            reason: format!("`{name}` {reason}"),
        };
        let dtype = dtype(tensor.dtype()).ok_or_else(|| {
            fault(format!(
                "has the format {:?}, which no weights have",
                tensor.dtype()
            ))
        })?;
        let shape = tensor.shape().to_vec();
        match mapped {
            Mapped::Whole(to) => {
                let third = None;
                self.pieces.insert(
                    to,
                    Piece {
                        dtype,
                        shape,
                        content: Content::Pth { tensor, third },
                    },
                );
            }
            Mapped::Thirds(names) => {
                let Some(rows) = shape.first().filter(|rows| rows.is_multiple_of(3)) else {
                    return Err(fault(format!(
                        "has the shape {shape:?}, which has no thirds"
                    )));
                };
                // Queries, keys and values lie one below the other in the fused matrix, and row-major
                // storage makes each of them a third of the bytes.
                let mut part = shape.clone();
                part[0] = rows / 3;
                for (third, to) in names.into_iter().enumerate() {
                    let (tensor, third) = (tensor.clone(), Some(third));
                    self.pieces.insert(
                        to,
                        Piece {
                            dtype,
                            shape: part.clone(),
                            content: Content::Pth { tensor, third },
                        },
                    );
                }
            }
            Mapped::QueryBias(to) => {
                self.queries.insert(to, tensor);
            }
            Mapped::ValueBias(to) => {
                self.values.insert(to, tensor);
            }
            Mapped::Temperature => {
                let bytes = tensor.read().map_err(|error| IoError::read(path, error))?;
                self.temperature = number(tensor.dtype(), &bytes);
            }
        }
        Ok(())
    }

    /// Joins the halves of biases.
    pub(super) fn finish(&mut self, path: &Path) -> Result<(), IoError> {
        for (to, query) in std::mem::take(&mut self.queries) {
            let fault = |reason: &str| IoError::Lavis {
                path: path.to_path_buf(),
                reason: format!("`{}` {reason}", query.name),
            };
            let Some(value) = self.values.remove(&to) else {
                return Err(fault("has no v_bias beside it"));
            };
            let (Some(dtype), &[width]) = (dtype(query.dtype()), query.shape()) else {
                return Err(fault("is no vector of numbers"));
            };
            if query.dtype() != value.dtype() || query.shape() != value.shape() {
                return Err(fault(
                    "differs in shape or format from the v_bias beside it",
                ));
            }
            self.pieces.insert(
                to,
                Piece {
                    dtype,
                    shape: vec![3 * width],
                    content: Content::Fused { query, value },
                },
            );
        }
        match self.values.pop_first() {
            None => Ok(()),
            Some((_, value)) => Err(IoError::Lavis {
                path: path.to_path_buf(),
                reason: format!("`{}` has no q_bias beside it", value.name),
            }),
        }
    }

    /// Adds a language model's tensors, but for those that the LAVIS file has itself.
    pub(super) fn add_language_model(&mut self, checkpoint: Checkpoint, is_opt: bool) {
        let checkpoint = Arc::new(checkpoint);
        const PREFIX: &str = "language_model.";
        let whole = checkpoint.names().any(|name| name.starts_with(PREFIX));
        for stored in checkpoint.names() {
            let name = match stored.strip_prefix(PREFIX) {
                Some(rest) => rest,
                None if whole => continue,
                None => stored,
            };
            let to = match name.strip_prefix("decoder.") {
                // OPT's own checkpoints leave out `model.`; T5's decoder stands at the root.
                Some(rest) if is_opt => format!("{PREFIX}model.decoder.{rest}"),
                _ => format!("{PREFIX}{name}"),
            };
            let (Some(dtype), Some(shape)) =
                (weights(&checkpoint, stored), checkpoint.shape(stored))
            else {
                continue;
            };
            self.pieces.entry(to).or_insert_with(|| Piece {
                dtype,
                shape: shape.to_vec(),
                content: Content::Stored {
                    checkpoint: Arc::clone(&checkpoint),
                    name: stored.to_string(),
                    more_rows: 0,
                },
            });
        }
    }

    /// Lengthens a table of token embeddings to `rows`; the new ones are the mean of the others.
    pub(super) fn lengthen(&mut self, name: &str, rows: usize) -> Result<(), String> {
        let Some(piece) = self.pieces.get_mut(name) else {
            return Ok(());
        };
        let fault = || format!("`{name}` cannot be lengthened for the image placeholder");
        let (Content::Stored { more_rows, .. }, [own, _]) = (&mut piece.content, &mut *piece.shape)
        else {
            return Err(fault());
        };
        *more_rows += rows.saturating_sub(*own);
        *own = rows.max(*own);
        Ok(())
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (String, Piece)> {
        self.pieces.into_iter()
    }
}

impl Piece {
    /// The number of bytes.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product::<usize>() * width(self.dtype)
    }

    /// The bytes; `path` is named in errors.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>, IoError> {
        let failed = |source| IoError::Read {
            path: PathBuf::from(path),
            source,
        };
        Ok(match &self.content {
            Content::Pth { tensor, third } => {
                let bytes = tensor.read().map_err(failed)?;
                match third {
                    None => bytes,
                    Some(third) => {
                        let part = bytes.len() / 3;
                        bytes[third * part..(third + 1) * part].to_vec()
                    }
                }
            }
            Content::Fused { query, value } => {
                let (mut bytes, value) =
                    (query.read().map_err(failed)?, value.read().map_err(failed)?);
                // EVA has no bias for keys: it would add the same to all scores of a query, and the
                // softmax does not see that. The fused vector of `transformers` has zeros there.
                bytes.resize(2 * bytes.len(), 0);
                bytes.extend(value);
                bytes
            }
            Content::Stored {
                checkpoint,
                name,
                more_rows,
            } => {
                let stored = checkpoint.stored(name);
                let stored = stored.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
                let mut bytes = stored.map_err(failed)?.to_vec();
                if *more_rows > 0 {
                    // New tokens get the mean embedding, about which `transformers` draws theirs:
                    // in the head their logits are then the mean too, not the largest.
                    let columns = self.shape.last().copied().unwrap_or(0);
                    let mean = mean_row(&bytes, self.dtype, columns);
                    for _ in 0..*more_rows {
                        bytes.extend_from_slice(&mean);
                    }
                }
                bytes
            }
        })
    }
}

/// The mean of a table's rows, in its format.
fn mean_row(bytes: &[u8], dtype: Dtype, columns: usize) -> Vec<u8> {
    let width = width(dtype);
    let mut sums = vec![0f64; columns];
    let rows = bytes.chunks_exact((columns * width).max(1));
    let count = rows.len().max(1) as f64;
    for row in rows {
        for (sum, number) in sums.iter_mut().zip(row.chunks_exact(width)) {
            *sum += match (dtype, number) {
                (Dtype::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
                (Dtype::F16, &[a, b]) => half::f16::from_le_bytes([a, b]).to_f64(),
                (Dtype::BF16, &[a, b]) => half::bf16::from_le_bytes([a, b]).to_f64(),
                _ => 0.0,
            };
        }
    }
    let mean = sums.into_iter().map(|sum| sum / count);
    match dtype {
        Dtype::F16 => mean
            .flat_map(|x| half::f16::from_f64(x).to_le_bytes())
            .collect(),
        Dtype::BF16 => mean
            .flat_map(|x| half::bf16::from_f64(x).to_le_bytes())
            .collect(),
        Dtype::F32 => mean.flat_map(|x| (x as f32).to_le_bytes()).collect(),
        _ => vec![0; columns * width],
    }
}

/// The format of a tensor that can be weights.
fn weights(checkpoint: &Checkpoint, name: &str) -> Option<Dtype> {
    use burn::tensor::DType;
    if checkpoint.packed_format(name).is_some() {
        return None;
    }
    Some(match checkpoint.dtype(name)? {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        _ => return None,
    })
}

fn dtype(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        _ => return None,
    })
}

fn width(dtype: Dtype) -> usize {
    match dtype {
        Dtype::F64 => 8,
        Dtype::F32 => 4,
        _ => 2,
    }
}

/// The one number of a tensor without dimensions.
fn number(dtype: DType, bytes: &[u8]) -> Option<f32> {
    Some(match (dtype, bytes) {
        (DType::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        (DType::F16, &[a, b]) => half::f16::from_le_bytes([a, b]).to_f32(),
        (DType::BF16, &[a, b]) => half::bf16::from_le_bytes([a, b]).to_f32(),
        _ => return None,
    })
}
