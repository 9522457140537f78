//! BERT's tokenizer: `vocab.txt`, a token a line.

use serde_json::{Map, Value};
use tokenizers::{
    Tokenizer, decoders::wordpiece::WordPiece as Joined, models::wordpiece::WordPiece,
    normalizers::bert::BertNormalizer, pre_tokenizers::bert::BertPreTokenizer,
};

use super::flag;
use crate::{
    error::IoError,
    files::Files,
    tokenizer::{guard, special_token::content},
};

/// `BertTokenizer`.
pub(super) fn bert(
    files: &Files,
    vocab: &[u8],
    keys: &Map<String, Value>,
) -> Result<Tokenizer, IoError> {
    let fault = |error: tokenizers::Error| IoError::tokenizer(files.path("vocab.txt"), error);
    let text = String::from_utf8_lossy(vocab);
    guard::pieces(text.lines()).map_err(|error| fault(error.into()))?;
    let unknown = keys.get("unk_token").and_then(content);
    let words = WordPiece::builder()
        .vocab(WordPiece::read_bytes(vocab).map_err(fault)?)
        .unk_token(unknown.unwrap_or("[UNK]").to_string())
        .build()
        .map_err(fault)?;
    let lower = flag(keys, "do_lower_case", true);
    let accents = keys.get("strip_accents").and_then(Value::as_bool);
    let chinese = flag(keys, "tokenize_chinese_chars", true);
    let mut tokenizer = Tokenizer::new(words);
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(true, chinese, accents, lower)))
        .map_err(fault)?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_decoder(Some(Joined::new("##".into(), true)));
    Ok(tokenizer)
}
