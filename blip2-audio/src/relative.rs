//! Relative positions in attention.

use burn::tensor::Tensor;

/// What relative positions add to the scores of attention (Shaw et al., 2018, section 3.2): of the query
/// `c` and the key `r`, `q[c] · embeddings[c − r] · scale`.
///
/// Each query is multiplied with the embeddings of all distances in one product, and each row of it is
/// then shifted to where its own distances begin, as in Transformer-XL (Dai et al., 2019, appendix B).
/// An embedding for each pair, as the reference looks them up, would be a hundred times as large as
/// their table.
///
/// # Shapes
///
/// - q: `[blocks, heads, block, head_size]`
/// - embeddings: `[2 · most + 1, head_size]` of the distances from `−most` on, where `most` is not below `block`
/// - output: `[blocks, heads, block, block]`
pub(crate) fn relative_bias(q: Tensor<4>, embeddings: Tensor<2>, scale: f64) -> Tensor<4> {
    let [_, _, block, _] = q.dims();
    let [distances, size] = embeddings.dims();
    let most = distances / 2;
    // From the distance block − 1, of the last query to the first key, down to −block: one more than
    // occurs, so that the rows below have an even width.
    let near = embeddings.narrow(0, most - block, 2 * block).flip([0]) * scale;
    // A product for each head, and not one of all rows: its bits do not depend on how many blocks there are.
    let near = near.transpose().reshape([1, 1, size, 2 * block]);
    shifted(q.matmul(near))
}

/// Shifts row `c` of each head to the left by `block − 1 − c`.
///
/// # Shapes
///
/// - scores: `[blocks, heads, block, 2 · block]`
/// - output: `[blocks, heads, block, block]`
fn shifted(scores: Tensor<4>) -> Tensor<4> {
    let [blocks, heads, block, width] = scores.dims();
    // Rows that are one shorter than they lie begin each one element earlier than the row above: element
    // `c · (width − 1) + r` behind the first `block − 1` is element `c · width + (r + block − 1 − c)`.
    scores
        .reshape([blocks, heads, block * width])
        .narrow(2, block - 1, block * (width - 1))
        .reshape([blocks, heads, block, width - 1])
        .narrow(3, 0, block)
}

#[cfg(test)]
mod tests {
    use blip2_testing::difference;
    use burn::tensor::{Device, Distribution, TensorData};

    use super::*;

    #[test]
    fn rows_are_shifted_to_their_first_distance() {
        let scores = TensorData::from([[[
            [0f32, 1.0, 2.0, 3.0, 4.0, 5.0],
            [10.0, 11.0, 12.0, 13.0, 14.0, 15.0],
            [20.0, 21.0, 22.0, 23.0, 24.0, 25.0],
        ]]]);
        let found = shifted(Tensor::from_data(scores, &Device::flex()));
        let expected =
            TensorData::from([[[[2f32, 3.0, 4.0], [11.0, 12.0, 13.0], [20.0, 21.0, 22.0]]]]);
        assert_eq!(found.into_data(), expected);
    }

    /// Against an embedding for each pair.
    #[test]
    fn every_pair_has_the_embedding_of_its_distance() {
        let device = Device::flex();
        let normal = Distribution::Normal(0.0, 1.0);
        for (block, most) in [(1, 1), (4, 4), (5, 9)] {
            let q = Tensor::<4>::random([2, 3, block, 6], normal, &device);
            let embeddings = Tensor::<2>::random([2 * most + 1, 6], normal, &device);
            let found = relative_bias(q.clone(), embeddings.clone(), 0.5);
            assert_eq!(found.dims(), [2, 3, block, block]);
            for (query, key) in (0..block).flat_map(|c| (0..block).map(move |r| (c, r))) {
                let embedding = embeddings.clone().narrow(0, most + query - key, 1);
                let q = q.clone().narrow(2, query, 1);
                let expected = (q * embedding.reshape([1, 1, 1, 6])).sum_dim(3) * 0.5;
                let found = found.clone().narrow(2, query, 1).narrow(3, key, 1);
                let error = difference(found, expected);
                assert!(error < 1e-5, "{block} {query} {key}: {error}");
            }
        }
    }
}
