"""Runs the same work through `blip2` and its peers, in turns, and prints the ratios.

    python run.py --ours ../../target/release/blip2 --threads 1 2 [--rounds 3] [--only vit-bf16 …]

Each side runs as a process of its own, A B A B, so that both meet the same machine; a ratio is the
median of the ratios of neighbours. Install `requirements.txt` first. Nothing is downloaded: all
models have published sizes and random weights.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
OPT, T5 = "blip2-opt-2.7b", "blip2-flan-t5-xl"

# name: what, our preset, our precision, our stage and field, the peer's work, peers, at least
ROWS = {
    "vit-f32": ("ViT-g, one image, f32", OPT, ["--vision-precision", "f32", "--lm-precision", "int8"],
                ("vision", "seconds"), "vit", ["torch-f32", "openvino-f32", "onnxruntime-f32"], 1.1),
    "vit-bf16": ("ViT-g, one image, bf16", OPT,
                 ["--vision-precision", "bf16", "--lm-precision", "int8"],
                 ("vision", "seconds"), "vit", ["torch-bf16", "openvino-bf16"], 1.2),
    "vit-int8": ("ViT-g, one image, int8", OPT,
                 ["--vision-precision", "int8", "--lm-precision", "int8"],
                 ("vision", "seconds"), "vit", ["onnxruntime-int8"], 1.4),
    "opt-bf16": ("OPT-2.7B decode, bf16", OPT, ["--precision", "bf16"],
                 ("decode", "seconds_per_token"), "opt-decode", ["torch-bf16"], 1.3),
    "opt-int8": ("OPT-2.7B decode, int8", OPT, ["--precision", "int8"],
                 ("decode", "seconds_per_token"), "opt-decode",
                 ["torch-int8", "ctranslate2-int8"], 1.25),
    "opt-int4": ("OPT-2.7B decode, int4 against our int8", OPT, ["--precision", "int4"],
                 ("decode", "seconds_per_token"), None, [["--precision", "int8"]], 1.5),
    "t5-encoder-bf16": ("Flan-T5-XL encoder, bf16", T5, ["--precision", "bf16"],
                        ("encoder", "seconds"), "t5-encoder", ["torch-bf16"], 1.3),
    "t5-bf16": ("Flan-T5-XL decode, bf16", T5, ["--precision", "bf16"],
                ("decode", "seconds_per_token"), "t5-decode", ["torch-bf16"], 1.3),
    "t5-int8": ("Flan-T5-XL decode, int8", T5, ["--precision", "int8"],
                ("decode", "seconds_per_token"), "t5-decode", ["torch-int8"], 1.25),
    "caption-bf16": ("caption of 20 tokens, bf16", OPT, ["--precision", "bf16"],
                     ("caption", "seconds"), "caption", ["transformers-bf16"], 1.4),
    "caption-int8": ("caption of 20 tokens, int8 against bf16", OPT, ["--precision", "int8"],
                     ("caption", "seconds"), "caption", ["transformers-bf16"], 3.0),
    "caption-int4": ("caption of 20 tokens, int4 against bf16", OPT, ["--precision", "int4"],
                     ("caption", "seconds"), "caption", ["transformers-bf16"], 4.0),
}


def last_json(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.stderr.write(done.stderr[-2000:])
        raise RuntimeError(f"{' '.join(map(str, command))} failed")
    start = done.stdout.rindex("\n{", 0) + 1 if "\n{" in done.stdout else done.stdout.index("{")
    return json.loads(done.stdout[start:])


def ours(options, preset, precision, stage, threads):
    found = last_json([
        options.ours, "bench", "--preset", preset, *precision, "--threads", str(threads),
        "--repeat", str(options.repeat), "--no-peaks", "--json"])
    return found["stages"][stage[0]][stage[1]]


def theirs(options, peer, work, threads):
    found = last_json([
        sys.executable, HERE / "worker.py", peer, work, "--threads", str(threads),
        "--repeat", str(options.repeat), "--layers", str(options.layers)])
    return statistics.median(found["seconds"])


def row(options, name, threads):
    what, preset, precision, stage, work, peers, target = ROWS[name]
    found = []
    for peer in peers:
        pairs = []
        for _ in range(options.rounds):
            if work is None:
                other = ours(options, preset, peer, stage, threads)
            else:
                other = theirs(options, peer, work, threads)
            pairs.append((other, ours(options, preset, precision, stage, threads)))
        ratio = statistics.median(other / own for other, own in pairs)
        found.append({
            "row": name, "what": what, "threads": threads,
            "peer": peer if isinstance(peer, str) else "ours " + peer[-1],
            "peer_seconds": statistics.median(other for other, _ in pairs),
            "our_seconds": statistics.median(own for _, own in pairs),
            "ratio": ratio, "target": target, "pairs": pairs,
        })
    fastest = min(entry["ratio"] for entry in found)
    for entry in found:
        entry["holds"] = fastest >= target
        print(f"| {entry['what']} | {threads} | {entry['peer']} | {entry['peer_seconds']:.3f} s "
              f"| {entry['our_seconds']:.3f} s | {entry['ratio']:.2f} × | {target} × "
              f"| {'yes' if entry['holds'] else 'no'} |", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", required=True, help="the program `blip2`")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3, help="pairs of runs")
    parser.add_argument("--repeat", type=int, default=3, help="measurements in a run")
    parser.add_argument("--layers", type=int, default=39,
                        help="layers of the peers' image encoder, whose time is scaled to 39")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--output", help="a file for the figures as JSON")
    options = parser.parse_args()
    print("| work | threads | peer | peer | ours | ratio | at least | holds |")
    print("|---|---|---|---|---|---|---|---|")
    found = []
    for threads in options.threads:
        for name in options.only:
            try:
                found += row(options, name, threads)
            except (RuntimeError, KeyError, ValueError) as error:
                print(f"| {ROWS[name][0]} | {threads} | failed: {error} |", flush=True)
    if options.output:
        pathlib.Path(options.output).write_text(json.dumps(found, indent=1))


main()
