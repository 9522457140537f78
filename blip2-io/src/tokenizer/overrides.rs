//! What `tokenizer_config.json` says over a `tokenizer.json`.
//!
//! The reference's classes are made with these settings, or with defaults of their own, and change the
//! tokenizer that they read accordingly; a class of no model (`PreTrainedTokenizerFast`) takes it as it is.

use serde_json::{Map, Value};

/// Changes the parts of a `tokenizer.json` that the class of the configuration has settings for.
pub(super) fn apply(json: &mut Value, keys: &Map<String, Value>) {
    let class = keys.get("tokenizer_class").and_then(Value::as_str);
    let flag = |key: &str| keys.get(key).and_then(Value::as_bool);
    match class.map(|class| class.trim_end_matches("Fast")) {
        Some("BertTokenizer") => {
            let accents = flag("strip_accents").map_or(Value::Null, Value::from);
            let usual = |key: &str| Value::from(flag(key).unwrap_or(true));
            let parts = [
                ("lowercase", usual("do_lower_case")),
                ("strip_accents", accents),
                ("handle_chinese_chars", usual("tokenize_chinese_chars")),
            ];
            for (part, said) in parts {
                set(json.get_mut("normalizer"), "BertNormalizer", part, said);
            }
        }
        Some("GPT2Tokenizer") => {
            let said = flag("add_prefix_space").unwrap_or(false).into();
            let at = json.get_mut("pre_tokenizer");
            set(at, "ByteLevel", "add_prefix_space", said);
        }
        Some("LlamaTokenizer") if flag("add_prefix_space") == Some(false) => without_prefix(json),
        _ => {}
    }
}

/// Sets a key of every part of a kind, of which a sequence may have several.
fn set(part: Option<&mut Value>, kind: &str, key: &str, said: Value) {
    let Some(part) = part else { return };
    if part.get("type").and_then(Value::as_str) == Some(kind) {
        if let Some(part) = part.as_object_mut() {
            part.insert(key.into(), said);
        }
        return;
    }
    for list in ["normalizers", "pretokenizers"] {
        let parts = part.get_mut(list).and_then(Value::as_array_mut);
        for part in parts.into_iter().flatten() {
            set(Some(part), kind, key, said.clone());
        }
    }
}

/// Takes away the space that SentencePiece puts before a text, and its removal when ids become a text.
fn without_prefix(json: &mut Value) {
    let (kind, scheme) = ("Metaspace", "prepend_scheme");
    for part in ["pre_tokenizer", "decoder"] {
        set(json.get_mut(part), kind, scheme, "never".into());
    }
    drop_of(json.get_mut("normalizer"), "normalizers", "Prepend");
    drop_of(json.get_mut("decoder"), "decoders", "Strip");
}

/// Drops the parts of a kind from a sequence.
fn drop_of(sequence: Option<&mut Value>, list: &str, kind: &str) {
    let parts = sequence.and_then(|sequence| sequence.get_mut(list));
    if let Some(parts) = parts.and_then(Value::as_array_mut) {
        parts.retain(|part| part.get("type").and_then(Value::as_str) != Some(kind));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(json: &Value, keys: Value) -> Value {
        let mut json = json.clone();
        apply(&mut json, keys.as_object().expect("an object"));
        json
    }

    #[test]
    fn a_class_changes_what_it_has_settings_for() {
        let bert = json!({"normalizer": {"type": "BertNormalizer", "lowercase": true, "strip_accents": null,
                                         "handle_chinese_chars": true}});
        let cased = json!({"tokenizer_class": "BertTokenizer", "do_lower_case": false,
                           "strip_accents": true, "tokenize_chinese_chars": false});
        let due = json!({"normalizer": {"type": "BertNormalizer", "lowercase": false, "strip_accents": true,
                                        "handle_chinese_chars": false}});
        assert_eq!(changed(&bert, cased.clone()), due);
        // What is not said is the class's default; another class takes the file as it is.
        let silent = json!({"tokenizer_class": "BertTokenizerFast"});
        assert_eq!(changed(&due, silent), bert);
        let mut other = cased;
        other["tokenizer_class"] = "PreTrainedTokenizerFast".into();
        assert_eq!(changed(&bert, other), bert);

        let gpt2 = json!({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits"}, {"type": "ByteLevel", "add_prefix_space": false}]}});
        let spaced = json!({"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": true});
        let changed_to = changed(&gpt2, spaced);
        assert_eq!(
            changed_to["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"],
            true
        );
    }

    #[test]
    fn llama_without_its_space_neither_puts_nor_strips_one() {
        let llama = json!({
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"}, {"type": "Replace"}]},
            "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "first"},
            "decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip"}]},
        });
        let bare = json!({"tokenizer_class": "LlamaTokenizer", "add_prefix_space": false});
        let due = json!({
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Replace"}]},
            "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "never"},
            "decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}]},
        });
        assert_eq!(changed(&llama, bare), due);
    }
}
