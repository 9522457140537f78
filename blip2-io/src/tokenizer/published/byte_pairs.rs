//! Byte-pair encoders: GPT-2's and OPT's over bytes, LLaMA's with bytes for what it has no piece for.

use std::collections::HashMap;

use serde_json::{Map, Value};
use tokenizers::{
    DecoderWrapper, Tokenizer,
    decoders::{
        byte_fallback::ByteFallback, byte_level::ByteLevel, fuse::Fuse, sequence::Sequence,
        strip::Strip,
    },
    models::bpe::{BPE, Merges, Vocab},
    normalizers::replace::Replace,
    pre_tokenizers::metaspace::{Metaspace, PrependScheme},
};

use super::{flag, sentence_piece::SentencePiece};
use crate::{
    error::IoError,
    files::{Files, parse_json},
    tokenizer::guard,
};

/// `GPT2Tokenizer`, which is OPT's too.
pub(super) fn gpt2(
    files: &Files,
    vocab: &[u8],
    merges: &[u8],
    keys: &Map<String, Value>,
) -> Result<Tokenizer, IoError> {
    let fault = |error: String| IoError::tokenizer(files.path("merges.txt"), error);
    let ids: HashMap<String, u32> = parse_json(&files.path("vocab.json"), vocab)?;
    guard::vocabulary(
        ids.iter()
            .map(|(token, id)| (token.as_str(), u64::from(*id))),
    )
    .map_err(|error| IoError::tokenizer(files.path("vocab.json"), error))?;
    if ids.is_empty() {
        let error = "it has no tokens";
        return Err(IoError::tokenizer(files.path("vocab.json"), error));
    }
    let merges = merge_list(merges).map_err(fault)?;
    let known = |token: &str| ids.contains_key(token);
    for (left, right) in &merges {
        guard::merge(left, right, "", &known).map_err(fault)?;
    }
    let bpe = BPE::builder()
        .vocab_and_merges(ids.into_iter().collect::<Vocab>(), merges)
        .build()
        .map_err(|error| fault(error.to_string()))?;
    let mut tokenizer = Tokenizer::new(bpe);
    let prefix = flag(keys, "add_prefix_space", false);
    tokenizer
        .with_pre_tokenizer(Some(ByteLevel::new(prefix, true, true)))
        .with_decoder(Some(ByteLevel::default()));
    Ok(tokenizer)
}

/// The most merges of a SentencePiece model for each of its pieces; LLaMA's has two.
const MERGES_OF_A_PIECE: usize = 16;
/// What a model of few pieces may have beside those.
const SPARE_MERGES: usize = 4096;

/// The pairs of `merges.txt`, one a line after a line with the version.
fn merge_list(text: &[u8]) -> Result<Merges, String> {
    let text = str::from_utf8(text).map_err(|error| error.to_string())?;
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.starts_with("#version") && !line.is_empty());
    let pair = |(n, line): (usize, &str)| match line.split_once(' ') {
        Some((left, right)) if !right.contains(' ') => Ok((left.to_string(), right.to_string())),
        _ => Err(format!("line {} is no pair of tokens", n + 1)),
    };
    lines.map(pair).collect()
}

/// `LlamaTokenizer`, which is Vicuna's too.
pub(super) fn llama(
    model: SentencePiece<'_>,
    keys: &Map<String, Value>,
) -> Result<Tokenizer, String> {
    let pieces: Vec<String> = model.pieces.into_iter().map(|piece| piece.text).collect();
    guard::pieces(pieces.iter().map(String::as_str))?;
    let vocab: Vocab = pieces.iter().cloned().zip(0..).collect();
    let merges = merges_of(&pieces, &vocab)?;
    let bpe = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .fuse_unk(true)
        .byte_fallback(true)
        .build()
        .map_err(|error| error.to_string())?;
    let prefix = flag(keys, "add_prefix_space", true);
    let scheme = match (prefix, flag(keys, "legacy", false)) {
        (false, _) => PrependScheme::Never,
        (true, true) => PrependScheme::Always,
        (true, false) => PrependScheme::First,
    };
    let spaces = Replace::new("▁", " ").map_err(|error| error.to_string())?;
    let mut decoders = vec![
        DecoderWrapper::Replace(spaces),
        DecoderWrapper::ByteFallback(ByteFallback::new()),
        DecoderWrapper::Fuse(Fuse::new()),
    ];
    if prefix {
        decoders.push(DecoderWrapper::Strip(Strip::new(' ', 1, 0)));
    }
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer
        .with_pre_tokenizer(Some(Metaspace::new('▁', scheme, false)))
        .with_decoder(Some(Sequence::new(decoders)));
    Ok(tokenizer)
}

/// The merges that a SentencePiece model implies: of every piece all cuts into two pieces, in the order
/// of the pieces' ids and then of the left half's length, as `generate_merges` sorts them.
///
/// # Errors
///
/// If pieces that begin and end one another imply merges without measure, as a thousand that are each
/// a letter longer do.
fn merges_of(pieces: &[String], vocab: &Vocab) -> Result<Merges, String> {
    let most = pieces.len() * MERGES_OF_A_PIECE + SPARE_MERGES;
    let mut merges = Merges::new();
    for (id, piece) in (0..).zip(pieces) {
        // Of pieces that are there twice the last has the id.
        if vocab.get(piece) != Some(&id) {
            continue;
        }
        for (cut, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(cut);
            if vocab.contains_key(left) && vocab.contains_key(right) {
                if merges.len() == most {
                    let pieces = pieces.len();
                    return Err(format!("its {pieces} pieces imply more than {most} merges"));
                }
                merges.push((left.to_string(), right.to_string()));
            }
        }
    }
    Ok(merges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_merges_are_pairs() {
        let merges = merge_list("#version: 0.2\nĠ t\r\nĠt h\n".as_bytes()).unwrap();
        assert_eq!(
            merges,
            [("Ġ".into(), "t".into()), ("Ġt".into(), "h".into())]
        );
        for wrong in ["a", "a b c"] {
            assert!(merge_list(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_cut_of_a_piece_is_a_merge_in_the_order_of_ids() {
        let pieces = ["ab", "a", "b", "abc", "bc", "c"].map(String::from);
        let vocab: Vocab = pieces.iter().cloned().zip(0..).collect();
        let merges = merges_of(&pieces, &vocab).unwrap();
        let shown: Vec<String> = merges.iter().map(|(l, r)| format!("{l} {r}")).collect();
        assert_eq!(shown, ["a b", "a bc", "ab c", "b c"]);
    }

    #[test]
    fn merges_without_measure_are_refused() {
        let pieces: Vec<String> = (1..=1024).map(|length| "a".repeat(length)).collect();
        let vocab: Vocab = pieces.iter().cloned().zip(0..).collect();
        let error = merges_of(&pieces, &vocab).unwrap_err();
        assert!(error.contains("1024 pieces imply"), "{error}");
    }
}
