//! The bytes of tokens, which may be parts of characters.

use blip2_core::Tokenizer;

/// What stands in a text for bytes that are no character.
const BROKEN: char = '\u{fffd}';

/// The bytes of a token by its text, which is told where it is whole; else by its own name in the vocabulary.
pub(super) fn of_bytes(id: u32, text: &str, tokenizer: &Tokenizer) -> Option<Vec<u8>> {
    if !text.contains(BROKEN) {
        return Some(text.as_bytes().to_vec());
    }
    named(&tokenizer.id_to_token(id)?)
}

fn named(piece: &str) -> Option<Vec<u8>> {
    if piece.contains(BROKEN) {
        return Some(piece.as_bytes().to_vec());
    }
    match single(piece) {
        Some(byte) => Some(vec![byte]),
        None => piece.chars().map(shown_as).collect(),
    }
}

/// The byte that SentencePiece writes as `<0xE2>`.
fn single(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    match digits.len() {
        2 => u8::from_str_radix(digits, 16).ok(),
        _ => None,
    }
}

/// The byte that byte-level BPE shows as a character: those that can be seen as themselves, the others, in their
/// order, as those from U+0100 on (GPT-2, `bytes_to_unicode`).
fn shown_as(shown: char) -> Option<u8> {
    let code = u32::from(shown);
    match u8::try_from(code) {
        Ok(byte) => is_seen(byte).then_some(byte),
        Err(_) => {
            let place = usize::try_from(code.checked_sub(0x100)?).ok()?;
            (0..=u8::MAX).filter(|byte| !is_seen(*byte)).nth(place)
        }
    }
}

fn is_seen(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_characters_are_told_by_their_names() {
        for (piece, bytes) in [
            ("<0xE2>", Some(vec![0xe2])),
            ("<0x0A>", Some(vec![0x0a])),
            ("â", Some(vec![0xe2])),
            ("\u{120}âĿ", Some(vec![b' ', 0xe2, 0x9d])),
            ("ï¿½", Some("\u{fffd}".as_bytes().to_vec())),
            ("\u{fffd}", Some("\u{fffd}".as_bytes().to_vec())),
            ("日", None),
        ] {
            assert_eq!(named(piece), bytes, "{piece}");
        }
    }
}
