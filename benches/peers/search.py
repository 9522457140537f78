"""Exact search among vectors in a mapped file: `blip2_io::vectors` and NumPy, in turns.

    cargo build --release --workspace --examples
    OMP_NUM_THREADS=2 python benches/peers/search.py [FILE.npy]

Without a file, a million unit vectors of 256 numbers are made. NumPy computes `a @ q` over the mapped
file and takes the best ten by `argpartition`. Prints the median of both, and fails if they find other
vectors.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

COUNT, WIDTH, BEST, ROUNDS = 1_000_000, 256, 10, 21


def make(path):
    array = numpy.lib.format.open_memmap(path, "w+", "<f4", (COUNT, WIDTH))
    random = numpy.random.default_rng(0)
    for begin in range(0, COUNT, 10_000):
        some = random.standard_normal((10_000, WIDTH), dtype=numpy.float32)
        array[begin : begin + 10_000] = some / numpy.linalg.norm(some, axis=1, keepdims=True)
    array.flush()


def numpys(array, query):
    begun = time.perf_counter()
    scores = array @ query
    best = numpy.argpartition(scores, -BEST)[-BEST:]
    best = best[numpy.argsort(-scores[best])]
    return time.perf_counter() - begun, best.tolist()


def main():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    program = target / "release/examples/vector_search"
    with tempfile.TemporaryDirectory() as folder:
        path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(folder, "vectors.npy")
        if len(sys.argv) < 2:
            make(path)
        array = numpy.load(path, mmap_mode="r")
        query = numpy.array(array[0])
        ours = subprocess.Popen([program, path, str(BEST)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        times = {"blip2": [], "numpy": []}
        for _ in range(ROUNDS):
            ours.stdin.write("go\n")
            ours.stdin.flush()
            found = json.loads(ours.stdout.readline())
            seconds, rows = numpys(array, query)
            assert found["rows"] == rows, (found["rows"], rows)
            times["blip2"].append(found["seconds"])
            times["numpy"].append(seconds)
        ours.stdin.close()
        ours.wait()
        for name, seconds in times.items():
            # The first round brings the file's pages in.
            later = sorted(seconds[1:])
            print(
                f"{name}: first {1e3 * seconds[0]:.0f} ms, then median {1e3 * statistics.median(later):.0f} ms, "
                f"best {1e3 * later[0]:.0f}, worst {1e3 * later[-1]:.0f}"
            )


main()
