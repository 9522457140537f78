//! Attention by a GPU's kernel, wherever keys and values lie.

use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;

use crate::{
    gpu::{
        attention::{self, Heads, Places},
        cache::Newest,
        tensors::as_it_lies,
    },
    seam::attention::{DotProductAttention, Operands},
};

/// The output of an attention whose map nobody wants; `None` for tensors that the kernel does not take.
pub(super) fn attention(described: &DotProductAttention<'_>) -> Option<Tensor<4>> {
    let (bias, scale) = (described.bias.as_ref(), described.scale);
    let (operands, places) = match &described.operands {
        Operands::Apart { q, k, v } => {
            let operands = [Heads::all(q)?, Heads::all(k)?, Heads::all(v)?];
            (operands, Places::told(k.dims()[2]))
        }
        Operands::OnDevice { q, cache } => {
            let [keys, values] = cache.buffers();
            let held = |tensor: &_| Heads::new(Clone::clone(tensor), 0, cache.groups());
            let operands = [Heads::all(q)?, held(keys)?, held(values)?];
            if let Some(newest) = cache.take_newest() {
                let places = Places {
                    count: cache.len(),
                    counter: cache.counter(),
                    rows: cache.table(),
                };
                let output = attention_and_write(&operands, places, &newest, bias, scale);
                if output.is_some() {
                    return output;
                }
                cache.write_newest(&newest);
            }
            cache.note_told();
            let places = Places {
                rows: cache.table(),
                ..Places::told(cache.len())
            };
            (operands, places)
        }
        Operands::Joint(qkv) => {
            let [_, all, seq, _] = qkv.dims();
            let (lying, heads) = (as_it_lies(qkv)?, all / 3);
            let part = |part: usize| Heads::new(lying.clone(), part * heads, heads);
            ([part(0)?, part(1)?, part(2)?], Places::told(seq))
        }
        _ => return None,
    };
    attention::attention(operands.each_ref(), places, None, bias, scale)
}

/// Attention to places of which the newest is written on the way.
fn attention_and_write(
    operands: &[Heads; 3],
    places: Places<'_>,
    newest: &Newest,
    bias: Option<&Tensor<4>>,
    scale: f64,
) -> Option<Tensor<4>> {
    let new = |tensor: &CubeTensor| {
        let groups = tensor.meta.shape()[1];
        Heads::new(tensor.clone(), 0, groups)
    };
    let [keys_of, values] = [new(&newest[0])?, new(&newest[1])?];
    let newest = Some([&keys_of, &values]);
    attention::attention(operands.each_ref(), places, newest, bias, scale)
}
