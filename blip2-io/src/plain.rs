//! What a JSON file gets wrong, in the words of who wrote it.
//!
//! serde speaks of types and items of Rust; whoever edits a configuration knows numbers, texts and lists.

/// What serde says of a JSON text, in plain words, with the place at the end, on one line: a value of the file
/// that is repeated must not look like a message of its own.
pub(crate) fn json(error: &serde_json::Error) -> String {
    let mut said = String::new();
    for char in error.to_string().chars() {
        match char.is_control() {
            true => said.extend(char.escape_default()),
            false => said.push(char),
        }
    }
    let (said, place) = match said.rfind(" at line ") {
        Some(at) => said.split_at(at),
        None => (said.as_str(), ""),
    };
    if said.starts_with("EOF") {
        let empty = error.line() <= 1 && error.column() == 0;
        return match empty {
            true => "the file is empty".into(),
            false => format!("the file ends early,{place}"),
        };
    }
    match place {
        "" => told(said),
        place => format!("{},{place}", told(said)),
    }
}

/// How serde's sentences begin that tell of one value.
const FAULTS: [&str; 4] = [
    "invalid type: ",
    "invalid value: ",
    "missing field ",
    "unknown variant ",
];

/// What serde says without its place: a sentence, before which the key stands of an object in another.
fn told(said: &str) -> String {
    let keyed = FAULTS.iter().find_map(|fault| {
        let (key, rest) = said.split_at(said.find(&format!(": {fault}"))?);
        // What stands in quotes is a value, whatever it looks like.
        let is_key = !key.contains(['"', '`']);
        is_key.then_some((key, rest.strip_prefix(": ")?))
    });
    match keyed {
        Some((key, rest)) => format!("{key}: {}", sentence(rest)),
        None => sentence(said),
    }
}

fn sentence(said: &str) -> String {
    let found = |kind: &str| said.strip_prefix(kind)?.split_once(", expected ");
    if let Some((found, due)) = found("invalid type: ").or_else(|| found("invalid value: ")) {
        return format!("{} stands where {} is due", value(found), wanted(due));
    }
    if let Some(rest) = said.strip_prefix("missing field ") {
        return format!("{rest} is missing");
    }
    if let Some((found, known)) = said
        .strip_prefix("unknown variant ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        let known = known.trim_start_matches("one of ");
        return format!("{found} is unknown; known are {known}");
    }
    if said.starts_with("data did not match any variant") {
        return "the value has none of the forms that are known here".into();
    }
    if let Some(rest) = said.strip_prefix("invalid length") {
        return format!(
            "the list has the wrong length{}",
            rest.replace(", expected ", ": due is ")
        );
    }
    let syntax = ["expected value", "expected ident", "key must be a string"];
    if syntax.contains(&said) {
        return format!("this is no JSON ({said})");
    }
    said.to_string()
}

/// What serde calls a value that it found.
fn value(found: &str) -> String {
    let of = |kind: &str, name: &str| Some(format!("{name}{}", found.strip_prefix(kind)?));
    of("string ", "the text ")
        .or_else(|| of("integer ", "the number "))
        .or_else(|| of("floating point ", "the number "))
        .or_else(|| of("boolean ", ""))
        .or_else(|| of("sequence", "a list"))
        .or_else(|| of("map", "an object"))
        .unwrap_or_else(|| found.to_string())
}

/// What serde calls a value that it expected.
fn wanted(due: &str) -> &str {
    const WHOLE: [&str; 10] = [
        "usize", "u64", "u32", "u16", "u8", "isize", "i64", "i32", "i16", "i8",
    ];
    match due {
        due if WHOLE.contains(&due) => "a whole number",
        "f64" | "f32" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        "a string" | "a borrowed string" | "string" => "a text",
        "a boolean" => "true or false",
        due if due.starts_with("struct ") || due.starts_with("internally tagged") => "an object",
        due => due,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, de::DeserializeOwned};

    use super::*;

    fn said<T: DeserializeOwned>(text: &str) -> String {
        json(&serde_json::from_str::<T>(text).err().expect("a fault"))
    }

    #[derive(Debug, Deserialize)]
    struct Raw {
        #[allow(dead_code)]
        size: usize,
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        #[allow(dead_code)]
        One(u32),
    }

    #[test]
    fn faults_are_told_without_types() {
        let place = ", at line 1 column ";
        for (said, due) in [
            (said::<Raw>("{}"), "`size` is missing"),
            (
                said::<Raw>(r#"{"size": null}"#),
                "null stands where a whole number is due",
            ),
            (
                said::<Raw>(r#"{"size": -1}"#),
                "the number `-1` stands where a whole number is due",
            ),
            (
                said::<Raw>(r#"{"size": "a"}"#),
                "the text \"a\" stands where a whole number is due",
            ),
            (
                said::<Raw>("5"),
                "the number `5` stands where an object is due",
            ),
            (
                said::<Vec<u8>>("{}"),
                "an object stands where a list is due",
            ),
            (
                said::<BTreeMap<String, u8>>("[]"),
                "a list stands where an object is due",
            ),
            (said::<f64>("true"), "`true` stands where a number is due"),
            (
                said::<(u8, u8)>("[1]"),
                "the list has the wrong length 1: due is a tuple of size 2",
            ),
            (said::<Raw>("<html>"), "this is no JSON (expected value)"),
        ] {
            assert!(said.starts_with(&format!("{due}{place}")), "{said}");
        }
        assert_eq!(
            said::<OneOrMany>("[]"),
            "the value has none of the forms that are known here"
        );
        assert_eq!(said::<Raw>(""), "the file is empty");
        let nested = format!("\"{}\"", ": missing field ".repeat(100_000));
        let deep = said::<Raw>(&format!(r#"{{"size": {nested}}}"#));
        assert!(
            deep.starts_with("the text \": missing field"),
            "{:.80}",
            deep
        );
        let forged = said::<Raw>(r#"{"size": "\nall is well"}"#);
        assert!(!forged.contains('\n'), "{forged}");
        let cut = said::<Raw>("{\"size\":");
        assert!(cut.starts_with("the file ends early, at line 1"), "{cut}");
    }
}
