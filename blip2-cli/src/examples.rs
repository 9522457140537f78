//! The examples that each command's help ends with.

pub(crate) const PROGRAM: &str = "\
Examples:
  blip2 answer photo.jpg \"how many dogs are there?\" --model models/blip2-flan-t5-xl
  blip2 caption photos/ --model models/blip2-opt-2.7b > captions.jsonl
  blip2 inspect models/blip2-opt-2.7b

`blip2 COMMAND --help` has examples of each command.";

pub(crate) const ANSWER: &str = "\
Examples:
  blip2 answer photo.jpg \"what is the woman holding?\" --model models/blip2-flan-t5-xl
  blip2 answer photo.jpg \"is there a dog?\" --yes-no
  blip2 answer photo.jpg \"where is this?\" --one-of \"at the beach, 'in Paris, France'\"
  blip2 answer photo.jpg \"what is this?\" \"what color is it?\" --json
  blip2 answer photo.jpg --questions questions.txt
  blip2 answer --table questions.csv --output answers.csv
  blip2 answer photo.jpg \"what is this?\" --model models/blip2-opt-2.7b --adapter adapters/mine
  blip2 answer photo.jpg --prompt \"Question: what is this? Answer:\" --beams 5
  blip2 answer frames/ \"what is happening?\" --model models/instructblipvideo-vicuna-7b";

pub(crate) const CAPTION: &str = "\
Examples:
  blip2 caption photo.jpg --model models/blip2-opt-2.7b
  blip2 caption photo.jpg --prompt \"a photo of\" --beams 5
  blip2 caption photos/ 'more/*.png' --batch 16 > captions.jsonl
  blip2 caption photos/ --recursive --output captions.jsonl    # again after a stop: goes on
  blip2 caption photos/ --output beside --beams 5 --num-return-sequences 3
  blip2 caption photos/ --prompts prompts.csv --output captions.csv";

