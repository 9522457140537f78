//! Training a model of retrieval on pictures and their captions.

use std::collections::BTreeMap;

use blip2_core::{
    Blip2Error, CheckpointFolder, TextRows,
    model::{Blip2ForImageTextRetrieval, Blip2ForPretraining, ProjectedImages, ProjectedTexts},
    scores::recall_at,
};
use blip2_io::{
    dataset::{Dataset, LoadedBatch, Loader, OnBroken},
    image::ImageProcessor,
};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{
    At, Losses, Objective, TrainError,
    objective::{Pairs, first_stage_losses},
    trained::without_gradients,
};

/// The tokens of a text that is trained on (`max_txt_len` of LAVIS).
const MAX_TOKENS: usize = 32;

/// The three losses of the first stage on a data set's captions (contrast, matching, generation), and
/// how well texts and pictures of another one find each other.
///
/// Of several captions one is drawn each time that an example is seen, and its picture is encoded for
/// it. Examples of one picture, and captions of the same tokens, are no negatives of one another.
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
    /// As [`TextRows::of`]; [`TrainError::Batch`] for an example that has no caption, a question, or a
    /// caption that cannot be read, and for a tokenizer without the token that texts begin with which
    /// are written.
    pub fn new(folder: &CheckpointFolder, data: Dataset) -> Result<Self, TrainError> {
        let texts = TextRows::of(folder)?;
        check(&data, &texts)?;
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

    /// Computes on this device, which must be the model's. Default: `flex`.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Evaluates how texts and pictures of this data set find each other.
    ///
    /// # Errors
    ///
    /// [`TrainError::Batch`] for such examples as [`new`](Self::new) refuses.
    pub fn validated(mut self, data: Dataset, recall: Recall) -> Result<Self, TrainError> {
        check(&data, &self.texts)?;
        self.validation = Some((data, recall));
        Ok(self)
    }

    /// Pictures and captions, pair by pair.
    fn pairs(&self, batch: &LoadedBatch, seed: u64) -> Result<Pairs, TrainError> {
        let examples = batch.examples.iter().enumerate();
        let captions: Vec<&str> = examples
            .map(|(row, &(number, _))| {
                let captions = &self.data.examples()[number].answers;
                let draw = seed.rotate_left(row as u32 % 64) as usize;
                captions[draw % captions.len()].as_str()
            })
            .collect();
        let texts = self.texts.rows_cut(&captions, MAX_TOKENS)?;
        let mut subjects = Subjects::default();
        let shown: Vec<usize> = batch
            .examples
            .iter()
            .zip(texts.ids())
            .map(|(&(number, _), ids)| subjects.of(self.data.examples()[number].picture, ids))
            .collect();
        let places: Vec<i64> = batch.examples.iter().map(|&(_, at)| at as i64).collect();
        let count = places.len();
        let places = TensorData::new(places, [count]);
        let places = Tensor::<1, Int>::from_data(places, &self.device);
        let pixels = batch.pixel_values.clone().tensor(&self.device);
        Ok(Pairs {
            pixel_values: pixels.select(0, places),
            writes: self.writes,
            subjects: shown.iter().map(|&one| subjects.root(one)).collect(),
            texts,
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
        let model = without_gradients(model.clone());
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
    /// a text. Pictures that cannot be decoded are left out, with their texts.
    ///
    /// # Errors
    ///
    /// [`TrainError::Batch`] for an example that has no caption, a question, or a caption that cannot be
    /// read; [`TrainError::Data`] if no picture can be decoded.
    pub fn of(
        self,
        model: &Blip2ForImageTextRetrieval,
        texts: &TextRows,
        processor: &ImageProcessor,
        data: &Dataset,
        device: &Device,
    ) -> Result<[f64; 2], TrainError> {
        check(data, texts)?;
        let (images, pictures) = self.images(model, processor, data, device)?;
        let place: BTreeMap<usize, usize> = pictures.into_iter().zip(0..).collect();
        let (mut captions, mut picture_of) = (Vec::new(), Vec::new());
        let mut texts_of = vec![Vec::new(); place.len()];
        for example in data.examples() {
            let Some(&own) = place.get(&example.picture) else {
                continue;
            };
            for caption in &example.answers {
                texts_of[own].push(captions.len());
                captions.push(caption.as_str());
                picture_of.push(vec![own]);
            }
        }
        let texts = self.texts(model, texts, &captions)?;
        let (Some(images), Some(texts)) = (images, texts) else {
            return Ok([0.0; 2]);
        };

        // Of all similarities there are never more than those of a batch.
        let by_text = self.found(&picture_of, |first, count| {
            images.similarity(&texts.part(first, count)).transpose()
        })?;
        let by_picture = self.found(&texts_of, |first, count| {
            images.part(first, count).similarity(&texts)
        })?;
        Ok([by_text, by_picture])
    }

    /// All pictures that can be decoded, and their numbers in the data set.
    fn images(
        self,
        model: &Blip2ForImageTextRetrieval,
        processor: &ImageProcessor,
        data: &Dataset,
        device: &Device,
    ) -> Result<(Option<ProjectedImages>, Vec<usize>), TrainError> {
        let loader = Loader::new(data.clone(), processor.clone());
        let loader = loader.batch(self.batch).by_picture(usize::MAX);
        let (mut images, mut pictures) = (Vec::new(), Vec::new());
        for batch in loader.on_broken(OnBroken::Skip).epoch(0) {
            let batch = batch?;
            let encoded = model.encode_images(batch.pixel_values.tensor(device))?;
            images.push(model.project_images(&encoded)?);
            pictures.extend(batch.pictures);
        }
        Ok((ProjectedImages::cat(images), pictures))
    }

    fn texts(
        self,
        model: &Blip2ForImageTextRetrieval,
        texts: &TextRows,
        captions: &[&str],
    ) -> Result<Option<ProjectedTexts>, TrainError> {
        let mut projected = Vec::new();
        for part in captions.chunks(self.batch.max(1)) {
            let rows = texts.rows_cut(part, MAX_TOKENS)?;
            projected.push(model.project_texts(&model.encode_texts(&rows)?));
        }
        Ok(ProjectedTexts::cat(projected))
    }

    /// The part of queries that find one of what is `right` for them; `similarities` gives the rows of
    /// so many queries from one on.
    fn found(
        self,
        right: &[Vec<usize>],
        similarities: impl Fn(usize, usize) -> Tensor<2>,
    ) -> Result<f64, TrainError> {
        let batch = self.batch.max(1);
        let mut found = 0.0;
        for (number, right) in right.chunks(batch).enumerate() {
            let rows = similarities(number * batch, right.len());
            let [_, candidates] = rows.dims();
            let rows: Vec<f32> = rows.into_data().iter().collect();
            let rows: Vec<Vec<f32>> = rows.chunks(candidates).map(<[f32]>::to_vec).collect();
            let recall = recall_at(self.k, &rows, right).map_err(|error| TrainError::Batch {
                reason: error.to_string(),
            })?;
            found += recall * right.len() as f64;
        }
        Ok(found / right.len().max(1) as f64)
    }
}

/// Refuses examples that no pairs can be made of, by their ids: training would end in the midst else.
fn check(data: &Dataset, texts: &TextRows) -> Result<(), TrainError> {
    for example in data.examples() {
        let fault = |what: String| {
            let reason = format!("example {} {what}", example.id);
            Err(TrainError::Batch { reason })
        };
        if example.question.is_some() {
            return fault("is a question: the first stage is trained on captions".into());
        }
        if example.answers.is_empty() {
            return fault("has no caption to train on".into());
        }
        if let Err(error) = texts.rows_cut(&example.answers, MAX_TOKENS) {
            return fault(format!("has a caption that cannot be read: {error}"));
        }
    }
    Ok(())
}

/// Which pairs show the same: those of one picture, those of the same tokens, and whatever that joins.
#[derive(Debug, Default)]
struct Subjects<'t> {
    parents: Vec<usize>,
    pictures: BTreeMap<usize, usize>,
    texts: BTreeMap<&'t [u32], usize>,
}

impl<'t> Subjects<'t> {
    /// The subject of a pair, one of those that belong together.
    fn of(&mut self, picture: usize, ids: &'t [u32]) -> usize {
        let new = self.parents.len();
        self.parents.push(new);
        let same_picture = *self.pictures.entry(picture).or_insert(new);
        let same_text = *self.texts.entry(ids).or_insert(new);
        for other in [same_picture, same_text] {
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
        let pairs: [(usize, &[u32]); 6] = [
            (0, &[1, 5]),
            (1, &[1, 6]),
            (2, &[1, 5]),
            (1, &[1, 7]),
            (3, &[1, 7]),
            (4, &[2]),
        ];
        let all = pairs.map(|(picture, ids)| subjects.of(picture, ids));
        let roots = all.map(|one| subjects.root(one));
        assert_eq!(roots[0], roots[2]);
        assert_eq!(roots[1], roots[3]);
        assert_eq!(roots[3], roots[4]);
        let different: std::collections::BTreeSet<u64> = roots.into();
        assert_eq!(different.len(), 3);
    }
}
