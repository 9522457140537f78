//! The tensors of a checkpoint with changes in them.

use std::{borrow::Cow, collections::BTreeSet};

use blip2_core::Checkpoint;
use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, View};

/// What becomes of a tensor of the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is written as it is.
    None,
    /// It has other numbers, in its own format.
    Merged,
    /// It was trained itself, in `f32`.
    Trained,
}

/// What of a checkpoint is changed.
pub(crate) trait Changes {
    /// What becomes of the tensor of this name.
    fn of(&self, name: &str) -> Change;

    /// The changed numbers of a tensor; `own` reads the checkpoint's.
    fn numbers(&self, name: &str, own: &dyn Fn() -> Option<TensorData>) -> Option<TensorData>;

    /// Names and shapes of tensors that the checkpoint may lack.
    fn more(&self) -> Vec<(&str, &[usize])>;
}

/// Whether a tensor is a copy of a table that changes: it would be left with the old numbers, and be read as a
/// head of its own.
fn is_stale(name: &str, base: &Checkpoint, changes: &dyn Changes) -> bool {
    const TABLES: [&str; 2] = [
        "model.decoder.embed_tokens.weight",
        "model.embed_tokens.weight",
    ];
    let Some(prefix) = name.strip_suffix("lm_head.weight") else {
        return false;
    };
    let mut tables = TABLES.iter().map(|table| format!("{prefix}{table}"));
    changes.of(name) == Change::None
        && tables.any(|table| {
            let is_there = base.shape(&table).is_some();
            is_there && changes.of(&table) != Change::None && !base.differ(name, &table)
        })
}

/// All tensors that are written: those of the checkpoint, and what it did not have.
pub(super) fn tensors<'s>(
    base: &'s Checkpoint,
    changes: &'s dyn Changes,
) -> Vec<(String, Merged<'s>)> {
    let merged = |name: &str, shape: &[usize], dtype| {
        let merged = Merged {
            base,
            changes,
            name: name.to_string(),
            shape: shape.to_vec(),
            dtype,
        };
        (name.to_string(), merged)
    };
    let mut all = Vec::new();
    for name in base.names() {
        let Some(shape) = base.shape(name) else {
            continue;
        };
        if is_stale(name, base, changes) {
            continue;
        }
        let dtype = match changes.of(name) {
            Change::Trained => Dtype::F32,
            Change::None | Change::Merged => stored(base.dtype(name)),
        };
        all.push(merged(name, shape, dtype));
    }
    let known: BTreeSet<&str> = base.names().collect();
    let new = changes.more().into_iter();
    let new = new.filter(|(name, _)| !known.contains(name));
    all.extend(new.map(|(name, shape)| merged(name, shape, Dtype::F32)));
    all
}

/// The format of a tensor that is written as it was.
fn stored(dtype: Option<DType>) -> Dtype {
    match dtype {
        Some(DType::F64) => Dtype::F64,
        Some(DType::F16) => Dtype::F16,
        Some(DType::BF16) => Dtype::BF16,
        Some(DType::I64) => Dtype::I64,
        Some(DType::I32) => Dtype::I32,
        Some(DType::U8) => Dtype::U8,
        Some(DType::Bool(_)) => Dtype::BOOL,
        _ => Dtype::F32,
    }
}

/// A tensor of a model that is saved. It is read and merged when it is written: a checkpoint is never
/// in memory as a whole.
pub(super) struct Merged<'s> {
    base: &'s Checkpoint,
    changes: &'s dyn Changes,
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl Merged<'_> {
    fn numbers(&self) -> Option<TensorData> {
        let own = || self.base.tensor(&self.name);
        let data = match self.changes.of(&self.name) {
            Change::None => own()?,
            _ => self.changes.numbers(&self.name, &own)?,
        };
        Some(match self.dtype {
            Dtype::F64 => data.convert_dtype(DType::F64),
            Dtype::F32 => data.convert_dtype(DType::F32),
            Dtype::F16 => data.convert_dtype(DType::F16),
            Dtype::BF16 => data.convert_dtype(DType::BF16),
            _ => data,
        })
    }
}

impl View for Merged<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = match self.numbers() {
            Some(data) => data.as_bytes().to_vec(),
            // Asked for by a name of the checkpoint's own list.
            None => vec![0; self.data_len()],
        };
        // Or all of the checkpoint would be in memory when its last tensor is written.
        self.base.release(&self.name);
        Cow::Owned(bytes)
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
