"""A training step here and in PyTorch, on the same model, batch and cores, in turns.

    cargo build --release -p blip2-benches --example train_step
    python train.py --ours ../../target/release/examples/train_step [--threads 1 2] [--rounds 3]

Prints the medians and the median of the rounds' ratios. PyTorch runs transformers' modules (`sdpa`
attention for the second stage; eager for the first one, whose masks sdpa would take as well but
transformers does not pass), as LAVIS composes them.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
WARM = 3


def ids(rows, length):
    return [[(row * 31 + n * 17) % 350 + 5 for n in range(length)] for row in range(rows)]


def pixels(torch, count):
    n = torch.arange(count * 3 * 64 * 64, dtype=torch.long)
    return (((n * 7919) % 2003).float() / 1000 - 1).reshape(count, 3, 64, 64)


def peer(stage, threads, steps):
    import torch
    import torch.nn.functional as F
    from transformers import Blip2Config, Blip2ForConditionalGeneration
    from transformers.models.blip_2.modeling_blip_2 import Blip2TextEmbeddings

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = json.loads((HERE / "train.json").read_text())
    if stage == "second":
        config["qformer_config"]["use_qformer_text_input"] = False
    config = Blip2Config(**{k: v for k, v in config.items() if k not in ("model_type", "architectures")})
    attention = "sdpa" if stage == "second" else "eager"
    model = Blip2ForConditionalGeneration._from_config(config, attn_implementation=attention).train()
    width, vocab, queries = 96, 368, 8
    extra = torch.nn.ModuleDict()
    if stage == "first":
        model.language_model = None
        model.language_projection = None
        extra["embeddings"] = Blip2TextEmbeddings(config.qformer_config)
        for name, size in [("vision", 64), ("text", 64), ("itm", 2), ("dense", width)]:
            extra[name] = torch.nn.Linear(width, size)
        extra["norm"] = torch.nn.LayerNorm(width)
        extra.bias = torch.nn.Parameter(torch.zeros(vocab))
        extra.temp = torch.nn.Parameter(torch.tensor(0.07))
    parameters = list(model.parameters()) + list(extra.parameters())
    decays = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    optimizer = torch.optim.AdamW([dict(params=decays, weight_decay=0.05), dict(params=others, weight_decay=0.0)], lr=1e-4)

    if stage == "second":
        rows = torch.tensor([[361] * 8 + row for row in ids(128, 16)])
        labels = rows.clone()
        labels[:, :22] = -100
        pictures = torch.arange(128) // 4
        image = pixels(torch, 32)

        def loss():
            seen = model.vision_model(pixel_values=image).last_hidden_state
            query = model.query_tokens.expand(32, -1, -1)
            features = model.language_projection(model.qformer(query_embeds=query, encoder_hidden_states=seen).last_hidden_state)
            embeds = model.language_model.get_input_embeddings()(rows)
            embeds = embeds.masked_scatter((rows == 361)[..., None].expand_as(embeds), features[pictures])
            logits = model.language_model(inputs_embeds=embeds).logits
            return F.cross_entropy(logits[:, :-1].reshape(-1, vocab), labels[:, 1:].reshape(-1))
    else:
        text = torch.tensor(ids(64, 6))
        image, count, length = pixels(torch, 64), 64, 6
        written = text.clone()
        written[:, 0] = 0
        seen_mask = torch.zeros(queries + length, queries + length)
        seen_mask[:, :queries] = 1
        seen_mask[queries:, queries:] = torch.tril(torch.ones(length, length))
        hidden_mask = ((1 - seen_mask) * -1e9)[None, None]

        def qformer(image, ids=None, mask=None, look=True):
            parts = [model.query_tokens.expand(image.shape[0], -1, -1)] if look else []
            parts += [extra["embeddings"](input_ids=ids)] if ids is not None else []
            return model.qformer(query_embeds=torch.cat(parts, 1), query_length=queries if look else 0,
                                 attention_mask=mask, encoder_hidden_states=image if look else None).last_hidden_state

        def loss():
            seen = model.vision_model(pixel_values=image).last_hidden_state
            hidden = qformer(seen, written, hidden_mask)
            inner = extra["norm"](F.gelu(extra["dense"](hidden[:, queries:])))
            logits = F.linear(inner, extra["embeddings"].word_embeddings.weight, extra.bias)
            itg = F.cross_entropy(logits[:, :-1].reshape(-1, vocab), written[:, 1:].reshape(-1), label_smoothing=0.1)
            pictures = F.normalize(extra["vision"](hidden[:, :queries]), dim=-1)
            texts = F.normalize(extra["text"](qformer(image, text, look=False)[:, 0]), dim=-1)
            similar = torch.einsum("iqd,td->itq", pictures, texts).max(-1)[0] / extra.temp
            right = torch.arange(count)
            itc = (F.cross_entropy(similar, right, label_smoothing=0.1) + F.cross_entropy(similar.T, right, label_smoothing=0.1)) / 2
            with torch.no_grad():
                own = torch.eye(count, dtype=torch.bool)
                image_negatives = torch.multinomial(similar.T.masked_fill(own, -1e4).softmax(1), 1)[:, 0]
                text_negatives = torch.multinomial(similar.masked_fill(own, -1e4).softmax(1), 1)[:, 0]
            fused = qformer(torch.cat([seen, seen[image_negatives], seen]), torch.cat([text, text, text[text_negatives]]))
            verdicts = extra["itm"](fused[:, :queries]).mean(1)
            itm = F.cross_entropy(verdicts, torch.tensor([1] * count + [0] * 2 * count))
            return itc + itg + itm

    times = []
    for _ in range(WARM + steps):
        began = time.perf_counter()
        value = loss()
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        times.append(time.perf_counter() - began)
    print(statistics.median(times[WARM:]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        return peer(arguments.peer, arguments.threads[0], arguments.steps)
    for threads in arguments.threads:
        for stage in ["first", "second"]:
            common = ["--threads", str(threads), "--steps", str(arguments.steps)]
            ours, theirs = [], []
            for _ in range(arguments.rounds):
                ours.append(float(subprocess.check_output([arguments.ours, stage, *common])))
                command = [sys.executable, __file__, "--peer", stage, *common]
                theirs.append(float(subprocess.check_output(command, stderr=subprocess.DEVNULL)))
            ratio = statistics.median(t / o for o, t in zip(ours, theirs))
            print(f"{stage} stage, {threads} threads: ours {statistics.median(ours):.4f} s, "
                  f"PyTorch {statistics.median(theirs):.4f} s, {ratio:.2f} x as fast", flush=True)


main()
