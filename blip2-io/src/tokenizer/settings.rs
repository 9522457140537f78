//! Special and added tokens, as the small files beside a tokenizer list them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::{
    published::Class,
    special_token::{content, special_token},
};
use crate::{error::IoError, files::Files};

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

/// What the files say about special and added tokens.
pub(super) struct Settings {
    /// `tokenizer_config.json`, overlaid by `special_tokens_map.json`.
    pub(super) keys: Map<String, Value>,
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
    pub(super) fn read(files: &Files, mut keys: Map<String, Value>) -> Result<Self, IoError> {
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
    pub(super) fn assume(&mut self, class: Class, extra: Vec<AddedToken>) {
        for (role, token) in class.roles() {
            let token = || Value::from(*token);
            self.keys.entry(*role).or_insert_with(token);
        }
        if !EXTRA.iter().any(|key| self.keys.contains_key(*key)) {
            self.assumed = extra;
        }
    }

    /// The text of the token that has a role.
    pub(super) fn role(&self, role: &str) -> Option<&str> {
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
    pub(super) fn add_tokens(
        &self,
        files: &Files,
        inner: &mut tokenizers::Tokenizer,
    ) -> Result<(), IoError> {
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
                let found = found.map_or_else(|| "none".into(), |id| id.to_string());
                let detail = format!(
                    "the added token `{}` should have the id {id}, but after {TOKENIZER} it has \
                     {found}; the files belong to different tokenizers",
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
