//! Tokenizers, with the tokens that a Hugging Face folder needs and LAVIS does without or adds when it
//! loads a model.

use std::collections::BTreeSet;

use blip2_kernels::Activation;
use serde_json::{Value, json};

use super::{Architecture, Files, pieces::Pieces};
use crate::{
    config::{Blip2Config, TextConfig},
    error::IoError,
    folder::CheckpointFolder,
};

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const IMAGE: &str = "<image>";
/// The most rows of token embeddings that are made up for ids without a token.
const MAX_GAP: usize = 1024;

/// The files of a folder's tokenizer, which is known to load. What it was published as before
/// `tokenizer.json` is turned into one, and left behind.
pub(super) fn files(folder: &CheckpointFolder) -> Result<Files, IoError> {
    folder.tokenizer()?;
    let mut files = Files::new();
    if let Some(content) = folder.tokenizer_json()? {
        files.insert(TOKENIZER.to_string(), content.to_vec());
    }
    for name in [CONFIG, "special_tokens_map.json", "added_tokens.json"] {
        if let Some(content) = folder.small_file(name)? {
            files.insert(name.to_string(), content.to_vec());
        }
    }
    Ok(files)
}

/// Gives a BERT tokenizer LAVIS's `[DEC]`, where the table of `rows` token embeddings has a row for it
/// and it has none.
pub(super) fn add_start(files: &mut Files, rows: usize) -> Result<(), String> {
    let size = size(files)?;
    if id_of(files, "[DEC]")?.is_none() && size < rows {
        add(files, "[DEC]", size)?;
        set(files, "bos_token", json!("[DEC]"))?;
    }
    Ok(())
}

/// Gives the language model's tokenizer an image placeholder where it has none, with a row in the
/// tables of token embeddings; and for LAVIS's Vicuna the tokens that LAVIS gives it.
pub(super) fn place_image(
    config: &mut Blip2Config,
    pieces: &mut Pieces,
    files: &mut Files,
    architecture: Architecture,
) -> Result<(), String> {
    if architecture == Architecture::Retrieval {
        config.image_token_index = None;
        return Ok(());
    }
    if architecture == Architecture::InstructVicuna {
        begin_with_end(files)?;
        if text_of(files, "pad_token")?.is_none() {
            let id = size(files)?;
            add(files, "[PAD]", id)?;
            set(files, "pad_token", json!("[PAD]"))?;
        }
    }
    let id = match (config.image_token_index, id_of(files, IMAGE)?) {
        (Some(id), Some(found)) if id as usize == found => found,
        (Some(id), _) => {
            return Err(format!(
                "the configuration's image_token_index is {id}, which is not `{IMAGE}` in the \
                 tokenizer"
            ));
        }
        (None, Some(found)) => found,
        (None, None) => {
            let id = size(files)?;
            add(files, IMAGE, id)?;
            id
        }
    };
    config.image_token_index = Some(u32::try_from(id).map_err(|error| error.to_string())?);
    let rows = size(files)?;
    let vocab = match &mut config.text_config {
        TextConfig::Opt(config) => &mut config.vocab_size,
        TextConfig::T5(config) => &mut config.vocab_size,
        TextConfig::Llama(config) => &mut config.vocab_size,
        TextConfig::Granite(config) => &mut config.vocab_size,
    };
    if rows > *vocab {
        let with_token = ids(files)?.filter(|id| *id >= *vocab as u64).count();
        if rows - *vocab > with_token + MAX_GAP {
            return Err(format!(
                "the tokenizer's largest id is {}, far beyond the model's {vocab} token embeddings; \
                 the tokenizer belongs to another model",
                rows - 1
            ));
        }
        for table in [
            "language_model.model.decoder.embed_tokens.weight",
            "language_model.model.embed_tokens.weight",
            "language_model.shared.weight",
            "language_model.encoder.embed_tokens.weight",
            "language_model.decoder.embed_tokens.weight",
            "language_model.lm_head.weight",
        ] {
            pieces.lengthen(table, rows)?;
        }
        *vocab = rows;
    }
    Ok(())
}

/// LAVIS's numbers for a language model that it loads from a folder of its own.
pub(super) fn as_lavis_loads(
    text_config: &mut TextConfig,
    folder: &CheckpointFolder,
) -> Result<(), IoError> {
    match text_config {
        // Its captions end with a line.
        TextConfig::Opt(config) => {
            let line = folder.tokenizer()?.encode_with("\n", false)?;
            if let [end] = line.as_slice() {
                config.eos_token_id = vec![*end];
            }
        }
        // Its GELU is the exact one, whatever the folder says.
        TextConfig::T5(config) => {
            if config.dense_act_fn == Activation::GeluTanh {
                config.dense_act_fn = Activation::Gelu;
            }
            config.bos_token_id = config.bos_token_id.or(Some(1));
        }
        TextConfig::Llama(_) | TextConfig::Granite(_) => {}
    }
    Ok(())
}

