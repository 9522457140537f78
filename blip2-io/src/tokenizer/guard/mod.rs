//! What `tokenizers` does not check of a file before it panics, aborts or doubles text without end.
//!
//! A `tokenizer.json` comes from whoever made the folder. Its parts are looked at as JSON, with the
//! rules that the library's own code relies on, before the library sees them. Each refusal says which
//! part is at fault.

mod charsmap;
mod model;
mod parts;
mod surround;

use serde_json::Value;

pub(super) use charsmap::charsmap;
pub(super) use model::{merge, pieces, vocabulary};

/// The most bytes of one token. The longest that are published have some hundreds; the library drops a
/// tree of a token's bytes by recursion.
const MAX_TOKEN: usize = 1024;
/// The largest id. No vocabulary comes near it; the library counts up to the largest, and adds one.
const MAX_ID: u64 = 1 << 24;

/// Checks the content of a `tokenizer.json`, and takes out of it what says how rows are cut and padded,
/// which is decided by whoever lays out a batch.
pub(super) fn tokenizer(json: &mut Value) -> Result<(), String> {
    let Value::Object(parts) = json else {
        return Err("it is no JSON object".into());
    };
    for cut in ["truncation", "padding"] {
        parts.insert(cut.into(), Value::Null);
    }
    let part = |name: &str| json.get(name).filter(|part| !part.is_null());
    let model = part("model").ok_or("it has no model")?;
    model::model(model).map_err(|error| format!("model: {error}"))?;
    type Check = fn(&Value) -> Result<(), String>;
    let checks: [(&str, Check); 5] = [
        ("added_tokens", model::added),
        ("normalizer", parts::normalizer),
        ("pre_tokenizer", parts::pre_tokenizer),
        ("post_processor", surround::post_processor),
        ("decoder", parts::decoder),
    ];
    for (name, check) in checks {
        if let Some(part) = part(name) {
            check(part).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}

/// The `type` of a part.
fn kind(part: &Value) -> Result<&str, String> {
    let kind = part.get("type").and_then(Value::as_str);
    kind.ok_or_else(|| "a part has no `type`".into())
}

/// A key that must hold text.
fn text<'p>(part: &'p Value, key: &str) -> Result<&'p str, String> {
    let text = part.get(key).and_then(Value::as_str);
    text.ok_or_else(|| format!("`{key}` is no text"))
}

