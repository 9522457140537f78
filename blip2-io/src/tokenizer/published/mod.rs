//! Tokenizers as they were published before `tokenizer.json`: `vocab.json` with `merges.txt`,
//! `vocab.txt`, `spiece.model`, `tokenizer.model`.
//!
//! Each is turned into what `tokenizers` computes with, as `transformers` 5 does: the classes under
//! `models/*/tokenization_*.py` say which parts a tokenizer is made of, and `SentencePieceExtractor`
//! of `convert_slow_tokenizer.py` what a SentencePiece model gives.

mod byte_pairs;
mod sentence_piece;
mod unigram;
mod word_piece;

use serde_json::{Map, Value};
use tokenizers::{AddedToken, PostProcessorWrapper, processors::template::TemplateProcessing};

use super::padding::PaddingSide;
use crate::{error::IoError, files::Files};
use sentence_piece::{Algorithm, PieceKind, SentencePiece};

/// The files that a tokenizer may have been published as.
pub(super) const PUBLISHED: [&str; 5] = [
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
];

/// A tokenizer made of older files, before its special tokens are added.
pub(super) struct Published {
    pub(super) inner: tokenizers::Tokenizer,
    pub(super) class: Class,
    /// Tokens that are special whatever the small files say.
    pub(super) extra: Vec<AddedToken>,
}

/// Whose tokenizer it is. The names of `transformers`' classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Gpt2,
    Bert,
    T5,
    Llama,
}

impl Published {
    /// The tokenizer of a folder without `tokenizer.json`, if there is one; `keys` are those of
    /// `tokenizer_config.json` and the file beside it.
    pub(super) fn read(files: &Files, keys: &Map<String, Value>) -> Result<Option<Self>, IoError> {
        if let (Some(vocab), Some(merges)) = (files.read("vocab.json")?, files.read("merges.txt")?)
        {
            let inner = byte_pairs::gpt2(files, &vocab, &merges, keys)?;
            return Ok(Some(Self::new(inner, Class::Gpt2)));
        }
        if let Some(vocab) = files.read("vocab.txt")? {
            let inner = word_piece::bert(files, &vocab, keys)?;
            return Ok(Some(Self::new(inner, Class::Bert)));
        }
        for name in ["spiece.model", "tokenizer.model"] {
            if let Some(bytes) = files.read(name)? {
                return Self::of_sentence_piece(&bytes, keys)
                    .map(Some)
                    .map_err(|error| IoError::tokenizer(files.path(name), error));
            }
        }
        Ok(None)
    }

    fn of_sentence_piece(bytes: &[u8], keys: &Map<String, Value>) -> Result<Self, String> {
        let model = SentencePiece::parse(bytes)?;
        let given = model.pieces.iter().filter_map(|piece| match piece.kind {
            PieceKind::Control => Some(AddedToken::from(&piece.text, true)),
            PieceKind::UserDefined => Some(AddedToken::from(&piece.text, false).normalized(false)),
            PieceKind::Ordinary => None,
        });
        let mut extra: Vec<AddedToken> = given.collect();
        let (inner, class) = match model.algorithm {
            Algorithm::Unigram => {
                let sentinels = unigram::sentinels(keys)?;
                let special = |token: &String| AddedToken::from(token, true);
                extra.extend(sentinels.iter().map(special));
                (unigram::t5(model, sentinels)?, Class::T5)
            }
            Algorithm::BytePairs => (byte_pairs::llama(model, keys)?, Class::Llama),
        };
        Ok(Self {
            inner,
            class,
            extra,
        })
    }

    fn new(inner: tokenizers::Tokenizer, class: Class) -> Self {
        Self {
            inner,
            class,
            extra: Vec::new(),
        }
    }
}

impl Class {
    /// The class that `tokenizer_config.json` names, if it is one of these.
    pub(super) fn named(keys: &Map<String, Value>) -> Option<Self> {
        let name = keys.get("tokenizer_class").and_then(Value::as_str)?;
        Some(match name.strip_suffix("Fast").unwrap_or(name) {
            "GPT2Tokenizer" => Self::Gpt2,
            "BertTokenizer" => Self::Bert,
            "T5Tokenizer" => Self::T5,
            "LlamaTokenizer" => Self::Llama,
            _ => return None,
        })
    }

    /// The roles that a class gives to tokens where the files say nothing of a role.
    pub(super) fn roles(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Gpt2 => &[
                ("bos_token", "<|endoftext|>"),
                ("eos_token", "<|endoftext|>"),
                ("unk_token", "<|endoftext|>"),
            ],
            Self::Bert => &[
                ("unk_token", "[UNK]"),
                ("sep_token", "[SEP]"),
                ("pad_token", "[PAD]"),
                ("cls_token", "[CLS]"),
                ("mask_token", "[MASK]"),
            ],
            Self::T5 => &[
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
            ],
            Self::Llama => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
            ],
        }
    }

    /// The side on which the class pads.
    pub(super) fn padding_side(self) -> PaddingSide {
        match self {
            Self::Llama => PaddingSide::Left,
            _ => PaddingSide::Right,
        }
    }

    /// What is put around a text, after the special tokens have their ids; `role` finds the token in a
    /// role.
    pub(super) fn surround<'r>(
        self,
        inner: &tokenizers::Tokenizer,
        keys: &Map<String, Value>,
        role: impl Fn(&str) -> Option<&'r str>,
    ) -> Result<PostProcessorWrapper, String> {
        let said = |key: &str| keys.get(key).and_then(Value::as_bool).unwrap_or(false);
        let (before, after) = match self {
            // T5 ends with this token whatever its end is.
            Self::T5 => (None, Some("</s>")),
            Self::Bert => (role("cls_token"), role("sep_token")),
            Class::Gpt2 | Self::Llama => (
                role("bos_token").filter(|_| said("add_bos_token")),
                role("eos_token").filter(|_| said("add_eos_token")),
            ),
        };
        template(inner, before, after)
    }
}

/// A text between two tokens.
fn template(
    inner: &tokenizers::Tokenizer,
    before: Option<&str>,
    after: Option<&str>,
) -> Result<PostProcessorWrapper, String> {
    let around = |text: &'static str| before.into_iter().chain([text]).chain(after);
    let single: Vec<&str> = around("$A").collect();
    let pair: Vec<&str> = around("$A").chain(around("$B:1")).collect();
    let id = |token: &str| {
        let id = inner.token_to_id(token);
        let id = id.ok_or_else(|| format!("it has no token `{token}` to put beside a text"))?;
        Ok::<_, String>((token.to_string(), id))
    };
    let special: Vec<(String, u32)> = before
        .into_iter()
        .chain(after)
        .map(id)
        .collect::<Result<_, _>>()?;
    let built = TemplateProcessing::builder()
        .try_single(single)?
        .try_pair(pair)?
        .special_tokens(special)
        .build();
    built
        .map(PostProcessorWrapper::Template)
        .map_err(|error| error.to_string())
}

/// A key that says yes or no.
fn flag(keys: &Map<String, Value>, key: &str, default: bool) -> bool {
    keys.get(key).and_then(Value::as_bool).unwrap_or(default)
}
