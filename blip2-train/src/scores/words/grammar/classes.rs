//! Classes of characters, as the tokenizer's Unicode 6.3 has them. It knows none beyond the basic
//! plane.
//!
//! They are parts of a bracketed class, except where a comment says otherwise.

/// Letters: two of them have become marks since, and some marks have become letters.
pub(super) const ALPHA: &str = r"[[\p{L}\x{1885}\x{1886}&&\p{Age:6.3}&&[\x00-\x{ffff}]]--[\x{19b0}-\x{19c0}\x{19c8}\x{19c9}\x{1cf2}\x{1cf3}]]";

/// Digits of any script.
pub(super) const DIGIT: &str = r"[\p{Nd}&&\p{Age:6.3}&&[\x00-\x{ffff}]]";

/// What words hold beside letters: modifiers, and the marks of the scripts from Greek to Lao.
pub(super) const MARKS: &str = r"\x{ad}\x{2c2}-\x{2c5}\x{2d2}-\x{2df}\x{2e5}-\x{36f}\x{375}\x{378}\x{379}\x{384}\x{385}\x{3f6}\x{483}-\x{487}\x{55a}-\x{55f}\x{591}-\x{5bd}\x{5bf}\x{5c1}\x{5c2}\x{5c4}\x{5c5}\x{5c7}\x{615}-\x{61a}\x{64b}-\x{65e}\x{670}\x{6d6}-\x{6ef}\x{6fa}-\x{6ff}\x{70f}\x{711}\x{730}-\x{74c}\x{7a6}-\x{7b0}\x{7eb}-\x{7f3}\x{900}-\x{903}\x{93c}\x{93e}-\x{94e}\x{951}-\x{955}\x{962}\x{963}\x{981}-\x{983}\x{9bc}-\x{9c4}\x{9c7}\x{9c8}\x{9cb}-\x{9cd}\x{9d7}\x{9e2}\x{9e3}\x{a01}-\x{a03}\x{a3c}\x{a3e}-\x{a4f}\x{a81}-\x{a83}\x{abc}-\x{acf}\x{b82}\x{bbe}-\x{bc2}\x{bc6}-\x{bc8}\x{bca}-\x{bcd}\x{c01}-\x{c03}\x{c3e}-\x{c56}\x{d3e}-\x{d44}\x{d46}-\x{d48}\x{e30}-\x{e3a}\x{e47}-\x{e4e}\x{eb1}-\x{ebc}\x{ec8}-\x{ecd}";

/// Apostrophes and quotes that may stand inside a word, rightly or wrongly.
pub(super) const QUOTES_IN_WORDS: &str = r"'`\x{91}\x{92}\x{2018}\x{2019}\x{201b}";

/// A space, as a whole class: captions are of one line.
pub(super) const SPACE: &str = r"[ \t\x{a0}\x{2000}-\x{200a}\x{3000}]";

/// A space or the end of the line, as a whole class.
pub(super) const GAP: &str = r"[ \t\x{a0}\x{2000}-\x{200a}\x{3000}\n\x{85}]";

/// Signs within a sentence, as a whole class.
pub(super) const INSIDE: &str = r"[,;:\x{3001}]";

/// An apostrophe, as an expression.
pub(super) const APOSTROPHE: &str = r"(?:['\x{92}\x{2019}]|(?i:&apos;))";

/// An apostrophe or what is typed for one, as an expression.
pub(super) fn any_apostrophe() -> String {
    format!("(?:[{QUOTES_IN_WORDS}]|(?i:&apos;))")
}

/// A letter of a word, as an expression: some are written as entities.
pub(super) fn letter() -> String {
    format!("(?:[{ALPHA}{MARKS}]|&[aeiouAEIOU](?i:acute|grave|uml);)")
}

/// A letter or digit of a word, as an expression.
pub(super) fn letter_or_digit() -> String {
    format!("(?:[{ALPHA}{MARKS}{DIGIT}]|&[aeiouAEIOU](?i:acute|grave|uml);)")
}
