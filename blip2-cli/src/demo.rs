//! The demonstration model that is built into the program.

use blip2_core::CheckpointFolder;

/// What is said when it answers.
pub(crate) const NOTICE: &str = "note: this is the built-in demonstration model, trained on \
easy-VQA: 64x64 pictures of one shape. It knows eight colours, three shapes, yes and no. \
Use --model FOLDER for a real BLIP-2.";

/// The files of `examples/models/easy-vqa-opt`, of which `demo/` holds a copy so that the
/// published package is complete.
const FILES: [(&str, &[u8]); 6] = [
    ("config.json", include_bytes!("../demo/config.json")),
    (
        "generation_config.json",
        include_bytes!("../demo/generation_config.json"),
    ),
    (
        "processor_config.json",
        include_bytes!("../demo/processor_config.json"),
    ),
    ("tokenizer.json", include_bytes!("../demo/tokenizer.json")),
    (
        "tokenizer_config.json",
        include_bytes!("../demo/tokenizer_config.json"),
    ),
    (
        "model.safetensors",
        include_bytes!("../demo/model.safetensors"),
    ),
];

/// The demonstration model as a checkpoint folder in memory.
pub(crate) fn folder() -> CheckpointFolder {
    CheckpointFolder::in_memory("the demonstration model", FILES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program's copy and the example folder are the same files.
    #[test]
    fn the_copy_equals_the_example() {
        let example = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../examples/models/easy-vqa-opt"
        );
        for (name, bytes) in FILES {
            // The example folder is not part of the published package.
            if let Ok(original) = std::fs::read(format!("{example}/{name}")) {
                assert!(
                    original == bytes,
                    "{name} differs from examples/models/easy-vqa-opt"
                );
            }
        }
    }
}
