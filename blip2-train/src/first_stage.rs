//! Training a model of retrieval on pictures and their captions.

use std::collections::BTreeMap;

use blip2_core::{
    Blip2Error, CheckpointFolder, TextRows,
    model::{Blip2ForImageTextRetrieval, Blip2ForPretraining},
    scores::recall_at,
};
use blip2_io::{
    dataset::{Dataset, LoadedBatch, Loader},
    image::ImageProcessor,
};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{
    At, Losses, Objective, TrainError,
    objective::{Pairs, first_stage_losses},
};

/// The tokens of a text that is trained on (`max_txt_len` of LAVIS).
const MAX_TOKENS: usize = 32;

/// The three losses of the first stage on a data set's captions (contrast, matching, generation), and
/// how well texts and pictures of another one find each other.
///
/// Of several captions one is drawn each time that an example is seen. Examples of one picture, and
/// captions that say the same, are no negatives of one another.
#[derive(Debug)]
pub struct FirstStage {
    texts: TextRows,
    writes: u32,
    processor: ImageProcessor,
    data: Dataset,
    device: Device,
    validation: Option<(Dataset, Recall)>,
}

/// How texts and pictures that find each other are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recall {
    /// How many candidates of each count as found.
    pub k: usize,
    /// How many pictures, and how many texts, are encoded together.
    pub batch: usize,
}

impl FirstStage {
    /// The losses on the captions of `data`, for the checkpoint of retrieval in `folder`.
    ///
    /// # Errors
    ///
    /// As [`TextRows::of`]; [`TrainError::Batch`] for an example without a caption, and for a
    /// tokenizer without the token that texts begin with which are written.
    pub fn new(folder: &CheckpointFolder, data: Dataset) -> Result<Self, TrainError> {
        captioned(&data)?;
        let texts = TextRows::of(folder)?;
        let writes = texts.begins_written().ok_or_else(|| TrainError::Batch {
            reason: "the tokenizer has no `[DEC]`, which texts begin with that are written".into(),
        })?;
        let processor = ImageProcessor::new(folder.image_processor()?);
        Ok(Self {
            texts,
            writes,
            processor: processor.map_err(Blip2Error::from)?,
            data,
            device: Device::flex(),
            validation: None,
        })
    }

    /// Computes on this device. Default: `flex`.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Evaluates how texts and pictures of this data set find each other.
    ///
    /// # Errors
    ///
    /// [`TrainError::Batch`] for an example without a caption.
    pub fn validated(mut self, data: Dataset, recall: Recall) -> Result<Self, TrainError> {
        captioned(&data)?;
        self.validation = Some((data, recall));
        Ok(self)
    }

    /// Pictures and captions, pair by pair.
    fn pairs(&self, batch: &LoadedBatch, seed: u64) -> Result<Pairs, TrainError> {
        let (mut captions, mut places) = (Vec::new(), Vec::new());
        let mut subjects = Subjects::default();
        let mut shown = Vec::new();
        for (row, &(number, place)) in batch.examples.iter().enumerate() {
            let example = &self.data.examples()[number];
            let draw = seed.rotate_left(row as u32 % 64) as usize;
            let caption = example.answers[draw % example.answers.len()].as_str();
            shown.push(subjects.of(example.picture, caption));
            captions.push(caption);
            places.push(place as i64);
        }
        let count = places.len();
        let places = TensorData::new(places, [count]);
        let places = Tensor::<1, Int>::from_data(places, &self.device);
        let pixels = batch.pixel_values.clone().tensor(&self.device);
        Ok(Pairs {
            pixel_values: pixels.select(0, places),
            texts: self.texts.rows_cut(&captions, MAX_TOKENS)?,
            writes: self.writes,
            subjects: shown.iter().map(|&one| subjects.root(one)).collect(),
        })
    }
}

impl Objective<Blip2ForPretraining> for FirstStage {
    fn losses(
        &mut self,
        model: &Blip2ForPretraining,
        batch: &LoadedBatch,
        at: At,
    ) -> Result<Losses, TrainError> {
        let pairs = self.pairs(batch, at.seed)?;
        let losses = first_stage_losses(model, &pairs, at.seed)?;
        Ok(Losses {
            total: losses.sum(),
            parts: vec![
                ("itc", losses.contrast),
                ("itm", losses.matching),
                ("itg", losses.generation),
            ],
        })
    }

    fn score(&mut self, model: &Blip2ForPretraining) -> Result<Option<f64>, TrainError> {
        let Some((data, recall)) = &self.validation else {
            return Ok(None);
        };
        let [of_pictures, of_texts] = recall.of(
            model.retrieval(),
            &self.texts,
            &self.processor,
            data,
            &self.device,
        )?;
        Ok(Some((of_pictures + of_texts) / 2.0))
    }
}

