//! Files of JSON, record by record: a whole file of them is never held as values.

use std::{fmt, path::Path};

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, error::Category};

use super::{
    DatasetError,
    fields::Fields,
    quote::{found, quoted, shortened},
    read,
};

/// The most bytes of one line: a record is a few texts.
const MAX_LINE: usize = 16 << 20;

/// Whether the text is a list, and not a record a line.
pub(super) fn is_list(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    bytes.find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

/// Whether an object is written over several lines, so that no line of the file is a record.
pub(super) fn is_spread(text: &[u8]) -> bool {
    let Some(rest) = text.trim_ascii_start().strip_prefix(b"{") else {
        return false;
    };
    let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.len() < rest.len() && line.trim_ascii().is_empty()
}

/// Whether lines end with carriage returns alone, so that all of them would be read as one.
pub(super) fn is_of_returns(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    !is_list(text) && text.contains(&b'\r') && !text.contains(&b'\n')
}

/// Hands out the object of each line, by the line's number from 1 on; empty lines are passed over.
pub(super) fn lines(text: &[u8], mut each: impl FnMut(String, Result<Fields, String>)) {
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        // Files that were joined may each have had one.
        let line = read::without_mark(line);
        each(format!("line {}", number + 1), line_object(line));
    }
}

fn line_object(line: &[u8]) -> Result<Fields, String> {
    if line.len() > MAX_LINE {
        return Err(format!(
            "it has {} MB, and a record has no more than {}: is there a record a line?",
            line.len() >> 20,
            MAX_LINE >> 20
        ));
    }
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| format!("it is no JSON{}", fault(line, &error, false)))?;
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(format!(
            "it is {}, where an object `{{…}}` is due",
            found(&other)
        )),
    }
}

/// Hands out each member of the list that the file is, by its place from 0 on.
pub(super) fn list(
    path: &Path,
    text: &[u8],
    mut each: impl FnMut(usize, Value),
) -> Result<(), DatasetError> {
    if !is_list(text) {
        let due = format!(
            "a list `[…]` of records is due, and the file is {}",
            begins(text)
        );
        return Err(DatasetError::format(path, due));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Members(&mut each)
        .deserialize(&mut reader)
        .and_then(|()| reader.end());
    read.map_err(|error| broken(path, text, &error))
}

/// Hands out each member of the lists that an object has by these keys, all of which it must have. Other
/// keys with a text are handed to `other`.
pub(super) fn lists(
    path: &Path,
    text: &[u8],
    keys: &[&str],
    each: impl FnMut(&str, usize, Value),
    other: impl FnMut(&str, &str),
) -> Result<(), DatasetError> {
    lists_or_more(path, text, (keys, &[]), each, other)
}

/// As [`lists`], of an object that may have the lists of other keys too.
pub(super) fn lists_or_more(
    path: &Path,
    text: &[u8],
    (keys, more): (&[&str], &[&str]),
    mut each: impl FnMut(&str, usize, Value),
    mut other: impl FnMut(&str, &str),
) -> Result<(), DatasetError> {
    object_is_due(path, text, keys)?;
    let all: Vec<&str> = keys.iter().chain(more).copied().collect();
    let mut seen = Vec::new();
    let mut reading = None;
    let visitor = Lists {
        keys: &all,
        seen: &mut seen,
        reading: &mut reading,
        each: &mut each,
        other: &mut other,
    };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = reader.deserialize_map(visitor).and_then(|()| reader.end());
    if let Err(error) = read {
        return Err(match (error.classify(), reading) {
            (Category::Data, Some(key)) => {
                let reason = format!("{} is no list `[…]` of records", quoted(&key));
                DatasetError::format(path, reason)
            }
            _ => broken(path, text, &error),
        });
    }
    match keys
        .iter()
        .find(|key| !seen.iter().any(|seen| seen == **key))
    {
        None => Ok(()),
        Some(missing) => {
            let reason = format!("it has no list {}", quoted(missing));
            Err(DatasetError::format(path, reason))
        }
    }
}

/// Hands out each value of the object that the file is, by its key.
pub(super) fn entries(
    path: &Path,
    text: &[u8],
    mut each: impl FnMut(String, Value),
) -> Result<(), DatasetError> {
    object_is_due(path, text, &[])?;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = reader
        .deserialize_map(Entries(&mut each))
        .and_then(|()| reader.end());
    read.map_err(|error| broken(path, text, &error))
}

/// The object that a small file is.
pub(super) fn object(path: &Path) -> Result<Fields, String> {
    let text = read::text(path).map_err(|error| error.to_string())?;
    line_object(&text)
}

/// The object that some bytes are.
pub(super) fn object_of(text: &[u8]) -> Result<Fields, String> {
    line_object(text)
}

fn object_is_due(path: &Path, text: &[u8], keys: &[&str]) -> Result<(), DatasetError> {
    let mut bytes = text.iter();
    if bytes.find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        return Ok(());
    }
    let with = match keys {
        [] => String::new(),
        keys => {
            let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
            format!(" with {}", keys.join(" and "))
        }
    };
    let due = format!(
        "an object `{{…}}`{with} is due, and the file is {}",
        begins(text)
    );
    Err(DatasetError::format(path, due))
}

