//! How well pictures and texts find each other.

use std::collections::{BTreeMap, BTreeSet};

use blip2_core::{
    CancelToken, TextRows,
    model::{Blip2ForImageTextRetrieval, ProjectedImages, ProjectedTexts},
};
use blip2_io::{
    dataset::{BrokenRecord, Dataset, DatasetError, Example, Loader, OnBroken},
    preprocessing::ImageProcessor,
};
use burn::tensor::Tensor;

use crate::{
    drawn::said,
    error::TrainError,
    group::{Alone, Group, rows_of_all},
    scores::recall_at,
    trained::device_of,
};

/// The tokens of a text that is trained on (`max_txt_len` of LAVIS).
pub(crate) const MAX_TOKENS: usize = 32;

/// How texts and pictures that find each other are counted: recall@k.
///
/// ```
/// use blip2_train::Recall;
///
/// let recall = Recall::at(5).with_batch(64);
/// assert_eq!(recall.k, 5);
/// let as_papers_do = Recall::at(1).with_others([5, 10]);
/// # let _ = as_papers_do;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recall {
    /// How many candidates of each count as found.
    pub k: usize,
    /// The same of what is told beside it. Default none.
    pub others: Vec<usize>,
    /// How many pictures, and how many texts, are encoded together. Default 16.
    pub batch: usize,
}

/// The recall of a data set, between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RecallScores {
    /// How many candidates of each counted as found.
    pub k: usize,
    /// The part of texts that find their picture among all.
    pub text_to_image: f64,
    /// The part of pictures that find one of their texts among all.
    pub image_to_text: f64,
}

/// The recall of a data set, without what broke meanwhile.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recalled {
    /// At `k`, and then at each of the others.
    pub scores: Vec<RecallScores>,
    /// What it is of, with all [broken](Dataset::broken) records that there are by now.
    pub data: Dataset,
    /// What was left out because it broke meanwhile.
    pub left_out: Vec<BrokenRecord>,
}

/// The recall of the examples that can be used, and what is wrong with the others, by their numbers.
pub(crate) struct Found {
    pub(crate) scores: Vec<RecallScores>,
    pub(crate) faults: BTreeMap<usize, String>,
}

impl RecallScores {
    /// The mean of both.
    pub fn mean(&self) -> f64 {
        (self.text_to_image + self.image_to_text) / 2.0
    }
}

impl Recall {
    /// Counts what is found among the first `k` candidates.
    pub fn at(k: usize) -> Self {
        Self {
            k,
            others: Vec::new(),
            batch: 16,
        }
    }

    /// Counts what is found among these numbers of candidates too.
    #[must_use]
    pub fn with_others(mut self, others: impl IntoIterator<Item = usize>) -> Self {
        self.others = others.into_iter().collect();
        self
    }

    /// Encodes this number of pictures, or of texts, together.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Refuses to count as found what is among as many candidates as there are: that is always 1.
    ///
    /// ```
    /// use blip2_io::dataset::{Dataset, PictureFile};
    /// use blip2_train::Recall;
    ///
    /// let pictures = ["dog.jpg", "boat.jpg"].map(|name| PictureFile::File(name.into()));
    /// let captions = [(0, "a dog"), (1, "a boat")].map(|(n, caption)| (n, None, vec![caption.into()]));
    /// let data = Dataset::new(pictures.into(), captions)?;
    /// assert!(Recall::at(1).check(&data).is_ok());
    /// assert!(Recall::at(5).check(&data).is_err());
    /// # Ok::<(), blip2_io::dataset::DatasetError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TrainError::Argument`] saying so.
    pub fn check(&self, data: &Dataset) -> Result<(), TrainError> {
        let pictures: BTreeSet<usize> = data.examples().iter().map(|own| own.picture).collect();
        let texts: usize = data.examples().iter().map(|own| said(own).count()).sum();
        if self.k < pictures.len().max(texts) {
            return Ok(());
        }
        let reason = format!(
            "of {} pictures and {texts} texts is 1, whatever is found: count fewer, or give more data",
            pictures.len()
        );
        Err(TrainError::argument("recall@k", self.k, reason))
    }

