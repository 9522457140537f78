//! OPT's positions.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::causal::Positions;

/// Positions are looked up this far into their table: a relic of the padding id that the first
/// implementation kept rows for.
pub(super) const OFFSET: usize = 2;

/// Where positions are in their table, `[batch, seq]`.
pub(super) fn places(positions: &Positions, device: &Device) -> Tensor<2, Int> {
    let seq = positions.first().map_or(0, Vec::len);
    let place = |position: &Option<usize>| match position {
        Some(position) => (position + OFFSET) as i64,
        None => (OFFSET - 1) as i64,
    };
    let places: Vec<i64> = positions.iter().flatten().map(place).collect();
    Tensor::from_data(TensorData::new(places, [positions.len(), seq]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_has_a_place_of_its_own() {
        let positions = vec![vec![Some(0), Some(1), None], vec![None, Some(0), Some(1)]];
        let places = places(&positions, &Device::flex()).into_data();
        let places: Vec<i64> = places.iter::<i64>().collect();
        assert_eq!(places, [2, 3, 1, 1, 2, 3]);
    }
}
