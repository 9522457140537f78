"""Compares servers: see README.md."""

import argparse
import http.client
import io
import json
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid

from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
IMAGES = HERE.parents[1] / "examples/images"
QUESTIONS = ["what color is the shape?", "what shape is in the image?", "is there a red shape in the image?",
             "does the image contain a circle?"]


class Server:
    def __init__(self, name, command, port=None):
        self.name = name
        out = subprocess.PIPE if port is None else subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, text=True)
        self.port = port or int(self.process.stdout.readline().strip().rsplit(":", 1)[1])
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.2)
        raise SystemExit(f"{name} does not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def body(picture, question):
    mark = uuid.uuid4().hex
    parts = [f'--{mark}\r\nContent-Disposition: form-data; name="question"\r\n\r\n{question}\r\n'.encode(),
             f'--{mark}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
             f"Content-Type: image/png\r\n\r\n".encode(), picture, f"\r\n--{mark}--\r\n".encode()]
    return b"".join(parts), f"multipart/form-data; boundary={mark}"


def pictures(count, new):
    """Pictures of the examples; new ones differ in a pixel, so that nobody has seen them."""
    names = sorted(IMAGES.glob("*.png"))
    dice = random.Random(0)
    made = []
    for n in range(count):
        image = Image.open(names[n % 8]).convert("RGB")
        if new:
            image.putpixel((0, 0), tuple(dice.randrange(256) for _ in range(3)))
        file = io.BytesIO()
        image.save(file, "PNG")
        made.append(file.getvalue())
    return made


def measure(server, requests, clients):
    """Asks all of these, so many at a time: requests a second, latencies, texts."""
    bodies = [body(picture, question) for picture, question in requests]
    texts, times = [None] * len(bodies), [0.0] * len(bodies)
    left = iter(range(len(bodies)))
    lock = threading.Lock()

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
        while True:
            with lock:
                n = next(left, None)
            if n is None:
                return
            begun = time.perf_counter()
            connection.request("POST", "/answer", bodies[n][0], {"Content-Type": bodies[n][1]})
            reply = connection.getresponse()
            said = reply.read()
            times[n] = time.perf_counter() - begun
            assert reply.status == 200, said
            texts[n] = json.loads(said)["text"]

    threads = [threading.Thread(target=client) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in texts
    return len(bodies) / (time.perf_counter() - begun), times, texts


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--ours", required=True)
    arguments.add_argument("--model", type=pathlib.Path)
    arguments.add_argument("--reduced", type=pathlib.Path)
    arguments.add_argument("--requests", type=int, default=64)
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    folder = given.model
    if given.reduced:
        import reduced

        folder = reduced.make(given.reduced)
    port = free_port()
    servers = [
        Server("blip2 serve", [given.ours, "serve", "--port", "0", "--log", "off", "--model", str(folder)]),
        Server("transformers", [sys.executable, str(HERE / "peer.py"), str(folder), str(port)], port),
    ]
    try:
        for server in servers:
            measure(server, [(picture, QUESTIONS[0]) for picture in pictures(4, False)], 2)
        compare(servers, given)
    finally:
        for server in servers:
            server.stop()


def compare(servers, given):
    print("| pictures | clients | server | requests/s | p50 ms | p99 ms |\n|---|---|---|---|---|---|")
    for new in (True, False):
        for clients in (1, 4, 16):
            rates, times = {}, {}
            for round in range(given.rounds):
                shown = pictures(given.requests, new)
                if new:
                    random.seed(f"{clients} {round}")
                    # Other bytes in each round: a PNG may go on behind its end.
                    shown = [picture + random.randbytes(8) for picture in shown]
                requests = [(picture, QUESTIONS[n // 3 % 4]) for n, picture in enumerate(shown)]
                said = []
                for server in servers:
                    rate, took, texts = measure(server, requests, clients)
                    rates.setdefault(server.name, []).append(rate)
                    times.setdefault(server.name, []).extend(took)
                    said.append(texts)
                assert said[0] == said[1], "the servers' answers differ"
            for server in servers:
                took = sorted(times[server.name])
                p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
                rate = statistics.median(rates[server.name])
                kind = "new" if new else "again"
                print(f"| {kind} | {clients} | {server.name} | {rate:.1f} | {1e3 * p50:.1f} | {1e3 * p99:.1f} |",
                      flush=True)


if __name__ == "__main__":
    main()
