"""Fine-tunes a BLIP-2 on easy-VQA with Hugging Face's Trainer and PEFT: what `easy_vqa.toml` says here."""
import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor, Trainer, TrainingArguments, set_seed

base, data, out, steps, threads, first = sys.argv[1:]
torch.set_num_threads(int(threads))
set_seed(0)
processor = Blip2Processor.from_pretrained(base)
model = Blip2ForConditionalGeneration.from_pretrained(base, attn_implementation="sdpa")
lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "fc1", "fc2"],
                  modules_to_save=["language_projection"])
model = get_peft_model(model, lora)


class EasyVqa(torch.utils.data.Dataset):
    def __init__(self, split):
        self.folder = pathlib.Path(data) / split
        self.questions = json.loads((self.folder / "questions.json").read_text())

    def __len__(self):
        return len(self.questions)

    def __getitem__(self, number):
        question, answer, picture = self.questions[number]
        image = Image.open(self.folder / "images" / f"{picture}.png").convert("RGB")
        return image, f"Question: {question} Answer:", f" {answer}"


def collate(rows):
    images, prompts, answers = zip(*rows)
    processor.tokenizer.padding_side = "left"
    batch = processor(images=list(images), text=list(prompts), padding=True, return_tensors="pt")
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "right"
    written = tokenizer([answer + tokenizer.eos_token for answer in answers],
                        add_special_tokens=False, padding=True, return_tensors="pt")
    unread = torch.full_like(batch["input_ids"], -100)
    labels = written["input_ids"].masked_fill(written["attention_mask"] == 0, -100)
    batch["labels"] = torch.cat([unread, labels], 1)
    for name in ["input_ids", "attention_mask"]:
        batch[name] = torch.cat([batch[name], written[name]], 1)
    return batch


arguments = TrainingArguments(
    output_dir=out, max_steps=int(steps), per_device_train_batch_size=32, learning_rate=2e-3,
    lr_scheduler_type="cosine", warmup_steps=20, weight_decay=0.05, max_grad_norm=1.0, seed=0,
    save_steps=200, logging_steps=10, report_to="none", remove_unused_columns=False, use_cpu=True)
trainer = Trainer(model=model, args=arguments, train_dataset=EasyVqa("train"), data_collator=collate)
found = trainer.train()
model.save_pretrained(out)

model.eval()
processor.tokenizer.padding_side = "left"
test = EasyVqa("test")
right = 0
for begin in range(0, int(first), 32):
    images, prompts, answers = zip(*[test[n] for n in range(begin, min(begin + 32, int(first)))])
    batch = processor(images=list(images), text=list(prompts), padding=True, return_tensors="pt")
    with torch.no_grad():
        written = model.generate(**batch, max_new_tokens=6, do_sample=False)
    texts = processor.batch_decode(written[:, batch["input_ids"].shape[1]:], skip_special_tokens=True)
    right += sum(text.strip() == answer.strip() for text, answer in zip(texts, answers))
print(json.dumps({"score": right / int(first), "seconds": found.metrics["train_runtime"],
                  "loss": [row["loss"] for row in trainer.state.log_history if "loss" in row]}))
