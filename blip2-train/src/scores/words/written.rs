//! What a token is written as: the Penn Treebank has no curly quotes, brackets or soft hyphens.

/// What becomes of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing: white space, and what the tokenizer does not know.
    Nothing,
    /// It stays.
    AsIs,
    /// This, whatever it was.
    For(&'static str),
    /// Without soft hyphens.
    Word,
    /// Quotes as TeX writes them: a straight one opens.
    Opening,
    /// Quotes as TeX writes them: a straight one closes, or is an apostrophe.
    Closing,
    /// Spaces that do not break, for it is one token.
    Spaced,
    /// Spaces that do not break, and brackets by their names.
    Bracketed,
    /// `&` for its entity.
    Ampersand,
    /// Fractions by digits.
    Fraction,
    /// The money that the Treebank knows.
    Currency,
}

impl Written {
    /// The token's text; `None` if there is no token.
    pub(super) fn of(self, token: &str) -> Option<String> {
        Some(match self {
            Self::Nothing => return None,
            Self::AsIs => token.into(),
            Self::For(text) => text.into(),
            Self::Word => without_soft_hyphens(token),
            Self::Opening => quotes(token, "`"),
            Self::Closing => quotes(token, "'"),
            Self::Spaced => token.replace(' ', "\u{a0}"),
            Self::Bracketed => token
                .replace(' ', "\u{a0}")
                .replace('(', "-LRB-")
                .replace(')', "-RRB-"),
            Self::Ampersand => ampersands(token),
            Self::Fraction => token.chars().map(fraction).collect(),
            Self::Currency => token.chars().map(currency).collect(),
        })
    }
}

fn without_soft_hyphens(token: &str) -> String {
    let kept = token.replace('\u{ad}', "");
    match kept.is_empty() {
        // There is a token, if only of them.
        true => "-".into(),
        false => kept,
    }
}

/// Single quotes as `` ` `` and `'`, double ones as two of them. A straight one is written as told.
fn quotes(token: &str, straight: &str) -> String {
    let token = token.replace("&apos;", "'").replace("&quot;", "\"");
    let mut written = String::new();
    for quote in token.chars() {
        match quote {
            '\'' => written.push_str(straight),
            '"' => written.push_str(&straight.repeat(2)),
            '\u{91}' | '\u{2018}' | '\u{201b}' | '\u{2039}' => written.push('`'),
            '\u{92}' | '\u{2019}' | '\u{203a}' => written.push('\''),
            '\u{93}' | '\u{201c}' | '\u{ab}' => written.push_str("``"),
            '\u{94}' | '\u{201d}' | '\u{bb}' => written.push_str("''"),
            other => written.push(other),
        }
    }
    written
}

/// The entity in any case.
fn ampersands(token: &str) -> String {
    let mut written = String::new();
    let mut rest = token;
    while let Some(place) = rest.find('&') {
        let (before, entity) = rest.split_at(place);
        written.push_str(before);
        written.push('&');
        let length = match entity.get(..5) {
            Some(name) if name.eq_ignore_ascii_case("&amp;") => 5,
            _ => 1,
        };
        rest = &entity[length..];
    }
    written + rest
}

/// The others have no form in digits.
fn fraction(character: char) -> String {
    match character {
        '¼' => "1/4".into(),
        '½' => "1/2".into(),
        '¾' => "3/4".into(),
        '⅓' => "1/3".into(),
        '⅔' => "2/3".into(),
        other => other.into(),
    }
}

/// The Treebank, which is of 1987's Wall Street, writes `#` for pounds, and knows no euro.
fn currency(character: char) -> String {
    match character {
        '¢' => "cents".into(),
        '£' => "#".into(),
        '\u{80}' | '¤' | '₠' | '€' => "$".into(),
        other => other.into(),
    }
}
