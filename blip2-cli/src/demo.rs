//! The demonstration model that is built into the program.

use blip2_core::CheckpointFolder;

/// What is said when it answers.
pub(crate) const NOTICE: &str = "note: this is the built-in demonstration model, trained on \
easy-VQA: 64x64 pictures of one shape. It knows eight colours, three shapes, yes and no. \
Use --model FOLDER for a real BLIP-2.";

/// A Hugging Face folder, as the example `train_easy_vqa` wrote it.
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
