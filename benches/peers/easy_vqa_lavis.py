"""Fine-tunes the same BLIP-2 on easy-VQA with LAVIS: its model, task and runner, at the model's own small sizes.

LAVIS builds BLIP-2 at the published sizes alone, out of weights that it downloads; `SmallBlip2OPT` says other
sizes and takes weights from a folder of `transformers`. All the rest is LAVIS's. It has no adapters for OPT: its
Q-Former, queries and projection are trained, as its own configurations do, to write questions and answers: it
leaves nothing but one prompt for all texts out of the loss.
"""
import argparse
import json
import pathlib
import time
from types import SimpleNamespace

import torch
import torch.distributed
from lavis.common.optims import LinearWarmupCosineLRScheduler  # noqa: F401, registers itself
from lavis.common.registry import registry
from lavis.datasets.datasets.base_dataset import BaseDataset
from lavis.models.blip2_models import blip2, blip2_opt
from lavis.models.eva_vit import VisionTransformer
from lavis.processors.blip_processors import BlipImageEvalProcessor
from lavis.runners.runner_base import RunnerBase
from lavis.tasks.image_text_pretrain import ImageTextPretrainTask
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import OPTConfig, PreTrainedTokenizerFast

BATCH = 32


class SmallBlip2OPT(blip2_opt.Blip2OPT):
    """LAVIS's model of a folder's sizes."""

    @classmethod
    def init_tokenizer(cls):
        return None

    @classmethod
    def init_vision_encoder(cls, *_):
        sizes = cls.sizes["vision_config"]
        encoder = VisionTransformer(
            img_size=sizes["image_size"], patch_size=sizes["patch_size"], embed_dim=sizes["hidden_size"],
            depth=sizes["num_hidden_layers"], num_heads=sizes["num_attention_heads"], qkv_bias=True,
            mlp_ratio=sizes["intermediate_size"] / sizes["hidden_size"], use_mean_pooling=False)
        return encoder, blip2.LayerNorm(encoder.num_features)

    @classmethod
    def init_Qformer(cls, queries, vision_width, **_):
        sizes = cls.sizes["qformer_config"]
        config = blip2.BertConfig(**{name: size for name, size in sizes.items() if name != "model_type"})
        config.encoder_width, config.query_length, config.add_cross_attention = vision_width, queries, True
        config.cross_attention_freq = sizes["cross_attention_frequency"]
        query_tokens = torch.nn.Parameter(torch.zeros(1, queries, config.hidden_size))
        return blip2.BertLMHeadModel(config), query_tokens


def renamed(weights):
    """The folder's weights by LAVIS's names."""
    begins = [
        ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
        ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
        ("vision_model.embeddings.patch_embedding.", "visual_encoder.patch_embed.proj."),
        ("vision_model.encoder.layers.", "visual_encoder.blocks."),
        ("vision_model.post_layernorm.", "ln_vision."),
        ("qformer.layernorm.", "Qformer.bert.embeddings.LayerNorm."),
        ("qformer.", "Qformer.bert."),
        ("language_projection.", "opt_proj."),
        ("language_model.", "opt_model."),
    ]
    inside = [("layer_norm1.", "norm1."), ("layer_norm2.", "norm2."), ("self_attn.qkv.", "attn.qkv."),
              ("self_attn.projection.", "attn.proj.")]
    attention = [("attention.attention.", "attention.self.")]
    found = {}
    for name, values in weights.items():
        own = next((to + name.removeprefix(of) for of, to in begins if name.startswith(of)), name)
        changes = inside if own.startswith("visual") else attention if own.startswith("Qformer") else []
        for of, to in changes:
            own = own.replace(of, to)
        if own.endswith("attn.qkv.bias"):
            # The keys' bias changes no attention, and LAVIS has none.
            queries, _, values_ = values.chunk(3)
            found[own.replace("qkv.bias", "q_bias")] = queries
            found[own.replace("qkv.bias", "v_bias")] = values_
        else:
            found[own] = values
    return found


def tokenizer_of(folder):
    """The folder's tokenizer, as the `tokenizers` of LAVIS's day writes it."""
    form = json.loads((folder / "tokenizer.json").read_text())
    form["model"]["merges"] = [" ".join(pair) for pair in form["model"]["merges"]]
    own = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(form)), **own)


