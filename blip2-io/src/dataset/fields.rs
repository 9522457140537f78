//! The values of a record, each of the kind that is due, or a sentence that says what is wrong.

use serde_json::{Map, Value};

use super::quote::{found, keys, quoted};

/// A record: an object of JSON, a row of a table.
pub(super) type Fields = Map<String, Value>;

/// A value that is there, and not null.
pub(super) fn get<'f>(fields: &'f Fields, key: &str) -> Option<&'f Value> {
    fields.get(key).filter(|value| !value.is_null())
}

/// The value of a named column, not null: of that key, or, where a name has dots, within objects.
pub(super) fn named<'f>(fields: &'f Fields, name: &str) -> Option<&'f Value> {
    found_at(fields, name).filter(|value| !value.is_null())
}

/// Whether there is a named column, be it null.
pub(super) fn has(fields: &Fields, name: &str) -> bool {
    found_at(fields, name).is_some()
}

fn found_at<'f>(fields: &'f Fields, name: &str) -> Option<&'f Value> {
    fields.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        found_at(fields.get(first)?.as_object()?, rest)
    })
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
    is_whole(key, value)?;
    single(value).ok_or_else(|| unfit(key, value, "a text or a number"))
}

/// A text that a record must have.
pub(super) fn needed_text(fields: &Fields, key: &str) -> Result<String, String> {
    text(key, needed(fields, key)?)
}

/// Where an object has its text.
pub(super) const TEXT_KEYS: [&str; 4] = ["answer", "raw", "caption", "text"];

/// One text or several: a list's members may be objects that hold the text by a usual name, as the
/// answers of VQA and the sentences of COCO do.
pub(super) fn texts(key: &str, value: &Value) -> Result<Vec<String>, String> {
    // Lists in an object, as `datasets` writes a sequence of objects: `{"answer": ["red", "dark red"]}`.
    let held = value
        .as_object()
        .and_then(|fields| first(fields, TEXT_KEYS));
    let value = held.map_or(value, |(_, held)| held);
    let Value::Array(all) = value else {
        if let Some(reason) = value.as_str().and_then(|text| written_list(key, text)) {
            return Err(reason);
        }
        is_whole(key, value)?;
        let one = single(value).map(|one| vec![one]);
        return one.ok_or_else(|| unfit(key, value, "a text, a number or a list of them"));
    };
    let member = |(place, member): (usize, &Value)| {
        let named = member
            .as_object()
            .and_then(|fields| first(fields, TEXT_KEYS));
        let key = format!("{key}[{place}]");
        let own = named.map_or(member, |(_, text)| text);
        is_whole(&key, own)?;
        single(own)
            .ok_or_else(|| unfit(&key, member, "a text, a number or an object with `answer`"))
    };
    all.iter().enumerate().map(member).collect()
}

/// What is said of a text that is a list, as pandas writes one into the cell of a table: it would be
/// learnt with its brackets.
fn written_list(key: &str, text: &str) -> Option<String> {
    let text = text.trim();
    let within = |open, close| text.strip_prefix(open)?.strip_suffix(close).map(str::trim);
    let is_json = || serde_json::from_str::<Value>(text).is_ok();
    let begins = |own: &str, with: &[&str]| with.iter().any(|start| own.starts_with(start));
    let is_list = within('[', ']').is_some_and(|own| {
        // One number in brackets may be what is to be read in a picture.
        let is_of_numbers = own.contains([',', ' ', '.'])
            && own.chars().any(|char| char.is_ascii_digit())
            && own.chars().all(|char| " \n0123456789.,+-e".contains(char));
        is_of_numbers
            || begins(own, &["'", "\"", "{", "[", "None", "nan", "True", "False"])
            || (is_json() && (own.is_empty() || own.contains(',')))
    });
    // Words may be quoted in brackets: of a tuple there is a comma behind them.
    let is_tuple = within('(', ')').is_some_and(|own| {
        let parts = ["',", "\",", "' ,", "\" ,"];
        begins(own, &["'", "\""]) && parts.iter().any(|part| own.contains(part))
    });
    let is_object = within('{', '}').is_some_and(|own| begins(own, &["'", "\""]));
    if !(is_list || is_tuple || is_object) {
        return None;
    }
    let what = match (is_json(), is_object) {
        (true, false) => "a list that is written as a text: give the list itself",
        (true, true) => "an object that is written as a text: give what it says",
        (false, _) => {
            "a list as Python writes it, and no JSON: write `[\"a\", \"b\"]` (`json.dumps` does in Python)"
        }
    };
    Some(format!(
        "{} is {}, {what}",
        quoted(key),
        found(&Value::String(text.into()))
    ))
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

/// From here on not every whole number has a number of its own in 64 bits with a fraction.
const ROUNDED: f64 = (1_u64 << 53) as f64;

/// Refuses a number whose digits were lost when it was read, and would be learnt, or written as an id, as
/// others than they are.
fn is_whole(key: &str, value: &Value) -> Result<(), String> {
    let number = match value {
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or(0.0),
        _ => return Ok(()),
    };
    match number.abs() >= ROUNDED {
        false => Ok(()),
        true => Err(format!(
            "{} is a number whose last digits are not kept, near {number:e}: write it as a text, between \
             double quotes",
            quoted(key)
        )),
    }
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
    fn numbers_keep_their_digits_or_are_refused() {
        let read = |written: &str| texts("answer", &serde_json::from_str(written).unwrap());
        for kept in [
            "9007199254740993",
            "18446744073709551615",
            "-9007199254740993",
            "0.5",
        ] {
            assert_eq!(read(kept).unwrap(), [kept]);
        }
        for lost in [
            "12345678901234567890123",
            "[1, 18446744073709551617]",
            "1e300",
        ] {
            let error = read(lost).unwrap_err();
            assert!(error.contains("write it as a text"), "{lost}: {error}");
        }
    }

    #[test]
    fn lists_that_are_written_as_texts_are_refused() {
        for (text, said) in [
            ("['a', 'b']", "as Python writes it"),
            ("['a' 'b']", "as Python writes it"),
            ("['a'\n 'b']", "as Python writes it"),
            (" [\"it's\", 'b'] ", "as Python writes it"),
            ("[None, 'a']", "as Python writes it"),
            ("[nan]", "as Python writes it"),
            ("[1 2 3]", "as Python writes it"),
            ("('a', 'b')", "as Python writes it"),
            ("('a',)", "as Python writes it"),
            ("{'a', 'b'}", "as Python writes it"),
            ("[{'answer': 'a'}]", "as Python writes it"),
            ("[\"a\", \"b\"]", "give the list itself"),
            ("[1, 2]", "give the list itself"),
            ("[]", "give the list itself"),
            ("{\"answer\": \"a\"}", "give what it says"),
        ] {
            let error = texts("answers", &json!(text)).unwrap_err();
            assert!(
                error.starts_with("`answers` is the text") && error.contains(said),
                "{error}"
            );
        }
        for text in [
            "[laughter] a dog",
            "[unclear]",
            "[…]",
            "[...]",
            "a dog (\"Rex\")",
            "(\"Rex\") is a dog",
            "('tis a dog)",
            "it says ['a', 'b']",
            "{a, b}",
            "'a', 'b'",
            "f(x)",
            "[10]",
            "(\"STOP\")",
            "('Rex' and 'Max')",
        ] {
            assert_eq!(texts("caption", &json!(text)).unwrap(), [text]);
        }
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
