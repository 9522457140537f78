//! The values of a record, each of the kind that is due, or a sentence that says what is wrong.

use serde_json::{Map, Value};

use super::quote::{found, keys, quoted};

/// A record: an object of JSON, a row of a table.
pub(super) type Fields = Map<String, Value>;

/// A value that is there, and not null.
pub(super) fn get<'f>(fields: &'f Fields, key: &str) -> Option<&'f Value> {
    fields.get(key).filter(|value| !value.is_null())
}

/// The first of several keys that is there.
pub(super) fn first<'f, 'k>(
    fields: &'f Fields,
    wanted: impl IntoIterator<Item = &'k str>,
) -> Option<(&'k str, &'f Value)> {
    let mut wanted = wanted.into_iter();
    wanted.find_map(|key| Some((key, get(fields, key)?)))
}

/// A value that a record must have.
pub(super) fn needed<'f>(fields: &'f Fields, key: &str) -> Result<&'f Value, String> {
    get(fields, key).ok_or_else(|| lacks(fields, &quoted(key)))
}

/// What is said where a key is missing.
pub(super) fn lacks(fields: &Fields, what: &str) -> String {
    match fields.is_empty() {
        true => format!("it has no {what}: it is empty"),
        false => format!("it has no {what}; its keys are {}", keys(fields)),
    }
}

/// The object that a record is.
pub(super) fn object(value: Value) -> Result<Fields, String> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(format!("it is {}, where an object is due", found(&other))),
    }
}

/// One text; a number is the text that writes it.
pub(super) fn text(key: &str, value: &Value) -> Result<String, String> {
    single(value).ok_or_else(|| unfit(key, value, "a text or a number"))
}

/// A text that a record must have.
pub(super) fn needed_text(fields: &Fields, key: &str) -> Result<String, String> {
    text(key, needed(fields, key)?)
}

/// Where an object has its text.
const TEXT_KEYS: [&str; 4] = ["answer", "raw", "caption", "text"];

/// One text or several: a list's members may be objects that hold the text by a usual name, as the
/// answers of VQA and the sentences of COCO do.
pub(super) fn texts(key: &str, value: &Value) -> Result<Vec<String>, String> {
    // Lists in an object, as `datasets` writes a sequence of objects: `{"answer": ["red", "dark red"]}`.
    let held = value
        .as_object()
        .and_then(|fields| first(fields, TEXT_KEYS));
    let value = held.map_or(value, |(_, held)| held);
    let Value::Array(all) = value else {
        let one = single(value).map(|one| vec![one]);
        return one.ok_or_else(|| unfit(key, value, "a text, a number or a list of them"));
    };
    let member = |(place, member): (usize, &Value)| {
        let named = member
            .as_object()
            .and_then(|fields| first(fields, TEXT_KEYS));
        let text = single(named.map_or(member, |(_, text)| text));
        text.ok_or_else(|| {
            let key = format!("{key}[{place}]");
            unfit(&key, member, "a text, a number or an object with `answer`")
        })
    };
    all.iter().enumerate().map(member).collect()
}

/// A whole number from 0 on, or the text that writes it.
pub(super) fn whole(key: &str, value: &Value) -> Result<u64, String> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    };
    number.ok_or_else(|| unfit(key, value, "a whole number from 0 on"))
}

/// What is said of a value that does not fit.
pub(super) fn unfit(key: &str, value: &Value, due: &str) -> String {
    format!("{} is {}, where {due} would fit", quoted(key), found(value))
}

fn single(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.to_string(),
            (_, Some(number)) => number.to_string(),
            // As it would be written by hand: without a fraction that is none.
            _ => number.as_f64()?.to_string(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_text_and_several_are_read() {
        let read = |value| texts("answers", &value);
        assert_eq!(read(json!("red")).unwrap(), ["red"]);
        assert_eq!(read(json!(2.0)).unwrap(), ["2"]);
        assert_eq!(
            read(json!(["a", 7, {"answer": "b"}, {"raw": "c"}])).unwrap(),
            ["a", "7", "b", "c"]
        );
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_would() {
        let said = texts("answers", &json!(["a", [1]])).unwrap_err();
        assert_eq!(
            said,
            "`answers[1]` is a list of 1, where a text, a number or an object with `answer` would fit"
        );
        let said = text("question", &json!(true)).unwrap_err();
        assert_eq!(
            said,
            "`question` is true, where a text or a number would fit"
        );
        let said = whole("image_id", &json!(-2)).unwrap_err();
        assert_eq!(
            said,
            "`image_id` is the number -2, where a whole number from 0 on would fit"
        );
        let fields = object(json!({"q": 1})).unwrap();
        let said = needed(&fields, "question").unwrap_err();
        assert_eq!(said, "it has no `question`; its keys are `q`");
    }
}
