//! Words that signs join: hyphens, slashes, `&`, `+`.

use super::{
    super::{
        rule::{Rule, token},
        written::Written,
    },
    abbreviations::letters_in_compounds,
    classes::{ALPHA, APOSTROPHE, DIGIT, GAP, INSIDE, any_apostrophe},
};

/// Few that no rule has: brackets by their names, companies, `'05`.
pub(super) fn particular() -> Vec<Rule> {
    let ampersand = "(?:&|(?i:&amp;))";
    vec![
        token(format!(
            "(?i:-(?:RRB|LRB|RCB|LCB|RSB|LSB)-|C\\.D\\.s|pro-|anti-)\
             |(?i:S){ampersand}(?i:P-500|Ls)|(?i:Cap){APOSTROPHE}(?i:n)|(?i:c){APOSTROPHE}(?i:est)"
        ))
        .written(Written::Ampersand),
    ]
}

/// Years without their century.
pub(super) fn years() -> Vec<Rule> {
    vec![token(format!("{APOSTROPHE}[0-9][0-9]")).before(GAP)]
}

/// What one or two slashes join: `and/or`, `red-white/blue`.
pub(super) fn alternatives() -> Vec<Rule> {
    let part = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}";
    vec![token(format!(r"{part}(?:\\?/{part}){{1,2}}"))]
}

/// What hyphens join, and capitals that `&` or `+` joins; with a stop where the sentence goes on.
pub(super) fn compounds() -> Vec<Rule> {
    let abbreviated = letters_in_compounds();
    let numbered =
        format!(r"[A-Za-z0-9][A-Za-z0-9.,\x{{ad}}]*(?:-(?:[A-Za-z0-9\x{{ad}}]+|{abbreviated}))+");
    let either = format!("[{ALPHA}{DIGIT}]");
    let part = format!("(?:[dDoOlL]{}{either})?{either}+", any_apostrophe());
    let hyphenated = format!(r"{part}(?:[-_\x{{58a}}\x{{2010}}\x{{2011}}]{part})*");
    let capitals = "[A-Z]+(?:(?:[+&]|(?i:&amp;))[A-Z]+)+".to_string();
    let kinds = [
        (numbered, Written::Word),
        (hyphenated, Written::AsIs),
        (capitals, Written::Ampersand),
    ];
    let rules = kinds.into_iter().flat_map(|(kind, written)| {
        [
            token(format!(r"(?:{kind})\."))
                .before(INSIDE)
                .written(written),
            token(kind).written(written),
        ]
    });
    rules.collect()
}
