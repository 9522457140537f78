//! Which files of a repository a model needs.

use std::collections::BTreeSet;

/// Small files, of a model and of its tokenizers.
const SMALL: [&str; 18] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "blip2.json",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "bpe.codes",
];
/// The folder of InstructBLIP's second tokenizer.
const SECOND: &str = "qformer_tokenizer/";

/// The forms in which weights are published, the best first: a whole file, or an index of shards.
const WEIGHTS: [(&str, bool); 6] = [
    ("model.safetensors", false),
    ("model.safetensors.index.json", true),
    ("adapter_model.safetensors", false),
    ("pytorch_model.bin", false),
    ("pytorch_model.bin.index.json", true),
    ("adapter_model.bin", false),
];

/// The small files that a repository has, of those that a model may need.
pub(super) fn small(files: &BTreeSet<String>) -> Vec<&str> {
    let wanted = |file: &str| SMALL.contains(&file.strip_prefix(SECOND).unwrap_or(file));
    let found = files.iter().map(String::as_str);
    found.filter(|file| wanted(file)).collect()
}

/// A repository's weights: one file, or the index of several.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Weights<'f> {
    File(&'f str),
    Index(&'f str),
}

/// The best form of weights that a repository has.
pub(super) fn weights(files: &BTreeSet<String>) -> Option<Weights<'_>> {
    let (name, is_index) = WEIGHTS
        .into_iter()
        .find_map(|(name, is_index)| Some((files.get(name)?, is_index)))?;
    Some(match is_index {
        true => Weights::Index(name),
        false => Weights::File(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn safetensors_come_before_pickles_and_nothing_else_is_taken() {
        let all = files(&[
            "README.md",
            "config.json",
            "pytorch_model.bin",
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "flax_model.msgpack",
            "qformer_tokenizer/vocab.txt",
            "onnx/config.json",
        ]);
        assert_eq!(small(&all), ["config.json", "qformer_tokenizer/vocab.txt"]);
        let index = Weights::Index("model.safetensors.index.json");
        assert_eq!(weights(&all), Some(index));
        let old = files(&["pytorch_model.bin", "tf_model.h5"]);
        assert_eq!(weights(&old), Some(Weights::File("pytorch_model.bin")));
        assert_eq!(weights(&files(&["tf_model.h5"])), None);
    }
}
