//! Checks and small tensors that all models share.

use blip2_kernels::{
    Likeliest, MASKED, TopLogits, causal_bias, device::note_read, likeliest, packs, top_logits,
};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::{
    error::LmError,
    generate::{Logits, Scores},
};

/// Token ids as a tensor, `[batch, seq]`.
///
/// # Errors
///
/// For an empty batch, ragged rows, and ids that the vocabulary does not have.
pub(crate) fn ids_tensor(
    rows: &[Vec<u32>],
    vocab: usize,
    device: &Device,
) -> Result<Tensor<2, Int>, LmError> {
    let width = rows.first().map_or(0, Vec::len);
    check_rows("input_ids", rows.iter().map(Vec::len), [rows.len(), width])?;
    for (row, ids) in rows.iter().enumerate() {
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab) {
            return Err(LmError::Token { row, id, vocab });
        }
    }
    let flat: Vec<i64> = rows.iter().flatten().map(|&id| i64::from(id)).collect();
    Ok(Tensor::from_data(
        TensorData::new(flat, [rows.len(), width]),
        device,
    ))
}

/// Checks that a mask has the shape of its batch and that every row has something to read.
pub(crate) fn check_mask(mask: &[Vec<bool>], expected: [usize; 2]) -> Result<(), LmError> {
    check_rows("attention_mask", mask.iter().map(Vec::len), expected)?;
    match mask.iter().position(|row| !row.contains(&true)) {
        Some(row) => Err(LmError::NothingToRead { row }),
        None => Ok(()),
    }
}

fn check_rows(
    input: &'static str,
    lengths: impl ExactSizeIterator<Item = usize>,
    [rows, width]: [usize; 2],
) -> Result<(), LmError> {
    let expected = || format!("[batch, seq] = [{rows}, {width}], none of them zero,");
    let count = lengths.len();
    let odd = lengths.into_iter().find(|&length| length != width);
    if rows == 0 || width == 0 || count != rows || odd.is_some() {
        let found = vec![count, odd.unwrap_or(width)];
        return Err(LmError::Shape {
            input,
            found,
            expected: expected(),
        });
    }
    Ok(())
}

/// Checks the width of embeddings.
pub(crate) fn check_embeds(
    input: &'static str,
    embeds: &Tensor<3>,
    width: usize,
) -> Result<[usize; 2], LmError> {
    let found @ [batch, seq, found_width] = embeds.dims();
    if found_width != width || batch == 0 || seq == 0 {
        let expected = format!("[batch, seq, {width}], none of them zero,");
        return Err(LmError::Shape {
            input,
            found: found.to_vec(),
            expected,
        });
    }
    Ok([batch, seq])
}

/// The bias that hides padding, `[batch, 1, 1, keys]`; `None` where there is none to hide.
pub(crate) fn padding_bias(mask: &[Vec<bool>], device: &Device) -> Option<Tensor<4>> {
    if mask.iter().flatten().all(|&counts| counts) {
        return None;
    }
    let keys = mask.first().map_or(0, Vec::len);
    let flat = mask
        .iter()
        .flatten()
        .map(|&counts| if counts { 0.0 } else { MASKED });
    let data = TensorData::new(flat.collect::<Vec<f32>>(), [mask.len(), 1, 1, keys]);
    Some(Tensor::from_data(data, device))
}

/// What new positions do not see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unseen {
    /// Hides padding, and perhaps the future, `[batch or 1, 1, new or 1, keys]`.
    pub(crate) bias: Option<Tensor<4>>,
    /// Whether the future is hidden by position, where no bias hides it.
    pub(crate) causal: bool,
}

impl Unseen {
    /// Padding, and the future from each of the last `new` of `keys` positions.
    pub(crate) fn of(new: usize, keys: usize, padding: Option<Tensor<4>>, device: &Device) -> Self {
        match new > 1 && packs(device) {
            true => Self {
                bias: padding,
                causal: true,
            },
            // Whoever needs a bias for it gets one for all layers.
            false => Self::by_bias(new, keys, padding, device),
        }
    }

    /// The same by a bias alone.
    pub(crate) fn by_bias(
        new: usize,
        keys: usize,
        padding: Option<Tensor<4>>,
        device: &Device,
    ) -> Self {
        let future = (new > 1).then(|| causal_bias(new, keys, device));
        let bias = match (future, padding) {
            // Hidden twice is no more than hidden once: a position that sees nothing sees everything
            // evenly, as in the reference.
            (Some(future), Some(padding)) => Some((future + padding).clamp_min(MASKED)),
            (future, padding) => future.or(padding),
        };
        let causal = false;
        Self { bias, causal }
    }

    /// As a bias alone, for the last `new` of `keys` positions.
    pub(crate) fn into_bias(self, new: usize, keys: usize, device: &Device) -> Option<Tensor<4>> {
        match self.causal {
            true => Self::by_bias(new, keys, self.bias, device).bias,
            false => self.bias,
        }
    }
}

