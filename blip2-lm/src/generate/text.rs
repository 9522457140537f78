//! From token ids to text, piece by piece, without cutting a character.

use std::sync::Arc;

use super::GenerateError;
use super::error::BoxError;

/// What a character that is not complete yet decodes to.
const REPLACEMENT: char = '\u{FFFD}';

/// Decodes token ids to text: what the engine needs of a tokenizer.
///
/// ```
/// use blip2_lm::generate::{BoxError, TokenDecoder};
/// use blip2_lm::{CheckpointFolder, Tokenizer};
///
/// struct Words(Tokenizer);
///
/// impl TokenDecoder for Words {
///     fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
///         Ok(self.0.decode(ids, true)?)
///     }
/// }
///
/// let words = Words(CheckpointFolder::open("../blip2-cli/demo")?.tokenizer()?);
/// let ids = words.0.encode("a red triangle")?;
/// assert_eq!(words.decode(&ids)?.trim(), "a red triangle");
/// # Ok::<(), BoxError>(())
/// ```
pub trait TokenDecoder: Send + Sync {
    /// The text of `ids`, without special tokens. Bytes that are no complete character come out as
    /// U+FFFD, as with the byte-level and byte-fallback decoders of `tokenizers`.
    ///
    /// # Errors
    ///
    /// Whatever the tokenizer reports.
    fn decode(&self, ids: &[u32]) -> Result<String, BoxError>;
}

impl<T: TokenDecoder + ?Sized> TokenDecoder for &T {
    fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
        (**self).decode(ids)
    }
}

impl<T: TokenDecoder + ?Sized> TokenDecoder for Arc<T> {
    fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
        (**self).decode(ids)
    }
}

/// Decodes a growing sequence and gives out only text that later tokens cannot change.
///
/// A token's text depends on its left neighbour (a leading space is stripped at the start of a
/// text), and a character may span tokens. So a window of recent tokens is decoded each time: its
/// older part, whose text is out already, gives the context.
#[derive(Clone, Debug, Default)]
pub(super) struct IncrementalDecoder {
    window: Vec<u32>,
    /// How many tokens of the window are in `shown`.
    read: usize,
    /// The text of the window that was given out.
    shown: String,
}

impl IncrementalDecoder {
    /// Adds a token. Returns the new text, empty while a character is incomplete.
    pub(super) fn push(
        &mut self,
        token: u32,
        decoder: &dyn TokenDecoder,
    ) -> Result<String, GenerateError> {
        self.window.push(token);
        let text = decode(decoder, &self.window)?;
        let stable = text.trim_end_matches(REPLACEMENT);
        if stable.len() < text.len() {
            // What precedes the incomplete character may go, unless the decoder took back
            // characters already shown (byte fallback decodes a run of bytes as a whole).
            let new = stable.strip_prefix(&*self.shown).unwrap_or_default();
            let new = new.to_owned();
            self.shown.push_str(&new);
            return Ok(new);
        }
        let new = continuation(&self.shown, &text).to_owned();
        self.move_window(text, decoder)?;
        Ok(new)
    }

    /// All text still held back: the replacement characters of an incomplete end.
    pub(super) fn flush(&mut self, decoder: &dyn TokenDecoder) -> Result<String, GenerateError> {
        let text = decode(decoder, &self.window)?;
        let held = match text.strip_prefix(&*self.shown) {
            Some(held) => held.to_owned(),
            None => decode(decoder, &self.window[self.read..])?,
        };
        self.shown.push_str(&held);
        self.read = self.window.len();
        Ok(held)
    }

    /// After the whole window is shown as `text`, drops the tokens before the last piece, if that
    /// has text of its own to be the context of the next.
    fn move_window(
        &mut self,
        text: String,
        decoder: &dyn TokenDecoder,
    ) -> Result<(), GenerateError> {
        self.shown = text;
        let last = &self.window[self.read..];
        let last_text = decode(decoder, last)?;
        if !last_text.is_empty() && !last_text.contains(REPLACEMENT) {
            self.window.drain(..self.read);
            self.shown = last_text;
        }
        self.read = self.window.len();
        Ok(())
    }
}

