"""One fine-tuning on easy-VQA by `blip2 train`, by Hugging Face's Trainer with PEFT, and by LAVIS, in turns.

    pip download --no-deps easy-vqa && unzip easy_vqa-1.0-py3-none-any.whl
    cargo build --release --workspace --bins
    python easy_vqa.py --ours ../../target/release/blip2 --data easy_vqa/data [--threads 2] [--rounds 3]
        [--lavis lavis/bin/python]

All begin with the demonstration model, whose way from pictures to words (`language_projection`) was
made anew, and learn it again, with adapters of the language model, from 300 batches of 32 questions.
Prints lines of configuration, the medians of a step's time and of the whole command's, and of the most
memory, the scores on 1,000 questions that were not trained on, and the medians of the rounds' ratios. LAVIS
(`easy_vqa_lavis.py`, in an environment of its own, whose packages are old) trains what it can: no adapters.
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

HERE = pathlib.Path(__file__).parent
STEPS, FIRST = 300, 1000


def base(folder):
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(HERE / "../../blip2-cli/demo", folder)
    weights = load_file(folder / "model.safetensors")
    torch.manual_seed(0)
    for name in ["weight", "bias"]:
        own = weights[f"language_projection.{name}"]
        weights[f"language_projection.{name}"] = 0.02 * torch.randn_like(own) if name == "weight" else 0 * own
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def run(command, threads):
    """What a command prints, its seconds, and its most memory in GB."""
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads),
                       TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
    began = time.perf_counter()
    with tempfile.TemporaryFile() as printed:
        child = subprocess.Popen(command, stdout=printed, stderr=subprocess.DEVNULL, env=environment)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        if status:
            raise SystemExit(f"{command} failed")
        printed.seek(0)
        return printed.read().decode(), seconds, used.ru_maxrss / 1e6


def ours(program, folder, threads):
    shutil.rmtree(folder / "ours", ignore_errors=True)
    _, seconds, memory = run([program, "train", folder / "easy_vqa.toml"], threads)
    rows = [json.loads(line) for line in open(folder / "ours/metrics.jsonl")]
    scores = [json.loads(line) for line in open(folder / "ours/scores.jsonl")]
    # Evaluations are none of a step's time, and the last alone comes after all.
    return dict(step=rows[-1]["seconds"] / len(rows), whole=seconds, memory=memory, score=scores[-1]["value"])


def theirs(folder, threads, script="easy_vqa_peft.py", python=sys.executable):
    shutil.rmtree(folder / "theirs", ignore_errors=True)
    command = [python, HERE / script, folder / "base", folder / "data", folder / "theirs",
               str(STEPS), str(threads), str(FIRST)]
    printed, seconds, memory = run(command, threads)
    found = json.loads(printed.splitlines()[-1])
    return dict(step=found["seconds"] / STEPS, whole=seconds, memory=memory, score=found["score"])


def lines(file):
    text = (HERE / file).read_text().splitlines()
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lavis", help="a Python that has LAVIS, for a run of it too")
    arguments = parser.parse_args()
    print(f"lines: ours {lines('easy_vqa.toml')}, Trainer and PEFT {lines('easy_vqa_peft.py')}")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        base(folder / "base")
        (folder / "data").symlink_to(arguments.data.resolve())
        shutil.copy(HERE / "easy_vqa.toml", folder)
        runs = {"ours": lambda: ours(arguments.ours, folder, arguments.threads),
                "Trainer and PEFT": lambda: theirs(folder, arguments.threads)}
        if arguments.lavis:
            runs["LAVIS"] = lambda: theirs(folder, arguments.threads, "easy_vqa_lavis.py", arguments.lavis)
        found = {who: [] for who in runs}
        for _ in range(arguments.rounds):
            for who, run_once in runs.items():
                found[who].append(run_once())
                print(who, found[who][-1], flush=True)
        for what in ["step", "whole", "memory", "score"]:
            own, *others = ([row[what] for row in rows] for rows in found.values())
            print(f"{what}: ours {statistics.median(own):.4f}")
            for who, other in zip(list(found)[1:], others):
                ratio = statistics.median(b / a for a, b in zip(own, other))
                print(f"    {who} {statistics.median(other):.4f}, {ratio:.2f} x")


main()
