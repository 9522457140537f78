//! The test questions of the easy-VQA data set, and answering all of them.

use std::{error::Error, fs, path::Path};

use blip2_core::{Answer, Blip2Pipeline, GenerationConfig, Options, open_image};
use image::RgbImage;
use indicatif::ProgressBar;

/// The prompt that the demonstration models were trained with.
pub(crate) const TEMPLATE: &str = "Question: {} Answer:";

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

    /// Forgets all questions but the first ones.
    #[allow(dead_code)] // not every example needs them
    pub(crate) fn keep(&mut self, questions: usize) {
        self.questions.truncate(questions);
    }

    /// The answers to all questions, `batch` at a time.
    pub(crate) fn ask(
        &self,
        blip2: &Blip2Pipeline,
        batch: usize,
    ) -> Result<Vec<Answer>, Box<dyn Error>> {
        let options = Options::default()
            .with_template(TEMPLATE.parse()?)
            .with_generation(GenerationConfig::default().with_max_new_tokens(6));
        let all: Vec<usize> = (0..self.questions.len()).collect();
        self.batches(
            &all,
            batch,
            |pairs| Ok(blip2.answer_batch(pairs, &options)?),
        )
    }

    /// Runs `each` over the questions with these numbers, `batch` pairs of picture and question at
    /// a time.
    pub(crate) fn batches<T>(
        &self,
        questions: &[usize],
        batch: usize,
        each: impl Fn(Vec<(&RgbImage, &str)>) -> Result<Vec<T>, Box<dyn Error>>,
    ) -> Result<Vec<T>, Box<dyn Error>> {
        let bar = ProgressBar::new(questions.len() as u64);
        let mut results = Vec::with_capacity(questions.len());
        for batch in questions.chunks(batch.max(1)) {
            let pairs = batch.iter().map(|&number| {
                let (question, _, picture) = &self.questions[number];
                (&self.pictures[*picture], question.as_str())
            });
            results.extend(each(pairs.collect())?);
            bar.inc(batch.len() as u64);
        }
        bar.finish_and_clear();
        Ok(results)
    }

    /// How many answers are right.
    pub(crate) fn right(&self, answers: &[Answer]) -> usize {
        self.count_right(answers.iter().map(|answer| answer.text.as_str()))
    }

    /// How many texts are the right answers.
    pub(crate) fn count_right<'a>(&self, texts: impl Iterator<Item = &'a str>) -> usize {
        let pairs = self.questions.iter().zip(texts);
        pairs
            .filter(|((_, right, _), found)| right == found)
            .count()
    }

    /// Each question with its right answer, the number of its picture, and the picture.
    #[allow(dead_code)] // not every example needs them
    pub(crate) fn asked(&self) -> impl Iterator<Item = (&str, &str, usize, &RgbImage)> {
        self.questions.iter().map(|(question, right, picture)| {
            let image = &self.pictures[*picture];
            (question.as_str(), right.as_str(), *picture, image)
        })
    }

    /// The right answer to each question.
    #[allow(dead_code)] // not every example needs them
    pub(crate) fn right_answers(&self) -> impl Iterator<Item = &str> {
        self.questions.iter().map(|(_, right, _)| right.as_str())
    }
}
