//! A model of Granite's architecture (`GraniteForCausalLM`), described and held against its formulas
//! computed by hand: every multiplier, grouped queries, rotary positions, a gated MLP.

use blip2_io::config::RopeParameters;
use blip2_kernels::{Activation, Keep, Precision, RandomWeights, Role, Weights};
use burn::tensor::Device;

use super::{DecoderLm, Description, LayerNames, Names, NormKind, NormPlace, Positions, Scales};

const VOCAB: usize = 11;
const HIDDEN: usize = 12;
const INNER: usize = 20;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const GROUPS: usize = 2;
const HEAD_DIM: usize = 6;
const EPS: f64 = 1e-5;

const EMBEDDING_MULTIPLIER: f64 = 3.0;
const ATTENTION_MULTIPLIER: f64 = 0.7;
const RESIDUAL_MULTIPLIER: f64 = 0.4;
const LOGITS_SCALING: f64 = 2.5;

fn granite() -> Description {
    Description {
        vocab_size: VOCAB,
        pad_token_id: None,
        embedding_dim: HIDDEN,
        hidden_size: HIDDEN,
        intermediate_size: INNER,
        num_layers: LAYERS,
        num_heads: HEADS,
        num_key_value_heads: GROUPS,
        head_dim: HEAD_DIM,
        context: Some(16),
        positions: Positions::Rotary {
            rope: Box::new(RopeParameters::default()),
            longest: 16,
        },
        forward_counts_padding: true,
        norm: NormKind::Rms { eps: EPS },
        norm_place: NormPlace::Before,
        final_norm: true,
        activation: Activation::Silu,
        attention_bias: false,
        mlp_bias: false,
        tied_head: true,
        scales: Scales {
            embedding: EMBEDDING_MULTIPLIER,
            attention: ATTENTION_MULTIPLIER,
            residual: RESIDUAL_MULTIPLIER,
            logits_divisor: LOGITS_SCALING,
        },
        names: Names {
            model: "model",
            final_norm: "norm",
            layer: LayerNames {
                attention_norm: "input_layernorm",
                attention_output: "o_proj",
                mlp_norm: "post_attention_layernorm",
                mlp_up: "mlp.up_proj",
                mlp_gate: Some("mlp.gate_proj"),
                mlp_down: "mlp.down_proj",
            },
        },
    }
}

type Rows = Vec<Vec<f64>>;

fn source() -> RandomWeights {
    RandomWeights::new(9, 0.5)
}

/// The matrix `name`, `[outputs, inputs]`.
fn matrix(name: &str, outputs: usize, inputs: usize) -> Rows {
    let (source, device) = (source(), Device::flex());
    let weights = Weights::new(&source, &device);
    let param = weights.param(name, [outputs, inputs], Role::Dense);
    let values = param.val().into_data().try_to_vec::<f32>().unwrap();
    let row = |row: &[f32]| row.iter().map(|&x| f64::from(x)).collect();
    values.chunks(inputs).map(row).collect()
}

/// `x · Wᵀ`.
fn product(x: &Rows, name: &str, outputs: usize) -> Rows {
    let w = matrix(name, outputs, x[0].len());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    x.iter()
        .map(|x| w.iter().map(|w| dot(x, w)).collect())
        .collect()
}

/// Of scale one, as all random weights' norms are.
fn rms_norm(x: &Rows) -> Rows {
    let norm = |x: &Vec<f64>| {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        x.iter().map(|x| x / (mean + EPS).sqrt()).collect()
    };
    x.iter().map(norm).collect()
}

/// `x + residual_multiplier · y`.
fn add(x: &mut Rows, y: &Rows) {
    for (x, y) in x.iter_mut().flatten().zip(y.iter().flatten()) {
        *x += RESIDUAL_MULTIPLIER * y;
    }
}

/// Head `n` of every row, rotated by its position.
fn rotated(x: &Rows, n: usize) -> Rows {
    let half = HEAD_DIM / 2;
    let row = |(position, x): (usize, &Vec<f64>)| {
        let head = &x[n * HEAD_DIM..][..HEAD_DIM];
        let angle =
            |i: usize| position as f64 * 1e4f64.powf(-2.0 * (i % half) as f64 / HEAD_DIM as f64);
        let other = |i: usize| match i < half {
            true => -head[i + half],
            false => head[i - half],
        };
        (0..HEAD_DIM)
            .map(|i| head[i] * angle(i).cos() + other(i) * angle(i).sin())
            .collect()
    };
    x.iter().enumerate().map(row).collect()
}

