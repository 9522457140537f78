//! Rules about what came before: repetition penalty, n-grams, bad words, end tokens.
//!
//! Formulas of `transformers`' `generation/logits_process.py`. Ids beyond the vocabulary (image
//! placeholders may be) cannot be generated, so they are passed over.

/// `RepetitionPenaltyLogitsProcessor`: each token of `ids` once, however often it occurs.
pub(super) fn repetition_penalty(scores: &mut [f32], ids: &[u32], penalty: f64) {
    let penalty = penalty as f32;
    let mut seen: Vec<u32> = ids.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for token in seen {
        if let Some(score) = scores.get_mut(token as usize) {
            if *score < 0.0 {
                *score *= penalty;
            } else {
                *score /= penalty;
            }
        }
    }
}

/// `NoRepeatNGramLogitsProcessor`: forbids every token that would complete an n-gram of `ids`
/// again.
pub(super) fn no_repeat_ngram(scores: &mut [f32], ids: &[u32], n: usize) {
    if ids.len() < n {
        return;
    }
    let prefix = &ids[ids.len() + 1 - n..];
    for window in ids.windows(n) {
        if let Some((&last, start)) = window.split_last()
            && start == prefix
        {
            forbid(scores, last);
        }
    }
}

/// `NoBadWordsLogitsProcessor`: forbids the last token of each sequence whose other tokens end
/// `ids`.
pub(super) fn bad_words(scores: &mut [f32], ids: &[u32], words: &[Vec<u32>]) {
    for word in words {
        if let Some((&last, start)) = word.split_last()
            && ids.ends_with(start)
        {
            forbid(scores, last);
        }
    }
}

/// `MinLengthLogitsProcessor`, while it is in force: forbids the end tokens.
pub(super) fn no_end(scores: &mut [f32], eos: &[u32]) {
    for &token in eos {
        forbid(scores, token);
    }
}

fn forbid(scores: &mut [f32], token: u32) {
    if let Some(score) = scores.get_mut(token as usize) {
        *score = f32::NEG_INFINITY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: f32 = f32::NEG_INFINITY;

    #[test]
    fn repetition_divides_positive_and_multiplies_negative_scores_once() {
        let mut scores = [2.0, -2.0, 2.0, OUT];
        repetition_penalty(&mut scores, &[0, 0, 1, 3, 99], 2.0);
        assert_eq!(scores, [1.0, -4.0, 2.0, OUT]);
    }

    #[test]
    fn ngram_rule_bans_all_continuations_of_the_current_prefix() {
        let mut scores = [0.0; 5];
        no_repeat_ngram(&mut scores, &[1, 2, 1, 3, 1], 2);
        assert_eq!(scores, [0.0, 0.0, OUT, OUT, 0.0]);
        let mut scores = [0.0; 5];
        no_repeat_ngram(&mut scores, &[1, 4], 1);
        assert_eq!(scores, [0.0, OUT, 0.0, 0.0, OUT]);
        let mut scores = [0.0; 5];
        no_repeat_ngram(&mut scores, &[1, 1], 3);
        assert_eq!(scores, [0.0; 5]);
    }

    #[test]
    fn bad_words_ban_single_tokens_always_and_the_last_of_a_sequence_after_its_start() {
        let words = [vec![0], vec![1, 2, 3], vec![9, 9, 9, 9, 4], vec![7]];
        let mut scores = [0.0; 5];
        bad_words(&mut scores, &[5, 1, 2], &words);
        assert_eq!(scores, [OUT, 0.0, 0.0, OUT, 0.0]);
        let mut scores = [0.0; 5];
        bad_words(&mut scores, &[1, 2, 5], &words);
        assert_eq!(scores, [OUT, 0.0, 0.0, 0.0, 0.0]);
    }
}
