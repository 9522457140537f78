//! A tokenizer from the files of a checkpoint folder.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::{AddedToken, ModelWrapper};

use super::{
    Special, Tokenizer, guard,
    padding::PaddingSide,
    published::{Class, PUBLISHED, Published},
};
use crate::{
    error::IoError,
    files::{Files, parse_json},
};

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const ADDED: &str = "added_tokens.json";
const SPECIAL: &str = "special_tokens_map.json";

/// The keys that give a token a role.
const ROLES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];
/// The keys that list further special tokens, the older one last.
const EXTRA: [&str; 2] = ["extra_special_tokens", "additional_special_tokens"];

/// Loads the tokenizer of a checkpoint folder: `tokenizer.json`, or where there is none the files as
/// which it was published before.
pub(crate) fn load(files: &Files) -> Result<Tokenizer, IoError> {
    let config: Config = files.json(CONFIG)?.unwrap_or_default();
    let mut settings = Settings::read(files, config.rest)?;
    let (mut inner, class) = match files.read(TOKENIZER)? {
        Some(bytes) => (parse(files, &bytes)?, None),
        None => {
            let published = Published::read(files, &settings.keys)?;
            let published = published.ok_or_else(|| missing(files))?;
            settings.assume(published.class, published.extra);
            (published.inner, Some(published.class))
        }
    };
    settings.add_tokens(files, &mut inner)?;
    if let Some(class) = class {
        let around = class.surround(&inner, &settings.keys, |role| settings.role(role));
        let around = around.map_err(|error| IoError::tokenizer(files.path(CONFIG), error))?;
        inner.with_post_processor(Some(around));
    }
    let side = class.or_else(|| Class::named(&settings.keys));
    let side = side.map(Class::padding_side);
    let id = |role: &str| inner.token_to_id(settings.role(role)?);
    let special = Special {
        bos: id("bos_token"),
        eos: id("eos_token"),
        pad: id("pad_token"),
        unk: id("unk_token"),
    };
    let is_bpe = matches!(inner.get_model(), ModelWrapper::BPE(_));
    let clean_up = config.clean_up_tokenization_spaces.unwrap_or(false)
        && (!is_bpe || config.clean_up_bpe.unwrap_or(false));
    Ok(Tokenizer {
        inner,
        special,
        padding_side: config.padding_side.or(side).unwrap_or_default(),
        // No limit is written as 10^30.
        model_max_length: config
            .model_max_length
            .as_u64()
            .and_then(|n| n.try_into().ok()),
        clean_up,
    })
}

/// A `tokenizer.json`, after everything in it that the library takes on trust has been looked at.
fn parse(files: &Files, bytes: &[u8]) -> Result<tokenizers::Tokenizer, IoError> {
    let path = files.path(TOKENIZER);
    let mut json: Value = parse_json(&path, bytes)?;
    guard::tokenizer(&mut json).map_err(|error| IoError::tokenizer(path.clone(), error))?;
    tokenizers::Tokenizer::deserialize(json).map_err(|error| {
        let detail = format!("not a tokenizer of `tokenizers`: {error}");
        IoError::tokenizer(path, detail)
    })
}

/// A folder's `tokenizer.json`, made of what was published before where there is none; nothing where
/// there is no tokenizer at all.
pub(crate) fn as_json(files: &Files) -> Result<Option<Bytes>, IoError> {
    if let Some(bytes) = files.read(TOKENIZER)? {
        return Ok(Some(bytes));
    }
    if !PUBLISHED.iter().any(|file| files.has(file)) {
        return Ok(None);
    }
    let text = load(files)?.inner.to_string(false);
    text.map(|text| Some(text.into()))
        .map_err(|error| IoError::tokenizer(files.path(TOKENIZER), error))
}

/// The keys of `tokenizer_config.json` that are read by themselves.
#[derive(Default, Deserialize)]
struct Config {
    padding_side: Option<PaddingSide>,
    #[serde(default)]
    model_max_length: Value,
    clean_up_tokenization_spaces: Option<bool>,
    /// The reference does not clean up after a BPE model, whose tokens carry their spaces, unless
    /// told to by this key.
    #[serde(rename = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output")]
    clean_up_bpe: Option<bool>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What the files say about special and added tokens.
struct Settings {
    /// `tokenizer_config.json`, overlaid by `special_tokens_map.json`.
    keys: Map<String, Value>,
    /// Added tokens by id, and the file that lists them.
    added: BTreeMap<u32, AddedToken>,
    added_in: &'static str,
    /// Special tokens that a class has where the files list none.
    assumed: Vec<AddedToken>,
}

impl Settings {
    /// A `tokenizer_config.json` that lists added tokens in `added_tokens_decoder` overrides
    /// `tokenizer.json`, and the two older files beside it are not read. Without that key they
    /// are, and what they add gives way to `tokenizer.json`.
    fn read(files: &Files, mut keys: Map<String, Value>) -> Result<Self, IoError> {
        if let Some(decoder) = keys.remove("added_tokens_decoder") {
            let added = BTreeMap::<u32, AddedToken>::deserialize(decoder).map_err(|error| {
                IoError::tokenizer(files.path(CONFIG), format!("added_tokens_decoder: {error}"))
            })?;
            return Ok(Self {
                keys,
                added,
                added_in: CONFIG,
                assumed: Vec::new(),
            });
        }
        let map: Map<String, Value> = files.json(SPECIAL)?.unwrap_or_default();
        keys.extend(map.into_iter().filter(|(_, value)| !value.is_null()));
        let mut settings = Self {
            keys,
            added: BTreeMap::new(),
            added_in: ADDED,
            assumed: Vec::new(),
        };
        let added: BTreeMap<String, u32> = files.json(ADDED)?.unwrap_or_default();
        let special = settings.special();
        settings.added = added
            .into_iter()
            .map(|(token, id)| {
                let is_special = special.iter().any(|special| special.content == token);
                (id, AddedToken::from(token, is_special))
            })
            .collect();
        Ok(settings)
    }