/// LAVIS's Vicuna begins its texts with the token that ends them.
fn begin_with_end(files: &mut Files) -> Result<(), String> {
    const END: &str = "</s>";
    let (Some(begin), Some(end)) = (id_of(files, "<s>")?, id_of(files, END)?) else {
        return Ok(());
    };
    edit(files, TOKENIZER, |tokenizer| {
        let Some(post) = tokenizer.get_mut("post_processor") else {
            return;
        };
        let text = post.to_string();
        let ids = |id: usize| format!("\"ids\":[{id}]");
        let swapped = text
            .replace("\"<s>\"", "\"</s>\"")
            .replace(&ids(begin), &ids(end));
        if let Ok(swapped) = serde_json::from_str(&swapped) {
            *post = swapped;
        }
    })?;
    set(files, "bos_token", json!(END))
}

/// The number of ids, gaps included.
fn size(files: &Files) -> Result<usize, String> {
    let last = ids(files)?.max();
    let last = last.ok_or("the tokenizer has no vocabulary")?;
    Ok(last as usize + 1)
}

/// The ids of all tokens.
fn ids(files: &Files) -> Result<impl Iterator<Item = u64>, String> {
    let tokenizer = json(files, TOKENIZER)?;
    let added = tokenizer["added_tokens"].as_array();
    let added = added
        .into_iter()
        .flatten()
        .filter_map(|token| token["id"].as_u64());
    let words: Vec<u64> = match &tokenizer["model"]["vocab"] {
        Value::Object(vocab) => vocab.values().filter_map(Value::as_u64).collect(),
        Value::Array(vocab) => (0..vocab.len() as u64).collect(),
        _ => Vec::new(),
    };
    let ids: BTreeSet<u64> = added.chain(words).collect();
    Ok(ids.into_iter())
}

fn id_of(files: &Files, token: &str) -> Result<Option<usize>, String> {
    let tokenizer = json(files, TOKENIZER)?;
    let added = tokenizer["added_tokens"].as_array();
    let mut added = added.into_iter().flatten();
    let of_added = added.find(|added| added["content"] == token);
    let id = match of_added {
        Some(added) => added["id"].as_u64(),
        None => match &tokenizer["model"]["vocab"] {
            Value::Object(vocab) => vocab.get(token).and_then(Value::as_u64),
            Value::Array(vocab) => {
                let place = vocab.iter().position(|word| word[0] == token);
                place.map(|place| place as u64)
            }
            _ => None,
        },
    };
    Ok(id.map(|id| id as usize))
}

/// The text of the token in a role.
fn text_of(files: &Files, role: &str) -> Result<Option<String>, String> {
    if !files.contains_key(CONFIG) {
        return Ok(None);
    }
    let config = json(files, CONFIG)?;
    let token = &config[role];
    let text = token.as_str().or_else(|| token["content"].as_str());
    Ok(text.map(str::to_string))
}

/// Adds a special token.
fn add(files: &mut Files, content: &str, id: usize) -> Result<(), String> {
    let flags = json!({
        "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    });
    let mut token = flags.clone();
    token["id"] = json!(id);
    edit(files, TOKENIZER, |tokenizer| {
        if let Some(added) = tokenizer["added_tokens"].as_array_mut() {
            added.push(token);
        }
    })?;
    // Where this list is there it counts in place of the other.
    edit(files, CONFIG, |config| {
        if let Some(added) = config
            .get_mut("added_tokens_decoder")
            .and_then(Value::as_object_mut)
        {
            added.insert(id.to_string(), flags);
        }
    })
}

fn set(files: &mut Files, key: &str, value: Value) -> Result<(), String> {
    edit(files, CONFIG, |config| config[key] = value)?;
    // An older file that would speak against it.
    if files.contains_key("special_tokens_map.json") {
        let known = json(files, CONFIG)?[key].clone();
        edit(files, "special_tokens_map.json", |map| map[key] = known)?;
    }
    Ok(())
}

fn json(files: &Files, name: &str) -> Result<Value, String> {
    let content = files
        .get(name)
        .ok_or_else(|| format!("the tokenizer has no {name}"))?;
    serde_json::from_slice(content).map_err(|error| format!("{name}: {error}"))
}

/// Changes a JSON object; one that is not there begins empty.
fn edit(files: &mut Files, name: &str, change: impl FnOnce(&mut Value)) -> Result<(), String> {
    let mut value = match files.contains_key(name) {
        true => json(files, name)?,
        false => json!({}),
    };
    if !value.is_object() {
        return Err(format!("{name} is no JSON object"));
    }
    change(&mut value);
    files.insert(name.to_string(), value.to_string().into_bytes());
    Ok(())
}
