//! LAVIS's names, and Hugging Face's for the same tensors.

use super::Architecture;

/// Where a LAVIS tensor goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mapped {
    /// It is this tensor.
    Whole(String),
    /// Its thirds are these tensors: CLIP keeps queries, keys and values together.
    Thirds([String; 3]),
    /// It is the bias of queries of this fused one; keys have none.
    QueryBias(String),
    /// It is the bias of values.
    ValueBias(String),
    /// It is a number that only training needs.
    Temperature,
}

/// The names of an architecture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    architecture: Architecture,
}

impl Names {
    pub(super) fn of(architecture: Architecture) -> Self {
        Self { architecture }
    }

    /// Where a tensor goes; `None` if the model has no place for it.
    pub(super) fn map(&self, name: &str) -> Option<Mapped> {
        let name = name.strip_prefix("module.").unwrap_or(name);
        if let Some(rest) = name.strip_prefix("visual_encoder.") {
            return match rest.strip_prefix("norm.") {
                // In BLIP-2 `ln_vision` stands in its place.
                Some(kind) if self.architecture.is_blip1() => {
                    Some(Mapped::Whole(format!("vision_model.post_layernorm.{kind}")))
                }
                _ => vision(rest),
            };
        }
        if self.architecture.is_blip1() {
            return self.blip1(name);
        }
        if let Some(rest) = name.strip_prefix("Qformer.bert.") {
            return self.qformer(rest).map(Mapped::Whole);
        }
        if let Some(rest) = name.strip_prefix("ln_vision.") {
            return Some(Mapped::Whole(format!("vision_model.post_layernorm.{rest}")));
        }
        let retrieval = self.architecture == Architecture::Retrieval;
        let (part, rest) = name.split_once('.').unwrap_or((name, ""));
        let renamed = match part {
            "query_tokens" => "query_tokens".into(),
            "temp" if retrieval => return Some(Mapped::Temperature),
            "vision_proj" if retrieval => format!("vision_projection.{rest}"),
            "text_proj" if retrieval => format!("text_projection.{rest}"),
            "itm_head" if retrieval => name.into(),
            "opt_proj" | "t5_proj" | "llm_proj" if !retrieval => {
                format!("language_projection.{rest}")
            }
            "opt_model" | "t5_model" | "llm_model" if !retrieval => {
                format!("language_model.{rest}")
            }
            _ => return None,
        };
        Some(Mapped::Whole(renamed))
    }

    /// The text model of a BLIP-1 has the same names in both. What a momentum encoder and its queues
    /// held has no place, nor have the copies of tied weights.
    fn blip1(&self, name: &str) -> Option<Mapped> {
        let (part, rest) = name.split_once('.').unwrap_or((name, ""));
        let retrieval = self.architecture == Architecture::Blip1Retrieval;
        let belongs = match part {
            "temp" if retrieval => return Some(Mapped::Temperature),
            "text_decoder" => !retrieval,
            "text_encoder" => self.architecture != Architecture::Blip1Caption,
            "vision_proj" | "text_proj" | "itm_head" => retrieval,
            _ => false,
        };
        let copy = rest.ends_with("position_ids") || rest.starts_with("cls.predictions.decoder.");
        (belongs && !copy).then(|| Mapped::Whole(name.into()))
    }

    /// The Q-Former's names are BERT's; Hugging Face calls the attention inside an attention by its
    /// own name.
    fn qformer(&self, name: &str) -> Option<String> {
        if let Some(rest) = name.strip_prefix("embeddings.") {
            let (table, weight) = rest.split_once('.')?;
            let instruct = self.architecture.is_instruct();
            return Some(match table {
                "LayerNorm" if instruct => format!("qformer.embeddings.layernorm.{weight}"),
                "LayerNorm" => format!("qformer.layernorm.{weight}"),
                "word_embeddings" | "position_embeddings" if instruct => {
                    format!("qformer.embeddings.{rest}")
                }
                "word_embeddings" | "position_embeddings"
                    if self.architecture == Architecture::Retrieval =>
                {
                    format!("embeddings.{rest}")
                }
                _ => return None,
            });
        }
        let rest = name.strip_prefix("encoder.layer.")?;
        let (layer, rest) = rest.split_once('.')?;
        let (part, _) = rest.split_once('.')?;
        // The branch for text, which only Q-Formers have that read any.
        let reads_text = !matches!(self.architecture, Architecture::Opt | Architecture::T5);
        if matches!(part, "intermediate" | "output") && !reads_text {
            return None;
        }
        let rest = rest.replacen("attention.self.", "attention.attention.", 1);
        Some(format!("qformer.encoder.layer.{layer}.{rest}"))
    }
}