    /// Fills in what a class of published tokenizers takes for granted.
    fn assume(&mut self, class: Class, extra: Vec<AddedToken>) {
        for (role, token) in class.roles() {
            let token = || Value::from(*token);
            self.keys.entry(*role).or_insert_with(token);
        }
        if !EXTRA.iter().any(|key| self.keys.contains_key(*key)) {
            self.assumed = extra;
        }
    }

    /// The text of the token that has a role.
    fn role(&self, role: &str) -> Option<&str> {
        content(self.keys.get(role)?)
    }

    /// The tokens that have a role, one of `transformers`' own or a model's, and the others that are
    /// listed as special.
    fn special(&self) -> Vec<AddedToken> {
        let roles = ROLES.iter().filter_map(|role| self.keys.get(*role));
        let own = self.keys.iter().filter(|(key, value)| {
            key.ends_with("_token") && !ROLES.contains(&key.as_str()) && value.is_string()
        });
        let roles = roles.chain(own.map(|(_, value)| value));
        let lists = EXTRA.iter().filter_map(|key| self.keys.get(*key));
        let extra = lists.rev().rfind(|list| **list != Value::Array(Vec::new()));
        let extra: Vec<&Value> = match extra {
            Some(Value::Array(list)) => list.iter().collect(),
            Some(Value::Object(named)) => named.values().collect(),
            _ => Vec::new(),
        };
        let listed = roles.chain(extra).filter_map(special_token);
        listed.chain(self.assumed.iter().cloned()).collect()
    }

    /// Adds every token that `tokenizer.json` lacks, or has with other flags.
    fn add_tokens(&self, files: &Files, inner: &mut tokenizers::Tokenizer) -> Result<(), IoError> {
        // What the older file adds gives way to what is there.
        let known = inner.get_added_tokens_decoder();
        let gives_way = |(id, token): &(&u32, &AddedToken)| {
            let known = known.get(*id);
            self.added_in == ADDED && known.is_some_and(|known| known.content == token.content)
        };
        let added = self.added.iter().filter(|added| !gives_way(added));
        inner
            .add_tokens(added.map(|(_, token)| token.clone()))
            .map_err(IoError::tokenize)?;
        for (id, token) in &self.added {
            let found = inner.token_to_id(&token.content);
            if found != Some(*id) {
                let detail = format!(
                    "the added token `{}` should have the id {id}, but after {TOKENIZER} it is \
                     {found:?}; the files belong to different tokenizers",
                    token.content
                );
                return Err(IoError::tokenizer(files.path(self.added_in), detail));
            }
        }
        let known: Vec<String> = inner
            .get_added_tokens_decoder()
            .into_values()
            .map(|token| token.content)
            .collect();
        let lacking = self
            .special()
            .into_iter()
            .filter(|token| !known.contains(&token.content));
        inner.add_tokens(lacking).map_err(IoError::tokenize)?;
        Ok(())
    }
}

/// A special token: a string, or an object with its `content` and flags.
fn special_token(value: &Value) -> Option<AddedToken> {
    let flag = |key| value.get(key).and_then(Value::as_bool).unwrap_or(false);
    let token = AddedToken::from(content(value)?, true)
        .single_word(flag("single_word"))
        .lstrip(flag("lstrip"))
        .rstrip(flag("rstrip"))
        .normalized(flag("normalized"));
    Some(token)
}

/// A special token's text.
pub(super) fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

fn missing(files: &Files) -> IoError {
    let remedy = if files.has("vocab.json") {
        "vocab.json is there without merges.txt; copy either from the model's repository"
    } else {
        "copy it from the model's repository, or what it was published as: vocab.json and merges.txt, \
         vocab.txt, spiece.model or tokenizer.model"
    };
    let folder = files.folder().to_path_buf();
    IoError::MissingFile {
        folder,
        file: TOKENIZER.into(),
        remedy,
    }
}