fn attention(x: &Rows, layer: &str) -> Rows {
    let at = |name: &str| format!("{layer}.self_attn.{name}.weight");
    let q = product(x, &at("q_proj"), HEADS * HEAD_DIM);
    let k = product(x, &at("k_proj"), GROUPS * HEAD_DIM);
    let v = product(x, &at("v_proj"), GROUPS * HEAD_DIM);
    let mut output = vec![vec![0.0; HEADS * HEAD_DIM]; x.len()];
    for head in 0..HEADS {
        let group = head / (HEADS / GROUPS);
        let (q, k) = (rotated(&q, head), rotated(&k, group));
        for (row, q) in q.iter().enumerate() {
            let score = |k: &Vec<f64>| {
                let dot: f64 = q.iter().zip(k).map(|(q, k)| q * k).sum();
                (ATTENTION_MULTIPLIER * dot).exp()
            };
            let weights: Vec<f64> = k[..=row].iter().map(score).collect();
            let sum: f64 = weights.iter().sum();
            for (weight, v) in weights.iter().zip(&v) {
                for i in 0..HEAD_DIM {
                    output[row][head * HEAD_DIM + i] += weight / sum * v[group * HEAD_DIM + i];
                }
            }
        }
    }
    product(&output, &at("o_proj"), HIDDEN)
}

fn mlp(x: &Rows, layer: &str) -> Rows {
    let at = |name: &str| format!("{layer}.mlp.{name}.weight");
    let mut inner = product(x, &at("gate_proj"), INNER);
    let up = product(x, &at("up_proj"), INNER);
    for (gate, up) in inner.iter_mut().flatten().zip(up.iter().flatten()) {
        *gate = *gate / (1.0 + (-*gate).exp()) * up;
    }
    product(&inner, &at("down_proj"), HIDDEN)
}

/// The logits after every token.
fn by_hand(ids: &[u32]) -> Vec<f64> {
    let table = matrix("model.embed_tokens.weight", VOCAB, HIDDEN);
    let embed = |&id: &u32| {
        let row = table[id as usize].iter();
        row.map(|x| x * EMBEDDING_MULTIPLIER).collect()
    };
    let mut x: Rows = ids.iter().map(embed).collect();
    for n in 0..LAYERS {
        let layer = format!("model.layers.{n}");
        let attended = attention(&rms_norm(&x), &layer);
        add(&mut x, &attended);
        let y = mlp(&rms_norm(&x), &layer);
        add(&mut x, &y);
    }
    let logits = product(&rms_norm(&x), "model.embed_tokens.weight", VOCAB);
    logits
        .into_iter()
        .flatten()
        .map(|x| x / LOGITS_SCALING)
        .collect()
}

fn assert_near(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f64, |most, x| most.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let difference = (f64::from(*found) - expected).abs();
        assert!(difference < 1e-5 * largest, "{found} {expected}");
    }
}

#[test]
fn every_multiplier_is_where_the_formula_has_it() {
    let (source, device) = (source(), Device::flex());
    let weights = Weights::new(&source, &device).with_precision(Precision::F32);
    let model = DecoderLm::build(&granite(), &weights);
    let ids = [3, 7, 0, 10, 5];
    let expected = by_hand(&ids);

    let embeds = model.embed(&[ids.to_vec()]).unwrap();
    let output = model.forward(embeds, &[vec![true; 5]], Keep::NOTHING);
    let logits = output.unwrap().logits.into_data();
    assert_near(&logits.try_to_vec::<f32>().unwrap(), &expected);

    // A decode multiplies the tokens that it feeds, too.
    use crate::generate::DecodeSession;
    let embeds = model.embed(&[ids[..2].to_vec()]).unwrap();
    let mut session = model.start(embeds, &[vec![true; 2]], 4).unwrap();
    let logits = session.prefill().unwrap();
    assert_near(logits.row(0), &expected[VOCAB..2 * VOCAB]);
    for (n, &id) in ids.iter().enumerate().skip(2) {
        let logits = session.step(&[0], &[id]).unwrap();
        assert_near(logits.row(0), &expected[n * VOCAB..][..VOCAB]);
    }
}

/// With each multiplier of its own changed, the logits change: none is left out.
#[test]
fn no_multiplier_is_idle() {
    let (source, device) = (source(), Device::flex());
    let weights = Weights::new(&source, &device);
    let logits = |description: &Description| {
        let model = DecoderLm::build(description, &weights);
        let embeds = model.embed(&[vec![3, 7, 0]]).unwrap();
        let output = model.forward(embeds, &[vec![true; 3]], Keep::NOTHING);
        output
            .unwrap()
            .logits
            .into_data()
            .try_to_vec::<f32>()
            .unwrap()
    };
    let usual = logits(&granite());
    let changes: [fn(&mut Scales); 4] = [
        |scales| scales.embedding = 1.0,
        |scales| scales.attention = 1.0,
        |scales| scales.residual = 1.0,
        |scales| scales.logits_divisor = 1.0,
    ];
    for change in changes {
        let mut description = granite();
        change(&mut description.scales);
        assert_ne!(logits(&description), usual);
    }
}
