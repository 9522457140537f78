//! The tokens of a vocabulary that are digits alone.

use std::sync::OnceLock;

use blip2_io::Tokenizer;

/// A token whose text is nothing but digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigitToken {
    pub(crate) id: u32,
    pub(crate) digits: String,
    /// Whether it goes on with a number, rather than beginning a new one.
    pub(crate) continues: bool,
}

/// A vocabulary's tokens of digits alone, found when they are first needed.
#[derive(Debug, Default)]
pub(crate) struct Digits(OnceLock<Vec<DigitToken>>);

impl Digits {
    pub(crate) fn of(&self, tokenizer: &Tokenizer) -> &[DigitToken] {
        self.0.get_or_init(|| digit_tokens(tokenizer))
    }
}

/// A vocabulary's tokens of digits alone.
fn digit_tokens(tokenizer: &Tokenizer) -> Vec<DigitToken> {
    let text = |ids: &[u32]| {
        let text = tokenizer.decode(ids, true).unwrap_or_default();
        text.trim().to_string()
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let of_digits = (0..tokenizer.vocab_size() as u32).filter_map(|id| {
        // Decoding all of a vocabulary would take a while; its entries tell most of it.
        let entry = tokenizer.id_to_token(id)?;
        entry.bytes().any(|b| b.is_ascii_digit()).then_some(())?;
        let digits = text(&[id]);
        is_digits(&digits).then_some((id, digits))
    });
    let tokens: Vec<(u32, String)> = of_digits.collect();
    let Some((first, before)) = tokens.iter().find(|(_, digits)| digits.len() == 1).cloned() else {
        return Vec::new();
    };
    let token = |(id, digits): (u32, String)| DigitToken {
        continues: text(&[first, id]) == format!("{before}{digits}"),
        id,
        digits,
    };
    tokens.into_iter().map(token).collect()
}
