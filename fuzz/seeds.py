"""Writes the seeds of every target into `seeds/TARGET`, from the fixtures and the corpus `bad/`.

A target that reads several kinds of input takes the first byte, or two, as the choice between them:
the numbers here are the places in the target's list.
"""

import base64
import io
import json
import struct
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
FIXTURES, BAD = HERE / "../fixtures", HERE / "../bad/files"
KINDS = ["blip2_opt", "blip2_t5", "blip2_itr", "instructblip_llama", "instructblip_t5",
         "instructblipvideo_t5", "blip1_vqa", "clip_vision"]
LARGEST = 400_000
# By `Architecture::ALL`.
ARCHITECTURES = {"blip2_itr": 0, "blip2_opt": 1, "blip2_t5_frozen": 2, "instructblip_t5": 3,
                 "instructblip_llama": 4, "eva_vit": 5, "clip_vit": 6}


def seed(target, name, content, *choice):
    content = bytes(choice) + content
    if len(content) <= LARGEST:
        folder = HERE / "seeds" / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def read(path):
    return path.read_bytes()


def packed(form, size):
    """A packed file of one matrix of 4 × 4, in a panel of 32 rows."""
    matrices = json.dumps({"a": {"format": form, "shape": [4, 4]}})
    metadata = {"blip2.packed": matrices, "file:config.json": "{}"}
    header = {"__metadata__": metadata, "a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(size)


def checkpoints():
    for n, kind in enumerate(KINDS):
        folder = FIXTURES / kind
        names = sorted(path.name for path in folder.glob("*.json") if not path.name.startswith("golden"))
        for place, name in enumerate(names):
            if name.endswith("config.json"):
                seed("configurations", f"{kind}-{name}", read(folder / name), n, place)
        seed("inspections", kind, read(folder / "config.json"), n)
        seed("safetensors", kind, read(folder / "model.safetensors"), 0)
    seed("safetensors", "index", b'{"weight_map":{"a":"a.safetensors"}}', 1)
    for path in BAD.glob("*.safetensors"):
        seed("safetensors", path.name, read(path), 0)
        seed("packed", path.name, read(path))
    for form, size in [("f32", 512), ("int8", 384)]:
        seed("packed", form, packed(form, size))
    for pattern in ["*.bin", "*.pkl"]:
        for path in BAD.glob(pattern):
            seed("pickles", path.name, read(path))
            seed("lavis", path.name, read(path), 1)
    for path in FIXTURES.glob("peft/*/adapter_*"):
        place = ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"].index(path.name)
        seed("adapters", f"{path.parent.name}-{path.name}", read(path), place)
        if path.suffix == ".bin":
            seed("pickles", path.parent.name, read(path))
    for path in FIXTURES.glob("lavis/*.pth"):
        seed("lavis", path.name, read(path), ARCHITECTURES[path.stem])
        seed("pickles", path.name, read(path))


def tokenizers():
    for n, kind in enumerate(["blip2_opt", "blip2_t5", "blip2_itr", "instructblip_llama"]):
        seed("tokenizers", kind, read(FIXTURES / kind / "tokenizer.json"), n)
    published = FIXTURES / "tokenizers_published"
    seed("tokenizers", "spiece", read(published / "t5/spiece.model"), 4)
    seed("tokenizers", "llama", read(published / "llama/tokenizer.model"), 5)
    seed("tokenizers", "bert", read(published / "bert/vocab.txt"), 6)
    opt = published / "opt"
    seed("tokenizers", "gpt2", read(opt / "vocab.json") + b"\0" + read(opt / "merges.txt"), 7)
    seed("tokenizers", "settings", read(FIXTURES / "blip2_opt/tokenizer_config.json"), 8)


def pictures():
    for folder in [FIXTURES / "images", FIXTURES / "formats", HERE / "../examples/images", BAD]:
        for path in folder.rglob("*"):
            if path.suffix[1:] in "png gif bmp tiff tif jpg jpeg webp ppm pgm pnm qoi ico tga".split():
                seed("pictures", path.name, read(path))
                if path.suffix in {".png", ".gif", ".webp"}:
                    seed("animations", path.name, read(path))


def sounds():
    for folder in [FIXTURES / "audio", BAD]:
        for path in folder.glob("*.wav"):
            seed("sounds", path.name, read(path))


def tar(members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return packed.getvalue()


def index(name):
    """A photo index of one picture; the target puts the hash in."""
    sizes = struct.pack("<6IQ", 1, 1, 1, 2, 1, 3, 12 + len(name))
    line = struct.pack("<IQ", len(name), 0) + name
    return b"BLIP2IDX" + sizes + b"0123456789abcdef" + bytes(8) + line + bytes(4 * (2 + 3))


def texts():
    seed("prompts", "opt", b"Question: {} Answer:how many dogs?")
    seed("photo_index", "empty", b"BLIP2IDX\1\0\0\0" + bytes(52), 0)
    seed("photo_index", "one", index(b"a.png"), 1)
    seed("records", "json-lines", b'{"question":"what?","answer":"red","pid":0}\n', 0)
    seed("records", "choices", b'{"question":"what?","answer":1,"choices":["a","b"],"image":"0/image.png"}\n', 0)
    seed("records", "coco", b'{"images":[{"id":1,"file_name":"0/image.png"}],'
         b'"annotations":[{"image_id":1,"caption":"a"}]}', 1)
    seed("records", "vqa", b'{"data_subtype":"val2014","questions":'
         b'[{"image_id":1,"question":"what?","question_id":1}]}', 2)
    seed("records", "wheel", read(BAD / "nothing.bin"), 3)
    seed("records", "csv", b'image,question,answer\n0/image.png,what?,red\n', 5)
    seed("records", "karpathy", b'{"images":[{"filename":"0/image.png","split":"train","sentences":[{"raw":"a"}]}]}', 6)
    seed("records", "vizwiz", b'[{"image":"0/image.png","question":"what?","answers":[{"answer":"a"}]}]', 7)
    seed("records", "gqa", b'{"1":{"imageId":"0","question":"what?","fullAnswer":"a"}}', 8)
    seed("records", "a-okvqa", b'[{"image":"0/image.png","question":"?","choices":["a"],"correct_choice_idx":0}]', 9)
    seed("records", "textcaps", b'{"data":[{"image_id":"0","caption_str":"a","image_path":"0/image.png"}]}', 10)
    seed("records", "flickr30k", b'0/image.png| 0| a\n', 11)
    seed("records", "shard", tar({"1.png": b"", "1.txt": b"a"}), 12)
    seed("records", "easy-vqa", b'[["what?","red",0]]', 4)
    seed("states", "progress", b'{"step":0,"notes":null}', 0)
    seed("states", "tensors", read(BAD / "overlap.safetensors"), 1)
    seed("generation", "zeros", bytes(200))


def form(picture, **fields):
    """A body of a form."""
    parts = [f'--xx\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
             for name, value in fields.items()]
    file = b'--xx\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    return b"".join(parts) + file + picture + b"\r\n--xx--\r\n"


def requests():
    """Bodies by the places of the model, the route and the media type in the target's lists."""
    picture = read(HERE / "../examples/images/red-triangle.png")
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "what?"}]
    bodies = {
        "chat": (0, {"messages": [{"role": "user", "content": parts}], "logprobs": True, "top_logprobs": 2,
                     "max_tokens": 2, "stream": True, "stop": ["x"], "seed": 3, "temperature": 1.5}),
        "embeddings": (1, {"input": ["a dog", {"image": url}], "encoding_format": "base64"}),
        "answer": (2, {"image": url, "question": "what?", "max_tokens": 2, "beams": 2}),
        "caption": (3, {"image": url, "prompt": "a photo of", "n": 2, "temperature": 1}),
        "rank": (4, {"image": url, "question": "what?", "candidates": ["red", "blue"]}),
        "match": (5, {"image": url, "texts": ["a dog"]}),
        "explain": (6, {"image": url, "question": "what?", "text": "red", "method": "rollout"}),
        "explain-match": (6, {"image": url, "match": "a dog", "picture": "heat_map"}),
    }
    for name, (route, body) in bodies.items():
        for model in range(4):
            seed("requests", f"{name}-{model}", json.dumps(body).encode(), model, route, 0)
    video = json.dumps({"image": [url] * 4, "question": "what?", "max_tokens": 2}).encode()
    seed("requests", "video", video, 3, 2, 0)
    seed("requests", "form", form(picture, question="what?", max_tokens=2), 0, 2, 1)
    seed("requests", "form-explain", form(picture, question="what?", tokens="[5]", method="attention"), 0, 6, 1)


if __name__ == "__main__":
    for make in [checkpoints, tokenizers, pictures, sounds, texts, requests]:
        make()
