//! The right one of given choices.

use std::path::Path;

use serde_json::Value;

use super::{
    fields::{text, texts},
    quote::{found, quoted},
};

/// A-OKVQA's key for the place of the right choice, where others have an answer.
pub(super) const RIGHT_CHOICE: &str = "correct_choice_idx";

/// The right choice of a record.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Its words; where they are in doubt, those that are said.
    pub(super) answers: Vec<String>,
    /// How it was told.
    pub(super) told: Told,
}

/// How a right choice was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// Not at all, or so that nothing else can be meant.
    #[default]
    Plainly,
    /// By its words.
    Words,
    /// By its place.
    Place,
    /// By what is both a place and the words of another choice.
    Either(Doubt),
}

/// What is both a place and the words of another choice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    key: String,
    words: String,
    /// The choice of that place.
    pub(super) at_place: String,
}

impl Doubt {
    /// Why a record cannot be used if the others do not tell what is meant.
    pub(super) fn reason(&self) -> String {
        format!(
            "its {} is {1}, which is one of its choices, and as a place, counted from 0, another one ({2}): \
             give a place by the key `{RIGHT_CHOICE}`, or the words in a list, `[\"…\"]`",
            quoted(&self.key),
            quoted(&self.words),
            quoted(&self.at_place),
        )
    }
}

/// In which way a data set tells right choices, as far as its records say.
#[derive(Debug, Default)]
pub(super) struct Telling {
    pub(super) by_words: bool,
    pub(super) by_place: bool,
}

/// A way in which right choices are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Words,
    Places,
}

impl Telling {
    /// Learns from a record.
    pub(super) fn note(&mut self, told: &Told) {
        self.by_words |= *told == Told::Words;
        self.by_place |= *told == Told::Place;
    }

    /// The only way in which choices are told, if there is one.
    pub(super) fn way(&self) -> Option<Way> {
        match (self.by_words, self.by_place) {
            (true, false) => Some(Way::Words),
            (false, true) => Some(Way::Places),
            _ => None,
        }
    }
}

/// The right choice: its words, its place, counted from 0, or its letter. IconQA and A-OKVQA tell its
/// place, which is no one's words then (`is_place`). Several answers are taken as they are.
pub(super) fn chosen(
    choices: &[String],
    right: Option<(&str, &Value)>,
    is_place: bool,
) -> Result<Chosen, String> {
    if let Some(picture) = choices.iter().find(|choice| is_picture(choice)) {
        return Err(format!(
            "its choices are pictures ({}), which cannot be written as an answer",
            quoted(picture)
        ));
    }
    let Some((key, right)) = right else {
        return Ok(Chosen::default());
    };
    if right.is_array() {
        return Ok(Chosen {
            answers: texts(key, right)?,
            told: Told::Plainly,
        });
    }
    let said = text(key, right).unwrap_or_default();
    let at_place = place(said.trim()).and_then(|place| choices.get(place));
    let words = choices.iter().find(|own| **own == said);
    let (one, told) = match (words, at_place) {
        (_, Some(at_place)) if is_place => (at_place, Told::Plainly),
        (Some(words), Some(at_place)) if words == at_place => (words, Told::Plainly),
        (Some(words), Some(at_place)) => {
            let doubt = Doubt {
                key: key.into(),
                words: words.clone(),
                at_place: at_place.clone(),
            };
            (words, Told::Either(doubt))
        }
        (Some(words), None) => (words, Told::Words),
        (None, Some(at_place)) => (at_place, Told::Place),
        (None, None) => return Err(none(choices, key, right)),
    };
    Ok(Chosen {
        answers: vec![one.clone()],
        told,
    })
}

fn none(choices: &[String], key: &str, right: &Value) -> String {
    // A list that is written as a text is told as that.
    texts(key, right).err().unwrap_or_else(|| {
        format!(
            "its {} is {}, which is none of its {} choices, counted from 0",
            quoted(key),
            found(right),
            choices.len()
        )
    })
}

/// The place that a number or a capital letter says.
fn place(text: &str) -> Option<usize> {
    if let [letter @ b'A'..=b'Z'] = text.as_bytes() {
        return Some(usize::from(letter - b'A'));
    }
    // Tables write whole numbers with a fraction where a number is missing: `1.0`.
    let whole = text.strip_suffix(".0").unwrap_or(text);
    whole.parse().ok()
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

    fn three() -> [String; 3] {
        ["cat".to_string(), "dog".into(), "B".into()]
    }

    #[test]
    fn a_place_a_letter_or_the_words_say_the_choice() {
        let choices = three();
        let right = |value: Value| chosen(&choices[..2], Some(("answer", &value)), false);
        for (value, told) in [
            (json!(1), Told::Place),
            (json!(1.0), Told::Place),
            (json!("1.0"), Told::Place),
            (json!("B"), Told::Place),
            (json!("dog"), Told::Words),
            (json!(["dog"]), Told::Plainly),
        ] {
            let found = right(value).unwrap();
            assert_eq!((found.answers, found.told), (vec!["dog".to_string()], told));
        }
        for value in [json!(2), json!(-1), json!("C"), json!(1.5), json!("")] {
            assert!(right(value).unwrap_err().contains("none of its 2 choices"));
        }
        let error = right(json!("['dog']")).unwrap_err();
        assert!(error.contains("as Python writes it"), "{error}");
    }

    #[test]
    fn what_is_a_place_and_another_s_words_is_in_doubt() {
        let [numbers, letters, turned] =
            [["1", "2", "3"], ["B", "C", "A"], ["0", "1", "2"]].map(|all| all.map(String::from));
        for value in [json!(1), json!("1")] {
            let found = chosen(&numbers, Some(("answer", &value)), false).unwrap();
            let Told::Either(doubt) = found.told else {
                panic!("{:?}", found.told);
            };
            assert_eq!((&*found.answers[0], &*doubt.at_place), ("1", "2"));
            assert!(
                doubt.reason().contains("correct_choice_idx"),
                "{}",
                doubt.reason()
            );
            let found = chosen(&numbers, Some(("correct_choice_idx", &value)), true).unwrap();
            assert_eq!((&*found.answers[0], found.told), ("2", Told::Plainly));
            // A place that has those very words leaves no doubt.
            let found = chosen(&turned, Some(("answer", &value)), false).unwrap();
            assert_eq!((&*found.answers[0], found.told), ("1", Told::Plainly));
        }
        let found = chosen(&letters, Some(("answer", &json!("B"))), false).unwrap();
        assert!(matches!(found.told, Told::Either(_)));
        // No place, and so the words: of a number as of a text.
        for value in [json!(3), json!("3")] {
            let found = chosen(&numbers, Some(("answer", &value)), false).unwrap();
            assert_eq!((&*found.answers[0], found.told), ("3", Told::Words));
        }
    }

    #[test]
    fn one_way_of_telling_is_that_of_all() {
        let way = |by_words, by_place| Telling { by_words, by_place }.way();
        assert_eq!(way(true, false), Some(Way::Words));
        assert_eq!(way(false, true), Some(Way::Places));
        assert_eq!((way(false, false), way(true, true)), (None, None));
    }
}
