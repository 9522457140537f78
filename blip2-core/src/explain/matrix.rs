//! Small dense matrices on the host: attention maps, folded over their heads.

use burn::tensor::Tensor;

use crate::{embedding::numbers, error::Blip2Error};

/// A matrix, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matrix {
    pub(super) columns: usize,
    pub(super) values: Vec<f32>,
}

impl Matrix {
    /// The matrices of a map `[batch, heads, queries, keys]`, the mean over its heads: of the map as it
    /// is, or weighted by its gradient, of which what speaks against the score is left out (Chefer et
    /// al., 2021, equation 5).
    pub(super) fn folded(
        map: &Tensor<4>,
        gradient: Option<Tensor<4>>,
    ) -> Result<Vec<Self>, Blip2Error> {
        let [_, _, queries, columns] = map.dims();
        let map = map.clone().inner();
        let weighted = match gradient {
            Some(gradient) => (map * gradient.inner()).clamp_min(0.0),
            None => map,
        };
        let values = numbers(weighted.mean_dim(1), "an attention map")?;
        let matrices = values.chunks((queries * columns).max(1));
        Ok(matrices
            .map(|values| Self {
                columns,
                values: values.to_vec(),
            })
            .collect())
    }

    /// A square matrix of zeros.
    pub(super) fn nothing(side: usize) -> Self {
        Self {
            columns: side,
            values: vec![0.0; side * side],
        }
    }

    pub(super) fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// `v · M`; what `v` has beyond the rows, or lacks, counts as zero.
    pub(super) fn after(&self, v: &[f32]) -> Vec<f32> {
        let mut sums = vec![0.0; self.columns];
        for (weight, row) in v.iter().zip(self.rows()) {
            if *weight != 0.0 {
                add(&mut sums, *weight, row);
            }
        }
        sums
    }

    /// `M · v`.
    pub(super) fn before(&self, v: &[f32]) -> Vec<f32> {
        let dot = |row: &[f32]| row.iter().zip(v).map(|(a, b)| a * b).sum();
        self.rows().map(dot).collect()
    }

    /// `self + other + other · self`: what is beyond the identity in `(I + other) · (I + self)`.
    pub(super) fn grown(&self, other: &Self) -> Self {
        let mut values = self.values.clone();
        let rows = values.chunks_exact_mut(self.columns.max(1));
        for (row, weights) in rows.zip(other.rows()) {
            add(row, 1.0, weights);
            for (weight, own) in weights.iter().zip(self.rows()) {
                add(row, *weight, own);
            }
        }
        Self {
            columns: self.columns,
            values,
        }
    }
}

/// Adds `weight` times a row.
pub(super) fn add(sums: &mut [f32], weight: f32, row: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += weight * value;
    }
}
