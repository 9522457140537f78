"""A step of low-rank adaptation over a large model: `blip2 train` over `int8`, PEFT over `bf16`, in turns.

    cargo build --release --workspace --bins
    python lora.py --ours ../../target/release/blip2 --model blip2-opt-2.7b [--threads 2] [--rounds 3]

MODEL is a folder of any BLIP-2 with OPT: a published one, or one of random weights. Both learn adapters of rank
16 on `q_proj` and `v_proj` from the same questions and answers about the same pictures. Prints the medians of a
step's seconds, the first left out, and of the most memory, and the median of the rounds' ratios.

Where a processor multiplies no brain floats, PyTorch goes through a large matrix a number at a time: hours a step.
`--memory` has PEFT's frozen matrices multiplied in pieces of `f32` there, which takes some ten megabytes more than
its own way, and is for its memory alone: its seconds say nothing then.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
IMAGES = sorted((HERE / "../../examples/images").glob("*-*.png"))[:4]
QUESTION = "what is the shape in the middle of this picture, and which color does it have?"
ANSWER = "it is a red triangle on a plain ground"
SETTINGS = """
model = "{model}"
out = "{out}"
[data]
kind = "json-lines"
file = "data.jsonl"
pictures = "."
[train]
objective = "answers"
template = "Question: {{}} Answer:"
precision = "{precision}"
[lora]
rank = 16
alpha = 32.0
targets = ["q_proj", "v_proj"]
[recipe]
steps = {steps}
batch = {batch}
warmup = 0
activations = "{activations}"
"""


def multiply_in_pieces(torch, outputs=512):
    """Has every frozen matrix multiply in `f32`, so many of its outputs at a time; keeps what PyTorch keeps."""
    plain = torch.nn.functional.linear

    class Frozen(torch.autograd.Function):
        @staticmethod
        def forward(ctx, rows, weight, bias):
            ctx.save_for_backward(weight)
            result = rows.new_empty(*rows.shape[:-1], weight.shape[0])
            wide = rows.float()
            for at in range(0, weight.shape[0], outputs):
                result[..., at:at + outputs] = wide @ weight[at:at + outputs].float().T
            return result if bias is None else result.add_(bias)

        @staticmethod
        def backward(ctx, gradient):
            (weight,) = ctx.saved_tensors
            result = 0
            for at in range(0, weight.shape[0], outputs):
                result = result + gradient[..., at:at + outputs].float() @ weight[at:at + outputs].float()
            return result.to(gradient.dtype), None, None

    def linear(rows, weight, bias=None):
        frozen = not weight.requires_grad and (bias is None or not bias.requires_grad)
        return Frozen.apply(rows, weight, bias) if frozen else plain(rows, weight, bias)

    torch.nn.functional.linear = linear


def peer(model, steps, batch, threads, memory):
    import torch
    from peft import LoraConfig, get_peft_model
    from PIL import Image
    from transformers import Blip2ForConditionalGeneration, Blip2Processor

    torch.set_num_threads(threads)
    if memory:
        multiply_in_pieces(torch)
    processor = Blip2Processor.from_pretrained(model)
    model = Blip2ForConditionalGeneration.from_pretrained(model, dtype=torch.bfloat16, attn_implementation="sdpa")
    # Not those of the image encoder and the Q-Former, which have other names.
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"]))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    tokenizer = processor.tokenizer
    seconds = []
    for _ in range(steps):
        begun = time.perf_counter()
        pictures = [Image.open(IMAGES[row % len(IMAGES)]).convert("RGB") for row in range(batch)]
        read = processor(images=pictures, text=[f"Question: {QUESTION} Answer:"] * batch, return_tensors="pt")
        end = tokenizer.eos_token or ""
        written = tokenizer([f" {ANSWER}{end}"] * batch, add_special_tokens=False, return_tensors="pt")
        labels = torch.cat([torch.full_like(read["input_ids"], -100), written["input_ids"]], 1)
        inputs = {name: torch.cat([read[name], written[name]], 1) for name in ("input_ids", "attention_mask")}
        pixels = read["pixel_values"].to(torch.bfloat16)
        loss = model(pixel_values=pixels, labels=labels, **inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - begun)
    tokens = inputs["input_ids"].shape[1]
    print(json.dumps({"seconds": statistics.median(seconds[1:]), "tokens": tokens, "loss": loss.item()}))


def run(command, threads):
    """What a command prints, and its most memory in GB."""
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads), HF_HUB_OFFLINE="1")
    with tempfile.TemporaryFile() as printed:
        child = subprocess.Popen([str(part) for part in command], stdout=printed, env=environment)
        _, status, used = os.wait4(child.pid, 0)
        if status:
            raise SystemExit(f"{command} failed")
        printed.seek(0)
        return printed.read().decode(), used.ru_maxrss / 1e6


def ours(given, folder, precision, activations):
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    settings = SETTINGS.format(model=given.model.resolve(), out=out, precision=precision, steps=given.steps,
                               batch=given.batch, activations=activations)
    (folder / "settings.toml").write_text(settings)
    _, memory = run([given.ours, "train", folder / "settings.toml"], given.threads)
    # They tell how long the training has taken by then.
    at = [json.loads(line)["seconds"] for line in open(out / "metrics.jsonl")]
    return statistics.median(after - before for before, after in zip(at, at[1:])), memory


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--ours")
    arguments.add_argument("--model", type=pathlib.Path, required=True)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=4)
    arguments.add_argument("--batch", type=int, default=4)
    arguments.add_argument("--precisions", nargs="+", default=["int8", "bf16"])
    arguments.add_argument("--activations", default="f32")
    arguments.add_argument("--memory", action="store_true", help="looks at memory alone, on any processor")
    arguments.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.peer:
        return peer(given.model, given.steps, given.batch, given.threads, given.memory)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with open(folder / "data.jsonl", "w") as data:
            for row in range(given.batch):
                image = IMAGES[row % len(IMAGES)]
                shutil.copy(image, folder)
                data.write(json.dumps({"image": image.name, "question": QUESTION, "answer": ANSWER}) + "\n")
        for _ in range(given.rounds):
            own = ["--model", given.model, "--threads", given.threads, "--steps", given.steps, "--batch", given.batch]
            alone = ["--memory"] if given.memory else []
            printed, memory = run([sys.executable, __file__, "--peer", *own, *alone], given.threads)
            theirs = json.loads(printed.splitlines()[-1])
            for precision in given.precisions:
                pair = ours(given, folder, precision, given.activations)
                found.setdefault(precision, []).append((theirs["seconds"], memory, *pair))
                print(f"{precision}: PEFT bf16 {theirs['seconds']:.2f} s ({theirs['tokens']} tokens) {memory:.2f} GB, "
                      f"blip2 {pair[0]:.2f} s {pair[1]:.2f} GB", flush=True)
    for precision, rows in found.items():
        median = lambda of: statistics.median(of(row) for row in rows)
        print(f"{precision}: {median(lambda row: row[0] / row[2]):.2f} × as fast as PEFT over bf16, "
              f"{median(lambda row: row[3] / row[1]):.2f} of its memory")


if __name__ == "__main__":
    main()