impl Recall {
    /// The parts of texts that find their picture among all, and of pictures that find one of their
    /// texts, by the similarity of their embeddings: between 0 and 1. Every caption of an example is
    /// a text.
    ///
    /// # Errors
    ///
    /// For pictures that cannot be decoded, and texts that cannot be read.
    pub fn of(
        self,
        model: &Blip2ForImageTextRetrieval,
        texts: &TextRows,
        processor: &ImageProcessor,
        data: &Dataset,
        device: &Device,
    ) -> Result<[f64; 2], TrainError> {
        let examples = data.examples().iter();
        let captions: Vec<(usize, &str)> = examples
            .flat_map(|example| {
                let captions = example.answers.iter().map(String::as_str);
                captions.map(|caption| (example.picture, caption))
            })
            .collect();
        let mut embedded = Vec::new();
        for part in captions.chunks(self.batch.max(1)) {
            let part: Vec<&str> = part.iter().map(|(_, caption)| *caption).collect();
            let rows = texts.rows_cut(&part, MAX_TOKENS)?;
            embedded.push(model.project_texts(&model.encode_texts(&rows)?));
        }

        let loader = Loader::new(data.clone(), processor.clone());
        let loader = loader.batch(self.batch).by_picture(usize::MAX);
        let (mut of_pictures, mut pictures) = (Vec::new(), Vec::new());
        for batch in loader.epoch(0) {
            let batch = batch?;
            let images = model.encode_images(batch.pixel_values.tensor(device))?;
            let images = model.project_images(&images)?;
            let rows = batch.pictures.len();
            let mut similarities = vec![Vec::with_capacity(captions.len()); rows];
            for texts in &embedded {
                let found = images.similarity(texts);
                let [_, count] = found.dims();
                let found: Vec<f32> = found.into_data().iter().collect();
                for (row, found) in similarities.iter_mut().zip(found.chunks(count.max(1))) {
                    row.extend_from_slice(found);
                }
            }
            of_pictures.extend(similarities);
            pictures.extend(batch.pictures);
        }

        let place: BTreeMap<usize, usize> = pictures.iter().copied().zip(0..).collect();
        let mut texts_of = vec![Vec::new(); pictures.len()];
        let (mut of_texts, mut picture_of) = (Vec::new(), Vec::new());
        for (text, (picture, _)) in captions.iter().enumerate() {
            // A picture that was left out has no place.
            if let Some(&own) = place.get(picture) {
                texts_of[own].push(text);
                of_texts.push(
                    of_pictures
                        .iter()
                        .map(|row| row[text])
                        .collect::<Vec<f32>>(),
                );
                picture_of.push(vec![own]);
            }
        }
        let recall = |similarities: &[Vec<f32>], right: &[Vec<usize>]| {
            let found = recall_at(self.k, similarities, right);
            found.map_err(|error| TrainError::Batch {
                reason: error.to_string(),
            })
        };
        Ok([
            recall(&of_texts, &picture_of)?,
            recall(&of_pictures, &texts_of)?,
        ])
    }
}

fn captioned(data: &Dataset) -> Result<(), TrainError> {
    let without = data.examples().iter().find(|one| one.answers.is_empty());
    match without {
        None => Ok(()),
        Some(example) => Err(TrainError::Batch {
            reason: format!("example {} has no caption to train on", example.id),
        }),
    }
}

/// Which pairs show the same: those of one picture, those of one caption, and whatever that joins.
#[derive(Debug, Default)]
struct Subjects<'t> {
    parents: Vec<usize>,
    pictures: BTreeMap<usize, usize>,
    captions: BTreeMap<&'t str, usize>,
}

impl<'t> Subjects<'t> {
    /// The subject of a pair, one of those that belong together.
    fn of(&mut self, picture: usize, caption: &'t str) -> usize {
        let new = self.parents.len();
        self.parents.push(new);
        let same_picture = *self.pictures.entry(picture).or_insert(new);
        let same_caption = *self.captions.entry(caption.trim()).or_insert(new);
        for other in [same_picture, same_caption] {
            let (a, b) = (self.find(new), self.find(other));
            self.parents[a.max(b)] = a.min(b);
        }
        new
    }

    fn find(&self, mut one: usize) -> usize {
        while self.parents[one] != one {
            one = self.parents[one];
        }
        one
    }

    /// What all that belong together have in common.
    fn root(&self, one: usize) -> u64 {
        self.find(one) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_the_same_is_one_subject() {
        let mut subjects = Subjects::default();
        let pairs = [
            (0, "a dog"),
            (1, "a cat"),
            (2, "a dog "),
            (1, "a tree"),
            (3, "a tree"),
            (4, "grass"),
        ];
        let all = pairs.map(|(picture, caption)| subjects.of(picture, caption));
        let roots = all.map(|one| subjects.root(one));
        assert_eq!(roots[0], roots[2]);
        assert_eq!(roots[1], roots[3]);
        assert_eq!(roots[3], roots[4]);
        let different: std::collections::BTreeSet<u64> = roots.into();
        assert_eq!(different.len(), 3);
    }
}
