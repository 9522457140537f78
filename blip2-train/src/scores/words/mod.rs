//! Captions cut into words.

mod grammar;
mod lexer;
mod rule;
mod written;

use std::{borrow::Cow, iter};

use lexer::Lexer;

/// What the tokenizer gives for punctuation, which is no word.
const PUNCTUATION: [&str; 13] = [
    "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";",
];

/// A caption as words between spaces, as COCO's evaluation cuts them: by Stanford's tokenizer of the
/// Penn Treebank (CoreNLP 3.4.1, which `pycocoevalcap` runs), in lower case, without punctuation.
/// Brackets become `-lrb-` and `-rrb-`, clitics (`n't`, `'s`) stand apart; abbreviations, numbers,
/// addresses and smileys stay whole.
///
/// That evaluation cuts all captions as one text, in which the first word of a caption may decide
/// whether the one before ends with a full stop or an initial; [`caption_words_together`] does so.
///
/// ```
/// use blip2_train::scores::caption_words;
///
/// assert_eq!(caption_words("A dog's ball; it isn't red."), "a dog 's ball it is n't red");
/// assert_eq!(caption_words("Mr. Smith (right) pays $1,000.50"), "mr. smith -lrb- right -rrb- pays $ 1,000.50");
/// ```
pub fn caption_words(caption: &str) -> String {
    cut(&line(caption), "")
}

/// Captions as [`caption_words`] cuts them, each before the next, as COCO's evaluation does.
///
/// ```
/// use blip2_train::scores::caption_words_together;
///
/// // "B." is an initial, unless a sentence seems to begin after it.
/// let words = caption_words_together(&["Platform B.", "A train on platform B."]);
/// assert_eq!(words, ["platform b", "a train on platform b."]);
/// ```
pub fn caption_words_together<C: AsRef<str>>(captions: &[C]) -> Vec<String> {
    let following = captions.iter().skip(1).map(AsRef::as_ref);
    let following = following.chain(iter::once(""));
    let pairs = captions.iter().zip(following);
    pairs
        .map(|(caption, next)| cut(&line(caption.as_ref()), &line(next)))
        .collect()
}

/// A caption on one line: the tokenizer takes each line for a caption.
fn line(caption: &str) -> Cow<'_, str> {
    const BREAKS: [char; 6] = ['\n', '\r', '\u{b}', '\u{c}', '\u{2028}', '\u{2029}'];
    match caption.contains(BREAKS) {
        true => Cow::Owned(caption.replace(BREAKS, " ")),
        false => Cow::Borrowed(caption),
    }
}

fn cut(caption: &str, next: &str) -> String {
    // A caption ends with its line, and no rule looks further than one sentence's beginning.
    let text = format!("{caption}\n{next}");
    let tokens = Lexer::shared().tokens(&text, caption.len());
    let mut words: Vec<String> = tokens.iter().map(|token| token.to_lowercase()).collect();
    // Addresses may hold spaces of other scripts, which do not count at the end of a line.
    if let Some(last) = words.last_mut() {
        last.truncate(last.trim_end().len());
    }
    words.retain(|word| !PUNCTUATION.contains(&word.as_str()));
    words.join(" ")
}
