//! Normalizers, pre-tokenizers and decoders.

use fancy_regex::RegexBuilder;
use serde_json::Value;

use super::{charsmap, kind, text};

/// How much longer a text may become. NFKC makes 18 characters of the worst one; a chain of replacements
/// that each double would take all memory.
const MAX_GROWTH: f64 = 64.0;
/// The most bytes that are put before every piece of a text.
const MAX_PREFIX: usize = 64;
/// Each byte of a character that is not ASCII becomes a character of two bytes.
const BYTE_LEVEL: f64 = 2.0;
/// How deep sequences may lie in one another, and how many parts they have.
const MAX_DEPTH: usize = 8;
const MAX_PARTS: usize = 64;
/// The most bytes of a pattern; those of the large models have some 400.
const MAX_PATTERN: usize = 1024;
/// The most bytes that each part of a pattern between two look-arounds is compiled to: a count in a
/// pattern is a copy for each time.
const MAX_COMPILED: usize = 1 << 20;

/// A part that has no content that could be wrong.
const PLAIN_NORMALIZERS: [&str; 9] = [
    "BertNormalizer",
    "Lowercase",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Nmt",
    "Strip",
    "StripAccents",
];
const PLAIN_PRE_TOKENIZERS: [&str; 9] = [
    "BertPreTokenizer",
    "CharDelimiterSplit",
    "Delimiter",
    "Digits",
    "Metaspace",
    "Punctuation",
    "UnicodeScripts",
    "Whitespace",
    "WhitespaceSplit",
];
const PLAIN_DECODERS: [&str; 5] = [
    "ByteFallback",
    "ByteLevel",
    "Fuse",
    "Metaspace",
    "WordPiece",
];

/// Checks a normalizer, and how much longer it makes a text.
pub(super) fn normalizer(part: &Value) -> Result<(), String> {
    chain(part, "normalizers", &|part, kind| match kind {
        "Prepend" => match text(part, "prepend")?.len() {
            0 => Err("`prepend` is empty".into()),
            1..=MAX_PREFIX => Ok(1.0),
            length => Err(format!(
                "`prepend` has {length} bytes, over the limit of {MAX_PREFIX}"
            )),
        },
        "Replace" => replace(part),
        "Precompiled" => charsmap::encoded(text(part, "precompiled_charsmap")?),
        "ByteLevel" => Ok(BYTE_LEVEL),
        kind if PLAIN_NORMALIZERS.contains(&kind) => Ok(1.0),
        kind => Err(format!("there is no normalizer `{kind}`")),
    })
}

/// Checks a pre-tokenizer.
pub(super) fn pre_tokenizer(part: &Value) -> Result<(), String> {
    chain(part, "pretokenizers", &|part, kind| match kind {
        "FixedLength" if part.get("length").is_some_and(|length| length == 0) => {
            Err("`length` is 0".into())
        }
        "FixedLength" => Ok(1.0),
        "Split" => pattern(part).map(|_| 1.0),
        "ByteLevel" => Ok(BYTE_LEVEL),
        kind if PLAIN_PRE_TOKENIZERS.contains(&kind) => Ok(1.0),
        kind => Err(format!("there is no pre-tokenizer `{kind}`")),
    })
}

/// Checks a decoder.
pub(super) fn decoder(part: &Value) -> Result<(), String> {
    chain(part, "decoders", &|part, kind| match kind {
        "Replace" => replace(part),
        // The library counts from a token's end without looking whether it is that long.
        "Strip" if part.get("stop").is_some_and(|stop| stop != 0) => {
            Err("Strip: `stop` is not 0; cut tokens at their start only".into())
        }
        "CTC" if text(part, "word_delimiter_token")?.is_empty() => {
            Err("CTC: `word_delimiter_token` is empty".into())
        }
        "BPEDecoder" if text(part, "suffix")?.is_empty() => {
            Err("BPEDecoder: `suffix` is empty".into())
        }
        "Strip" | "CTC" | "BPEDecoder" => Ok(1.0),
        kind if PLAIN_DECODERS.contains(&kind) => Ok(1.0),
        kind => Err(format!("there is no decoder `{kind}`")),
    })
}

