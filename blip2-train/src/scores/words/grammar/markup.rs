//! Tags and entities, which captions from the web have.

use super::super::{
    rule::{Rule, token},
    written::Written,
};

/// A tag as those of HTML: with attributes, closed in itself, closing, or a comment.
pub(super) fn tag() -> String {
    let name = r"[A-Za-z][A-Za-z0-9_:.\-]*";
    let value = r#"(?:'[^']*'|"[^"]*")"#;
    let opening = format!("{name}(?: +(?:{name}|{name} *= *{value}))* */?");
    format!(r"<(?:[!?][A-Za-z\-][^>\r\n]*|{opening}|/{name}) *>")
}

/// Tags, dashes, `&amp;` and the punctuation of newswires by their names.
pub(super) fn markup() -> Vec<Rule> {
    vec![
        token(tag()).written(Written::Spaced),
        token(r"(?i:&(?:mdash|ndash|MD);)|[\x{96}\x{97}\x{2013}-\x{2015}]")
            .written(Written::For("--")),
        token("(?i:&amp;)").written(Written::Ampersand),
        token("(?i:&(?:HT|TL|UR|LR|QC|QL|QR|odq|cdq|#[0-9]+);)"),
    ]
}

/// The signs of tags and of comparisons.
pub(super) fn less_and_greater() -> Vec<Rule> {
    vec![
        token("<|(?i:&lt;)").written(Written::For("<")),
        token(">|(?i:&gt;)").written(Written::For(">")),
    ]
}
