//! How good answers, captions and retrieval are, by the rules that papers report.
//!
//! | score | of | equals |
//! |---|---|---|
//! | [`vqa_accuracy`] | an answer against people's ten | VQAv2's official evaluation |
//! | [`exact_match`], [`exact_match_any_case`] | an answer against the right one | |
//! | [`bleu`] | captions against references, up to four words | `pycocoevalcap` |
//! | [`rouge_l`] | captions against references, the longest common subsequence | `pycocoevalcap` |
//! | [`cider_d`] | captions against references, rare words weighing more | `pycocoevalcap` |
//! | [`recall_at`] | what is found first | LAVIS's retrieval task |
//!
//! ```
//! use blip2_train::scores::{vqa_accuracy, exact_match};
//!
//! let people = ["two", "2", "2", "2", "2", "3", "2", "2", "2", "two dogs"];
//! assert_eq!(vqa_accuracy("Two.", &people), 1.0);
//! assert!(exact_match(" red", "red"));
//! ```

mod caption;
mod contractions;
mod retrieval;
mod rouge;
mod vqa;
mod words;

pub use caption::{CaptionScores, bleu, cider_d};
pub use retrieval::{UnknownCandidate, recall_at};
pub use rouge::rouge_l;
pub use vqa::{normalize_answer, vqa_accuracy};
pub use words::{caption_words, caption_words_together};

/// Whether an answer is the right one but for white space around it, capitals being as good as small
/// letters.
pub fn exact_match_any_case(answer: &str, right: &str) -> bool {
    answer.trim().to_lowercase() == right.trim().to_lowercase()
}

/// Whether an answer is the right one, to the letter but for white space around it.
pub fn exact_match(answer: &str, right: &str) -> bool {
    answer.trim() == right.trim()
}