/// The image encoder's names: EVA's ViT, or CLIP's.
fn vision(name: &str) -> Option<Mapped> {
    let whole = |name: &str| Some(Mapped::Whole(format!("vision_model.{name}")));
    match name {
        "cls_token" | "class_embedding" => return whole("embeddings.class_embedding"),
        "pos_embed" => return whole("embeddings.position_embedding"),
        "positional_embedding" => return whole("embeddings.position_embedding.weight"),
        "patch_embed.proj.weight" | "conv1.weight" => {
            return whole("embeddings.patch_embedding.weight");
        }
        "patch_embed.proj.bias" => return whole("embeddings.patch_embedding.bias"),
        "ln_pre.weight" => return whole("pre_layrnorm.weight"),
        "ln_pre.bias" => return whole("pre_layrnorm.bias"),
        _ => {}
    }
    let rest = name
        .strip_prefix("blocks.")
        .or_else(|| name.strip_prefix("transformer.resblocks."))?;
    let (layer, part) = rest.split_once('.')?;
    layer.parse::<usize>().ok()?;
    let at = |name: &str| format!("vision_model.encoder.layers.{layer}.{name}");
    let thirds = |kind: &str| {
        let parts = ["q_proj", "k_proj", "v_proj"];
        Some(Mapped::Thirds(
            parts.map(|part| at(&format!("self_attn.{part}.{kind}"))),
        ))
    };
    let renamed = match part {
        "attn.q_bias" => return Some(Mapped::QueryBias(at("self_attn.qkv.bias"))),
        "attn.v_bias" => return Some(Mapped::ValueBias(at("self_attn.qkv.bias"))),
        "attn.in_proj_weight" => return thirds("weight"),
        "attn.in_proj_bias" => return thirds("bias"),
        "attn.qkv.weight" => at("self_attn.qkv.weight"),
        "attn.qkv.bias" => at("self_attn.qkv.bias"),
        _ => {
            let (module, kind) = part.rsplit_once('.')?;
            let module = match module {
                "norm1" | "ln_1" => "layer_norm1",
                "norm2" | "ln_2" => "layer_norm2",
                "attn.proj" => "self_attn.projection",
                "attn.out_proj" => "self_attn.out_proj",
                "mlp.fc1" | "mlp.c_fc" => "mlp.fc1",
                "mlp.fc2" | "mlp.c_proj" => "mlp.fc2",
                _ => return None,
            };
            at(&format!("{module}.{kind}"))
        }
    };
    Some(Mapped::Whole(renamed))
}

/// The layer of an image encoder's tensor, by its LAVIS name.
pub(super) fn vision_layer(name: &str) -> Option<usize> {
    let rest = name.strip_prefix("visual_encoder.")?;
    let rest = rest
        .strip_prefix("blocks.")
        .or_else(|| rest.strip_prefix("transformer.resblocks."))?;
    rest.split('.').next()?.parse().ok()
}

/// How many layers the tensors of an image encoder's own file have.
pub(super) fn vision_layers<'n>(names: impl Iterator<Item = &'n str>) -> usize {
    let layers = names.filter_map(|name| vision_layer(&format!("visual_encoder.{name}")));
    layers.max().map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(architecture: Architecture, name: &str) -> Option<String> {
        match Names::of(architecture).map(name)? {
            Mapped::Whole(name) => Some(name),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn each_name_goes_where_its_architecture_has_it() {
        use Architecture::{InstructT5, Opt, Retrieval, T5};
        for (architecture, lavis, hugging_face) in [
            (Opt, "opt_proj.bias", Some("language_projection.bias")),
            (
                T5,
                "t5_model.shared.weight",
                Some("language_model.shared.weight"),
            ),
            (
                Opt,
                "Qformer.bert.encoder.layer.2.crossattention.self.key.weight",
                Some("qformer.encoder.layer.2.crossattention.attention.key.weight"),
            ),
            (Opt, "Qformer.bert.encoder.layer.2.output.dense.bias", None),
            (
                Retrieval,
                "Qformer.bert.encoder.layer.2.output.dense.bias",
                Some("qformer.encoder.layer.2.output.dense.bias"),
            ),
            (
                Opt,
                "Qformer.bert.encoder.layer.0.attention.output.LayerNorm.weight",
                Some("qformer.encoder.layer.0.attention.output.LayerNorm.weight"),
            ),
            (
                InstructT5,
                "Qformer.bert.embeddings.LayerNorm.bias",
                Some("qformer.embeddings.layernorm.bias"),
            ),
            (
                Retrieval,
                "Qformer.bert.embeddings.word_embeddings.weight",
                Some("embeddings.word_embeddings.weight"),
            ),
            (Retrieval, "Qformer.cls.predictions.bias", None),
            (Retrieval, "Qformer.bert.embeddings.position_ids", None),
            (
                Retrieval,
                "vision_proj.weight",
                Some("vision_projection.weight"),
            ),
            (Opt, "vision_proj.weight", None),
            (
                Opt,
                "ln_vision.weight",
                Some("vision_model.post_layernorm.weight"),
            ),
            (
                Opt,
                "module.visual_encoder.blocks.7.attn.proj.bias",
                Some("vision_model.encoder.layers.7.self_attn.projection.bias"),
            ),
            (
                Opt,
                "visual_encoder.transformer.resblocks.3.mlp.c_fc.weight",
                Some("vision_model.encoder.layers.3.mlp.fc1.weight"),
            ),
            (Opt, "visual_encoder.blocks.x.attn.proj.bias", None),
        ] {
            assert_eq!(
                whole(architecture, lavis).as_deref(),
                hugging_face,
                "{lavis}"
            );
        }
    }

    #[test]
    fn biases_are_fused_and_clips_thirds_split() {
        let names = Names::of(Architecture::Opt);
        let bias = "vision_model.encoder.layers.1.self_attn.qkv.bias".to_string();
        assert_eq!(
            names.map("visual_encoder.blocks.1.attn.v_bias"),
            Some(Mapped::ValueBias(bias))
        );
        let thirds = names.map("visual_encoder.transformer.resblocks.0.attn.in_proj_bias");
        let Some(Mapped::Thirds([_, key, _])) = thirds else {
            panic!("{thirds:?}");
        };
        assert_eq!(key, "vision_model.encoder.layers.0.self_attn.k_proj.bias");
        let layers = ["blocks.0.norm1.bias", "blocks.39.norm1.bias", "norm.bias"];
        assert_eq!(vision_layers(layers.into_iter()), 40);
    }
}