/// How a file begins that is not what is due.
fn begins(text: &[u8]) -> String {
    let start = text.trim_ascii_start();
    match start.first() {
        None => "empty".into(),
        Some(b'[') => "a list".into(),
        Some(b'{') => "an object, or one a line".into(),
        Some(_) => {
            let start = &start[..start.len().min(200)];
            format!(
                "no JSON: it begins with `{}`",
                shortened(&String::from_utf8_lossy(start), 40)
            )
        }
    }
}

/// A file that is no JSON.
fn broken(path: &Path, text: &[u8], error: &serde_json::Error) -> DatasetError {
    DatasetError::format(path, format!("it is no JSON{}", fault(text, error, true)))
}

/// Where some text is no JSON, and what stands there.
fn fault(text: &[u8], error: &serde_json::Error, with_line: bool) -> String {
    if error.classify() == Category::Eof {
        return ": it ends too early, as if it were cut off".into();
    }
    if error.to_string().starts_with("recursion") {
        return format!(" that is read: line {} is nested too deeply", error.line());
    }
    let line = text
        .split(|&byte| byte == b'\n')
        .nth(error.line().saturating_sub(1));
    let line = line.unwrap_or_default();
    let column = error.column().saturating_sub(1).min(line.len());
    let rest = &line[column..line.len().min(column + 120)];
    let from = match with_line {
        true => format!(" from line {}, column {} on", error.line(), column + 1),
        false => format!(" from column {} on", column + 1),
    };
    let there = match rest.is_empty() {
        true => String::new(),
        false => format!(
            ", which is `{}`",
            shortened(&String::from_utf8_lossy(rest), 30)
        ),
    };
    let hint = match line.get(column) {
        Some(b'\'') => ": JSON has texts between double quotes",
        Some(b'N' | b'T' | b'F') => ": JSON writes null, true and false, and has no NaN",
        Some(byte) if !byte.is_ascii() => ": is it UTF-8?",
        _ => "",
    };
    format!("{from}{there}{hint}")
}

/// The members of a list.
struct Members<'e, F>(&'e mut F);

impl<'de, F: FnMut(usize, Value)> DeserializeSeed<'de> for Members<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(usize, Value)> Visitor<'de> for Members<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut place = 0;
        while let Some(member) = members.next_element()? {
            (self.0)(place, member);
            place += 1;
        }
        Ok(())
    }
}

/// The lists of an object.
struct Lists<'l, F, G> {
    keys: &'l [&'l str],
    seen: &'l mut Vec<String>,
    /// The list that is being read, for whoever tells of an error.
    reading: &'l mut Option<String>,
    each: &'l mut F,
    other: &'l mut G,
}

impl<'de, F, G> Visitor<'de> for Lists<'_, F, G>
where
    F: FnMut(&str, usize, Value),
    G: FnMut(&str, &str),
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(key) = entries.next_key::<String>()? {
            if self.keys.contains(&key.as_str()) {
                *self.reading = Some(key.clone());
                let each = &mut *self.each;
                let mut member = |place, value| each(&key, place, value);
                entries.next_value_seed(Members(&mut member))?;
                *self.reading = None;
                self.seen.push(key);
            } else if key.starts_with("data_") {
                if let Value::String(text) = entries.next_value()? {
                    (self.other)(&key, &text);
                }
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The values of an object.
struct Entries<'e, F>(&'e mut F);

impl<'de, F: FnMut(String, Value)> Visitor<'de> for Entries<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some((key, value)) = entries.next_entry()? {
            (self.0)(key, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_told_without_its_reader_s_words() {
        for (line, said) in [
            (
                "{'question': 1}",
                "column 2 on, which is `'question': 1}`: JSON has texts between double quotes",
            ),
            (
                "{\"a\": NaN}",
                "column 7 on, which is `NaN}`: JSON writes null",
            ),
            ("{\"a\": 1", "it ends too early"),
            ("[1]", "it is a list of 1, where an object `{…}` is due"),
        ] {
            let found = line_object(line.as_bytes()).unwrap_err();
            assert!(found.contains(said), "{line}: {found}");
        }
    }

    #[test]
    fn the_lists_of_an_object_are_handed_out() {
        let (mut found, mut subtype) = (Vec::new(), String::new());
        let read = |text: &str, found: &mut Vec<String>, subtype: &mut String| {
            lists(
                Path::new("f.json"),
                text.as_bytes(),
                &["a", "b"],
                |key, place, value| found.push(format!("{key}{place}={value}")),
                |_, text| *subtype = text.into(),
            )
        };
        let text = r#"{"info": {"x": [1]}, "b": [1, 2], "data_subtype": "val", "a": ["x"]}"#;
        read(text, &mut found, &mut subtype).unwrap();
        assert_eq!(
            (found.join(" "), subtype.as_str()),
            ("b0=1 b1=2 a0=\"x\"".into(), "val")
        );
        for (text, said) in [
            (r#"{"a": []}"#, "it has no list `b`"),
            (r#"{"a": 7, "b": []}"#, "`a` is no list"),
            (
                r#"{"a": [1, "b": []}"#,
                "it is no JSON from line 1, column 14 on",
            ),
            (
                "[]",
                "an object `{…}` with `a` and `b` is due, and the file is a list",
            ),
        ] {
            let error = read(text, &mut Vec::new(), &mut String::new())
                .unwrap_err()
                .to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