def build(folder):
    """The folder's model."""
    sizes = json.loads((folder / "config.json").read_text())
    tokenizer = tokenizer_of(folder)
    SmallBlip2OPT.sizes = sizes
    text = {name: size for name, size in sizes["text_config"].items() if name != "model_type"}
    # What LAVIS would download it is given.
    language_model = blip2_opt.OPTForCausalLM(OPTConfig(**text))
    blip2_opt.OPTForCausalLM.from_pretrained = classmethod(lambda *_, **__: language_model)
    blip2_opt.AutoTokenizer.from_pretrained = classmethod(lambda *_, **__: tokenizer)
    model = SmallBlip2OPT(img_size=sizes["vision_config"]["image_size"], vit_precision="fp32",
                          num_query_token=sizes["num_query_tokens"])
    found = model.load_state_dict(renamed(load_file(folder / "model.safetensors")), strict=False)
    # The head is the table of tokens.
    assert set(found.missing_keys) <= {"Qformer.bert.embeddings.position_ids", "opt_model.lm_head.weight"}, found
    assert not found.unexpected_keys, found
    # What this language model ends its texts with; LAVIS's ends them with a new line.
    model.eos_token_id = tokenizer.eos_token_id
    return model


class EasyVqa(BaseDataset):
    """Questions with their answers, as a text that is to be written."""

    def __init__(self, folder, vis_processor, first=None):
        self.folder, self.vis_processor = folder, vis_processor
        self.annotation = json.loads((folder / "questions.json").read_text())[:first]

    def __getitem__(self, number):
        question, answer, picture = self.annotation[number]
        image = Image.open(self.folder / "images" / f"{picture}.png").convert("RGB")
        return {"image": self.vis_processor(image), "prompt": f"Question: {question} Answer:",
                "text_input": f"Question: {question} Answer: {answer}</s>", "answer": answer}

    def collater(self, rows):
        return {"image": torch.stack([row["image"] for row in rows]), "text_input": [row["text_input"] for row in rows]}


def runner_of(model, data, out, steps):
    """LAVIS's runner over `steps` batches."""
    run = OmegaConf.create({
        "device": "cpu", "distributed": False, "evaluate": False, "output_dir": out, "num_workers": 0,
        "batch_size_train": BATCH, "batch_size_eval": BATCH, "train_splits": ["train"], "max_epoch": 1,
        "init_lr": 1e-3, "min_lr": 0, "warmup_lr": 1e-5, "warmup_steps": 20, "weight_decay": 0.05,
        "lr_sched": "linear_warmup_cosine_lr", "log_freq": 50})
    recipe = SimpleNamespace(run_cfg=run, to_dict=dict)
    torch.manual_seed(0)
    chosen = torch.randperm(len(data))[: steps * BATCH].tolist()
    data.annotation = [data.annotation[number] for number in chosen]
    runner = RunnerBase(recipe, ImageTextPretrainTask(), model, {"easy_vqa": {"train": data}}, "easy_vqa")
    # It takes its model up when that moves to another device, and its own loader asks for CUDA.
    runner._wrapped_model = model
    runner._dataloaders = {"train": torch.utils.data.DataLoader(data, BATCH, collate_fn=data.collater)}
    return runner


def score(model, data):
    """The part of answers that are exactly right: prompts of one text pass together, as LAVIS takes them."""
    by_prompt = {}
    for row in data:
        by_prompt.setdefault(row["prompt"], []).append(row)
    right = 0
    for prompt, rows in by_prompt.items():
        for begin in range(0, len(rows), BATCH):
            some = rows[begin:begin + BATCH]
            images = torch.stack([row["image"] for row in some])
            written = model.generate({"image": images, "prompt": prompt}, num_beams=1, max_length=6)
            right += sum(text == row["answer"] for text, row in zip(written, some))
    return right / len(data)


def main():
    parser = argparse.ArgumentParser()
    for name in ["base", "data", "out", "steps", "threads", "first"]:
        parser.add_argument(name)
    arguments = parser.parse_args()
    torch.set_num_threads(int(arguments.threads))
    model = build(pathlib.Path(arguments.base))
    processor = BlipImageEvalProcessor(image_size=SmallBlip2OPT.sizes["vision_config"]["image_size"])
    data = pathlib.Path(arguments.data)
    registry.mapping["paths"]["library_root"] = "/"
    runner = runner_of(model, EasyVqa(data / "train", processor), arguments.out, int(arguments.steps))
    began = time.perf_counter()
    stats = runner.train_epoch(0)
    seconds = time.perf_counter() - began
    runner._save_checkpoint(0)
    model.eval()
    print(json.dumps({"score": score(model, EasyVqa(data / "test", processor, int(arguments.first))),
                      "seconds": seconds, "loss": stats["loss"]}))


main()