/// Checks a part or a sequence of parts, each by `growth`, which says how many times longer it makes a
/// text, and that all together stay within the limit.
fn chain(
    part: &Value,
    list: &str,
    growth: &dyn Fn(&Value, &str) -> Result<f64, String>,
) -> Result<(), String> {
    let mut parts = 0;
    let growth = growth_of(part, list, growth, MAX_DEPTH, &mut parts)?;
    match growth <= MAX_GROWTH {
        true => Ok(()),
        false => Err(format!(
            "it could make a text {growth:.0} times longer, over the limit of {MAX_GROWTH}"
        )),
    }
}

fn growth_of(
    part: &Value,
    list: &str,
    growth: &dyn Fn(&Value, &str) -> Result<f64, String>,
    depth: usize,
    parts: &mut usize,
) -> Result<f64, String> {
    *parts += 1;
    if *parts > MAX_PARTS {
        return Err(format!(
            "it has more than {MAX_PARTS} parts, which make texts longer and longer"
        ));
    }
    match kind(part)? {
        "Sequence" => {
            let depth = depth.checked_sub(1).ok_or("its sequences lie too deep")?;
            let inner = part.get(list).and_then(Value::as_array);
            let inner = inner.ok_or_else(|| format!("a Sequence has no `{list}`"))?;
            let mut all = 1.0;
            for part in inner {
                all *= growth_of(part, list, growth, depth, parts)?;
            }
            Ok(all)
        }
        kind => growth(part, kind),
    }
}

/// How many times longer a replacement makes a text.
fn replace(part: &Value) -> Result<f64, String> {
    let shortest = match pattern(part)? {
        Pattern::Text(text) => text.len(),
        // The library's place in a text is lost where nothing is replaced by something.
        Pattern::Regex(regex) => shortest_match(regex)?,
    };
    let content = text(part, "content")?.len();
    Ok((content as f64 / shortest as f64).max(1.0))
}

enum Pattern<'p> {
    Text(&'p str),
    Regex(&'p str),
}

/// A `pattern` that is not empty.
fn pattern(part: &Value) -> Result<Pattern<'_>, String> {
    let pattern = part.get("pattern").ok_or("there is no `pattern`")?;
    let (found, length) = match (
        pattern.get("String").and_then(Value::as_str),
        pattern.get("Regex").and_then(Value::as_str),
    ) {
        (Some(text), _) => (Pattern::Text(text), text.len()),
        (_, Some(regex)) => (Pattern::Regex(regex), regex.len()),
        _ => return Err("`pattern` is neither a String nor a Regex".into()),
    };
    match length {
        0 => return Err("`pattern` is empty".into()),
        1..=MAX_PATTERN => {}
        _ => {
            return Err(format!(
                "`pattern` has {length} bytes, over the limit of {MAX_PATTERN}"
            ));
        }
    }
    if let Pattern::Regex(regex) = found {
        // The library compiles it without a limit of its own.
        let compiled = RegexBuilder::new(regex)
            .delegate_size_limit(MAX_COMPILED)
            .build();
        compiled.map_err(|error| format!("the pattern `{regex}`: {error}"))?;
    }
    Ok(found)
}

/// The fewest bytes that a regular expression matches.
fn shortest_match(regex: &str) -> Result<usize, String> {
    let parsed = regex_syntax::parse(regex).map_err(|error| {
        format!(
            "the pattern `{regex}` cannot replace: {}",
            first_line(&error)
        )
    })?;
    match parsed.properties().minimum_len() {
        Some(0) => Err(format!(
            "the pattern `{regex}` matches nothing at all places"
        )),
        Some(shortest) => Ok(shortest),
        // It never matches.
        None => Ok(usize::MAX),
    }
}

/// What is wrong, without the drawing of where.
fn first_line(error: &regex_syntax::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_string()
}
