//! What a body says, taken from it key by key. An error names the key at fault and says what is due there, in the
//! words of JSON.

use serde_json::{Map, Value};

use crate::error::ApiError;

/// What is read of an object.
pub(crate) trait FromFields: Sized {
    fn from_fields(fields: Fields) -> Result<Self, ApiError>;
}

/// What is read of a value, which stands at a place such as `messages[0].content`.
pub(crate) trait FromValue: Sized {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError>;
}

/// The keys of an object that were not taken yet.
pub(crate) struct Fields {
    map: Map<String, Value>,
    /// Where the object stands; nothing of the body itself.
    at: String,
    /// The keys that it may have.
    known: Vec<&'static str>,
}

impl Fields {
    pub(crate) fn new(map: Map<String, Value>) -> Self {
        Self::at(map, "")
    }

    fn at(map: Map<String, Value>, at: &str) -> Self {
        Self {
            map,
            at: at.into(),
            known: Vec::new(),
        }
    }

    /// The value of a key; none is as good as `null`.
    pub(crate) fn optional<T: FromValue>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<T>, ApiError> {
        self.known.push(key);
        match self.map.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::from_value(value, &self.place(key)).map(Some),
        }
    }

    /// The value of a key that must be there.
    pub(crate) fn required<T: FromValue>(&mut self, key: &'static str) -> Result<T, ApiError> {
        let value = self.optional(key)?;
        value.ok_or_else(|| {
            let place = self.place(key);
            ApiError::invalid(format!("`{place}` is missing")).with_param(&place)
        })
    }

    /// Refuses what was not taken: a key that is passed over would leave somebody with another answer than was
    /// asked for.
    pub(crate) fn end(self) -> Result<(), ApiError> {
        let Some(key) = self.map.keys().next() else {
            return Ok(());
        };
        let near = nearest(key, &self.known);
        let hint = near.map_or_else(
            || format!("there are {}", self.known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        let place = self.place(key);
        Err(
            ApiError::invalid(format!("`{}` is no key here; {hint}", short(&place)))
                .with_param(&place),
        )
    }

    /// The keys that were not taken, with what they say.
    pub(crate) fn rest(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.map.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The place of a key.
    pub(crate) fn place(&self, key: &str) -> String {
        match self.at.is_empty() {
            true => key.into(),
            false => format!("{}.{key}", self.at),
        }
    }
}

/// What other programs call a key.
const ALIASES: [(&str, &str); 6] = [
    ("max_new_tokens", "max_tokens"),
    ("max_length", "max_tokens"),
    ("num_beams", "beams"),
    ("num_return_sequences", "n"),
    ("stop_strings", "stop"),
    ("file", "image"),
];

/// The known key that was probably meant.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let alias = ALIASES.iter().find(|(other, _)| *other == key);
    let alias = alias.and_then(|(_, own)| known.iter().find(|known| *known == own));
    // Longer ones are no slips, and comparing them takes long.
    let slip = || {
        let near = known.iter().map(|known| (distance(key, known), known));
        let near = near.filter(|(distance, known)| *distance <= 1.max(known.len() / 4));
        near.min_by_key(|(distance, _)| *distance)
            .map(|(_, known)| known)
    };
    alias
        .or_else(|| (key.len() <= 32).then(slip).flatten())
        .copied()
}

/// How many letters have to be changed, added or left out to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, a) in one.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(other.chars()) {
            let changed = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The error of a value that is another one than is due.
pub(crate) fn wrong(at: &str, due: &str, value: &Value) -> ApiError {
    let found = match value {
        Value::Null => "null".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        Value::String(text) => format!("the text \"{}\"", short(text)),
        other => other.to_string(),
    };
    match at {
        "" => ApiError::invalid(format!("the body must be {due}, not {found}")),
        at => ApiError::invalid(format!("`{at}` must be {due}, not {found}")).with_param(at),
    }
}

/// The beginning of a text that may be long.
fn short(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        None => text.into(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

impl<T: FromFields> FromValue for T {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        match value {
            Value::Object(map) => T::from_fields(Fields::at(map, at)),
            other => Err(wrong(at, "an object", &other)),
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        let Value::Array(list) = value else {
            return Err(wrong(at, "a list", &value));
        };
        let each = list.into_iter().enumerate();
        each.map(|(place, value)| T::from_value(value, &format!("{at}[{place}]")))
            .collect()
    }
}

impl FromValue for Value {
    fn from_value(value: Value, _: &str) -> Result<Self, ApiError> {
        Ok(value)
    }
}

impl FromValue for String {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(wrong(at, "a text", &other)),
        }
    }
}

impl FromValue for bool {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        value
            .as_bool()
            .ok_or_else(|| wrong(at, "true or false", &value))
    }
}