fn decode(decoder: &dyn TokenDecoder, ids: &[u32]) -> Result<String, GenerateError> {
    if ids.is_empty() {
        return Ok(String::new());
    }
    decoder.decode(ids).map_err(GenerateError::Decode)
}

/// What `text` adds to `shown`. A decoder that changes text in the light of later tokens (a space
/// before punctuation) cannot have it back: then all after the common beginning's length.
fn continuation<'a>(shown: &str, text: &'a str) -> &'a str {
    text.strip_prefix(shown).unwrap_or_else(|| {
        let common = shown
            .char_indices()
            .zip(text.chars())
            .find(|((_, a), b)| a != b)
            .map_or(shown.len().min(text.len()), |((i, _), _)| i);
        text.get(shown.len()..)
            .or_else(|| text.get(common..))
            .unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each id is a byte, as in byte-level BPE.
    struct Bytes;

    impl TokenDecoder for Bytes {
        fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
            let bytes: Vec<u8> = ids.iter().map(|&id| id as u8).collect();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
    }

    /// As `tokenizers`' byte fallback: a run of bytes is a text as a whole or not at all; words
    /// (ids from 256) bring a space that is stripped at the start.
    struct ByteFallback;

    impl TokenDecoder for ByteFallback {
        fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
            let mut text = String::new();
            for run in ids.chunk_by(|a, b| *a < 256 && *b < 256) {
                if run[0] >= 256 {
                    text.push_str(&format!(" w{}", run[0]));
                } else {
                    let bytes: Vec<u8> = run.iter().map(|&id| id as u8).collect();
                    text.push_str(
                        &String::from_utf8(bytes).unwrap_or_else(|_| "\u{FFFD}".repeat(run.len())),
                    );
                }
            }
            Ok(text.strip_prefix(' ').map(str::to_owned).unwrap_or(text))
        }
    }

    fn pieces(ids: &[u32], decoder: &dyn TokenDecoder) -> Vec<String> {
        let mut incremental = IncrementalDecoder::default();
        let mut pieces: Vec<String> = ids
            .iter()
            .map(|&id| incremental.push(id, decoder).unwrap())
            .collect();
        pieces.push(incremental.flush(decoder).unwrap());
        pieces
    }

    fn bytes(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    #[test]
    fn characters_come_whole() {
        for decoder in [&Bytes as &dyn TokenDecoder, &ByteFallback] {
            let text = "aé漢😀z漢字";
            let pieces = pieces(&bytes(text), decoder);
            assert_eq!(pieces.concat(), text);
            assert_eq!(
                &pieces[..7],
                &["a", "", "é", "", "", "漢", ""],
                "one piece for each character"
            );
        }
    }

    #[test]
    fn an_incomplete_end_is_flushed_as_replacement() {
        let mut ids = bytes("ok漢");
        ids.truncate(4);
        assert_eq!(pieces(&ids, &Bytes), ["o", "k", "", "", "\u{FFFD}"]);
        let mut ids = bytes("漢漢");
        ids.truncate(5);
        assert_eq!(
            pieces(&ids, &ByteFallback),
            ["", "", "漢", "", "", "\u{FFFD}\u{FFFD}"]
        );
    }

    #[test]
    fn invalid_bytes_in_the_middle_do_not_stop_the_text() {
        let ids = [0xC3, u32::from(b'a'), 0xFF, u32::from(b'b')];
        assert_eq!(pieces(&ids, &Bytes).concat(), "\u{FFFD}a\u{FFFD}b");
    }

    #[test]
    fn spaces_between_words_survive() {
        let ids = [300, 301, 65, 302];
        assert_eq!(
            pieces(&ids, &ByteFallback),
            ["w300", " w301", "A", " w302", ""]
        );
    }

    #[test]
    fn a_decoder_that_rewrites_never_panics() {
        assert_eq!(continuation("é ", "éa!"), "!");
        assert_eq!(continuation("ab", "aé"), "é");
        assert_eq!(continuation("abc", "a"), "");
    }
}
