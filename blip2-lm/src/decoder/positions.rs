//! Learned positions.

use blip2_kernels::{Embedding, Weights};
use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};

use crate::causal::Positions;

/// A table with a vector for each position.
#[derive(Module, Debug)]
pub(super) struct LearnedPositions {
    table: Embedding,
    offset: usize,
}

impl LearnedPositions {
    /// `count` positions of which the first is at `offset`.
    pub(super) fn load(count: usize, offset: usize, width: usize, weights: &Weights<'_>) -> Self {
        Self {
            table: weights.embedding("embed_positions", count + offset, width),
            offset,
        }
    }

    /// The vectors of positions, `[batch, seq, width]`.
    pub(super) fn forward(&self, positions: &Positions, device: &Device) -> Tensor<3> {
        self.table.forward(places(positions, self.offset, device))
    }
}

/// Where positions are in their table, `[batch, seq]`. Padding has no position; it is given the
/// place before the first, which the reference computes as "position −1".
fn places(positions: &Positions, offset: usize, device: &Device) -> Tensor<2, Int> {
    let seq = positions.first().map_or(0, Vec::len);
    let place = |position: &Option<usize>| match position {
        Some(position) => position + offset,
        None => offset.saturating_sub(1),
    };
    let places = positions.iter().flatten().map(place);
    let places: Vec<i64> = places.map(|place| place as i64).collect();
    Tensor::from_data(TensorData::new(places, [positions.len(), seq]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_has_a_place_of_its_own() {
        let positions = vec![vec![Some(0), Some(1), None], vec![None, Some(0), Some(1)]];
        let places = places(&positions, 2, &Device::flex()).into_data();
        let places: Vec<i64> = places.iter::<i64>().collect();
        assert_eq!(places, [2, 3, 1, 1, 2, 3]);
    }
}
