//! The names of an adapter's tensors, and the base's names for the same.

/// What PEFT puts before the names of a model's modules.
const PREFIX: &str = "base_model.model.";

/// What a tensor of an adapter is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `A` of a layer.
    A(String),
    /// `B` of a layer.
    B(String),
    /// The lengths of a layer's rows, which DoRA trains.
    Magnitude(String),
    /// It takes a tensor's place.
    Whole(String),
    /// A copy of what the base holds.
    Idle,
    /// Something of an adapter that is not supported.
    Unknown,
}

impl Part {
    /// What a tensor is by its name in the file.
    pub(super) fn of(name: &str) -> Self {
        let own = name.strip_prefix(PREFIX).unwrap_or(name);
        let ends = |ends: &[&str]| {
            let rest = ends.iter().find_map(|end| own.strip_suffix(end));
            rest.map(str::to_string)
        };
        // The adapter's own name stands in files that were not saved by `save_pretrained`.
        if let Some(layer) = ends(&[".lora_A.weight", ".lora_A.default.weight"]) {
            return Self::A(layer);
        }
        if let Some(layer) = ends(&[".lora_B.weight", ".lora_B.default.weight"]) {
            return Self::B(layer);
        }
        if let Some(layer) = ends(&[
            ".lora_magnitude_vector",
            ".lora_magnitude_vector.weight",
            ".lora_magnitude_vector.default.weight",
        ]) {
            return Self::Magnitude(layer);
        }
        if own.contains(".lora_") || own.contains(".vera_") || own.contains(".token_adapter.") {
            return Self::Unknown;
        }
        if own.contains(".original_module.") {
            return Self::Idle;
        }
        let own = own
            .replace(".modules_to_save.default.", ".")
            .replace(".modules_to_save.", ".")
            .replace(".base_layer.", ".");
        Self::Whole(own)
    }
}

/// The base's name of a module or tensor, if it has it: the model's parts have stood at other places
/// in other versions of `transformers`.
pub(super) fn in_base(name: &str, contains: impl Fn(&str) -> bool) -> Option<String> {
    let plain = name.strip_prefix("model.").unwrap_or(name);
    let mut names = vec![
        name.to_string(),
        plain.to_string(),
        format!("model.{name}"),
        // The head beside the parts rather than in the language model.
        format!("language_model.{plain}"),
    ];
    if let Some(rest) = plain.strip_prefix("language_model.model.") {
        names.push(format!("language_model.{rest}"));
        names.push(format!("model.language_model.{rest}"));
    }
    if let Some(rest) = plain.strip_prefix("language_model.") {
        names.push(format!("language_model.model.{rest}"));
    }
    names.into_iter().find(|name| contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_known_by_their_ends() {
        let layer = || "a.q_proj".to_string();
        for (name, part) in [
            ("base_model.model.a.q_proj.lora_A.weight", Part::A(layer())),
            ("a.q_proj.lora_A.default.weight", Part::A(layer())),
            ("base_model.model.a.q_proj.lora_B.weight", Part::B(layer())),
            (
                "base_model.model.a.q_proj.lora_magnitude_vector",
                Part::Magnitude(layer()),
            ),
            (
                "base_model.model.a.q_proj.base_layer.bias",
                Part::Whole("a.q_proj.bias".into()),
            ),
            (
                "base_model.model.a.modules_to_save.default.weight",
                Part::Whole("a.weight".into()),
            ),
            ("base_model.model.a.original_module.weight", Part::Idle),
            ("base_model.model.a.lora_embedding_A", Part::Unknown),
            ("base_model.model.a.q_proj.lora_B.bias", Part::Unknown),
        ] {
            assert_eq!(Part::of(name), part, "{name}");
        }
    }

    #[test]
    fn the_language_model_is_found_where_the_base_has_it() {
        let old = "language_model.model.decoder.layers.0.self_attn.q_proj";
        let new = "model.language_model.decoder.layers.0.self_attn.q_proj";
        for (name, base) in [(old, old), (new, old), (old, new), (new, new)] {
            let found = in_base(name, |asked| asked == base);
            assert_eq!(found.as_deref(), Some(base), "{name}");
        }
        let t5 = "language_model.encoder.block.0.layer.0.SelfAttention.q";
        let found = in_base(
            "model.language_model.encoder.block.0.layer.0.SelfAttention.q",
            |name| name == t5,
        );
        assert_eq!(found.as_deref(), Some(t5));
        let head = in_base("lm_head.weight", |name| {
            name == "language_model.lm_head.weight"
        });
        assert!(head.is_some());
        assert!(in_base(old, |_| false).is_none());
    }
}