    /// The recall of a data set by the similarity of embeddings, at `k` and then at each of the others.
    /// Every caption of an example is a text. Pictures that cannot be decoded are left out, with their
    /// texts: [`of_what_is_left`](Self::of_what_is_left) tells them.
    ///
    /// # Errors
    ///
    /// [`TrainError::Example`] for an example that has no caption, a question, or a caption that cannot
    /// be read, and as the model's own stages.
    pub fn of(
        &self,
        model: &Blip2ForImageTextRetrieval,
        texts: &TextRows,
        processor: &ImageProcessor,
        data: &Dataset,
    ) -> Result<Vec<RecallScores>, TrainError> {
        check(data, texts)?;
        let cancel = CancelToken::new();
        let found = self.of_checked(model, texts, processor, data, &cancel, &Alone)?;
        Ok(found.scores)
    }

    /// The same, telling what was left out, or failing of it.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of); for pictures that cannot be decoded, unless they are left out and others
    /// remain; and [`TrainError::Cancelled`].
    pub fn of_what_is_left(
        &self,
        model: &Blip2ForImageTextRetrieval,
        texts: &TextRows,
        processor: &ImageProcessor,
        data: &Dataset,
        on_broken: OnBroken,
        cancel: &CancelToken,
    ) -> Result<Recalled, TrainError> {
        check(data, texts)?;
        let Found { scores, faults } =
            self.of_checked(model, texts, processor, data, cancel, &Alone)?;
        let known = data.broken().len();
        let data = data.clone().without(&faults, on_broken)?;
        let left_out = data.broken().iter().skip(known).cloned().collect();
        Ok(Recalled {
            scores,
            data,
            left_out,
        })
    }

    /// Why recall cannot be had of an example; `None` if it can.
    pub fn fault(&self, example: &Example, texts: &TextRows) -> Option<String> {
        fault(example, texts)
    }

