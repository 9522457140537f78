//! The small files of models that have a configuration and nothing else: a tokenizer of single
//! bytes, and how pictures are prepared.

use std::collections::BTreeMap;

use blip2_io::{CheckpointFolder, config::Blip2Config};
use serde_json::{Value, json};

use crate::error::Blip2Error;

/// A folder without weights for models of random ones: pictures are resized to the configured size,
/// and the tokenizer's tokens are single bytes and the special tokens that `config` names, laid out
/// around a text as the language model is used to.
///
/// Where the vocabulary is too small for all 256 bytes, printable ASCII comes first.
pub(crate) fn folder(config: &Blip2Config) -> Result<CheckpointFolder, Blip2Error> {
    config.validate()?;
    if config.model_type.reads_instructions() {
        return Err(Blip2Error::Incomplete {
            what: "there is no tokenizer of single bytes for a Q-Former that reads prompts".into(),
            remedy: "make a random model of a BLIP-2's configuration".into(),
        });
    }
    let side = config.vision_config.image_size;
    let size = json!({ "size": { "height": side, "width": side } });
    let [tokenizer, roles] = tokenizer(config);
    Ok(CheckpointFolder::in_memory(
        "a model of random weights",
        [
            ("tokenizer.json", tokenizer.to_string()),
            ("tokenizer_config.json", roles.to_string()),
            ("preprocessor_config.json", size.to_string()),
        ],
    ))
}

/// The content of `tokenizer.json` and of `tokenizer_config.json`.
fn tokenizer(config: &Blip2Config) -> [Value; 2] {
    let special = special(config);
    let name = |role| special.iter().find(|token| token.role == role);
    let mut vocab: BTreeMap<String, u32> = special
        .iter()
        .map(|token| (token.content(), token.id))
        .collect();
    let free = (0..config.text_config.vocab_size() as u32)
        .filter(|id| special.iter().all(|token| token.id != *id));
    vocab.extend(alphabet().map(String::from).zip(free));
    let added: Vec<Value> = special.iter().map(Special::to_json).collect();
    let file = json!({
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
        "post_processor": match (config.text_config.is_encoder_decoder(), name("bos"), name("eos")) {
            (true, _, Some(eos)) => around(None, Some(eos)),
            (false, Some(bos), _) => around(Some(bos), None),
            _ => Value::Null,
        },
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    });
    let roles: BTreeMap<String, String> = special
        .iter()
        .map(|token| (format!("{}_token", token.role), token.content()))
        .collect();
    [file, json!(roles)]
}

/// A special token.
struct Special {
    role: &'static str,
    id: u32,
}

impl Special {
    fn content(&self) -> String {
        format!("<{}>", self.role)
    }

    fn to_json(&self) -> Value {
        json!({
            "id": self.id, "content": self.content(), "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    }
}

/// The special tokens that a configuration names, each id once.
fn special(config: &Blip2Config) -> Vec<Special> {
    let text = &config.text_config;
    let mut tokens: Vec<Special> = Vec::new();
    for (role, id) in [
        ("pad", text.pad_token_id()),
        ("eos", text.eos_token_ids().first().copied()),
        ("bos", text.bos_token_id()),
        ("image", config.image_token_index),
    ] {
        if let Some(id) = id
            && tokens.iter().all(|token| token.id != id)
        {
            tokens.push(Special { role, id });
        }
    }
    tokens
}

/// What puts special tokens around a text.
fn around(before: Option<&Special>, behind: Option<&Special>) -> Value {
    let piece =
        |token: &Special| json!({ "SpecialToken": { "id": token.content(), "type_id": 0 } });
    let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let single: Vec<Value> = before
        .map(piece)
        .into_iter()
        .chain([text])
        .chain(behind.map(piece))
        .collect();
    let special: BTreeMap<String, Value> = before
        .into_iter()
        .chain(behind)
        .map(|token| {
            let content = token.content();
            let value = json!({ "id": content, "ids": [token.id], "tokens": [content] });
            (content, value)
        })
        .collect();
    json!({ "type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special })
}

/// The character that GPT-2's byte-level tokenizers write for each byte, printable ASCII first:
/// bytes that are no printable character of Latin-1 are written from U+0100 on.
fn alphabet() -> impl Iterator<Item = char> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=255).filter(move |byte| !printable(byte));
    let moved = others
        .zip(0x100..)
        .filter_map(|(byte, code)| Some((byte, char::from_u32(code)?)));
    let kept = (0..=255)
        .filter(printable)
        .map(|byte| (byte, char::from(byte)));
    let mut all: Vec<(u8, char)> = kept.chain(moved).collect();
    all.sort_by_key(|(byte, _)| (!matches!(byte, b' '..=b'~'), *byte));
    all.into_iter().map(|(_, written)| written)
}

#[cfg(test)]
mod tests {
    use blip2_io::config::{T5Config, TextConfig};

    use super::*;
    use crate::preset::Preset;

    #[test]
    fn texts_come_back_with_the_tokens_around_them_that_the_models_know() {
        let text = "Question: wie heißt der Hund? 犬 Answer:";
        for (preset, first, last) in [
            (Preset::Blip2Opt2_7b, Some(2), None),
            (Preset::Blip2FlanT5Xl, None, Some(1)),
        ] {
            let tokenizer = folder(&preset.config()).unwrap().tokenizer().unwrap();
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(
                ids.len(),
                text.len() + 1,
                "a token for each byte and one more"
            );
            assert!(first.is_none_or(|id| ids.first() == Some(&id)), "{ids:?}");
            assert!(last.is_none_or(|id| ids.last() == Some(&id)), "{ids:?}");
            assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
            assert_eq!(
                tokenizer.pad_token_id(),
                preset.config().text_config.pad_token_id()
            );
        }
        let image = Preset::Blip2Opt2_7b.config().image_token_index;
        let opt = folder(&Preset::Blip2Opt2_7b.config()).unwrap();
        let tokenizer = opt.tokenizer().unwrap();
        assert_eq!(tokenizer.token_to_id("<image>"), image);
    }

    #[test]
    fn a_small_vocabulary_holds_ascii() {
        let text = T5Config::default().with_vocab_size(100);
        let config = Blip2Config::default().with_text_config(TextConfig::T5(text));
        let [file, roles] = tokenizer(&config);
        let files = [
            ("tokenizer.json", file.to_string()),
            ("tokenizer_config.json", roles.to_string()),
        ];
        let tokenizer = CheckpointFolder::in_memory("bytes", files);
        let tokenizer = tokenizer.tokenizer().unwrap();
        tokenizer.check_fits(100).unwrap();
        let ids = tokenizer.encode("A cat?").unwrap();
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), "A cat?");
    }
}
