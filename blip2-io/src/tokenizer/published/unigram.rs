//! T5's and mT5's tokenizers: SentencePiece's unigram models.

use serde_json::{Map, Value};
use tokenizers::{
    Tokenizer,
    models::unigram::Unigram,
    pre_tokenizers::{
        PreTokenizerWrapper,
        metaspace::{Metaspace, PrependScheme},
        sequence::Sequence,
        whitespace::WhitespaceSplit,
    },
};

use super::sentence_piece::SentencePiece;
use crate::tokenizer::guard;

/// T5's unknown token, whatever the model says of its own.
const UNKNOWN: usize = 2;
/// The most sentinels that are believed; T5 has 100, and no model more than some hundreds.
const MAX_SENTINELS: u64 = 10_000;

/// The sentinels that a T5 was trained with, in the order of their numbers. Their ids run the other way.
pub(super) fn sentinels(keys: &Map<String, Value>) -> Result<Vec<String>, String> {
    let count = keys.get("extra_ids").and_then(Value::as_u64).unwrap_or(100);
    if count > MAX_SENTINELS {
        return Err(format!(
            "extra_ids of tokenizer_config.json is {count}, over the limit of {MAX_SENTINELS}"
        ));
    }
    Ok((0..count).map(|n| format!("<extra_id_{n}>")).collect())
}

/// `T5Tokenizer`.
pub(super) fn t5(model: SentencePiece<'_>, sentinels: Vec<String>) -> Result<Tokenizer, String> {
    let charsmap = match model.charsmap {
        [] => None,
        bytes => Some(guard::charsmap(bytes)?),
    };
    let pieces = model.pieces.into_iter();
    let pieces = pieces.map(|piece| (piece.text, f64::from(piece.score)));
    let sentinels = sentinels.into_iter().rev().map(|token| (token, 0.0));
    let vocab: Vec<(String, f64)> = pieces.chain(sentinels).collect();
    guard::pieces(vocab.iter().map(|(token, _)| token.as_str()))?;
    let unigram = Unigram::from(vocab, Some(UNKNOWN), false).map_err(|error| error.to_string())?;
    let mut tokenizer = Tokenizer::new(unigram);
    let words = Metaspace::new('▁', PrependScheme::Always, true);
    let cut = Sequence::new(vec![
        PreTokenizerWrapper::WhitespaceSplit(WhitespaceSplit),
        PreTokenizerWrapper::Metaspace(words.clone()),
    ]);
    tokenizer
        .with_normalizer(charsmap)
        .map_err(|error| error.to_string())?
        .with_pre_tokenizer(Some(cut))
        .with_decoder(Some(words));
    Ok(tokenizer)
}
