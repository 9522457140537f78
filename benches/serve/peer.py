"""A plain server of `transformers`: peer.py FOLDER PORT."""

import io
import sys
import threading

import torch
import uvicorn
from fastapi import FastAPI, File, Form
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

folder, port = sys.argv[1], int(sys.argv[2])
processor = Blip2Processor.from_pretrained(folder)
model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
app = FastAPI()
lock = threading.Lock()


@app.get("/health")
def health():
    return {"status": "ok"}


@app.post("/answer")
def answer(image: bytes = File(), question: str = Form()):
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    prompt = f"Question: {question} Answer:"
    inputs = processor(images=picture, text=prompt, return_tensors="pt")
    with lock, torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=20, do_sample=False)
    ids = ids[0, inputs["input_ids"].shape[1]:]
    return {"text": processor.decode(ids, skip_special_tokens=True).strip()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")
