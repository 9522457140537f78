//! Scores of captions: BLEU and CIDEr-D.

use std::collections::{BTreeMap, HashMap, HashSet};

/// The longest n-gram that is compared, in words.
const LONGEST: usize = 4;

/// A score of all captions together, and of each.
///
/// ```
/// use blip2_train::scores::{bleu, caption_words, cider_d};
///
/// let captions = ["A red triangle on a white wall.", "Two dogs."].map(caption_words);
/// let people = [vec!["a red triangle on a white wall"], vec!["a cat asleep on a bed"]];
/// let found = bleu(4, &captions, &people);
/// assert!(found.each[0] > 0.99 && found.each[1] < 0.01);
/// assert!(found.corpus < found.each[0]);
/// assert!(cider_d(&captions, &people).each[0] > 5.0); // of 10
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CaptionScores {
    /// Of all together.
    pub corpus: f64,
    /// Of each caption.
    pub each: Vec<f64>,
}

impl CaptionScores {
    /// Where all together have the mean of each.
    pub(crate) fn mean_of(each: Vec<f64>) -> Self {
        let corpus = match each.len() {
            0 => 0.0,
            count => each.iter().sum::<f64>() / count as f64,
        };
        Self { corpus, each }
    }
}

/// How often each n-gram of one to four words occurs.
///
/// In order, so that sums of them do not depend on a hash.
type Counts<'t> = BTreeMap<Vec<&'t str>, usize>;

fn counted(text: &str) -> (usize, Counts<'_>) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut counts = Counts::new();
    for length in 1..=LONGEST {
        for run in words.windows(length) {
            *counts.entry(run.to_vec()).or_default() += 1;
        }
    }
    (words.len(), counts)
}

/// BLEU with n-grams of up to `longest` words (1 to 4; Papineni et al., 2002), as `pycocoevalcap` has
/// it: against the reference closest in length, with the brevity penalty. Captions and references
/// are words between spaces; see [`caption_words`](super::caption_words). Captions beyond the references' number are left
/// out.
pub fn bleu<C: AsRef<str>, R: AsRef<str>>(
    longest: usize,
    captions: &[C],
    references: &[Vec<R>],
) -> CaptionScores {
    let longest = longest.clamp(1, LONGEST);
    let mut total = Overlap::default();
    let mut each = Vec::new();
    for (caption, references) in captions.iter().zip(references) {
        let overlap = Overlap::of(caption.as_ref(), references);
        each.push(overlap.bleu(longest));
        total.add(&overlap);
    }
    CaptionScores {
        corpus: total.bleu(longest),
        each,
    }
}

/// What a caption shares with its references.
#[derive(Debug, Default)]
struct Overlap {
    words: usize,
    reference_words: usize,
    runs: [usize; LONGEST],
    shared: [usize; LONGEST],
}

impl Overlap {
    fn of<R: AsRef<str>>(caption: &str, references: &[R]) -> Self {
        let (words, counts) = counted(caption);
        let mut most = Counts::new();
        let mut lengths = Vec::new();
        for reference in references {
            let (length, counts) = counted(reference.as_ref());
            lengths.push(length);
            for (run, count) in counts {
                let own = most.entry(run).or_default();
                *own = count.max(*own);
            }
        }
        let closest = lengths
            .into_iter()
            .min_by_key(|&length| (length.abs_diff(words), length));
        let mut overlap = Self {
            words,
            reference_words: closest.unwrap_or(0),
            ..Self::default()
        };
        for (place, runs) in overlap.runs.iter_mut().enumerate() {
            *runs = words.saturating_sub(place);
        }
        for (run, count) in &counts {
            let allowed = most.get(run).copied().unwrap_or(0);
            overlap.shared[run.len() - 1] += allowed.min(*count);
        }
        overlap
    }

    fn add(&mut self, other: &Self) {
        self.words += other.words;
        self.reference_words += other.reference_words;
        for place in 0..LONGEST {
            self.runs[place] += other.runs[place];
            self.shared[place] += other.shared[place];
        }
    }

