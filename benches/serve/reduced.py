"""Makes a reduced BLIP-2 with random weights in a folder."""

import pathlib
import shutil

import torch
from transformers import Blip2Config, Blip2ForConditionalGeneration

FIXTURE = pathlib.Path(__file__).resolve().parents[2] / "fixtures/blip2_opt"


def make(folder):
    folder = pathlib.Path(folder)
    if (folder / "config.json").exists():
        return folder
    config = Blip2Config.from_pretrained(FIXTURE)
    vision, text, qformer = config.vision_config, config.text_config, config.qformer_config
    vision.update({"image_size": 224, "patch_size": 14, "hidden_size": 768, "intermediate_size": 3072,
                   "num_hidden_layers": 6, "num_attention_heads": 12})
    qformer.update({"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 4,
                    "num_attention_heads": 12, "encoder_hidden_size": 768})
    text.update({"hidden_size": 1024, "word_embed_proj_dim": 1024, "ffn_dim": 4096, "num_hidden_layers": 8,
                 "num_attention_heads": 16, "max_position_embeddings": 512})
    torch.manual_seed(0)
    model = Blip2ForConditionalGeneration(config).eval()
    # Larger than their usual beginning, so that no two tokens come close.
    with torch.no_grad():
        model.query_tokens.normal_(std=0.5)
        model.language_model.get_input_embeddings().weight.mul_(5)
    # It never ends by itself.
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    for path in FIXTURE.iterdir():
        if path.name.startswith(("tokenizer", "processor", "preprocessor", "special", "added")):
            shutil.copy(path, folder)
    patch_sizes(folder)
    return folder


def patch_sizes(folder):
    """Has pictures resized to 224 pixels."""
    import json

    for name in ("processor_config.json", "preprocessor_config.json"):
        path = folder / name
        if path.exists():
            config = json.loads(path.read_text())
            for part in (config, config.get("image_processor", {})):
                if "size" in part:
                    part["size"] = {"height": 224, "width": 224}
            path.write_text(json.dumps(config))
