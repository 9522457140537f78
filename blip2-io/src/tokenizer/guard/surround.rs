//! What is put around a text.

use serde_json::Value;

use super::{id, kind, text};

/// The most parts of a template, and the most ids that it adds.
const MAX_PARTS: usize = 64;
const MAX_IDS: usize = 1024;

/// Checks a post-processor.
pub(super) fn post_processor(part: &Value) -> Result<(), String> {
    match kind(part)? {
        "Sequence" => {
            let parts = part.get("processors").and_then(Value::as_array);
            let parts = parts.ok_or("a Sequence has no `processors`")?;
            if parts.len() > MAX_PARTS {
                return Err(format!("it has more than {MAX_PARTS} parts"));
            }
            for (n, part) in parts.iter().enumerate() {
                let found = kind(part)?;
                // A template takes one text, and gives as many as it has parts.
                if found == "TemplateProcessing" && n + 1 != parts.len() {
                    return Err("a TemplateProcessing is not the last of its Sequence".into());
                }
                if found == "Sequence" {
                    return Err("a Sequence lies in a Sequence".into());
                }
                post_processor(part)?;
            }
            Ok(())
        }
        "TemplateProcessing" => template(part),
        "BertProcessing" | "RobertaProcessing" => {
            let pairs = ["sep", "cls"]
                .into_iter()
                .filter_map(|key| part.get(key)?.get(1));
            pairs.map(id).collect::<Result<Vec<_>, _>>().map(|_| ())
        }
        "ByteLevel" => Ok(()),
        kind => Err(format!("there is no post-processor `{kind}`")),
    }
}

/// The library looks up every token of a template, and a second text, without asking whether they are
/// there.
fn template(part: &Value) -> Result<(), String> {
    for name in ["single", "pair"] {
        let parts = part.get(name).and_then(Value::as_array);
        let parts = parts.ok_or_else(|| format!("`{name}` is no list"))?;
        if parts.len() > MAX_PARTS {
            return Err(format!("`{name}` has more than {MAX_PARTS} parts"));
        }
        for piece in parts {
            if let Some(token) = piece.get("SpecialToken") {
                special(part, text(token, "id")?)?;
            }
            let second = |text: &Value| text.get("id").is_some_and(|id| id == "B");
            if name == "single" && piece.get("Sequence").is_some_and(second) {
                return Err("`single` has a second text in it".into());
            }
        }
    }
    Ok(())
}

/// Checks one of `special_tokens`.
fn special(template: &Value, name: &str) -> Result<(), String> {
    let special = template
        .get("special_tokens")
        .and_then(|tokens| tokens.get(name));
    let special = special.ok_or_else(|| format!("the token `{name}` is not in special_tokens"))?;
    let list = |key: &str| special.get(key).and_then(Value::as_array);
    let (Some(ids), Some(tokens)) = (list("ids"), list("tokens")) else {
        return Err(format!("the token `{name}` lacks `ids` or `tokens`"));
    };
    if ids.len() != tokens.len() || ids.len() > MAX_IDS {
        let (ids, tokens) = (ids.len(), tokens.len());
        return Err(format!(
            "the token `{name}` has {ids} ids for {tokens} tokens"
        ));
    }
    ids.iter().try_for_each(|number| id(number).map(|_| ()))
}
