//! ROUGE-L.

use super::caption::CaptionScores;

/// How much more recall weighs than precision, as in COCO's evaluation.
const BETA: f64 = 1.2;

/// ROUGE-L (Lin, 2004), as `pycocoevalcap` has it: the longest common subsequence of words, its recall
/// weighing more than its precision, each against the reference that suits it best. Captions and
/// references are words between spaces; see [`caption_words`](super::caption_words). Captions beyond
/// the references' number are left out.
///
/// ```
/// use blip2_train::scores::rouge_l;
///
/// let people = [vec!["a red bus on the street"]];
/// let found = rouge_l(&["a red bus"], &people).corpus;
/// assert!((found - 2.44 * 0.5 / (0.5 + 1.44)).abs() < 1e-9);
/// ```
pub fn rouge_l<C: AsRef<str>, R: AsRef<str>>(
    captions: &[C],
    references: &[Vec<R>],
) -> CaptionScores {
    let pairs = captions.iter().zip(references);
    let each = pairs.map(|(caption, references)| one(caption.as_ref(), references));
    CaptionScores::mean_of(each.collect())
}

fn one<R: AsRef<str>>(caption: &str, references: &[R]) -> f64 {
    // By single spaces, as the reference implementation: an empty caption is one empty word.
    let caption: Vec<&str> = caption.split(' ').collect();
    let (mut precision, mut recall) = (0.0_f64, 0.0_f64);
    for reference in references {
        let reference: Vec<&str> = reference.as_ref().split(' ').collect();
        let common = common_subsequence(&caption, &reference) as f64;
        precision = precision.max(common / caption.len() as f64);
        recall = recall.max(common / reference.len() as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    let weight = BETA * BETA;
    (1.0 + weight) * precision * recall / (recall + weight * precision)
}

/// The number of words of the longest common subsequence, by rows of the usual table.
fn common_subsequence(one: &[&str], other: &[&str]) -> usize {
    let mut above = vec![0; other.len() + 1];
    for word in one {
        let mut diagonal = 0;
        let mut left = 0;
        for (column, own) in other.iter().zip(&mut above[1..]) {
            let here = match word == column {
                true => diagonal + 1,
                false => left.max(*own),
            };
            diagonal = std::mem::replace(own, here);
            left = here;
        }
    }
    above.last().copied().unwrap_or(0)
}