#[cfg(feature = "speech")]
pub(crate) const TRANSCRIBE: &str = "\
Examples:
  blip2 transcribe meeting.wav --model models/granite-speech-3.3-2b
  blip2 transcribe calls/*.wav --json --model models/granite-speech-3.3-2b
  blip2 transcribe meeting.wav --question \"translate the speech to French\" --beams 4 --model models/granite-speech-3.3-2b";

pub(crate) const EXPLAIN: &str = "\
Examples:
  blip2 explain photo.jpg \"what is the woman holding?\" -o map.png --model models/blip2-flan-t5-xl
  blip2 explain photo.jpg --caption --per-token -o words.png --model models/blip2-opt-2.7b
  blip2 explain photo.jpg \"is there a dog?\" --text no --method occlusion -o map.png
  blip2 explain photo.jpg --match \"a dog on the beach\" -o map.png --model models/blip2-itm-vit-g
  blip2 explain photo.jpg \"what is this?\" --json";

pub(crate) const EMBED: &str = "\
Examples:
  blip2 embed photos/ --model models/blip2-itm-vit-g --output photos.npy
  blip2 embed --text \"a dog on the beach\" --model models/blip2-itm-vit-g
  blip2 embed photos/ --features vision --model models/blip2-opt-2.7b -o photos.safetensors";

#[cfg(feature = "tables")]
pub(crate) const MAP: &str = "\
Examples:
  blip2 map photos/ --caption -o captions.parquet --model models/blip2-opt-2.7b
  blip2 map photos.parquet --answer \"how many dogs are there?\" -o answers/    # again: goes on
  blip2 map questions.csv --answer question --rank \"yes, no\" -o answers.jsonl
  blip2 map photos.parquet --caption --score text --embed -o filtered/ --without image
  blip2 map photos.jsonl --match caption --embed -o matched.parquet --model models/blip2-itm-vit-g";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  blip2 completions bash > ~/.local/share/bash-completion/completions/blip2
  blip2 completions zsh > ~/.zfunc/_blip2        # with fpath+=~/.zfunc before compinit
  blip2 completions fish > ~/.config/fish/completions/blip2.fish";

pub(crate) const MAN: &str = "\
Examples:
  blip2 man | man -l -
  blip2 man --output ~/.local/share/man/man1";

pub(crate) const MATCH: &str = "\
Examples:
  blip2 match photo.jpg \"a dog on the beach\" --model models/blip2-itm-vit-g
  blip2 match photo.jpg \"a dog\" \"a cat\" --json --model models/blip2-itm-vit-g";

pub(crate) const INDEX: &str = "\
Examples:
  blip2 index add photos.idx photos/ --model models/blip2-itm-vit-g
  blip2 index search photos.idx \"a dog on the beach\" --model models/blip2-itm-vit-g
  blip2 index search photos.idx --image photo.jpg --sheet found.png --model models/blip2-itm-vit-g
  blip2 index search photos.npy \"a dog on the beach\" --model models/blip2-itm-vit-g
  blip2 index export photos.idx -o photos.npy
  blip2 index add photos.idx photos/ --replace --model models/blip2-itm-vit-g
  blip2 index add photos.idx --from embedded.parquet --model models/blip2-itm-vit-g
  blip2 index list photos.idx
  blip2 index remove photos.idx photos/beach.jpg
  blip2 index remove photos.idx --missing";

pub(crate) const INSPECT: &str = "\
Examples:
  blip2 inspect models/blip2-opt-2.7b
  blip2 inspect models/blip2-opt-2.7b --json";

pub(crate) const PACK: &str = "\
Examples:
  blip2 pack models/blip2-opt-2.7b --precision int8 -o blip2-opt-2.7b.int8.safetensors
  blip2 answer photo.jpg \"what is this?\" --model blip2-opt-2.7b.int8.safetensors";

pub(crate) const MERGE: &str = "\
Examples:
  blip2 merge models/blip2-opt-2.7b --adapter adapters/mine -o models/mine
  blip2 merge adapters/mine -o models/mine";

pub(crate) const CONVERT: &str = "\
Examples:
  blip2 convert blip2_pretrained.pth --arch blip2 --tokenizer models/bert-base-uncased \\
      --vision eva_vit_g.pth -o models/blip2-itm
  blip2 convert caption_coco_opt2.7b.pth --arch blip2_opt --language-model models/opt-2.7b \\
      --vision eva_vit_g.pth -o models/blip2-opt-2.7b-coco";

pub(crate) const VERIFY: &str = "\
Examples:
  blip2 verify fixtures/blip2_opt
  blip2 verify fixtures/blip2_opt --precision int8
  blip2 verify fixtures --device wgpu";

pub(crate) const TRAIN: &str = "\
Examples:
  blip2 train > config.toml
  blip2 train config.toml --dry-run
  blip2 train config.toml";

pub(crate) const EVAL: &str = "\
Examples:
  blip2 eval config.toml
  blip2 eval config.toml --model out/model --answers answers.jsonl
  blip2 eval config.toml --answers worst-first.csv --results for-the-server.json";

#[cfg(feature = "hub")]
pub(crate) const DOWNLOAD: &str = "\
Examples:
  blip2 download Salesforce/blip2-opt-2.7b
  blip2 download Salesforce/blip2-opt-2.7b@main
  HF_TOKEN=hf_... blip2 download someone/a-gated-model";

pub(crate) const MODELS: &str = "\
Examples:
  blip2 models
  blip2 models --json";

#[cfg(feature = "serve")]
pub(crate) const SERVE: &str = "\
Examples:
  blip2 serve
  blip2 serve --model models/blip2-flan-t5-xl --precision int8
  blip2 serve --port 0 --no-page                   # the first line of output is the address
  blip2 serve --host 0.0.0.0 --keys keys.txt       # one key a line, for other machines
  curl -F image=@photo.jpg -F 'question=how many dogs are there?' http://127.0.0.1:8080/answer";

pub(crate) const BENCH: &str = "\
Examples:
  blip2 bench --preset blip2-opt-2.7b --precision bf16
  blip2 bench models/blip2-opt-2.7b --batch 8 --json
  blip2 bench --preset blip2-flan-t5-xl --scaling plots/";
