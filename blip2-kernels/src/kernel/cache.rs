//! A cache whose sequences share what they have in common.
//!
//! The prompt's positions are one block, the later ones another, in which a step writes each
//! sequence's new position into a row of its own; a table says for each sequence in which rows its
//! past lies. When beams split, end and change places, only the table changes. No row is ever
//! written twice at a position, so that a past which several sequences share stays as it was.

use burn::tensor::Tensor;

use super::{
    attention::rows::KeyRows,
    flex::{self, Rows},
};

/// Keys and values, with the table of where each sequence's are.
#[derive(Debug, Clone)]
pub(crate) struct SharedCache {
    prompt: Block,
    later: Block,
    sequences: Vec<Sequence>,
}

/// Where a sequence's positions lie.
#[derive(Debug, Clone)]
struct Sequence {
    /// Its row of the prompt's block.
    prompt: usize,
    /// For each later position, its row of that block.
    later: Vec<u32>,
}

/// Keys and values, each `[rows, heads, capacity, head_dim]`, of which the first `len` positions
/// have been written.
#[derive(Debug, Clone)]
struct Block {
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Of `keys` and of `values`.
    head_dims: [usize; 2],
    rows: usize,
    heads: usize,
    capacity: usize,
    len: usize,
}

impl SharedCache {
    /// A cache of the prompts' positions; `None` for tensors that kernels do not take.
    pub(crate) fn new(keys: &Tensor<4>, values: &Tensor<4>, capacity: usize) -> Option<Self> {
        let (keys, values) = (flex::rows(keys)?, flex::rows(values)?);
        let [rows, heads, len, head_dim] = keys.dims;
        let head_dims = [head_dim, values.dims[3]];
        let mut prompt = Block::new(rows, heads, len, head_dims);
        prompt.write(&keys, &values);
        let sequence = |prompt| Sequence {
            prompt,
            later: Vec::new(),
        };
        Some(Self {
            prompt,
            // Its rows are made when it is known how many sequences continue the prompts.
            later: Block::new(0, heads, capacity.saturating_sub(len), head_dims),
            sequences: (0..rows).map(sequence).collect(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.prompt.len + self.later.len
    }

    pub(crate) fn rows(&self) -> usize {
        self.sequences.len()
    }

    /// Writes new positions; declines tensors that kernels do not take.
    pub(crate) fn append(&mut self, keys: &Tensor<4>, values: &Tensor<4>) -> bool {
        let (Some(keys), Some(values)) = (flex::rows(keys), flex::rows(values)) else {
            return false;
        };
        let new = keys.dims[2];
        let end = self.later.len + new;
        // A search that has split into more rows than there are needs as many, however few positions
        // are left; growing by doubling keeps the copies of a long text few.
        if self.rows() > self.later.rows || end > self.later.capacity {
            let capacity = match self.later.capacity {
                enough if end <= enough => enough,
                _ => end.next_power_of_two(),
            };
            self.later.grow(self.rows(), capacity);
        }
        self.later.write(&keys, &values);
        for (row, sequence) in self.sequences.iter_mut().enumerate() {
            sequence.later.extend(std::iter::repeat_n(row as u32, new));
        }
        true
    }

    /// Drops the last `count` positions, of those behind the prompts'.
    pub(crate) fn drop_last(&mut self, count: usize) {
        // No sequence names a position that is written again.
        self.later.len = self.later.len.saturating_sub(count);
        for sequence in &mut self.sequences {
            sequence.later.truncate(self.later.len);
        }
    }

    pub(crate) fn select(&mut self, rows: &[usize]) {
        // Two sequences may now name the same row of a past position. That is safe, because a step
        // writes each sequence's new position into the row of its own number, and never again.
        self.sequences = rows
            .iter()
            .map(|&row| self.sequences[row].clone())
            .collect();
    }

    /// The keys of all sequences.
    pub(crate) fn keys(&self) -> impl KeyRows {
        self.part(Part::Keys)
    }

    /// The values of all sequences.
    pub(crate) fn values(&self) -> impl KeyRows {
        self.part(Part::Values)
    }

    /// Keys and values, each `[rows, heads, len, head_dim]`.
    pub(crate) fn tensors(&self) -> (Tensor<4>, Tensor<4>) {
        (self.tensor(Part::Keys), self.tensor(Part::Values))
    }

    fn tensor(&self, part: Part) -> Tensor<4> {
        let held = self.part(part);
        let dims @ [rows, heads, len, _] = held.dims();
        let mut data = Vec::with_capacity(dims.iter().product());
        for row in 0..rows {
            for head in 0..heads {
                for position in 0..len {
                    data.extend_from_slice(held.row(row, head, position));
                }
            }
        }
        flex::lift(data, dims)
    }

    fn part(&self, part: Part) -> Held<'_> {
        Held { cache: self, part }
    }
}

/// Which of the two a cache is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Keys,
    Values,
}

/// Keys or values of all sequences.
struct Held<'a> {
    cache: &'a SharedCache,
    part: Part,
}

