//! Punctuation, brackets, smileys, symbols and white space.

use super::{
    super::{
        rule::{Rule, token},
        written::Written,
    },
    classes::{GAP, INSIDE, SPACE},
};

/// Programming languages, which captions of screens and books name.
pub(super) fn languages() -> Vec<Rule> {
    vec![token(r"(?i:c)\+\+"), token("(?i:c|f)#")]
}

/// Faces of signs.
pub(super) fn smileys() -> Vec<Rule> {
    let lying = r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]]";
    let upright = [
        // The original means a class here, and has its text.
        r"[\^x=~<>]\.\[\^(?i:x)=~<>\]",
        r"[-^x=~<>']_[-^x=~<>']",
        r"\([-^x=~<>'][_.]?[-^x=~<>']\)",
        r"\([\^x=~<>']-[\^x=~<>'`]\)",
    ];
    vec![
        token(lying)
            .before("[^A-Za-z0-9]")
            .written(Written::Bracketed),
        token(upright.join("|")).written(Written::Bracketed),
    ]
}

/// Brackets, by the Treebank's names.
pub(super) fn brackets() -> Vec<Rule> {
    let named = [
        (r"\{", "-LCB-"),
        (r"\}", "-RCB-"),
        (r"\[", "-LSB-"),
        (r"\]", "-RSB-"),
        (r"\(", "-LRB-"),
        (r"\)", "-RRB-"),
    ];
    let rules = named.map(|(bracket, name)| token(bracket).written(Written::For(name)));
    rules.into()
}

/// Hyphens, dots, and other signs that stand in rows.
pub(super) fn punctuation() -> Vec<Rule> {
    vec![
        token("-{3,4}").written(Written::For("--")),
        token("-+"),
        token(r"\.{3,5}|(?:\.[ \x{a0}]){2,4}\.|[\x{85}\x{2026}]").written(Written::For("...")),
        token("@+|#+|_+"),
        token(r"\*+|(?:\\\*){1,3}"),
        token(INSIDE),
        token("[?!]+"),
        token(r"[.¡¿\x{37e}\x{589}\x{61f}\x{6d4}\x{700}-\x{702}\x{7fa}\x{3002}]"),
        token("[=/]"),
    ]
}

/// Symbols that stand alone: of mathematics, arrows, currencies, other scripts.
pub(super) fn symbols() -> Vec<Rule> {
    vec![
        token("<<|>>"),
        token(
            r"[+%&~^|\\¦§¨©¬®¯°-³´-º×÷\x{387}\x{5be}\x{5c0}\x{5c3}\x{5c6}\x{5f3}\x{5f4}\x{600}-\x{603}\x{606}-\x{60a}\x{60c}\x{614}\x{61b}\x{61e}\x{66a}\x{66d}\x{703}-\x{70d}\x{7f6}-\x{7f8}\x{964}\x{965}\x{e4f}\x{1fbd}\x{2016}\x{2017}\x{2020}-\x{2023}\x{2030}-\x{2038}\x{203b}\x{203e}-\x{2042}\x{2044}\x{207a}-\x{207f}\x{208a}-\x{208e}\x{2100}-\x{214f}\x{2190}-\x{2bff}\x{3012}\x{30fb}\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff20}\x{ff3b}-\x{ff40}\x{ff5b}-\x{ff65}]",
        ),
    ]
}

/// White space, and what has no width.
pub(super) fn spaces() -> Vec<Rule> {
    let nothing =
        format!(r"{SPACE}+|{GAP}|[\x00\x7f\x{{200b}}\x{{200e}}\x{{200f}}\x{{feff}}]|(?i:&nbsp;)");
    vec![token(nothing).written(Written::Nothing)]
}
