//! What stands in a file, shown in a message: short, and without characters that order a terminal about.

use serde_json::{Map, Value};

/// The most characters that are shown of a text.
const SHOWN: usize = 60;

/// The most keys that are told of an object.
const KEYS: usize = 12;

/// A text between backticks, cut short, with characters that are not seen written out.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text, SHOWN))
}

/// A text with characters that are not seen written out, of which `most` are shown.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let mut shown = String::new();
    let mut chars = text.chars();
    for char in chars.by_ref().take(most) {
        match orders(char) {
            true => shown.extend(char.escape_default()),
            false => shown.push(char),
        }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a character orders a terminal about, or the direction of what is beside it.
fn orders(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// What a value is, in words.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.is_empty() => "an empty text".into(),
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::Array(all) if all.is_empty() => "an empty list".into(),
        Value::Array(all) => format!("a list of {}", all.len()),
        Value::Object(fields) if fields.is_empty() => "an empty object".into(),
        Value::Object(fields) => format!("an object with the keys {}", keys(fields)),
    }
}

/// The keys of an object.
pub(super) fn keys(fields: &Map<String, Value>) -> String {
    let shown: Vec<String> = fields.keys().take(KEYS).map(|key| quoted(key)).collect();
    let more = match fields.len().saturating_sub(KEYS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_shown_is_short_and_orders_nothing() {
        assert_eq!(quoted("a\u{1b}[31m\u{202e}b"), "`a\\u{1b}[31m\\u{202e}b`");
        assert_eq!(quoted(&"é".repeat(200)).chars().count(), SHOWN + 3);
        assert_eq!(found(&json!([1, 2])), "a list of 2");
        assert_eq!(found(&json!({"a": 1})), "an object with the keys `a`");
        let many: Map<String, Value> = (0..20).map(|key| (key.to_string(), json!(0))).collect();
        assert!(keys(&many).ends_with("and 8 more"));
    }
}
