//! The spaces that tokenisation leaves before punctuation.

/// Undoes the spaces that tokenisation puts before English punctuation and contractions, as
/// `clean_up_tokenization` in `tokenization_utils_base.py` does.
pub(super) fn clean_up(text: &str) -> String {
    const RULES: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    RULES
        .iter()
        .fold(text.to_string(), |text, (from, to)| text.replace(from, to))
}