    /// The constants that keep it defined are the reference implementation's.
    fn bleu(&self, longest: usize) -> f64 {
        const SMALL: f64 = 1e-9;
        const TINY: f64 = 1e-15;
        let pairs = self.shared.iter().zip(&self.runs).take(longest);
        let product: f64 = pairs
            .map(|(&shared, &runs)| (shared as f64 + TINY) / (runs as f64 + SMALL))
            .product();
        let precision = product.powf((longest as f64).recip());
        let ratio = (self.words as f64 + TINY) / (self.reference_words as f64 + SMALL);
        match ratio < 1.0 {
            true => precision * (1.0 - ratio.recip()).exp(),
            false => precision,
        }
    }
}

/// CIDEr-D (Vedantam et al., 2015), as `pycocoevalcap` has it: the cosine of n-grams of one to four
/// words, weighed by how rare they are among all references, times 10. Captions and references are
/// words between spaces; see [`caption_words`](super::caption_words). Captions beyond the references' number are left out,
/// and a single picture always scores 0, because nothing is rare then.
pub fn cider_d<C: AsRef<str>, R: AsRef<str>>(
    captions: &[C],
    references: &[Vec<R>],
) -> CaptionScores {
    let pictures = captions.len().min(references.len());
    let references: Vec<Vec<Counts<'_>>> = references[..pictures]
        .iter()
        .map(|all| all.iter().map(|text| counted(text.as_ref()).1).collect())
        .collect();
    let mut documents: HashMap<&[&str], usize> = HashMap::new();
    for all in &references {
        let runs: HashSet<&[&str]> = all
            .iter()
            .flat_map(BTreeMap::keys)
            .map(Vec::as_slice)
            .collect();
        for run in runs {
            *documents.entry(run).or_default() += 1;
        }
    }
    let rarity = Rarity {
        documents,
        log_pictures: (pictures as f64).ln(),
    };
    let each: Vec<f64> = captions
        .iter()
        .zip(&references)
        .map(|(caption, references)| {
            let caption = rarity.weigh(&counted(caption.as_ref()).1);
            let similar = references
                .iter()
                .map(|own| caption.similar(&rarity.weigh(own)));
            let all: f64 = similar.sum();
            match references.len() {
                0 => 0.0,
                count => 10.0 * all / LONGEST as f64 / count as f64,
            }
        })
        .collect();
    CaptionScores::mean_of(each)
}

/// In how many pictures' references each n-gram occurs.
struct Rarity<'t> {
    documents: HashMap<&'t [&'t str], usize>,
    log_pictures: f64,
}

/// A text as its n-grams, weighted.
struct Weighed<'t> {
    runs: BTreeMap<Vec<&'t str>, f64>,
    norms: [f64; LONGEST],
    /// Its number of pairs of words, which the reference implementation takes for its length.
    length: f64,
}

impl Rarity<'_> {
    fn weigh<'t>(&self, counts: &Counts<'t>) -> Weighed<'t> {
        let mut weighed = Weighed {
            runs: BTreeMap::new(),
            norms: [0.0; LONGEST],
            length: 0.0,
        };
        let mut squares = [0.0; LONGEST];
        for (run, &count) in counts {
            let documents = self.documents.get(run.as_slice()).copied().unwrap_or(0);
            let rare = self.log_pictures - (documents as f64).max(1.0).ln();
            let weight = count as f64 * rare;
            squares[run.len() - 1] += weight * weight;
            if run.len() == 2 {
                weighed.length += count as f64;
            }
            weighed.runs.insert(run.clone(), weight);
        }
        weighed.norms = squares.map(f64::sqrt);
        weighed
    }
}

impl Weighed<'_> {
    /// How similar a reference is, summed over the lengths of runs: no run counts more than in the
    /// reference, and another length costs.
    fn similar(&self, reference: &Weighed<'_>) -> f64 {
        const SIGMA: f64 = 6.0;
        let mut products = [0.0; LONGEST];
        for (run, own) in &self.runs {
            if let Some(other) = reference.runs.get(run) {
                products[run.len() - 1] += own.min(*other) * other;
            }
        }
        let delta = self.length - reference.length;
        let penalty = (-(delta * delta) / (2.0 * SIGMA * SIGMA)).exp();
        let cosine = |place: usize| {
            let norms = self.norms[place] * reference.norms[place];
            let product = products[place];
            penalty
                * if norms == 0.0 {
                    product
                } else {
                    product / norms
                }
        };
        (0..LONGEST).map(cosine).sum()
    }
}
