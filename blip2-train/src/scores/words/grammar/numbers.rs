//! Numbers, dates, money, telephones.

use super::{
    super::{
        rule::{Rule, token},
        written::Written,
    },
    classes::DIGIT,
};

/// Numbers, dates and fractions.
pub(super) fn numbers() -> Vec<Rule> {
    let digit = format!("[{DIGIT}]");
    // A soft hyphen, and the Arabic signs, part digits as a point and a comma do.
    let parted = format!(r"{digit}*(?:[.:,\x{{ad}}\x{{66b}}\x{{66c}}]{digit}+)+");
    vec![
        token(format!(
            "{digit}{{1,2}}[-/]{digit}{{1,2}}[-/]{digit}{{2,4}}"
        )),
        token(format!("[-+]?(?:{digit}+|{parted})")).written(Written::Word),
        // Raised and lowered.
        token(
            r"[\x{207a}\x{207b}\x{208a}\x{208b}]?(?:[\x{2070}\x{b9}\x{b2}\x{b3}\x{2074}-\x{2079}]+|[\x{2080}-\x{2089}]+)",
        ),
        token(format!(
            r"(?:{digit}{{1,4}}[- \x{{a0}}])?{digit}{{1,4}}(?:\\?/|\x{{2044}}){digit}{{1,4}}"
        ))
        .written(Written::Spaced),
        token(r"[¼½¾\x{2153}-\x{215e}]").written(Written::Fraction),
    ]
}

/// Signs of money.
pub(super) fn money() -> Vec<Rule> {
    vec![
        // US$; and # stands for pounds.
        token(r"[A-Z]*\$|#"),
        token(
            r"[¢£¤¥\x{80}\x{20a0}\x{20ac}\x{60b}\x{e3f}\x{20a4}\x{ffe0}\x{ffe1}\x{ffe5}\x{ffe6}]",
        )
        .written(Written::Currency),
    ]
}

/// Telephone numbers: with a code in brackets or before a hyphen, or parted by points.
pub(super) fn telephones() -> Vec<Rule> {
    let gap = r"[- \x{a0}]";
    let code = format!(
        r"(?:\([0-9]{{2,3}}\)[ \x{{a0}}]?|(?:\+\+?)?(?:[0-9]{{2,4}}{gap})?[0-9]{{2,4}}{gap})"
    );
    let parted = format!("{code}[0-9]{{3,4}}{gap}?[0-9]{{3,5}}");
    let pointed = r"(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}";
    vec![token(format!("{parted}|{pointed}")).written(Written::Bracketed)]
}
