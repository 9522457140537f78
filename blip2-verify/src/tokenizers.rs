//! Tokenizers against their goldens: every encoding, decoding, batch and truncation.

use std::path::Path;

use blip2_core::Blip2Error;
use blip2_io::{CheckpointFolder, PaddingSide, Tokenizer};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::VerifyError,
    golden::Golden,
    ids,
    report::{Outcome, Report},
};

#[derive(Deserialize)]
struct Encoding {
    text: String,
    ids: Vec<u32>,
    ids_no_special: Vec<u32>,
    tokens: Option<Vec<String>>,
    decode: Option<String>,
    decode_skip: Option<String>,
}

#[derive(Deserialize)]
struct Decoding {
    ids: Vec<u32>,
    decode: String,
    decode_skip: String,
}

#[derive(Deserialize)]
struct Batch {
    input_ids: Vec<Vec<u32>>,
    attention_mask: Vec<Vec<u8>>,
}

pub(crate) fn verify(
    folder: &Path,
    golden: &Golden,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let tokenizer = CheckpointFolder::open(folder)
        .and_then(|f| f.tokenizer())
        .map_err(Blip2Error::from)?;
    let encodings: Vec<Encoding> = parse(golden, "encode")?.unwrap_or_default();
    report.push("encode", encode(&tokenizer, &encodings));
    if let Some(decodings) = parse::<Vec<Decoding>>(golden, "random_decode")? {
        report.push("random_decode", decode(&tokenizer, &decodings));
    }
    // The texts of these batches are the same in every golden.
    let question = encodings
        .get(1)
        .map_or("", |encoding| encoding.text.as_str());
    let texts = ["a photo", question, "x"];
    for (key, length) in [("batch_longest", None), ("batch_max6_trunc", Some(6))] {
        if let Some(expected) = parse::<Batch>(golden, key)? {
            report.push(key, batch(&tokenizer, &texts, length, &expected));
        }
    }
    if let Some(size) = golden.json("vocab_size").and_then(Value::as_u64) {
        report.push(
            "vocab_size",
            Outcome::equal(&(tokenizer.vocab_size() as u64), &size),
        );
    }
    let ids = [
        ("bos", tokenizer.bos_token_id()),
        ("eos", tokenizer.eos_token_id()),
        ("pad", tokenizer.pad_token_id()),
        ("unk", tokenizer.unk_token_id()),
    ];
    if let Some(special) = golden.json("special") {
        for (name, found) in ids {
            let expected = special.get(name).and_then(Value::as_u64);
            report.push(
                format!("special.{name}"),
                Outcome::equal(&found.map(u64::from), &expected),
            );
        }
    }
    if let Some(side) = golden.json("padding_side").and_then(Value::as_str) {
        let found = match tokenizer.padding_side() {
            PaddingSide::Left => "left",
            PaddingSide::Right => "right",
        };
        report.push("padding_side", Outcome::equal(&found, &side));
    }
    Ok(())
}

fn parse<T: for<'de> Deserialize<'de>>(
    golden: &Golden,
    key: &str,
) -> Result<Option<T>, VerifyError> {
    let Some(value) = golden.json(key) else {
        return Ok(None);
    };
    T::deserialize(value)
        .map(Some)
        .map_err(|error| VerifyError::golden(format!("{key}: {error}")))
}

/// The first difference among many comparisons.
fn all(mut differences: impl Iterator<Item = Result<Option<String>, Blip2Error>>) -> Outcome {
    match differences.find_map(Result::transpose) {
        None => Outcome::Exact { difference: None },
        Some(Ok(difference)) => Outcome::Exact {
            difference: Some(difference),
        },
        Some(Err(error)) => Outcome::failed(error),
    }
}

fn differ<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Option<String> {
    (found != expected).then(|| format!("{what}: {found:?} instead of {expected:?}"))
}

/// Of token ids the place where they part.
fn differ_in_ids(what: &str, found: &[u32], expected: &[u32]) -> Option<String> {
    ids::difference(found, expected).map(|difference| format!("{what} {difference}"))
}

/// A difference from a golden that not every file holds.
fn if_told<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &T,
    expected: &Option<T>,
) -> Option<String> {
    expected
        .as_ref()
        .and_then(|expected| differ(what, found, expected))
}

fn encode(tokenizer: &Tokenizer, encodings: &[Encoding]) -> Outcome {
    all(encodings.iter().map(|golden| {
        let ids = tokenizer.encode(&golden.text)?;
        let bare = tokenizer.encode_with(&golden.text, false)?;
        let tokens: Vec<_> = golden
            .ids
            .iter()
            .map(|&id| tokenizer.id_to_token(id).unwrap_or_default())
            .collect();
        let whole = tokenizer.decode(&golden.ids, false)?;
        let skipped = tokenizer.decode(&golden.ids, true)?;
        let text = &golden.text;
        Ok(
            differ_in_ids(&format!("ids of {text:?}"), &ids, &golden.ids)
                .or_else(|| {
                    let what = format!("bare ids of {text:?}");
                    differ_in_ids(&what, &bare, &golden.ids_no_special)
                })
                .or_else(|| if_told(&format!("tokens of {text:?}"), &tokens, &golden.tokens))
                .or_else(|| if_told("text", &whole, &golden.decode))
                .or_else(|| if_told("text without special tokens", &skipped, &golden.decode_skip)),
        )
    }))
}

fn decode(tokenizer: &Tokenizer, decodings: &[Decoding]) -> Outcome {
    all(decodings.iter().map(|golden| {
        let whole = tokenizer.decode(&golden.ids, false)?;
        let skipped = tokenizer.decode(&golden.ids, true)?;
        let what = format!("text of {} ids", golden.ids.len());
        Ok(differ(&what, &whole, &golden.decode)
            .or_else(|| differ(&what, &skipped, &golden.decode_skip)))
    }))
}

fn batch(
    tokenizer: &Tokenizer,
    texts: &[&str],
    length: Option<usize>,
    expected: &Batch,
) -> Outcome {
    let rows: Result<Vec<_>, _> = texts
        .iter()
        .map(|text| match length {
            Some(length) => tokenizer.encode_truncated(text, length),
            None => tokenizer.encode(text),
        })
        .collect();
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            return Outcome::failed(error);
        }
    };
    let width = length.unwrap_or_else(|| rows.iter().map(Vec::len).max().unwrap_or(0));
    let pad = tokenizer.pad_token_id().unwrap_or_default();
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for row in rows {
        let padding = width.saturating_sub(row.len());
        let (pads, zeros) = (vec![pad; padding], vec![0u8; padding]);
        let ones = vec![1u8; row.len()];
        let (row, attend) = match tokenizer.padding_side() {
            PaddingSide::Left => ([pads, row].concat(), [zeros, ones].concat()),
            PaddingSide::Right => ([row, pads].concat(), [ones, zeros].concat()),
        };
        ids.push(row);
        mask.push(attend);
    }
    let rows = ids.iter().zip(&expected.input_ids).enumerate();
    let difference = rows
        .filter_map(|(n, (ids, expected))| differ_in_ids(&format!("ids of row {n}"), ids, expected))
        .next()
        .or_else(|| differ("rows", ids.len(), expected.input_ids.len()))
        .or_else(|| differ("mask", &mask, &expected.attention_mask));
    Outcome::Exact { difference }
}
