//! The configuration of a LAVIS checkpoint: LAVIS has none beside the weights.

use super::{Architecture, pieces::Pieces};
use crate::config::{
    Blip2Config, Blip2Variant, Blip2VisionConfig, BlipConfig, TextConfig, VisionFamily,
};

/// What the tensors tell, over `base` or the published models' numbers.
pub(super) fn derive(
    pieces: &Pieces,
    base: Option<Blip2Config>,
    text_config: Option<TextConfig>,
    architecture: Architecture,
) -> Result<Blip2Config, String> {
    let given = base.is_some();
    let mut config = base.unwrap_or_default();
    config.architectures = vec![architecture.class().to_string()];
    config.model_type = match architecture.is_instruct() {
        true => Blip2Variant::InstructBlip,
        false => Blip2Variant::Blip2,
    };
    if let (false, Some(text_config)) = (given, text_config) {
        config.text_config = text_config;
    }
    let shape = |name: &str| {
        let shape = pieces.shape(name);
        shape.ok_or_else(|| format!("there is no tensor for `{name}`"))
    };
    vision(&mut config.vision_config, pieces, given)?;

    let q = &mut config.qformer_config;
    let queries = shape("query_tokens")?;
    let &[_, count, hidden] = queries else {
        return Err(format!(
            "`query_tokens` has the shape {queries:?} in place of [1, queries, width]"
        ));
    };
    config.num_query_tokens = count;
    q.hidden_size = hidden;
    q.encoder_hidden_size = config.vision_config.hidden_size;
    let layer = |n: usize, name: &str| format!("qformer.encoder.layer.{n}.{name}");
    let layers = pieces.layers("qformer.encoder.layer.");
    q.num_hidden_layers = layers.len();
    q.intermediate_size = first(shape(&layer(0, "intermediate_query.dense.weight"))?);
    let cross = |n: &usize| pieces.contains(&layer(*n, "crossattention.output.dense.weight"));
    let crossing: Vec<usize> = layers.iter().copied().filter(cross).collect();
    q.cross_attention_frequency = match crossing.as_slice() {
        [_, second, ..] => *second,
        _ => q.num_hidden_layers.max(1),
    };
    q.use_qformer_text_input = architecture.tokenizer_folder().is_some();
    let tables = match architecture.is_instruct() {
        true => "qformer.embeddings",
        false => "embeddings",
    };
    if let Some(shape) = pieces.shape(&format!("{tables}.word_embeddings.weight")) {
        q.vocab_size = first(shape);
    }
    if let Some(shape) = pieces.shape(&format!("{tables}.position_embeddings.weight")) {
        q.max_position_embeddings = first(shape);
    }
    if let Some(shape) = pieces.shape("vision_projection.weight") {
        config.image_text_hidden_size = first(shape);
    }
    Ok(config)
}

/// What the tensors tell of the image encoder.
fn vision(vision: &mut Blip2VisionConfig, pieces: &Pieces, given: bool) -> Result<(), String> {
    const EMBEDDINGS: &str = "vision_model.embeddings";
    let is_clip = pieces.contains("vision_model.pre_layrnorm.weight");
    let positions = match is_clip {
        true => format!("{EMBEDDINGS}.position_embedding.weight"),
        false => format!("{EMBEDDINGS}.position_embedding"),
    };
    let tensor = |name: &str| {
        let shape = pieces.shape(name);
        shape.ok_or_else(|| format!("the image encoder lacks what becomes `{name}`"))
    };
    let kernel = tensor(&format!("{EMBEDDINGS}.patch_embedding.weight"))?;
    let &[hidden, _, patch, _] = kernel else {
        return Err(format!("the kernel of patches has the shape {kernel:?}"));
    };
    let &[.., places, _] = tensor(&positions)? else {
        return Err("the positions of patches are no table".into());
    };
    let patches = places.saturating_sub(1);
    let side = patches.isqrt();
    if side * side != patches || side == 0 {
        return Err(format!(
            "{places} positions are those of no square picture and a class token"
        ));
    }
    vision.hidden_size = hidden;
    vision.patch_size = patch;
    // Of a tensor without numbers any side may be said.
    vision.image_size = side.saturating_mul(patch);
    vision.num_hidden_layers = pieces.layers("vision_model.encoder.layers.").len();
    vision.intermediate_size = first(tensor("vision_model.encoder.layers.0.mlp.fc1.weight")?);
    vision.qkv_bias = pieces.contains("vision_model.encoder.layers.0.self_attn.qkv.bias");
    if is_clip {
        vision.family = VisionFamily::Clip;
        if !given {
            vision.hidden_act = blip2_kernels::Activation::QuickGelu;
            vision.layer_norm_eps = 1e-5;
        }
    }
    Ok(())
}

/// What the tensors tell of a BLIP-1, over `base` or the published models' numbers.
pub(super) fn derive_blip1(
    pieces: &Pieces,
    base: Option<BlipConfig>,
    architecture: Architecture,
) -> Result<BlipConfig, String> {
    /// The width of an attention head of the published models.
    const HEAD: usize = 64;
    let given = base.is_some();
    let mut config = base.unwrap_or_default();
    let mut tower = config.vision_config.tower();
    vision(&mut tower, pieces, given)?;
    let v = &mut config.vision_config;
    v.hidden_size = tower.hidden_size;
    v.patch_size = tower.patch_size;
    v.image_size = tower.image_size;
    v.num_hidden_layers = tower.num_hidden_layers;
    v.intermediate_size = tower.intermediate_size;
    let bert = match architecture {
        Architecture::Blip1Retrieval => "text_encoder",
        _ => "text_decoder.bert",
    };
    let shape = |name: &str| {
        let shape = pieces.shape(&format!("{bert}.{name}"));
        shape.ok_or_else(|| format!("there is no tensor `{bert}.{name}`: another architecture?"))
    };
    let t = &mut config.text_config;
    let &[words, width] = shape("embeddings.word_embeddings.weight")? else {
        return Err(format!(
            "`{bert}.embeddings.word_embeddings.weight` is no table"
        ));
    };
    (t.vocab_size, t.hidden_size) = (words, width);
    t.max_position_embeddings = first(shape("embeddings.position_embeddings.weight")?);
    t.intermediate_size = first(shape("encoder.layer.0.intermediate.dense.weight")?);
    t.num_hidden_layers = pieces.layers(&format!("{bert}.encoder.layer.")).len();
    if !given {
        v.num_attention_heads = v.hidden_size / HEAD;
        t.num_attention_heads = t.hidden_size / HEAD;
    }
    if let Some(shape) = pieces.shape("vision_proj.weight") {
        config.image_text_hidden_size = first(shape);
    }
    Ok(config.joined())
}

fn first(shape: &[usize]) -> usize {
    shape.first().copied().unwrap_or(0)
}
