//! Text that grows, without the white space around it.

use std::mem;

/// The pieces of a text that grows, without the white space around the whole: what is at its end waits until
/// a word follows it.
///
/// ```
/// use blip2_lm::generate::TrimmedPieces;
///
/// let mut text = TrimmedPieces::default();
/// let pieces = [" a", " red ", "", "\n", "circle", " \n"].map(|piece| text.push(piece));
/// assert_eq!(pieces, ["a", " red", "", "", " \ncircle", ""]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct TrimmedPieces {
    begun: bool,
    /// White space that may prove to be the last.
    held: String,
}

impl TrimmedPieces {
    /// What is shown of the next piece; nothing is, where it is white space.
    pub fn push(&mut self, piece: &str) -> String {
        let piece = match self.begun {
            true => piece,
            false => piece.trim_start(),
        };
        let (words, space) = piece.split_at(piece.trim_end().len());
        if words.is_empty() {
            self.held.push_str(space);
            return String::new();
        }
        self.begun = true;
        let mut shown = mem::replace(&mut self.held, space.to_owned());
        shown.push_str(words);
        shown
    }
}
