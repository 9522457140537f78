//! What a base holds once under several names, such as its head, which is its table of tokens.

/// How the name of a copy ends, and how those of what it is a copy of do.
const TWINS: [(&str, &[&str]); 5] = [
    (
        "lm_head.weight",
        &[
            "model.decoder.embed_tokens.weight",
            "model.embed_tokens.weight",
            "shared.weight",
        ],
    ),
    ("encoder.embed_tokens.weight", &["shared.weight"]),
    ("decoder.embed_tokens.weight", &["shared.weight"]),
    (
        "cls.predictions.decoder.weight",
        &["bert.embeddings.word_embeddings.weight"],
    ),
    ("cls.predictions.decoder.bias", &["cls.predictions.bias"]),
];

/// The tensors of which this one may be a copy.
pub(super) fn originals(name: &str) -> impl Iterator<Item = String> {
    TWINS.iter().flat_map(move |(copy, originals)| {
        let model = name.strip_suffix(copy);
        let originals = originals.iter();
        originals.filter_map(move |original| Some(format!("{}{original}", model?)))
    })
}

/// The tensors that may be copies of this one.
pub(super) fn copies(name: &str) -> impl Iterator<Item = String> {
    TWINS.iter().filter_map(move |(copy, originals)| {
        let mut models = originals.iter().filter_map(|end| name.strip_suffix(end));
        Some(format!("{}{copy}", models.next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_of_their_originals() {
        for (original, copied) in [
            (
                "lm.model.decoder.embed_tokens.weight",
                &["lm.lm_head.weight"][..],
            ),
            ("lm.model.embed_tokens.weight", &["lm.lm_head.weight"]),
            (
                "lm.shared.weight",
                &[
                    "lm.lm_head.weight",
                    "lm.encoder.embed_tokens.weight",
                    "lm.decoder.embed_tokens.weight",
                ],
            ),
            (
                "text_decoder.bert.embeddings.word_embeddings.weight",
                &["text_decoder.cls.predictions.decoder.weight"],
            ),
            (
                "text_decoder.cls.predictions.bias",
                &["text_decoder.cls.predictions.decoder.bias"],
            ),
            ("text_encoder.embeddings.word_embeddings.weight", &[]),
        ] {
            let found: Vec<String> = copies(original).collect();
            assert_eq!(found, copied, "{original}");
            for copy in copied {
                assert!(originals(copy).any(|of| of == original), "{copy}");
            }
        }
    }
}
