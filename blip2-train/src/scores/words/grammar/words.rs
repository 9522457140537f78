//! Words, and what an apostrophe does to them.

use super::{
    super::{
        rule::{Rule, token},
        written::Written,
    },
    classes::{ALPHA, APOSTROPHE, any_apostrophe, letter, letter_or_digit},
};

/// A word: letters and digits from a letter on. A stop between letters does not divide it, for most
/// often a space was left out, or it is a name.
pub(super) fn word() -> String {
    let (first, other) = (letter(), letter_or_digit());
    format!(r"{first}{other}*(?:[.!?]{first}{other}*)*")
}

/// A short verb on a word: `'s`, `'m`, `'d`, `'re`, `'ve`, `'ll`.
pub(super) fn clitic() -> String {
    format!("(?:{APOSTROPHE}(?:[msdMSD]|(?i:re|ve|ll)))")
}

/// `n't`.
pub(super) fn negation() -> String {
    format!("(?:(?i:n){}(?i:t))", any_apostrophe())
}

/// Two words in one.
pub(super) fn joined() -> Vec<Rule> {
    let pairs = [
        ("can", "not"),
        ("'t", "was"),
        ("'t", "is"),
        ("gon", "na"),
        ("got", "ta"),
        ("lem", "me"),
        ("gim", "me"),
        ("wan", "na"),
    ];
    let rules = pairs.iter().map(|(first, second)| {
        let rule = token(format!("(?i:{first})"));
        rule.before(format!("(?i:{second})"))
    });
    rules.collect()
}

/// Words, with and without a clitic.
pub(super) fn words() -> Vec<Rule> {
    vec![
        token(word()).before(clitic()).written(Written::Word),
        // The n of `n't` is none of the verb's.
        token(r"[A-Za-z\x{ad}]*[A-MO-Za-mo-z]\x{ad}*")
            .before(negation())
            .written(Written::Word),
        token(word()).written(Written::Word),
        token(with_apostrophe()),
        token(format!("(?i:y){APOSTROPHE}")).before(format!("[{ALPHA}]")),
    ]
}

/// Words of which an apostrophe is a part.
fn with_apostrophe() -> String {
    let any = any_apostrophe();
    let own = [
        // rock 'n' roll, 'em, the '80s, 'til
        format!("{APOSTROPHE}(?i:n){APOSTROPHE}?"),
        format!("{APOSTROPHE}(?i:em|till?|cause)"),
        format!("{APOSTROPHE}[2-9]0(?i:s)"),
        // l'eau, d', j'
        format!("[lLdDjJ]{APOSTROPHE}"),
        format!("(?i:Dunkin|somethin|ol){APOSTROPHE}"),
        // O'Neill, n'ts; but I'll and y'all are two words
        format!("[A-HJ-XZn]{any}[{ALPHA}]{{2}}[{ALPHA}]*"),
        // Hawai'i, Shi'ite
        format!("[{ALPHA}]+[aeiouyAEIOUY]{any}[aeiouA-Z][{ALPHA}]*"),
        r"(?i:cont'd\.?|'twas|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l)".into(),
        format!("(?i:O){any}(?i:o)"),
    ];
    own.join("|")
}

/// Clitics at the end of a word.
pub(super) fn clitics() -> Vec<Rule> {
    let ends = [clitic(), negation()];
    let rules = ends.map(|end| token(end).before("[^A-Za-z]").written(Written::Closing));
    rules.into()
}

/// Clitics where a letter follows.
pub(super) fn clitics_anywhere() -> Vec<Rule> {
    let rules = [clitic(), negation()].map(|end| token(end).written(Written::Closing));
    rules.into()
}
