//! The right one of given choices.

use std::path::Path;

use serde_json::Value;

use super::{
    fields::texts,
    quote::{found, quoted},
};

/// The words of the right choice: IconQA and A-OKVQA tell its place, counted from 0; others its letter.
/// An answer that is one of the choices is taken as it is, and so are several answers.
pub(super) fn chosen(
    choices: &[String],
    right: Option<(&str, &Value)>,
) -> Result<Vec<String>, String> {
    if let Some(picture) = choices.iter().find(|choice| is_picture(choice)) {
        return Err(format!(
            "its choices are pictures ({}), which cannot be written as an answer",
            quoted(picture)
        ));
    }
    let Some((key, right)) = right else {
        return Ok(Vec::new());
    };
    if right.is_array() {
        return texts(key, right);
    }
    let place = match right {
        Value::String(text) if choices.contains(text) => return Ok(vec![text.clone()]),
        Value::String(text) => place(text.trim()),
        other => other.as_u64().and_then(|place| usize::try_from(place).ok()),
    };
    match place.and_then(|place| choices.get(place)) {
        Some(words) => Ok(vec![words.clone()]),
        None => Err(format!(
            "its {} is {}, which is none of its {} choices, counted from 0",
            quoted(key),
            found(right),
            choices.len()
        )),
    }
}

/// The place that a number or a capital letter says.
fn place(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
        _ => text.parse().ok(),
    }
}

/// Whether a choice is the name of a picture's file.
fn is_picture(choice: &str) -> bool {
    let ending = Path::new(choice)
        .extension()
        .map(|ending| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ending == "png" || ending == "jpg" || ending == "jpeg")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_a_letter_or_the_words_say_the_choice() {
        let choices = ["cat".to_string(), "dog".into(), "B".into()];
        let right = |value: Value| chosen(&choices[..2], Some(("answer", &value)));
        for value in [json!(1), json!("1"), json!("B"), json!("dog")] {
            assert_eq!(right(value).unwrap(), ["dog"]);
        }
        assert_eq!(
            chosen(&choices, Some(("answer", &json!("B")))).unwrap(),
            ["B"]
        );
        for value in [json!(2), json!(-1), json!("C"), json!(1.5)] {
            assert!(right(value).unwrap_err().contains("none of its 2 choices"));
        }
    }
}
