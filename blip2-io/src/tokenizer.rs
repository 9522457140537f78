//! Text to token ids and back.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::{IoError, files::Files};

/// On which side a batch's shorter rows are padded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingSide {
    /// Before the text.
    Left,
    /// Behind the text.
    #[default]
    Right,
}

/// A Hugging Face tokenizer: `tokenizer.json`, the tokens of `added_tokens.json`, and the roles
/// that `tokenizer_config.json` or `special_tokens_map.json` give them.
///
/// Which special tokens surround a text is decided by the post-processor in `tokenizer.json`
/// alone, as in `transformers` 5: OPT's puts `</s>` before it, T5's behind it.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: Special,
    padding_side: PaddingSide,
    clean_up: bool,
}

#[derive(Debug, Clone, Default)]
struct Special {
    bos: Option<String>,
    eos: Option<String>,
    pad: Option<String>,
    unk: Option<String>,
}

impl Tokenizer {
    /// The ids of a text, with the special tokens that the post-processor puts around it.
    ///
    /// # Errors
    ///
    /// [`IoError::Tokenize`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, IoError> {
        self.encode_with(text, true)
    }

    /// The ids of a text, with or without special tokens around it. Special tokens that are
    /// spelled out in the text count as such either way.
    ///
    /// # Errors
    ///
    /// [`IoError::Tokenize`].
    pub fn encode_with(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, IoError> {
        let encoding = self
            .inner
            .encode_fast(text, add_special_tokens)
            .map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text, cut at its end so that with its special tokens it has at most
    /// `max_length` ids.
    ///
    /// # Errors
    ///
    /// [`IoError::Tokenize`], also if `max_length` leaves no room for the special tokens.
    pub fn encode_truncated(&self, text: &str, max_length: usize) -> Result<Vec<u32>, IoError> {
        use tokenizers::{PostProcessor, TruncationDirection};
        let special = self
            .inner
            .get_post_processor()
            .map_or(0, |post| post.added_tokens(false));
        let room = max_length.checked_sub(special).ok_or_else(|| {
            IoError::Tokenize(format!(
                "max_length = {max_length} leaves no room for {special} special tokens"
            ))
        })?;
        let mut encoding = self.inner.encode(text, false).map_err(failed)?;
        encoding.truncate(room, 0, TruncationDirection::Right);
        let encoding = self
            .inner
            .post_process(encoding, None, true)
            .map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids, without special tokens if they are to be skipped. Ids that no token has
    /// are passed over; bytes that are no whole character become U+FFFD.
    ///
    /// # Errors
    ///
    /// [`IoError::Tokenize`].
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, IoError> {
        let text = self
            .inner
            .decode(ids, skip_special_tokens)
            .map_err(failed)?;
        Ok(if self.clean_up {
            clean_up_spaces(&text)
        } else {
            text
        })
    }

    /// The id of a token.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id that begins a text.
    pub fn bos_token_id(&self) -> Option<u32> {
        self.special
            .bos
            .as_deref()
            .and_then(|token| self.token_to_id(token))
    }

    /// The id that ends a text.
    pub fn eos_token_id(&self) -> Option<u32> {
        self.special
            .eos
            .as_deref()
            .and_then(|token| self.token_to_id(token))
    }

    /// The id that fills shorter rows.
    pub fn pad_token_id(&self) -> Option<u32> {
        self.special
            .pad
            .as_deref()
            .and_then(|token| self.token_to_id(token))
    }

    /// The id that stands for what has no token.
    pub fn unk_token_id(&self) -> Option<u32> {
        self.special
            .unk
            .as_deref()
            .and_then(|token| self.token_to_id(token))
    }

    /// On which side shorter rows are padded.
    pub fn padding_side(&self) -> PaddingSide {
        self.padding_side
    }

    /// The first special token that is spelled out in `text`, if there is one.
    pub fn special_token_in(&self, text: &str) -> Option<String> {
        let added = self.inner.get_added_tokens_decoder();
        let mut special: Vec<_> = added
            .into_iter()
            .filter(|(_, token)| token.special)
            .collect();
        special.sort_by_key(|(id, _)| *id);
        special
            .into_iter()
            .map(|(_, token)| token.content)
            .find(|token| text.contains(token))
    }

    /// Checks that a model with `embeddings` token embeddings has one for every token.
    ///
    /// # Errors
    ///
    /// [`IoError::Vocabulary`] naming a token without one.
    pub fn check_fits(&self, embeddings: usize) -> Result<(), IoError> {
        let beyond = self
            .inner
            .get_vocab(true)
            .into_iter()
            .max_by_key(|(_, id)| *id);
        match beyond {
            Some((example, id)) if id as usize >= embeddings => Err(IoError::Vocabulary {
                tokens: id as usize + 1,
                vocab: embeddings,
                example,
            }),
            _ => Ok(()),
        }
    }
}

/// Undoes the spaces that tokenisation puts before English punctuation and contractions, as
/// `clean_up_tokenization` in `tokenization_utils_base.py` does.
pub(crate) fn clean_up_spaces(text: &str) -> String {
    const RULES: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    RULES
        .iter()
        .fold(text.to_string(), |text, (from, to)| text.replace(from, to))
}

fn failed(error: tokenizers::Error) -> IoError {
    IoError::Tokenize(error.to_string())
}

/// Loads the tokenizer of a checkpoint folder.
pub(crate) fn load(files: &Files) -> Result<Tokenizer, IoError> {
    const FILE: &str = "tokenizer.json";
    let path = files.path(FILE);
    let Some(bytes) = files.read(FILE)? else {
        return Err(missing(files));
    };
    let broken = |path: PathBuf, detail: String| IoError::Tokenizer { path, detail };
    let mut inner = tokenizers::Tokenizer::from_bytes(&bytes)
        .map_err(|error| broken(path, format!("not a tokenizer of `tokenizers`: {error}")))?;
    // Rows are cut and padded by whoever lays out a batch, not by what the file happened to keep.
    inner.with_padding(None);
    inner.with_truncation(None).map_err(failed)?;

    let added = object(files, "added_tokens.json")?;
    for (token, id) in &added {
        if inner.token_to_id(token).is_none() {
            inner
                .add_special_tokens([AddedToken::from(token.as_str(), true)])
                .map_err(failed)?;
        }
        if id.as_u64() != inner.token_to_id(token).map(u64::from) {
            let detail = format!(
                "`{token}` should have the id {id}, but tokenizer.json makes it {:?}",
                inner.token_to_id(token)
            );
            return Err(broken(files.path("added_tokens.json"), detail));
        }
    }

    let config = object(files, "tokenizer_config.json")?;
    let map = object(files, "special_tokens_map.json")?;
    let token = |key: &str| content(config.get(key)).or_else(|| content(map.get(key)));
    let special = Special {
        bos: token("bos_token"),
        eos: token("eos_token"),
        pad: token("pad_token"),
        unk: token("unk_token"),
    };
    let padding_side = match config.get("padding_side") {
        None | Some(Value::Null) => PaddingSide::default(),
        Some(side) => PaddingSide::deserialize(side)
            .map_err(|error| IoError::json(&files.path("tokenizer_config.json"), error))?,
    };
    let clean_up = config
        .get("clean_up_tokenization_spaces")
        .and_then(Value::as_bool);
    Ok(Tokenizer {
        inner,
        special,
        padding_side,
        clean_up: clean_up.unwrap_or(false),
    })
}

/// A special token's text: a string, or an object with its `content`.
fn content(value: Option<&Value>) -> Option<String> {
    let value = value?;
    value
        .as_str()
        .or_else(|| value.get("content")?.as_str())
        .map(str::to_string)
}

/// A JSON file that holds an object; empty if there is no such file.
fn object(files: &Files, file: &str) -> Result<Map<String, Value>, IoError> {
    let Some(bytes) = files.read(file)? else {
        return Ok(Map::new());
    };
    serde_json::from_slice(&bytes).map_err(|error| IoError::json(&files.path(file), error))
}

fn missing(files: &Files) -> IoError {
    let slow = ["vocab.json", "spiece.model", "tokenizer.model"]
        .iter()
        .any(|file| files.has(file));
    let remedy = if slow {
        "only the slow tokenizer's files are there; save it again with `transformers`: \
         AutoTokenizer.from_pretrained(folder, use_fast=True).save_pretrained(folder)"
    } else {
        "copy it from the model's repository"
    };
    let folder = files.folder().to_path_buf();
    IoError::MissingFile {
        folder,
        file: "tokenizer.json".into(),
        remedy,
    }
}