    /// The same of examples that were checked before.
    pub(crate) fn of_checked(
        &self,
        model: &Blip2ForImageTextRetrieval,
        texts: &TextRows,
        processor: &ImageProcessor,
        data: &Dataset,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<Found, TrainError> {
        let device = device_of(model);
        let own = self.images(model, processor, data, cancel, group);
        let own = own.map(|(images, numbers)| (numbers, images.map(|images| images.tensor())));
        let (pictures, images) = rows_of_all(group, own, &device)?;
        let images = images.map(ProjectedImages::of_unit);
        let place: BTreeMap<usize, usize> = pictures.into_iter().zip(0..).collect();
        let (mut captions, mut picture_of) = (Vec::new(), Vec::new());
        let mut texts_of = vec![Vec::new(); place.len()];
        let mut faults = BTreeMap::new();
        for (number, example) in data.examples().iter().enumerate() {
            let Some(&own) = place.get(&example.picture) else {
                let picture = data.pictures().get(example.picture);
                let path = picture.map(|picture| picture.path().display().to_string());
                let path = path.unwrap_or_default();
                faults.insert(number, format!("{path} can no longer be decoded"));
                continue;
            };
            for caption in said(example) {
                texts_of[own].push(captions.len());
                captions.push(caption);
                picture_of.push(vec![own]);
            }
        }
        let own = self.texts(model, texts, &captions, group);
        let own = own.map(|(texts, numbers)| (numbers, texts.map(|texts| texts.tensor())));
        let (_, texts) = rows_of_all(group, own, &device)?;
        let texts = texts.map(ProjectedTexts::of_unit);
        let ks = [self.k].into_iter().chain(self.others.iter().copied());
        let (Some(images), Some(texts)) = (images, texts) else {
            let nothing = ks.map(|k| RecallScores {
                k,
                text_to_image: 0.0,
                image_to_text: 0.0,
            });
            let scores = nothing.collect();
            return Ok(Found { scores, faults });
        };

        // Of all similarities there are never more than those of a batch.
        let text_to_image = self.found(&picture_of, |first, count| {
            images.similarity(&texts.part(first, count)).transpose()
        })?;
        let image_to_text = self.found(&texts_of, |first, count| {
            images.part(first, count).similarity(&texts)
        })?;
        let found = text_to_image.into_iter().zip(image_to_text);
        let scores = ks
            .zip(found)
            .map(|(k, (text_to_image, image_to_text))| RecallScores {
                k,
                text_to_image,
                image_to_text,
            });
        let scores = scores.collect();
        Ok(Found { scores, faults })
    }

    /// This process's share of the pictures that can be decoded, and their numbers in the data set.
    fn images(
        &self,
        model: &Blip2ForImageTextRetrieval,
        processor: &ImageProcessor,
        data: &Dataset,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<(Option<ProjectedImages>, Vec<usize>), TrainError> {
        let loader = Loader::new(data.clone(), processor.clone());
        let loader = loader.share(group.rank(), group.size());
        let loader = loader.batch(self.batch).by_picture(usize::MAX);
        let device = device_of(model);
        let (mut images, mut pictures) = (Vec::new(), Vec::new());
        for batch in loader.on_broken(OnBroken::Skip).epoch(0) {
            if cancel.is_cancelled() {
                return Err(TrainError::Cancelled);
            }
            let batch = match batch {
                Err(DatasetError::Broken { .. }) => continue,
                batch => batch?,
            };
            if batch.pictures.is_empty() {
                continue;
            }
            let encoded = model.encode_images(batch.pixel_values.tensor(&device))?;
            images.push(model.project_images(&encoded)?);
            pictures.extend(batch.pictures);
        }
        Ok((ProjectedImages::cat(images), pictures))
    }

    /// This process's share of the texts, and their numbers.
    fn texts(
        &self,
        model: &Blip2ForImageTextRetrieval,
        texts: &TextRows,
        captions: &[&str],
        group: &dyn Group,
    ) -> Result<(Option<ProjectedTexts>, Vec<usize>), TrainError> {
        let (mut projected, mut numbers) = (Vec::new(), Vec::new());
        let batch = self.batch.max(1);
        for (part, captions) in captions.chunks(batch).enumerate() {
            if part % group.size() != group.rank() {
                continue;
            }
            let rows = texts.rows_cut(captions, MAX_TOKENS)?;
            projected.push(model.project_texts(&model.encode_texts(&rows)?));
            numbers.extend((0..captions.len()).map(|place| part * batch + place));
        }
        Ok((ProjectedTexts::cat(projected), numbers))
    }

    /// The part of queries that find one of what is `right` for them, for each number of candidates; `similarities` gives the rows of
    /// a number of queries from the first of them on.
    fn found(
        &self,
        right: &[Vec<usize>],
        similarities: impl Fn(usize, usize) -> Tensor<2>,
    ) -> Result<Vec<f64>, TrainError> {
        let batch = self.batch.max(1);
        let mut found = vec![0.0; 1 + self.others.len()];
        for (number, right) in right.chunks(batch).enumerate() {
            let rows = similarities(number * batch, right.len());
            let [_, candidates] = rows.dims();
            let rows: Vec<f32> = rows.into_data().iter().collect();
            let rows: Vec<Vec<f32>> = rows.chunks(candidates).map(<[f32]>::to_vec).collect();
            let ks = [&self.k].into_iter().chain(&self.others);
            for (&k, found) in ks.zip(&mut found) {
                let recall = recall_at(k, &rows, right).map_err(|error| TrainError::Batch {
                    reason: error.to_string(),
                })?;
                *found += recall * right.len() as f64;
            }
        }
        let queries = right.len().max(1) as f64;
        Ok(found.into_iter().map(|found| found / queries).collect())
    }
}

/// Refuses examples that no pairs can be made of, by their ids: training would end in the midst else.
pub(crate) fn check(data: &Dataset, texts: &TextRows) -> Result<(), TrainError> {
    data.examples()
        .iter()
        .try_for_each(|example| match fault(example, texts) {
            Some(reason) => Err(TrainError::example(&example.id, reason)),
            None => Ok(()),
        })
}

/// Why no pairs can be made of an example.
pub(crate) fn fault(example: &Example, texts: &TextRows) -> Option<String> {
    if example.question.is_some() {
        return Some("is a question: the first stage is trained on captions".into());
    }
    let captions: Vec<&str> = said(example).collect();
    if captions.is_empty() {
        return Some("has no caption to train on".into());
    }
    let unread = texts.rows_cut(&captions, MAX_TOKENS).err()?;
    Some(format!("has a caption that cannot be read: {unread}"))
}
