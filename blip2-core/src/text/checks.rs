//! Texts that make no sense, and texts that spell out special tokens.

use blip2_io::Tokenizer;

use crate::error::Blip2Error;

/// A text to compare, if it has a word in it and no special token.
pub(super) fn check_text(text: &str, tokenizer: &Tokenizer) -> Result<(), Blip2Error> {
    if text.trim().is_empty() {
        return Err(Blip2Error::EmptyText);
    }
    check_plain(text, tokenizer)
}

/// A text, if no special token is in it.
pub(super) fn check_plain(text: &str, tokenizer: &Tokenizer) -> Result<(), Blip2Error> {
    match tokenizer.special_token_in(text) {
        Some(token) => Err(Blip2Error::SpecialTokenInText { token }),
        None => Ok(()),
    }
}

/// The texts of candidates, all of which can be scored.
pub(crate) fn check_candidates<'c>(
    texts: &'c [impl AsRef<str>],
    tokenizer: &Tokenizer,
) -> Result<Vec<&'c str>, Blip2Error> {
    let fault = |reason| Err(Blip2Error::Candidates { reason });
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    if texts.is_empty() {
        return fault("there are none".into());
    }
    for (index, text) in texts.iter().enumerate() {
        if text.trim().is_empty() {
            return fault(format!("candidate {index} is empty"));
        }
        if let Some(token) = tokenizer.special_token_in(text) {
            return fault(format!("`{text}` contains the special token `{token}`"));
        }
    }
    Ok(texts)
}