impl KeyRows for Held<'_> {
    fn dims(&self) -> [usize; 4] {
        let SharedCache { prompt, .. } = self.cache;
        let head_dim = prompt.head_dims[self.part as usize];
        [self.cache.rows(), prompt.heads, self.cache.len(), head_dim]
    }

    fn row(&self, row: usize, head: usize, position: usize) -> &[f32] {
        let SharedCache { prompt, later, .. } = self.cache;
        let sequence = &self.cache.sequences[row];
        match position.checked_sub(prompt.len) {
            None => prompt.row(self.part, sequence.prompt, head, position),
            Some(place) => later.row(self.part, sequence.later[place] as usize, head, place),
        }
    }
}

impl Block {
    fn new(rows: usize, heads: usize, capacity: usize, head_dims: [usize; 2]) -> Self {
        let room = |head_dim| vec![0.0; rows * heads * capacity * head_dim];
        Self {
            keys: room(head_dims[0]),
            values: room(head_dims[1]),
            head_dims,
            rows,
            heads,
            capacity,
            len: 0,
        }
    }

    fn start(&self, part: Part, row: usize, head: usize, position: usize) -> usize {
        ((row * self.heads + head) * self.capacity + position) * self.head_dims[part as usize]
    }

    fn row(&self, part: Part, row: usize, head: usize, position: usize) -> &[f32] {
        let start = self.start(part, row, head, position);
        let data = match part {
            Part::Keys => &self.keys,
            Part::Values => &self.values,
        };
        &data[start..start + self.head_dims[part as usize]]
    }

    /// Writes positions behind those there are.
    fn write(&mut self, keys: &Rows, values: &Rows) {
        let [rows, heads, new, _] = keys.dims;
        for (part, from) in [(Part::Keys, keys), (Part::Values, values)] {
            for row in 0..rows {
                for head in 0..heads {
                    for position in 0..new {
                        let start = self.start(part, row, head, self.len + position);
                        let to = match part {
                            Part::Keys => &mut self.keys,
                            Part::Values => &mut self.values,
                        };
                        let from = from.row(row, head, position);
                        to[start..start + from.len()].copy_from_slice(from);
                    }
                }
            }
        }
        self.len += new;
    }

    /// Makes room for more rows or positions.
    fn grow(&mut self, rows: usize, capacity: usize) {
        let rows = rows.max(self.rows);
        let mut larger = Self::new(rows, self.heads, capacity, self.head_dims);
        for part in [Part::Keys, Part::Values] {
            let held = self.len * self.head_dims[part as usize];
            for row in 0..self.rows {
                for head in 0..self.heads {
                    let (from, to) = (
                        self.start(part, row, head, 0),
                        larger.start(part, row, head, 0),
                    );
                    let (source, target) = match part {
                        Part::Keys => (&self.keys, &mut larger.keys),
                        Part::Values => (&self.values, &mut larger.values),
                    };
                    target[to..to + held].copy_from_slice(&source[from..from + held]);
                }
            }
        }
        larger.len = self.len;
        *self = larger;
    }
}
