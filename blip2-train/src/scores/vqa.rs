//! Accuracy on VQAv2.

use std::borrow::Cow;

use super::contractions::CONTRACTIONS;

/// How right an answer is by VQAv2's official rule (Antol et al., 2015, and the public evaluation
/// code): as right as a third of how many of the other people said it, at most wholly, taken over
/// all ways to leave one person out. Both sides are [normalised](normalize_answer), unless all people
/// agree to the letter.
///
/// Between 0 and 1. An empty list of people gives 0, and so does a single one, who has no others to agree
/// with; of two the most is 1/3, of three 2/3.
pub fn vqa_accuracy<S: AsRef<str>>(answer: &str, people: &[S]) -> f64 {
    let answer = trimmed(answer);
    let people: Vec<Cow<'_, str>> = people.iter().map(|said| trimmed(said.as_ref())).collect();
    let agree = people.iter().all(|said| Some(said) == people.first());
    let matches = if agree {
        people.iter().filter(|said| **said == answer).count()
    } else {
        let answer = normalize_answer(&answer);
        let same = |said: &&Cow<'_, str>| normalize_answer(said) == answer;
        people.iter().filter(same).count()
    };
    let count = people.len();
    if count == 0 {
        return 0.0;
    }
    // Whoever is left out has no voice: of those who said it, one is then missing.
    let share = |voices: usize| (voices as f64 / 3.0).min(1.0);
    let without_one = matches as f64 * share(matches.saturating_sub(1));
    let with_all = (count - matches) as f64 * share(matches);
    (without_one + with_all) / count as f64
}

fn trimmed(text: &str) -> Cow<'_, str> {
    match text.contains(['\n', '\t']) {
        true => Cow::Owned(text.replace(['\n', '\t'], " ").trim().to_string()),
        false => Cow::Borrowed(text.trim()),
    }
}

/// An answer as VQAv2's evaluation compares it: lower case, without punctuation and articles, small
/// numbers as digits, contractions with their apostrophes.
///
/// ```
/// use blip2_train::scores::normalize_answer;
///
/// assert_eq!(normalize_answer("The two dogs, dont!"), "2 dogs don't");
/// ```
pub fn normalize_answer(answer: &str) -> String {
    let plain = without_punctuation(answer).to_lowercase();
    let words = plain.split_whitespace().map(number);
    let words = words.filter(|word| !matches!(*word, "a" | "an" | "the"));
    let words: Vec<&str> = words.map(contraction).collect();
    words.join(" ")
}

const PUNCTUATION: [char; 21] = [
    ';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',',
    '?', '!',
];

/// The official code gives `re.UNICODE`, which is 32, where a count is due: at most 32 full stops go.
const STOPS: usize = 32;

/// Punctuation beside a space vanishes, other punctuation becomes a space; all of it vanishes where
/// a comma stands between digits. Full stops vanish unless a digit follows.
fn without_punctuation(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let grouped = characters
        .windows(3)
        .any(|three| three[1] == ',' && is_digit(three[0]) && is_digit(three[2]));
    let beside_space = |mark: char| {
        let pair = |two: &[char]| two == [mark, ' '] || two == [' ', mark];
        characters.windows(2).any(pair)
    };
    let vanishing: Vec<char> = PUNCTUATION
        .into_iter()
        .filter(|&mark| grouped || beside_space(mark))
        .collect();
    let spaced: Vec<char> = characters
        .iter()
        .filter(|character| !vanishing.contains(character))
        .map(|&c| if PUNCTUATION.contains(&c) { ' ' } else { c })
        .collect();
    let mut stops = 0;
    let mut plain = String::with_capacity(text.len());
    for (place, &character) in spaced.iter().enumerate() {
        let goes = character == '.'
            && stops < STOPS
            && !spaced.get(place + 1).copied().is_some_and(is_digit);
        match goes {
            true => stops += 1,
            false => plain.push(character),
        }
    }
    plain
}

/// A digit in any script, as Python's `\d`.
fn is_digit(character: char) -> bool {
    character.is_ascii_digit() || (!character.is_ascii() && character.is_numeric())
}

fn number(word: &str) -> &str {
    match word {
        "none" | "zero" => "0",
        "one" => "1",
        "two" => "2",
        "three" => "3",
        "four" => "4",
        "five" => "5",
        "six" => "6",
        "seven" => "7",
        "eight" => "8",
        "nine" => "9",
        "ten" => "10",
        word => word,
    }
}

fn contraction(word: &str) -> &str {
    let found = CONTRACTIONS.binary_search_by_key(&word, |(without, _)| without);
    match found {
        Ok(place) => CONTRACTIONS[place].1,
        Err(_) => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(CONTRACTIONS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn thirds_of_the_others_count() {
        let people = |yes: usize| {
            let said = |n: usize| if n < yes { "yes" } else { "no" };
            (0..10).map(said).collect::<Vec<_>>()
        };
        for (yes, expected) in [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)] {
            let found = vqa_accuracy("Yes.", &people(yes));
            // Where all agree, nothing is normalised.
            let expected = if yes == 10 { 0.0 } else { expected };
            assert!((found - expected).abs() < 1e-12, "{yes}: {found}");
        }
        assert_eq!(vqa_accuracy("", &[] as &[&str]), 0.0);
        // As the official code has it, whoever is alone has no others to agree with.
        for (people, expected) in [(1, 0.0), (2, 1.0 / 3.0), (3, 2.0 / 3.0), (4, 1.0)] {
            let found = vqa_accuracy("red", &vec!["red"; people]);
            assert!((found - expected).abs() < 1e-12, "{people}: {found}");
        }
    }
}
