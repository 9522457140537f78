//! A special token as the small files write it.

use serde_json::Value;
use tokenizers::AddedToken;

/// A special token: a string, or an object with its `content` and flags.
pub(super) fn special_token(value: &Value) -> Option<AddedToken> {
    let flag = |key| value.get(key).and_then(Value::as_bool).unwrap_or(false);
    let token = AddedToken::from(content(value)?, true)
        .single_word(flag("single_word"))
        .lstrip(flag("lstrip"))
        .rstrip(flag("rstrip"))
        .normalized(flag("normalized"));
    Some(token)
}

/// A special token's text.
pub(super) fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}
