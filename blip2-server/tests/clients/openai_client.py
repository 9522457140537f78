"""OpenAI's own client asks a server: openai_client.py ADDRESS."""

import base64
import math
import pathlib
import sys

import openai

ROOT = pathlib.Path(__file__).resolve().parents[3]
COLOR = "what color is the shape?"


def picture(name):
    bytes = (ROOT / f"examples/images/{name}.png").read_bytes()
    return "data:image/png;base64," + base64.b64encode(bytes).decode()


def ask(text, name="red-triangle"):
    image = {"type": "image_url", "image_url": {"url": picture(name)}}
    return [{"role": "user", "content": [image, {"type": "text", "text": text}]}]


def refused(error, call):
    try:
        call()
    except error as refusal:
        return refusal
    raise AssertionError(f"{error.__name__} was due")


def chat(client, model):
    complete = client.chat.completions.create
    whole = complete(model=model, messages=ask(COLOR), logprobs=True)
    choice = whole.choices[0]
    assert choice.message.content == "red" and choice.finish_reason == "stop", whole
    assert whole.usage.completion_tokens == 2, whole.usage
    token = choice.logprobs.content[0]
    assert token.token.strip() == "red" and math.exp(token.logprob) > 0.9, token

    chunks = list(complete(model=model, messages=ask(COLOR), stream=True, logprobs=True,
                           stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "red", chunks
    assert chunks[-1].usage.completion_tokens == 2, chunks[-1]
    streamed = [token for chunk in chunks if chunk.choices and chunk.choices[0].logprobs
                for token in chunk.choices[0].logprobs.content]
    assert streamed == choice.logprobs.content, streamed

    sampled = complete(model=model, messages=ask(COLOR), n=3, temperature=3, seed=1, max_tokens=4)
    again = complete(model=model, messages=ask(COLOR), n=3, temperature=3, seed=1, max_tokens=4)
    assert [c.message for c in sampled.choices] == [c.message for c in again.choices]
    assert len(sampled.choices) == 3

    turns = ask("what shape is in the image?", "blue-circle")
    turns += [{"role": "assistant", "content": "circle"}, {"role": "user", "content": COLOR}]
    # The demonstration model never learnt to converse: what it says is not judged.
    longer = complete(model=model, messages=turns)
    assert longer.choices[0].message.content and longer.usage.prompt_tokens > whole.usage.prompt_tokens

    refusal = refused(openai.BadRequestError, lambda: complete(model=model, messages=[]))
    assert refusal.param == "messages" and "last message" in refusal.message, refusal
    refused(openai.NotFoundError, lambda: complete(model="gpt-4o", messages=ask(COLOR)))
    refused(openai.BadRequestError, lambda: client.embeddings.create(model=model, input="x"))


def embed(client, model):
    reply = client.embeddings.create(model=model, input=["a dog", picture("red-triangle")])
    text, image = (item.embedding for item in reply.data)
    assert abs(math.hypot(*text) - 1) < 1e-3 and len(image) % len(text) == 0
    assert reply.data[1].vectors == len(image) // len(text)
    floats = client.embeddings.create(model=model, input="a dog", encoding_format="float")
    assert max(abs(a - b) for a, b in zip(floats.data[0].embedding, text)) < 1e-6
    refused(openai.BadRequestError,
            lambda: client.chat.completions.create(model=model, messages=ask(COLOR)))


def main():
    address = sys.argv[1]
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="a-key", max_retries=0)
    other = openai.OpenAI(base_url=f"{address}/v1", api_key="another", max_retries=0)
    refused(openai.AuthenticationError, other.models.list)
    [model] = client.models.list().data
    (embed if "embed" in model.abilities else chat)(client, model.id)
    print(f"openai {openai.__version__} asks {model.id}: all is well")


if __name__ == "__main__":
    main()