/// An id, within the limit.
fn id(value: &Value) -> Result<u64, String> {
    match value.as_u64() {
        Some(id) if id < MAX_ID => Ok(id),
        _ => Err(format!(
            "an id is {value}; ids are whole numbers below {MAX_ID}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(name: &str, part: Value) -> Result<(), String> {
        let mut json = json!({
            "model": { "type": "WordLevel", "unk_token": "a", "vocab": { "a": 0 } },
        });
        json[name] = part;
        tokenizer(&mut json)
    }

    /// Every part by which a file brought the library to its knees, with what the refusal names.
    #[test]
    fn what_the_library_would_not_survive_is_refused_by_its_name() {
        let replace = |pattern: Value, content: &str| json!({ "type": "Replace", "pattern": pattern, "content": content });
        let doubling = replace(json!({ "String": "a" }), "aa");
        let cases = [
            (
                "normalizer",
                json!({ "type": "Prepend", "prepend": "" }),
                "prepend",
            ),
            (
                "normalizer",
                replace(json!({ "String": "" }), "ab"),
                "pattern",
            ),
            (
                "normalizer",
                replace(json!({ "Regex": "x*" }), "ab"),
                "pattern",
            ),
            (
                "pre_tokenizer",
                json!({ "type": "Split", "pattern": { "Regex": "(?=a)\\w{500}" }, "behavior": "Isolated", "invert": false }),
                "pattern",
            ),
            (
                "normalizer",
                json!({ "type": "Sequence", "normalizers": vec![doubling.clone(); 36] }),
                "longer",
            ),
            (
                "normalizer",
                replace(json!({ "String": "a" }), &"a".repeat(100)),
                "longer",
            ),
            ("normalizer", json!({ "type": "Unigram" }), "Unigram"),
            (
                "normalizer",
                json!({ "type": "Precompiled", "precompiled_charsmap": "AAAA" }),
                "charsmap",
            ),
            (
                "normalizer",
                json!({ "type": "Precompiled", "precompiled_charsmap": "////fwAAAAA=" }),
                "charsmap",
            ),
            (
                "normalizer",
                json!({ "type": "Sequence", "normalizers": vec![json!({ "type": "ByteLevel" }); 36] }),
                "longer",
            ),
            (
                "pre_tokenizer",
                json!({ "type": "Sequence", "pretokenizers": vec![json!({ "type": "ByteLevel" }); 36] }),
                "longer",
            ),
            (
                "decoder",
                json!({ "type": "BPEDecoder", "suffix": "" }),
                "suffix",
            ),
            (
                "pre_tokenizer",
                json!({ "type": "FixedLength", "length": 0 }),
                "length",
            ),
            (
                "pre_tokenizer",
                json!({ "type": "Split", "pattern": { "String": "" }, "behavior": "Isolated", "invert": false }),
                "pattern",
            ),
            (
                "decoder",
                json!({ "type": "Unigram", "unk_id": 0 }),
                "Unigram",
            ),
            (
                "decoder",
                json!({ "type": "Strip", "content": " ", "start": 0, "stop": 1 }),
                "stop",
            ),
            (
                "decoder",
                json!({ "type": "Sequence", "decoders": vec![doubling; 36] }),
                "longer",
            ),
            ("decoder", json!(7), "type"),
            (
                "post_processor",
                json!({ "type": "TemplateProcessing", "single": [{ "SpecialToken": { "id": "x", "type_id": 0 } }], "pair": [], "special_tokens": {} }),
                "`x`",
            ),
            (
                "post_processor",
                json!({ "type": "TemplateProcessing", "single": [{ "Sequence": { "id": "B", "type_id": 0 } }], "pair": [], "special_tokens": {} }),
                "second",
            ),
            (
                "added_tokens",
                json!([{ "id": u32::MAX, "content": "x" }]),
                "id",
            ),
            (
                "model",
                json!({ "type": "WordLevel", "unk_token": "a", "vocab": { "a": u32::MAX } }),
                "id",
            ),
            (
                "model",
                json!({ "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": [["a", "b"]] }),
                "`ab`",
            ),
            (
                "model",
                json!({ "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": ["a b"] }),
                "`ab`",
            ),
            (
                "model",
                json!({ "type": "BPE", "continuing_subword_prefix": "##", "vocab": { "a": 0, "b": 1 }, "merges": [["a", "b"]] }),
                "##",
            ),
            (
                "model",
                json!({ "type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "", "max_input_chars_per_word": 1_000_000, "vocab": { "a": 0 } }),
                "max_input_chars_per_word",
            ),
            (
                "model",
                json!({ "type": "Unigram", "unk_id": 0, "vocab": [["x".repeat(100_000), 0.0]] }),
                "bytes",
            ),
        ];
        for (name, part, named) in cases {
            let shown = part.to_string();
            let error = with(name, part).expect_err(&shown);
            assert!(error.contains(named), "{shown}: {error}");
        }
    }

    #[test]
    fn the_parts_that_the_family_has_pass() {
        let spaces = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
        for (name, part) in [
            (
                "normalizer",
                json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "▁" }, spaces] }),
            ),
            (
                "normalizer",
                json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": "▁" }),
            ),
            (
                "pre_tokenizer",
                json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true }),
            ),
            (
                "pre_tokenizer",
                json!({ "type": "Split", "pattern": { "Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" }, "behavior": "Isolated", "invert": false }),
            ),
            (
                "decoder",
                json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }),
            ),
            (
                "model",
                json!({ "type": "BPE", "vocab": { "a": 0, "b": 1, "ab": 2 }, "merges": ["a b"] }),
            ),
        ] {
            with(name, part).unwrap();
        }
    }
}
