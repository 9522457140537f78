//! Attention by the kernel, wherever keys and values lie.

use burn::tensor::Tensor;

use crate::{
    kernel::{
        attention::{
            self, Scoring,
            rows::{KeyRows, Sources, View},
        },
        flex::{self, Rows},
        isa::Isa,
    },
    seam::attention::{DotProductAttention, Operands, Rounding},
};

/// The output of an attention whose map nobody wants; `None` for tensors that the kernel does not
/// take.
pub(crate) fn attention(described: &DotProductAttention<'_>) -> Option<Tensor<4>> {
    match &described.operands {
        Operands::Apart { q, k, v } => {
            let (k, v) = (flex::rows(k)?, flex::rows(v)?);
            attend(described, q, [&view(&k), &view(&v)])
        }
        Operands::Sources { q, k, v, sources } => {
            let (k, v) = (flex::rows(k)?, flex::rows(v)?);
            let of = |rows| Sources {
                rows: view(rows),
                sources,
            };
            attend(described, q, [&of(&k), &of(&v)])
        }
        Operands::Joint(qkv) => {
            let heads = qkv.dims()[1] / 3;
            let [q, k, v] = [0, 1, 2].map(|part| qkv.clone().narrow(1, part * heads, heads));
            let (k, v) = (flex::rows(&k)?, flex::rows(&v)?);
            attend(described, &q, [&view(&k), &view(&v)])
        }
        Operands::Shared { q, cache } => attend(described, q, [&cache.keys(), &cache.values()]),
        #[cfg(feature = "gpu")]
        Operands::OnDevice { .. } => None,
        Operands::Nothing { .. } => None,
    }
}

fn attend(
    described: &DotProductAttention<'_>,
    q: &Tensor<4>,
    keys_values: [&dyn KeyRows; 2],
) -> Option<Tensor<4>> {
    let q = flex::rows(q)?;
    let ([batch, heads, queries, _], keys) = (q.dims, keys_values[0].dims()[2]);
    let bias = match &described.bias {
        // A bias that is the same for all keys is not worth a kernel's attention.
        Some(bias) if bias.dims()[3] == keys => Some(flex::rows(bias)?),
        Some(_) => return None,
        None => None,
    };
    let width = keys_values[1].dims()[3];
    let bias = bias
        .as_ref()
        .map(|bias| view(bias).broadcast([batch, heads, queries, keys]));
    let scoring = Scoring {
        scale: described.scale as f32,
        bias,
        past: described.causal.then(|| keys.saturating_sub(queries)),
    };
    let rounded = described.rounding == Rounding::Bf16;
    let y = attention::attend(Isa::active(), rounded, view(&q), keys_values, scoring);
    Some(flex::lift(y, [batch, queries, heads, width]).swap_dims(1, 2))
}

fn view(rows: &Rows) -> View<'_> {
    View {
        data: rows.data(),
        dims: rows.dims,
        strides: rows.strides,
    }
}
