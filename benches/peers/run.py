"""Runs the same work through `blip2` and its peers, in turns, and prints the ratios.

    python run.py --ours ../../target/release/blip2 --threads 1 2 [--rounds 3] [--only vit-bf16 …]

Rows whose name ends with `-of-8` are of eight pictures at once, a picture's share of the time; those
whose name begins with `avx2-` hold both sides to AVX2, which is what most people's processors have.

Each side runs as a process of its own, in turns, so that both meet the same machine: a round runs
ours in one precision, then the peers that it is compared with, then ours in the next precision. A
ratio is the median of the rounds' ratios. Install `requirements.txt` first. Nothing is downloaded:
all models have published sizes and random weights.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
OPT, T5 = "blip2-opt-2.7b", "blip2-flan-t5-xl"

# What holds each side to instructions that it could do without. PyTorch's `int8` is FBGEMM's, which heeds
# none of the others' variables; OpenVINO and ONNX Runtime heed none at all, so that no row here has them.
HELD = {
    "avx2": {
        "BLIP2_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2", "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2",
        "CT2_FORCE_CPU_ISA": "AVX2",
    },
}

# name: preset and precisions of a run of ours
OURS = {
    "opt-f32-vision": [OPT, "--vision-precision", "f32", "--lm-precision", "int8"],
    "opt-bf16": [OPT, "--precision", "bf16"],
    "opt-int8": [OPT, "--precision", "int8"],
    "opt-int4": [OPT, "--precision", "int4"],
    "t5-bf16": [T5, "--precision", "bf16"],
    "t5-int8": [T5, "--precision", "int8"],
    "opt-f32-vision-of-8": [OPT, "--vision-precision", "f32", "--lm-precision", "int8", "--batch", "8"],
    "opt-bf16-of-8": [OPT, "--precision", "bf16", "--batch", "8"],
    "opt-int8-of-8": [OPT, "--precision", "int8", "--batch", "8"],
}

# name: what, our run, our stage and field, the peers as (peer, work) or as a run of ours, at least
VISION, DECODE = ("vision", "seconds"), ("decode", "seconds_per_token")
ENCODER, CAPTION = ("encoder", "seconds"), ("caption", "seconds")
ROWS = {
    "vit-f32": ("ViT-g, one image, f32", "opt-f32-vision", VISION,
                [("torch-f32", "vit"), ("openvino-f32", "vit"), ("onnxruntime-f32", "vit")], 1.1),
    "vit-bf16": ("ViT-g, one image, bf16", "opt-bf16", VISION,
                 [("torch-bf16", "vit"), ("openvino-bf16", "vit")], 1.2),
    "opt-bf16": ("OPT-2.7B decode, bf16", "opt-bf16", DECODE, [("torch-bf16", "opt-decode")], 1.3),
    "caption-bf16": ("caption of 20 tokens, bf16", "opt-bf16", CAPTION,
                     [("transformers-bf16", "caption")], 1.4),
    "vit-int8": ("ViT-g, one image, int8", "opt-int8", VISION, [("onnxruntime-int8", "vit")], 1.4),
    "opt-int8": ("OPT-2.7B decode, int8", "opt-int8", DECODE,
                 [("torch-int8", "opt-decode"), ("ctranslate2-int8", "opt-decode")], 1.25),
    "caption-int8": ("caption of 20 tokens, int8", "opt-int8", CAPTION,
                     [("transformers-bf16", "caption")], 3.0),
    "opt-int4": ("OPT-2.7B decode, int4", "opt-int4", DECODE, ["opt-int8"], 1.5),
    "caption-int4": ("caption of 20 tokens, int4", "opt-int4", CAPTION,
                     [("transformers-bf16", "caption")], 4.0),
    "vit-f32-of-8": ("ViT-g, one image of 8, f32", "opt-f32-vision-of-8", VISION, ["opt-f32-vision"], 1.0),
    "vit-bf16-of-8": ("ViT-g, one image of 8, bf16", "opt-bf16-of-8", VISION, ["opt-bf16"], 1.0),
    "vit-int8-of-8": ("ViT-g, one image of 8, int8", "opt-int8-of-8", VISION, ["opt-int8"], 1.0),
    "caption-bf16-of-8": ("caption of 20 tokens, one of 8, bf16", "opt-bf16-of-8", CAPTION,
                          [("transformers-bf16", "caption-of-8")], 1.25),
    "caption-int8-of-8": ("caption of 20 tokens, one of 8, int8", "opt-int8-of-8", CAPTION,
                          [("transformers-bf16", "caption-of-8")], 2.2),
    "avx2-vit-f32": ("ViT-g, one image, f32", "opt-f32-vision", VISION, [("torch-f32", "vit")], 1.0),
    "avx2-vit-bf16": ("ViT-g, one image, bf16", "opt-bf16", VISION, [("torch-bf16", "vit")], 1.0),
    "avx2-vit-int8": ("ViT-g, one image, int8", "opt-int8", VISION, [("torch-int8", "vit")], 1.0),
    "avx2-opt-bf16": ("OPT-2.7B decode, bf16", "opt-bf16", DECODE, [("torch-bf16", "opt-decode")], 1.0),
    "avx2-opt-int8": ("OPT-2.7B decode, int8", "opt-int8", DECODE,
                      [("torch-int8", "opt-decode"), ("ctranslate2-int8", "opt-decode")], 1.15),
    "t5-encoder-bf16": ("Flan-T5-XL encoder, bf16", "t5-bf16", ENCODER,
                        [("torch-bf16", "t5-encoder")], 1.3),
    "t5-bf16": ("Flan-T5-XL decode, bf16", "t5-bf16", DECODE, [("torch-bf16", "t5-decode")], 1.3),
    "t5-encoder-int8": ("Flan-T5-XL encoder, int8", "t5-int8", ENCODER,
                        [("torch-int8", "t5-encoder")], 1.25),
    "t5-int8": ("Flan-T5-XL decode, int8", "t5-int8", DECODE, [("torch-int8", "t5-decode")], 1.25),
}


class Round:
    """One run of everything that the rows need, each thing once."""

    def __init__(self, options, threads):
        self.options, self.threads, self.kept = options, threads, {}

    def ours(self, run, held):
        preset, *precisions = OURS[run]
        stacks = ["--layers", str(self.options.stacks)] if self.options.stacks else []
        return self.once((run, held), [
            self.options.ours, "bench", "--preset", preset, *precisions, *stacks, "--threads",
            str(self.threads), "--repeat", str(self.options.repeat), "--no-peaks", "--json"])

    def share(self, run, held, stage, field):
        """Our time of a stage, a picture's share of it; a token is a step's, which gives every picture one."""
        seconds = self.ours(run, held)["stages"][stage][field]
        return seconds if field == "seconds_per_token" else seconds / of(run)

    def theirs(self, peer, work, held):
        stacks = ["--stacks", str(self.options.stacks)] if self.options.stacks else []
        found = self.once((peer, work, held), [
            sys.executable, HERE / "worker.py", peer, work, *stacks, "--threads", str(self.threads),
            "--repeat", str(self.options.repeat), "--layers", str(self.options.layers)])
        return statistics.median(found["seconds"]) / of(work)

    def once(self, key, command):
        if key not in self.kept:
            self.kept[key] = last_json(command, HELD.get(key[-1], {}))
            if "error" in self.kept[key]:
                print(f"{key}, {self.threads} threads: {self.kept[key]['error']}", file=sys.stderr)
        if "error" in self.kept[key]:
            raise RuntimeError(self.kept[key]["error"])
        return self.kept[key]

    def seconds(self, name):
        """Yields peer, its seconds and ours for each peer of a row."""
        _, run, (stage, field), peers, _ = ROWS[name]
        held = name.split("-")[0]
        for peer in peers:
            try:
                own = self.share(run, held, stage, field)
                if isinstance(peer, str):
                    yield f"ours, {peer}", self.share(peer, held, stage, field), own
                else:
                    yield peer[0], self.theirs(*peer, held), own
            except RuntimeError:
                continue


def of(name):
    """Of how many pictures at once a run or a work is."""
    return 8 if name.endswith("-of-8") else 1


def last_json(command, held):
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | held)
    if done.returncode != 0:
        return {"error": done.stderr[-1000:] or f"stopped with {done.returncode}"}
    start = done.stdout.rindex("\n{", 0) + 1 if "\n{" in done.stdout else done.stdout.index("{")
    return json.loads(done.stdout[start:])


def summary(name, threads, rounds):
    """One entry for each peer of a row, from the pairs of its rounds."""
    what, *_, target = ROWS[name]
    entries = []
    for peer, pairs in rounds.items():
        entries.append({
            "row": name, "what": what, "held": name.split("-")[0] in HELD, "threads": threads, "peer": peer, "target": target,
            "peer_seconds": statistics.median(other for other, _ in pairs),
            "our_seconds": statistics.median(own for _, own in pairs),
            "ratio": statistics.median(other / own for other, own in pairs), "pairs": pairs,
        })
    fastest = min((entry["ratio"] for entry in entries), default=0.0)
    for entry in entries:
        entry["holds"] = fastest >= target
    return entries


def table(entries):
    print("| work | threads | peer | peer | ours | ratio | at least | holds |")
    print("|---|---|---|---|---|---|---|---|")
    for entry in entries:
        print(f"| {entry['what']} | {entry['threads']} | {entry['peer']} "
              f"| {entry['peer_seconds']:.3f} s | {entry['our_seconds']:.3f} s "
              f"| {entry['ratio']:.2f} × | {entry['target']} × "
              f"| {'yes' if entry['holds'] else 'no'} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", required=True, help="the program `blip2`")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3, help="measurements in a run")
    parser.add_argument("--layers", type=int, default=39,
                        help="layers of the peers' image encoder, whose time is scaled to 39")
    parser.add_argument("--stacks", type=int,
                        help="layers of every stack on both sides, for a machine that cannot hold the "
                             "models; nothing is scaled then")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--output", help="a file for the figures as JSON")
    options = parser.parse_args()
    found = {(threads, name): {} for threads in options.threads for name in options.only}
    for _ in range(options.rounds):
        for threads in options.threads:
            this = Round(options, threads)
            for name in options.only:
                for peer, other, own in this.seconds(name):
                    found[threads, name].setdefault(peer, []).append((other, own))
                    print(f"{name}, {threads} threads, {peer}: {other:.3f} s, ours {own:.3f} s",
                          file=sys.stderr, flush=True)
        entries = [entry for (threads, name), rounds in found.items()
                   for entry in summary(name, threads, rounds)]
        if options.output:
            pathlib.Path(options.output).write_text(json.dumps(entries, indent=1))
    table(entries)


main()
