//! Given answers on the command line.

use std::{convert::Infallible, str::FromStr};

/// Answers that were given in one argument, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidates(pub(crate) Vec<String>);

/// Answers that were given in an option, of which none is empty.
pub(crate) fn given(text: &str) -> Result<Candidates, String> {
    let candidates: Candidates = match text.parse() {
        Ok(candidates) => candidates,
        Err(never) => match never {},
    };
    match candidates
        .0
        .iter()
        .any(|candidate| candidate.trim().is_empty())
    {
        true => Err("an answer is empty: commas stand between candidates alone".into()),
        false => Ok(candidates),
    }
}

impl FromStr for Candidates {
    type Err = Infallible;

    /// White space around an answer is none of it. One that begins with a quote goes on to the same
    /// quote before a comma or the end, and is what stands between; any other quote is a letter.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut found = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let text = text.trim_start();
            let (candidate, after) = match quoted(text) {
                Some(found) => found,
                None => match text.split_once(',') {
                    Some((candidate, after)) => (candidate.trim_end().to_string(), Some(after)),
                    None => (text.trim_end().to_string(), None),
                },
            };
            found.push(candidate);
            rest = after;
        }
        Ok(Self(found))
    }
}

/// What stands in quotes at the beginning of a text, and what follows the comma after it.
fn quoted(text: &str) -> Option<(String, Option<&str>)> {
    let quote = text
        .chars()
        .next()
        .filter(|first| ['"', '\''].contains(first))?;
    let inside = text.get(1..)?;
    for (at, _) in inside.match_indices(quote) {
        let (candidate, after) = inside.split_at(at);
        let after = after.get(1..)?.trim_start();
        let after = match after.strip_prefix(',') {
            None if after.is_empty() => None,
            None => continue,
            Some(after) => Some(after),
        };
        return Some((candidate.to_string(), after));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_trimmed_and_may_be_quoted() {
        for (text, expected) in [
            ("red,blue", &["red", "blue"][..]),
            (
                "red, 'light blue' , green ",
                &["red", "light blue", "green"],
            ),
            (
                "\"in Paris, France\", elsewhere",
                &["in Paris, France", "elsewhere"],
            ),
            ("don't know, can't say", &["don't know", "can't say"]),
            ("'tis, so", &["'tis", "so"]),
            ("rock 'n' roll", &["rock 'n' roll"]),
            ("'it's mine', no", &["it's mine", "no"]),
            ("' a '", &[" a "]),
            ("red,", &["red", ""]),
            ("", &[""]),
            (
                "\u{e9}t\u{e9}, '\u{e9}, \u{e8}'",
                &["\u{e9}t\u{e9}", "\u{e9}, \u{e8}"],
            ),
        ] {
            let Candidates(found) = text.parse().unwrap_or(Candidates(Vec::new()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
