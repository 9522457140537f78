//! Attention by a GPU's kernel, wherever keys and values lie.

use burn::tensor::Tensor;

use crate::{
    gpu::{
        attention::{self, Heads},
        tensors::as_it_lies,
    },
    seam::attention::{DotProductAttention, Operands},
};

/// The output of an attention whose map nobody wants; `None` for tensors that the kernel does not take.
pub(super) fn attention(described: &DotProductAttention<'_>) -> Option<Tensor<4>> {
    let (operands, keys) = match &described.operands {
        Operands::Apart { q, k, v } => {
            let operands = [Heads::all(q)?, Heads::all(k)?, Heads::all(v)?];
            (operands, k.dims()[2])
        }
        Operands::OnDevice { q, cache } => {
            let [keys, values] = cache.buffers();
            let held = |tensor: &_| Heads::new(Clone::clone(tensor), 0, cache.groups());
            ([Heads::all(q)?, held(keys)?, held(values)?], cache.len())
        }
        Operands::Joint(qkv) => {
            let [_, all, seq, _] = qkv.dims();
            let (lying, heads) = (as_it_lies(qkv)?, all / 3);
            let part = |part: usize| Heads::new(lying.clone(), part * heads, heads);
            ([part(0)?, part(1)?, part(2)?], seq)
        }
        _ => return None,
    };
    let (bias, scale) = (described.bias.as_ref(), described.scale);
    attention::attention(operands.each_ref(), keys, bias, scale)
}
