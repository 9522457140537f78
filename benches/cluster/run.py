"""Compares one executor with two: see README.md."""

import argparse
import io
import pathlib
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

import pyarrow
import pyarrow.parquet
from PIL import Image, ImageDraw

SQL = "SELECT id, blip2_caption(image) AS caption FROM photos"


def photo(rng):
    picture = Image.new("RGB", (64, 64), tuple(rng.randrange(256) for _ in range(3)))
    corners = [rng.randrange(64) for _ in range(4)]
    box = (min(corners[::2]), min(corners[1::2]), max(corners[::2]) + 1, max(corners[1::2]) + 1)
    ImageDraw.Draw(picture).ellipse(box, fill=tuple(rng.randrange(256) for _ in range(3)))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def write_photos(folder, files, rows):
    rng = random.Random(0)
    folder.mkdir()
    for file in range(files):
        ids = range(file * rows, (file + 1) * rows)
        table = pyarrow.table({"id": list(ids), "image": [photo(rng) for _ in ids]})
        pyarrow.parquet.write_table(table, folder / f"{file:03}.parquet")


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class Cluster:
    """A scheduler, and executors of one thread each."""

    def __init__(self, bin, model, executors):
        scheduler, *ports = free_ports(1 + executors)
        self.address = f"df://127.0.0.1:{scheduler}"
        self.processes = []
        self.start(bin / "blip2-scheduler", "--model", model, "--port", scheduler)
        self.reached(scheduler)
        for port in ports:
            self.start(
                *(bin / "blip2-executor", "--model", model, "--scheduler-port", scheduler, "--port", port),
                *("--host", "127.0.0.1", "--threads", 1, "--slots", 1),
            )
        for port in ports:
            self.reached(port)

    def start(self, *command):
        command = [str(part) for part in [*command, "--log", "error"]]
        self.processes.append(subprocess.Popen(command))

    def reached(self, port):
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"nobody listens on port {port}")

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(timeout=60)


def seconds(given, executors, photos, rows, folder):
    cluster = Cluster(given.bin, given.model, executors)
    try:
        ask(given, cluster, photos["few"], folder / "warm")
        begun = time.perf_counter()
        ask(given, cluster, photos["all"], folder / "out")
        took = time.perf_counter() - begun
    finally:
        cluster.stop()
    tables = [pyarrow.parquet.read_table(file) for file in sorted((folder / "out").glob("*.parquet"))]
    whole = pyarrow.concat_tables(tables)
    assert whole.num_rows == rows, whole.num_rows
    for name in ("warm", "out"):
        shutil.rmtree(folder / name)
    return took, whole


def ask(given, cluster, table, out):
    command = [given.bin / "blip2-sql", SQL, "--table", f"photos={table}", "--output", out]
    command += ["--model", given.model, "--scheduler", cluster.address]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--bin", type=pathlib.Path, required=True, help="the folder of the three programs")
    arguments.add_argument("--model", type=pathlib.Path, required=True)
    arguments.add_argument("--files", type=int, default=12)
    arguments.add_argument("--rows", type=int, default=150, help="of each file")
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    given.model = given.model.resolve()
    rows = given.files * given.rows
    ratios, before = [], None
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        photos = {"all": folder / "all", "few": folder / "few"}
        write_photos(photos["all"], given.files, given.rows)
        write_photos(photos["few"], 2, 8)
        for number in range(given.rounds):
            took = {}
            # In turns, and not always the same first: a machine may be busier later.
            for executors in (1, 2) if number % 2 == 0 else (2, 1):
                took[executors], table = seconds(given, executors, photos, rows, folder)
                assert before is None or table.equals(before), "two executors write what one does not"
                before = table
            ratios.append(took[1] / took[2])
            print(f"one {rows / took[1]:.1f} rows/s, two {rows / took[2]:.1f} rows/s: {ratios[-1]:.2f} ×", flush=True)
    print(f"median {statistics.median(ratios):.2f} × of {given.rounds}")


if __name__ == "__main__":
    main()
