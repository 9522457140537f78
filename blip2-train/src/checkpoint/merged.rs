//! The tensors of a checkpoint with changes in them.

use std::{borrow::Cow, cell::RefCell, collections::BTreeSet, rc::Rc};

use blip2_core::Checkpoint;
use blip2_io::Adapter;
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

    /// Whether a change of a tensor is one of all its copies.
    fn is_of_copies(&self) -> bool;
}

/// Whether a tensor is a copy of one that changes with its copies: it would be left with the old numbers, and be
/// read as one of its own.
fn is_stale(name: &str, base: &Checkpoint, changes: &dyn Changes) -> bool {
    let changes_too = |original: String| {
        let is_there = base.shape(&original).is_some();
        is_there && changes.of(&original) != Change::None && !base.differ(name, &original)
    };
    changes.is_of_copies()
        && changes.of(name) == Change::None
        && Adapter::originals(name).any(changes_too)
}

/// The first tensor that was changed to numbers that its format does not hold, once all are written.
pub(super) struct Beyond(Rc<RefCell<Option<(String, Dtype)>>>);

impl Beyond {
    /// Its name, and the format.
    pub(super) fn first(&self) -> Option<(String, String)> {
        let found = self.0.borrow();
        let name = |dtype: Dtype| match dtype {
            Dtype::F16 => "float16".to_string(),
            Dtype::BF16 => "bfloat16".to_string(),
            Dtype::F32 => "float32".to_string(),
            other => format!("{other:?}"),
        };
        found
            .as_ref()
            .map(|(tensor, dtype)| (tensor.clone(), name(*dtype)))
    }
}

/// All tensors that are written: those of the checkpoint, and what it did not have.
pub(super) fn tensors<'s>(
    base: &'s Checkpoint,
    changes: &'s dyn Changes,
) -> (Vec<(String, Merged<'s>)>, Beyond) {
    let beyond = Beyond(Rc::default());
    let written = Rc::new(Written {
        base,
        last: RefCell::new(None),
        beyond: beyond.0.clone(),
    });
    let merged = |name: &str, shape: &[usize], dtype| {
        let merged = Merged {
            base,
            changes,
            written: written.clone(),
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
            Change::None | Change::Merged => stored(base, name).unwrap_or(Dtype::F32),
        };
        all.push(merged(name, shape, dtype));
    }
    let known: BTreeSet<&str> = base.names().collect();
    let new = changes.more().into_iter();
    let new = new.filter(|(name, _)| !known.contains(name));
    all.extend(new.map(|(name, shape)| merged(name, shape, Dtype::F32)));
    (all, beyond)
}

/// The format of a tensor of the checkpoint, if it can be written as it is.
fn stored(base: &Checkpoint, name: &str) -> Option<Dtype> {
    Some(match base.dtype(name)? {
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

/// The tensor that was written last, which may still be in memory.
struct Written<'s> {
    base: &'s Checkpoint,
    last: RefCell<Option<String>>,
    beyond: Rc<RefCell<Option<(String, Dtype)>>>,
}

impl Written<'_> {
    /// Gives the last one's memory back: all of the checkpoint would be there when its last tensor is written.
    fn is_next(&self, name: Option<&str>) {
        if let Some(last) = self.last.replace(name.map(str::to_string)) {
            self.base.release(&last);
        }
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        self.is_next(None);
    }
}

/// A tensor of a model that is saved. It is read and merged when it is written: a checkpoint is never
/// in memory as a whole.
pub(super) struct Merged<'s> {
    base: &'s Checkpoint,
    changes: &'s dyn Changes,
    written: Rc<Written<'s>>,
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl Merged<'_> {
    /// The bytes of a tensor that stays as it is, where they lie in the checkpoint's map.
    fn unchanged(&self) -> Option<&[u8]> {
        let stays = self.changes.of(&self.name) == Change::None
            && stored(self.base, &self.name) == Some(self.dtype);
        stays.then(|| self.base.as_bytes(&self.name)).flatten()
    }

    /// Notes a changed tensor that holds numbers which are none.
    fn note_beyond(&self, data: &TensorData) {
        let changed = self.changes.of(&self.name) != Change::None;
        let floats = [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64];
        if changed && floats.contains(&self.dtype) && !data.iter::<f32>().all(f32::is_finite) {
            let own = (self.name.clone(), self.dtype);
            self.written.beyond.borrow_mut().get_or_insert(own);
        }
    }

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
        self.written.is_next(Some(&self.name));
        if let Some(bytes) = self.unchanged() {
            return Cow::Borrowed(bytes);
        }
        Cow::Owned(match self.numbers() {
            Some(data) => {
                self.note_beyond(&data);
                data.as_bytes().to_vec()
            }
            // Asked for by a name of the checkpoint's own list.
            None => vec![0; self.data_len()],
        })
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
