"""Runs the same work through `blip2` and PyTorch on one GPU, in turns, and prints the ratios.

    python gpu.py --ours ../../target/release/blip2 [--device vulkan] [--rounds 3] [--compile]

Each side runs as a process of its own. PyTorch runs `transformers` in half precision with its fused
attention; `--compile` adds `torch.compile` of the image encoder and of a decoding step with a static
cache. Nothing is downloaded: the model has the published sizes of blip2-opt-2.7b and random weights.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
PROMPT, IMAGE, NEW = 40, 32, 20


def worker(options):
    """PyTorch's side: seconds of the image encoder, of a prompt, of a token and of a caption."""
    import torch

    import models

    dtype = {"f16": torch.float16, "bf16": torch.bfloat16}[options.worker]
    with torch.device("cuda"):
        model = models.blip2(dtype, device="cuda")
    pixels = torch.randn(1, 3, 224, 224, dtype=dtype, device="cuda")
    ids = torch.tensor([[50265] * IMAGE + list(range(5, 5 + PROMPT))], device="cuda")
    text_ids = torch.tensor([list(range(5, 5 + PROMPT + IMAGE))], device="cuda")
    language_model = model.language_model

    def timed(run):
        seconds = []
        for n in range(options.repeat + 2):
            torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            torch.cuda.synchronize()
            if n > 1:
                seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    def tokens(count, **more):
        language_model.generate(
            text_ids, max_new_tokens=count, min_new_tokens=count, do_sample=False, **more)

    with torch.inference_mode():
        found = {
            "vision": timed(lambda: model.vision_model(pixels)),
            "prefill": timed(lambda: language_model(text_ids, use_cache=True)),
            "decode": (timed(lambda: tokens(NEW)) - timed(lambda: tokens(2))) / (NEW - 2),
            "caption": timed(lambda: model.generate(
                pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids),
                max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False)),
        }
        if options.compile:
            vision = torch.compile(model.vision_model, mode="reduce-overhead")
            found["vision, compiled"] = timed(lambda: vision(pixels))
            # A static cache makes `generate` compile its step.
            more = {"cache_implementation": "static"}
            long, short = timed(lambda: tokens(NEW, **more)), timed(lambda: tokens(2, **more))
            found["decode, compiled"] = (long - short) / (NEW - 2)
    found["device"] = torch.cuda.get_device_name()
    found["memory"] = torch.cuda.max_memory_allocated()
    print(json.dumps(found))


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def ours(options, precision):
    found = run([
        options.ours, "bench", "--preset", "blip2-opt-2.7b", "--device", options.device,
        "--precision", precision, "--prompt-tokens", str(PROMPT), "--new-tokens", str(NEW),
        "--repeat", str(options.repeat), "--json"] + ["--no-peaks"] * options.no_peaks)
    stages = found["stages"]
    return found, {
        "vision": stages["vision"]["seconds"],
        "prefill": stages["prefill"]["seconds"],
        "decode": stages["decode"]["seconds_per_token"],
        "caption": stages["caption"]["seconds"],
    }


def theirs(options, dtype):
    command = [sys.executable, __file__, "--worker", dtype, "--repeat", str(options.repeat)]
    return run(command + ["--compile"] * options.compile)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", help="the program `blip2`")
    parser.add_argument("--device", default="wgpu", help="of `blip2`: wgpu, vulkan, metal, cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3, help="measurements in a run")
    parser.add_argument("--precisions", nargs="+", default=["f16", "bf16", "int8", "int4"])
    parser.add_argument("--compile", action="store_true", help="PyTorch's compiler as well")
    parser.add_argument("--no-peaks", action="store_true", help="do not measure what the GPU can do")
    parser.add_argument("--output", type=pathlib.Path, help="a file for all numbers")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options)
    pairs, reports = {}, []
    for _ in range(options.rounds):
        peer = theirs(options, "f16")
        for precision in options.precisions:
            report, own = ours(options, precision)
            reports.append({"ours": report, "torch": peer})
            for stage, seconds in own.items():
                pairs.setdefault((stage, precision), []).append((peer[stage], seconds))
            device = report.get("device")
            if device:
                print(json.dumps({"precision": precision, **device, "decode": report.get("decode")}))
    print(f"{peer['device']}; PyTorch in f16 with {peer['memory'] / 1e9:.2f} GB at the peak")
    print("| work | ours in | PyTorch f16 | ours | ratio |")
    print("|---|---|---|---|---|")
    for (stage, precision), found in pairs.items():
        theirs_, own = (statistics.median(side) for side in zip(*found))
        ratio = statistics.median(a / b for a, b in found)
        print(f"| {stage} | {precision} | {1e3 * theirs_:.2f} ms | {1e3 * own:.2f} ms | {ratio:.2f} × |")
    for name, seconds in peer.items():
        if "compiled" in name:
            print(f"PyTorch, {name}: {1e3 * seconds:.2f} ms")
    if options.output:
        options.output.write_text(json.dumps(reports))


if __name__ == "__main__":
    main()
