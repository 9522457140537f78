//! Captions of easy-VQA's pictures, from what its questions tell; and how many are answered rightly.

use std::{collections::BTreeMap, error::Error};

use blip2_core::{Blip2Pipeline, GenerationConfig, Options};
use blip2_io::dataset::Dataset;

const SHAPES: [&str; 3] = ["circle", "rectangle", "triangle"];
const COLORS: [&str; 8] = [
    "black", "blue", "brown", "gray", "green", "red", "teal", "yellow",
];

fn one_of<'w>(words: &[&'w str], text: &str) -> Option<&'w str> {
    let mut parts = text.split(|c: char| !c.is_alphabetic());
    parts.find_map(|part| words.iter().copied().find(|word| *word == part))
}

/// Whether a question says what it asks about: "is there a circle?", yes; "is there not a circle?",
/// no.
fn affirmed(question: &str, answer: &str) -> bool {
    let denied = question.split(' ').any(|word| matches!(word, "not" | "no"));
    matches!((answer, denied), ("yes", false) | ("no", true))
}

/// For each picture of which the questions tell both, a caption such as "a red circle".
pub(crate) fn captioned(data: &Dataset) -> Result<Dataset, Box<dyn Error>> {
    let mut known = vec![(None, None); data.pictures().len()];
    for example in data.examples() {
        let question = example.question.as_deref().unwrap_or_default();
        for answer in &example.answers {
            let (shape, color) = match affirmed(question, answer) {
                true => (one_of(&SHAPES, question), one_of(&COLORS, question)),
                false => (one_of(&SHAPES, answer), one_of(&COLORS, answer)),
            };
            let own = &mut known[example.picture];
            own.0 = own.0.or(shape);
            own.1 = own.1.or(color);
        }
    }
    let captions = known
        .into_iter()
        .enumerate()
        .filter_map(|(picture, known)| {
            let (shape, color) = (known.0?, known.1?);
            Some((picture, None, vec![format!("a {color} {shape}")]))
        });
    Ok(Dataset::new(data.pictures().to_vec(), captions)?)
}

/// Rightly answered questions and all of them, for each kind of answer and together.
pub(crate) fn right_answers(
    blip2: &Blip2Pipeline,
    test: &Dataset,
) -> Result<BTreeMap<&'static str, [usize; 2]>, Box<dyn Error>> {
    let options =
        Options::default().with_generation(GenerationConfig::default().with_max_new_tokens(6));
    let pictures = test
        .pictures()
        .iter()
        .map(|picture| picture.open(&Default::default()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut kinds = BTreeMap::new();
    for part in test.examples().chunks(64) {
        let pairs = part.iter().map(|example| {
            let question = example.question.as_deref().unwrap_or_default();
            (&pictures[example.picture], question)
        });
        for (answer, example) in blip2.answer_batch(pairs, &options)?.iter().zip(part) {
            let right = &example.answers[0];
            let kind = match right.as_str() {
                "yes" | "no" => "yes/no",
                shape if SHAPES.contains(&shape) => "shapes",
                _ => "colors",
            };
            for kind in [kind, "all"] {
                let count = kinds.entry(kind).or_insert([0, 0]);
                count[0] += usize::from(answer.text == *right);
                count[1] += 1;
            }
        }
    }
    Ok(kinds)
}
