"""The published sizes with random weights, built without a download."""

import torch
from transformers import (
    Blip2Config, Blip2ForConditionalGeneration, Blip2VisionConfig, Blip2VisionModel, OPTConfig,
    OPTForCausalLM, T5Config, T5ForConditionalGeneration,
)

VIT_LAYERS = 39

OPT = dict(
    vocab_size=50304, hidden_size=2560, num_hidden_layers=32, num_attention_heads=32, ffn_dim=10240,
    max_position_embeddings=2048, word_embed_proj_dim=2560, do_layer_norm_before=True,
)
T5 = dict(
    vocab_size=32128, d_model=2048, d_kv=64, d_ff=5120, num_layers=24, num_decoder_layers=24,
    num_heads=32, feed_forward_proj="gated-gelu", dense_act_fn="gelu", tie_word_embeddings=False,
    decoder_start_token_id=0,
)


def filled(build, dtype, device="cpu"):
    """Builds a model on no device, then fills it on `device` with small random numbers in `dtype`."""
    with torch.device("meta"):
        model = build()
    model = model.to(dtype).to_empty(device=device).eval()
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if not tensor.is_floating_point():
                tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape))
            elif tensor.dim() < 2:
                tensor.fill_(1.0 if "norm" in name and "weight" in name else 0.0)
            else:
                tensor.uniform_(-0.03, 0.03, generator=generator)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def vit(dtype, layers):
    config = Blip2VisionConfig(
        hidden_size=1408, intermediate_size=6144, num_hidden_layers=layers,
        num_attention_heads=16, image_size=224, patch_size=14, qkv_bias=True)
    config._attn_implementation = "sdpa"
    return filled(lambda: Blip2VisionModel(config), dtype)


def shorter(text, layers):
    """The sizes of a language model with as many layers as asked for, or with its own."""
    names = ("num_hidden_layers", "num_layers", "num_decoder_layers")
    return text | {name: layers for name in names if layers and name in text}


def opt(dtype, layers=None):
    return filled(lambda: OPTForCausalLM(OPTConfig(**shorter(OPT, layers))), dtype)


def t5(dtype, layers=None):
    return filled(lambda: T5ForConditionalGeneration(T5Config(**shorter(T5, layers))), dtype)


def blip2(dtype, device="cpu", layers=None):
    config = Blip2Config(
        vision_config=dict(
            hidden_size=1408, intermediate_size=6144, num_hidden_layers=layers or VIT_LAYERS,
            num_attention_heads=16, image_size=224, patch_size=14, qkv_bias=True),
        qformer_config=dict(
            encoder_hidden_size=1408, cross_attention_frequency=2, num_hidden_layers=layers or 12),
        text_config=dict(model_type="opt", **shorter(OPT, layers)), num_query_tokens=32,
        image_token_index=50265)
    return filled(lambda: Blip2ForConditionalGeneration(config), dtype, device)
