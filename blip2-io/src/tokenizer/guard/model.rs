//! Vocabularies, merges and added tokens.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{MAX_ID, MAX_TOKEN, id};

/// The most characters of one word that WordPiece looks at, at a cost of their third power.
const MAX_WORD: u64 = 1000;

/// Checks the `model` of a `tokenizer.json`.
pub(super) fn model(model: &Value) -> Result<(), String> {
    let kind = model.get("type").and_then(Value::as_str);
    match (kind, model.get("vocab")) {
        (_, None) => Err("it has no vocab".into()),
        (Some("Unigram"), Some(vocab)) | (None, Some(vocab @ Value::Array(_))) => unigram(vocab),
        (_, Some(Value::Object(vocab))) => {
            let ids = vocab
                .iter()
                .map(|(token, id)| Ok((token.as_str(), super::id(id)?)));
            let ids: HashMap<&str, u64> = ids.collect::<Result<_, String>>()?;
            vocabulary(ids.iter().map(|(token, id)| (*token, *id)))?;
            merges(model, &ids)?;
            match model
                .get("max_input_chars_per_word")
                .and_then(Value::as_u64)
            {
                Some(longest) if longest > MAX_WORD => Err(format!(
                    "max_input_chars_per_word is {longest}, over the limit of {MAX_WORD}"
                )),
                _ => Ok(()),
            }
        }
        _ => Err("its vocab is no table of tokens".into()),
    }
}

fn unigram(vocab: &Value) -> Result<(), String> {
    let vocab = vocab.as_array().ok_or("its vocab is no list")?;
    let token = |piece: &'_ Value| piece.get(0).and_then(Value::as_str).map(str::len);
    let lengths: Option<Vec<usize>> = vocab.iter().map(token).collect();
    let lengths = lengths.ok_or("its vocab is no list of tokens with scores")?;
    within(lengths.into_iter().max().unwrap_or(0))
}

fn merges(model: &Value, ids: &HashMap<&str, u64>) -> Result<(), String> {
    let prefix = model.get("continuing_subword_prefix");
    let prefix = prefix.and_then(Value::as_str).unwrap_or("");
    let known = |token: &str| ids.contains_key(token);
    let merges = model.get("merges").and_then(Value::as_array);
    for pair in merges.into_iter().flatten() {
        // What is no pair is the library's to refuse, which it does.
        let halves = match pair {
            Value::String(line) => line.split_once(' '),
            pair => pair
                .get(0)
                .and_then(Value::as_str)
                .zip(pair.get(1).and_then(Value::as_str)),
        };
        if let Some((left, right)) = halves {
            merge(left, right, prefix, &known)?;
        }
    }
    Ok(())
}

/// Checks a merge: the library copies both halves into a buffer as long as the longest token.
pub(crate) fn merge(
    left: &str,
    right: &str,
    prefix: &str,
    known: &impl Fn(&str) -> bool,
) -> Result<(), String> {
    let rest = match prefix {
        "" => right,
        prefix => right.get(prefix.len()..).ok_or_else(|| {
            format!("the merge of `{left}` and `{right}`: the second has no prefix `{prefix}`")
        })?,
    };
    let lacking = [left, right].into_iter().find(|half| !known(half));
    let lacking = lacking.map(str::to_string);
    let product = Some([left, rest].concat()).filter(|product| !known(product));
    match lacking.or(product) {
        None => Ok(()),
        Some(token) => Err(format!(
            "the merge of `{left}` and `{right}` needs the token `{token}`, which the vocabulary lacks"
        )),
    }
}

/// Checks a vocabulary of tokens with ids.
pub(crate) fn vocabulary<'t>(tokens: impl Iterator<Item = (&'t str, u64)>) -> Result<(), String> {
    for (token, id) in tokens {
        within(token.len())?;
        if id >= MAX_ID {
            return Err(format!(
                "the id of `{token}` is {id}; ids are below {MAX_ID}"
            ));
        }
    }
    Ok(())
}

/// Checks a vocabulary of tokens that are numbered as they come.
pub(crate) fn pieces<'t>(tokens: impl Iterator<Item = &'t str>) -> Result<(), String> {
    vocabulary(tokens.zip(0..))
}

/// Checks `added_tokens`.
pub(super) fn added(list: &Value) -> Result<(), String> {
    let list = list.as_array().ok_or("it is no list")?;
    let token = |token: &Map<String, Value>| {
        if let Some(number) = token.get("id") {
            id(number)?;
        }
        within(
            token
                .get("content")
                .and_then(Value::as_str)
                .map_or(0, str::len),
        )
    };
    list.iter().filter_map(Value::as_object).try_for_each(token)
}

fn within(length: usize) -> Result<(), String> {
    match length > MAX_TOKEN {
        true => Err(format!(
            "a token has {length} bytes, over the limit of {MAX_TOKEN}"
        )),
        false => Ok(()),
    }
}
