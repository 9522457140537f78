//! The test questions of the easy-VQA data set, and answering all of them.

use std::{error::Error, fs, path::Path};

use blip2_core::{Answer, Blip2Pipeline, GenerationConfig, Options, open_image};
use image::RgbImage;
use indicatif::ProgressBar;

/// The test split: the folder `easy_vqa/data` of the package `easy-vqa` 1.0 on PyPI.
pub(crate) struct TestSplit {
    /// Question, right answer, and the number of the picture.
    questions: Vec<(String, String, usize)>,
    pictures: Vec<RgbImage>,
}

impl TestSplit {
    /// Reads all questions and pictures.
    pub(crate) fn open(data: &Path) -> Result<Self, Box<dyn Error>> {
        let test = data.join("test");
        let questions: Vec<(String, String, usize)> =
            serde_json::from_slice(&fs::read(test.join("questions.json"))?)?;
        let pictures = questions
            .iter()
            .map(|(_, _, picture)| picture + 1)
            .max()
            .unwrap_or(0);
        let pictures = (0..pictures)
            .map(|n| open_image(test.join(format!("images/{n}.png"))))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            questions,
            pictures,
        })
    }

    /// The answers to all questions, `batch` at a time.
    pub(crate) fn ask(
        &self,
        blip2: &Blip2Pipeline,
        batch: usize,
    ) -> Result<Vec<Answer>, Box<dyn Error>> {
        let options = Options::default()
            .template("Question: {} Answer:".parse()?)
            .generation(GenerationConfig {
                max_new_tokens: Some(6),
                ..Default::default()
            });
        let bar = ProgressBar::new(self.questions.len() as u64);
        let mut answers = Vec::with_capacity(self.questions.len());
        for batch in self.questions.chunks(batch.max(1)) {
            let pairs = batch
                .iter()
                .map(|(question, _, picture)| (&self.pictures[*picture], question));
            answers.extend(blip2.answer_batch(pairs, &options)?);
            bar.inc(batch.len() as u64);
        }
        bar.finish_and_clear();
        Ok(answers)
    }

    /// How many answers are right.
    pub(crate) fn right(&self, answers: &[Answer]) -> usize {
        let pairs = self.questions.iter().zip(answers);
        pairs
            .filter(|((_, right, _), found)| *right == found.text)
            .count()
    }
}
