//! Scores by the kinds of questions and answers.

use std::collections::BTreeMap;

use blip2_io::dataset::{Dataset, Example};

use super::Evaluation;

/// The score of the examples of one kind.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Kind {
    /// What the data set calls it.
    pub name: String,
    /// The mean of their scores.
    pub score: f64,
    /// How many there are.
    pub examples: usize,
}

impl Evaluation {
    /// The mean score of each kind of examples, in the order of their names; examples of no known kind
    /// are left out.
    ///
    /// ```
    /// use blip2_io::dataset::{Dataset, PictureFile};
    /// use blip2_train::Scoring;
    ///
    /// let pictures = vec![PictureFile::File("dogs.jpg".into())];
    /// let ask = |question: &str, answer: &str| (0, Some(question.into()), vec![answer.into()]);
    /// let data = Dataset::new(pictures, [ask("how many?", "2"), ask("what?", "dogs")])?;
    /// let found = Scoring::ExactMatch.of(&data, vec!["2".into(), "cats".into()])?;
    /// let by_length = found.by_kind(&data, |example| match example.answers[0].len() {
    ///     1 => Some("short"),
    ///     _ => Some("long"),
    /// });
    /// assert_eq!((by_length[0].name.as_str(), by_length[0].score), ("long", 0.0));
    /// assert_eq!((by_length[1].score, by_length[1].examples), (1.0, 1));
    /// # Ok::<(), blip2_train::TrainError>(())
    /// ```
    pub fn by_kind<'d>(
        &self,
        data: &'d Dataset,
        kind: impl Fn(&'d Example) -> Option<&'d str>,
    ) -> Vec<Kind> {
        let mut kinds: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        for (example, score) in data.examples().iter().zip(&self.each) {
            if let Some(name) = kind(example) {
                let (sum, examples) = kinds.entry(name).or_default();
                *sum += score;
                *examples += 1;
            }
        }
        let kinds = kinds.into_iter().map(|(name, (sum, examples))| Kind {
            name: name.to_string(),
            score: sum / examples as f64,
            examples,
        });
        kinds.collect()
    }
}