/// The biases that hide padding of two batches, `[rows, 1, 1, keys]` each, as one of the longer's keys,
/// whose last columns are the shorter's; `None` where neither hides any. `sizes` are the `[rows, keys]` of
/// both.
pub(crate) fn joined_bias(
    biases: [Option<Tensor<4>>; 2],
    sizes: [[usize; 2]; 2],
    device: &Device,
) -> Option<Tensor<4>> {
    if biases.iter().all(Option::is_none) {
        return None;
    }
    let longest = sizes.iter().map(|[_, keys]| *keys).max().unwrap_or(0);
    let zeros = |rows, keys| Tensor::zeros([rows, 1, 1, keys], device);
    let widened = biases.into_iter().zip(sizes).map(|(bias, [rows, keys])| {
        let bias = bias.unwrap_or_else(|| zeros(rows, keys));
        match longest - bias.dims()[3] {
            0 => bias,
            before => Tensor::cat(vec![zeros(rows, before), bias], 3),
        }
    });
    Some(Tensor::cat(widened.collect(), 0))
}

/// A bias of the last `keys` columns: the longest rows may have left.
pub(crate) fn of_last_keys(bias: Tensor<4>, keys: usize) -> Tensor<4> {
    match bias.dims()[3] {
        columns if columns > keys => bias.narrow(3, columns - keys, keys),
        _ => bias,
    }
}

/// Row numbers as a tensor.
pub(crate) fn rows_tensor(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

/// One more token for each row, checked before anything changes.
pub(crate) struct Step {
    /// The tokens, `[rows, 1]`.
    pub(crate) ids: Tensor<2, Int>,
    /// The rows to gather so that row `i` of this step continues its parent; `None` where every
    /// row stays as and where it is.
    pub(crate) gather: Option<Tensor<1, Int>>,
}

impl Step {
    /// Row `i` continues row `parents[i]` of the last step's `rows` with `tokens[i]`.
    pub(crate) fn check(
        parents: &[usize],
        tokens: &[u32],
        rows: usize,
        vocab: usize,
        device: &Device,
    ) -> Result<Self, LmError> {
        if parents.len() != tokens.len() {
            return Err(LmError::Shape {
                input: "tokens",
                found: vec![tokens.len()],
                expected: format!("[{}], one for each parent,", parents.len()),
            });
        }
        let tokens: Vec<Vec<u32>> = tokens.iter().map(|&token| vec![token]).collect();
        let ids = ids_tensor(&tokens, vocab, device)?;
        if let Some(&parent) = parents.iter().find(|&&parent| parent >= rows) {
            return Err(LmError::Parent { parent, rows });
        }
        let identity = parents.len() == rows && parents.iter().enumerate().all(|(i, &p)| i == p);
        let gather = (!identity).then(|| rows_tensor(parents, device));
        Ok(Self { ids, gather })
    }
}

/// Tokens of the only row, `[1, new]`.
pub(crate) fn extension(
    tokens: &[u32],
    rows: usize,
    vocab: usize,
    device: &Device,
) -> Result<Tensor<2, Int>, LmError> {
    if rows != 1 {
        return Err(LmError::Order(
            "several tokens at a time are for a single row",
        ));
    }
    ids_tensor(&[tokens.to_vec()], vocab, device)
}

/// Logits on the host, from `[rows, new, vocab]`: a row for each new position.
pub(crate) fn logits(tensor: Tensor<3>) -> Result<Logits, LmError> {
    let [_, _, vocab] = tensor.dims();
    Logits::new(read(tensor)?, vocab).map_err(|error| LmError::Logits(Box::new(error)))
}

/// The likeliest tokens of logits that are on a GPU, those that are not `forbidden`; else the logits.
pub(crate) fn greedy(tensor: Tensor<3>, forbidden: &[u32]) -> Result<Scores, LmError> {
    match likeliest(&tensor, forbidden) {
        Some(found) => Ok(Scores::Likeliest(Likeliest::of(&read(found)?))),
        None => logits(tensor).map(Scores::Logits),
    }
}

/// The `k` largest logits of each row of logits that are on a GPU; `None` where they are not.
pub(crate) fn top(tensor: &Tensor<3>, k: usize) -> Result<Option<Scores>, LmError> {
    let Some(found) = top_logits(tensor, k) else {
        return Ok(None);
    };
    Ok(Some(Scores::Top(TopLogits::of(&read(found)?, k))))
}

fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, LmError> {
    note_read(&tensor);
    tensor
        .try_into_data()
        .map_err(|error| LmError::Device(format!("{error:?}")))?
        .convert_dtype(DType::F32)
        .try_into_vec::<f32>()
        .map_err(|error| LmError::Device(format!("{error:?}")))
}