impl FromValue for f64 {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        value.as_f64().ok_or_else(|| wrong(at, "a number", &value))
    }
}

impl FromValue for i64 {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        value
            .as_i64()
            .ok_or_else(|| wrong(at, "a whole number", &value))
    }
}

impl FromValue for usize {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        let count = value.as_u64().and_then(|count| count.try_into().ok());
        count.ok_or_else(|| wrong(at, "a whole number of 0 or above", &value))
    }
}

impl FromValue for u32 {
    fn from_value(value: Value, at: &str) -> Result<Self, ApiError> {
        let id = value.as_u64().and_then(|id| id.try_into().ok());
        id.ok_or_else(|| wrong(at, "a whole number of 0 or above", &value))
    }
}

/// Reads a word as one of a few.
pub(crate) fn one_of<T: Copy>(value: &Value, at: &str, words: &[(&str, T)]) -> Result<T, ApiError> {
    let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
    let found = found.map(|(_, meant)| *meant);
    found.ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        wrong(at, &format!("one of {}", words.join(", ")), value)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Asked {
        question: String,
        max_tokens: Option<usize>,
        stop: Option<Vec<String>>,
    }

    impl FromFields for Asked {
        fn from_fields(mut fields: Fields) -> Result<Self, ApiError> {
            let read = Self {
                question: fields.required("question")?,
                max_tokens: fields.optional("max_tokens")?,
                stop: fields.optional("stop")?,
            };
            fields.end()?;
            Ok(read)
        }
    }

    fn told(value: Value) -> (String, Value) {
        let Err(error) = Asked::from_value(value, "") else {
            panic!("it is read");
        };
        let reply = serde_json::to_value(error.reply()).unwrap();
        (error.message().into(), reply["error"]["param"].clone())
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        let value = json!({"question": "what?", "max_tokens": null, "stop": ["x"]});
        let read = Asked::from_value(value, "").ok().unwrap();
        assert_eq!((read.question.as_str(), read.max_tokens), ("what?", None));
        assert_eq!(read.stop, Some(vec!["x".to_string()]));
    }

    #[test]
    fn errors_name_the_key_and_say_what_is_due() {
        for (value, says, param) in [
            (
                json!([]),
                "the body must be an object, not a list",
                json!(null),
            ),
            (json!({}), "`question` is missing", json!("question")),
            (
                json!({"question": null}),
                "`question` is missing",
                json!("question"),
            ),
            (
                json!({"question": 5}),
                "`question` must be a text, not 5",
                json!("question"),
            ),
            (
                json!({"question": "x", "max_tokens": -1}),
                "`max_tokens` must be a whole number of 0 or above, not -1",
                json!("max_tokens"),
            ),
            (
                json!({"question": "x", "stop": ["a", {}]}),
                "`stop[1]` must be a text, not an object",
                json!("stop[1]"),
            ),
            (
                json!({"question": "x", "max_new_tokens": 1}),
                "`max_new_tokens` is no key here; did you mean `max_tokens`?",
                json!("max_new_tokens"),
            ),
            (
                json!({"question": "x", "max_tokns": 1}),
                "did you mean `max_tokens`?",
                json!("max_tokns"),
            ),
            (
                json!({"question": "x", "elephants": 1}),
                "there are question, max_tokens, stop",
                json!("elephants"),
            ),
        ] {
            let (text, found) = told(value.clone());
            assert!(text.contains(says), "{value}: {text}");
            assert_eq!(found, param, "{value}");
        }
    }

    #[test]
    fn words_are_as_far_apart_as_letters_differ() {
        for (one, other, far) in [
            ("", "abc", 3),
            ("top_p", "top_k", 1),
            ("seed", "sed", 1),
            ("a", "a", 0),
        ] {
            assert_eq!(distance(one, other), far, "{one} {other}");
            assert_eq!(distance(other, one), far, "{other} {one}");
        }
    }
}
