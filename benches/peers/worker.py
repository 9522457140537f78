"""One peer's work, timed: `python worker.py PEER WORK --threads N --repeat R`.

Prints one line of JSON: {"seconds": [...]} for the work's unit: an image, a token, a caption.
"""

import argparse
import json
import os
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("peer")
parser.add_argument("work")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--repeat", type=int, default=3)
parser.add_argument("--layers", type=int, default=39, help="of the image encoder; scaled to 39")
parser.add_argument("--stacks", type=int, help="layers of every stack, with no scaling")
arguments = parser.parse_args()
# Before any library reads it.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(arguments.threads)

import torch  # noqa: E402

import models  # noqa: E402

torch.set_num_threads(arguments.threads)
torch.set_grad_enabled(False)
PROMPT, IMAGE, NEW = 40, 32, 20
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "int8": torch.float32}


def timed(run, scale=1.0):
    run()
    seconds = []
    for _ in range(arguments.repeat):
        start = time.perf_counter()
        run()
        seconds.append((time.perf_counter() - start) * scale)
    return seconds


def dynamic_int8(model):
    # In place: beside a copy, a model in f32 would take more memory than most machines have.
    return torch.ao.quantization.quantize_dynamic(
        model, {torch.nn.Linear}, torch.qint8, inplace=True)


def pixels(dtype=torch.float32):
    return torch.rand(1, 3, 224, 224).to(dtype)


def exported(folder, layers):
    """The image encoder as an ONNX file."""
    model = models.vit(torch.float32, layers)
    model.config._attn_implementation = "eager"

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pixel_values):
            return self.model(pixel_values).last_hidden_state

    path = os.path.join(folder, "vit.onnx")
    torch.onnx.export(
        Encoder(), (pixels(),), path, input_names=["pixel_values"], output_names=["hidden"],
        dynamo=True, external_data=True, verbose=False)
    return path


def vit(peer, precision):
    layers = arguments.stacks or arguments.layers
    scale = 1.0 if arguments.stacks else models.VIT_LAYERS / layers
    if peer == "torch":
        dtype = DTYPES[precision]
        model, image = models.vit(dtype, layers), pixels(dtype)
        if precision == "int8":
            model = dynamic_int8(model)
        return timed(lambda: model(image), scale)
    with tempfile.TemporaryDirectory() as folder:
        path, image = exported(folder, layers), pixels().numpy()
        if peer == "openvino":
            import openvino

            core = openvino.Core()
            model = core.compile_model(core.read_model(path), "CPU", {
                "INFERENCE_NUM_THREADS": arguments.threads, "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"})
            request = model.create_infer_request()
            return timed(lambda: request.infer({0: image}), scale)
        import onnxruntime

        if precision == "int8":
            from onnxruntime.quantization import QuantType, quantize_dynamic

            narrow = os.path.join(folder, "narrow.onnx")
            quantize_dynamic(path, narrow, weight_type=QuantType.QInt8, use_external_data_format=True)
            path = narrow
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        return timed(lambda: session.run(None, {"pixel_values": image}), scale)


def per_token(step):
    """Seconds per token of `step(count)`, which makes so many: of a long run less a short one."""
    def run(count):
        start = time.perf_counter()
        step(count)
        return time.perf_counter() - start

    run(2)
    return [(run(NEW) - run(2)) / (NEW - 2) for _ in range(arguments.repeat)]


def opt_decode(peer, precision):
    if peer == "torch":
        model = models.opt(DTYPES[precision], arguments.stacks)
        if precision == "int8":
            model = dynamic_int8(model)
        ids = torch.randint(5, 1000, (1, PROMPT + IMAGE))

        def step(count):
            model.generate(ids, max_new_tokens=count, min_new_tokens=count, do_sample=False)

        return per_token(step)
    import ctranslate2

    generator = ctranslate2.Generator(
        converted("opt"), compute_type=precision, intra_threads=arguments.threads, inter_threads=1)
    prompt = [f"t{n}" for n in range(5, 5 + PROMPT + IMAGE)]

    def step(count):
        generator.generate_batch([prompt], max_length=count, min_length=count,
                                 include_prompt_in_result=False)

    return per_token(step)


def converted(kind):
    """A random OPT in CTranslate2's format, made once and kept."""
    import ctranslate2
    from ctranslate2.specs import transformer_spec
    import numpy

    folder = os.path.join(tempfile.gettempdir(), f"peers-ct2-{kind}-{arguments.stacks or 'whole'}")
    if os.path.exists(os.path.join(folder, "model.bin")):
        return folder
    loader = ctranslate2.converters.transformers._MODEL_LOADERS["OPTConfig"]
    model = models.opt(torch.float32, arguments.stacks)
    spec = loader.get_model_spec(model)
    spec.register_vocabulary([f"t{n}" for n in range(models.OPT["vocab_size"])])
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "t2", "t2", "t3"
    spec.validate()
    spec.optimize(quantization="int8")
    os.makedirs(folder, exist_ok=True)
    spec.save(folder)
    return folder


def t5(peer, precision, part):
    model = models.t5(DTYPES[precision], arguments.stacks)
    if precision == "int8":
        model = dynamic_int8(model)
    embeds = torch.rand(1, PROMPT + IMAGE, 2048).to(DTYPES[precision])
    if part == "encoder":
        return timed(lambda: model.encoder(inputs_embeds=embeds))
    encoded = model.encoder(inputs_embeds=embeds)

    def step(count):
        model.generate(encoder_outputs=encoded, max_new_tokens=count, min_new_tokens=count,
                       do_sample=False)

    return per_token(step)


def caption(precision, pictures):
    model = models.blip2(DTYPES[precision], layers=arguments.stacks)
    image = pixels(DTYPES[precision]).expand(pictures, -1, -1, -1)
    ids = torch.randint(5, 1000, (pictures, PROMPT))
    ids = torch.cat([torch.full((pictures, IMAGE), 50265), ids], 1)
    mask = torch.ones_like(ids)
    return timed(lambda: model.generate(
        pixel_values=image, input_ids=ids, attention_mask=mask, max_new_tokens=NEW,
        min_new_tokens=NEW, do_sample=False))


def main():
    peer, precision = arguments.peer.rsplit("-", 1)
    works = {
        "vit": lambda: vit(peer, precision),
        "opt-decode": lambda: opt_decode(peer, precision),
        "t5-encoder": lambda: t5(peer, precision, "encoder"),
        "t5-decode": lambda: t5(peer, precision, "decode"),
        "caption": lambda: caption(precision, 1),
        "caption-of-8": lambda: caption(precision, 8),
    }
    print(json.dumps({"seconds": works[arguments.work]()}))


main()
