//! Quotes: which open and which close.

use super::{
    super::{
        rule::{Rule, token},
        written::Written,
    },
    classes::APOSTROPHE,
};

/// Double straight ones, which open where a word or a sum of money follows.
pub(super) fn double() -> Vec<Rule> {
    let quote = r#""|(?i:&quot;)"#;
    vec![
        token(quote)
            .before("[A-Za-z0-9$]")
            .written(Written::Opening),
        token(quote).written(Written::Closing),
    ]
}

/// A single straight one opens a word of more than a letter.
pub(super) fn opening() -> Vec<Rule> {
    let rule = token("'").before(r"[A-Za-z][^ \t\n\r\x{a0}]");
    vec![rule.written(Written::Opening)]
}

/// All others, of which two together may be one.
pub(super) fn others() -> Vec<Rule> {
    let signs = r"[`\x{91}-\x{94}\x{ab}\x{bb}\x{2018}-\x{201f}\x{2039}\x{203a}]";
    vec![token(format!("{APOSTROPHE}|''|{signs}{{1,2}}")).written(Written::Closing)]
}
