//! OPT's positions.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Positions are looked up this far into their table: a relic of the padding id that the first
/// implementation kept rows for.
pub(super) const OFFSET: usize = 2;

/// The number of positions in a row that count.
pub(super) fn count(mask: &[bool]) -> usize {
    mask.iter().filter(|&&counts| counts).count()
}

/// Where the positions of a batch are in their table, `[batch, seq]`.
pub(super) fn of_prompts(mask: &[Vec<bool>], device: &Device) -> Tensor<2, Int> {
    let seq = mask.first().map_or(0, Vec::len);
    let places = mask.iter().flat_map(|row| places(row)).collect();
    tensor(places, [mask.len(), seq], device)
}

/// Where the position after so many that count is in its table, for each row: `[rows, 1]`.
pub(super) fn after(counts: &[usize], device: &Device) -> Tensor<2, Int> {
    let places = counts.iter().map(|&count| count + OFFSET).collect();
    tensor(places, [counts.len(), 1], device)
}

/// A row's places: positions count what the mask counts, so that padding, wherever it stands,
/// shifts nothing.
fn places(mask: &[bool]) -> Vec<usize> {
    let mut next = OFFSET;
    mask.iter()
        .map(|&counts| {
            if counts {
                next += 1;
                next - 1
            } else {
                OFFSET - 1
            }
        })
        .collect()
}

fn tensor(places: Vec<usize>, shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    let places: Vec<i64> = places.into_iter().map(|place| place as i64).collect();
    Tensor::from_data(TensorData::new(places, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_shifts_no_position() {
        assert_eq!(places(&[true, true, false, false, true]), [2, 3, 1, 1, 4]);
        assert_eq!(places(&[false, true, true]), [1, 2, 3]);
    }
}
