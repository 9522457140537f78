//! Training a model of retrieval on pictures and their captions.

use std::collections::BTreeMap;

use blip2_core::{Blip2Error, CancelToken, CheckpointFolder, TextRows, model::Blip2ForPretraining};
use blip2_io::{
    dataset::{BrokenRecord, Dataset, Example, LoadedBatch, OnBroken},
    preprocessing::ImageProcessor,
};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{
    drawn::drawn,
    error::TrainError,
    group::{Alone, Group, together},
    objective::{FirstStageLosses, Pairs, first_stage_losses, first_stage_losses_together},
    recall::{Found, MAX_TOKENS, Recall, RecallScores, check, fault},
    run::{At, Losses, Objective, Scores, Shared},
    trained::{device_of, without_gradients},
};

/// The three losses of the first stage on a data set's captions (contrast, matching, generation), and
/// how well texts and pictures of another one find each other.
///
/// Of several captions one is drawn each time that an example is seen, and its picture is encoded for
/// it. Examples of one picture, and captions of the same tokens, are no negatives of one another.
///
/// ```no_run
/// use blip2_core::CheckpointFolder;
/// use blip2_io::dataset::{Dataset, OnBroken};
/// use blip2_train::{FirstStage, Recall};
///
/// let folder = CheckpointFolder::open("models/blip2-itm-vit-g")?;
/// let held_out = Dataset::coco_captions("validation.json", "pictures", OnBroken::Fail)?;
/// let objective = FirstStage::new(&folder)?.with_validation(held_out, Recall::at(1))?;
/// # let _ = objective;
/// # Ok::<(), blip2_train::TrainError>(())
/// ```
#[derive(Debug)]
pub struct FirstStage {
    texts: TextRows,
    writes: u32,
    processor: ImageProcessor,
    validation: Option<(Dataset, Recall)>,
    on_broken: OnBroken,
}

impl FirstStage {
    /// The losses on captions, for the checkpoint of retrieval in `folder`.
    ///
    /// # Errors
    ///
    /// As [`TextRows::of`], and [`TrainError::Checkpoint`] for a tokenizer without the token that texts
    /// begin with which are written.
    pub fn new(folder: &CheckpointFolder) -> Result<Self, TrainError> {
        let texts = TextRows::of(folder)?;
        let writes = texts.begins_written();
        let writes = writes.ok_or_else(|| TrainError::Checkpoint {
            path: folder.path().to_path_buf(),
            reason: "the tokenizer has no `[DEC]`, which texts begin with that are written".into(),
        })?;
        let processor = ImageProcessor::new(folder.image_processor()?);
        Ok(Self {
            texts,
            writes,
            processor: processor.map_err(Blip2Error::from)?,
            validation: None,
            on_broken: OnBroken::Fail,
        })
    }

    /// Evaluates how texts and pictures of this data set find each other.
    ///
    /// # Errors
    ///
    /// [`TrainError::Example`] for an example that has no caption, a question, or a caption that cannot
    /// be read.
    pub fn with_validation(mut self, data: Dataset, recall: Recall) -> Result<Self, TrainError> {
        check(&data, &self.texts)?;
        self.validation = Some((data, recall));
        Ok(self)
    }

    /// Leaves pictures out of an evaluation that can no longer be decoded, or fails of them. Default: it
    /// fails.
    #[must_use]
    pub fn with_on_broken(mut self, on_broken: OnBroken) -> Self {
        self.on_broken = on_broken;
        self
    }

    /// What is evaluated, if there is something.
    pub fn validation(&self) -> Option<&Dataset> {
        self.validation.as_ref().map(|(data, _)| data)
    }

    /// Leaves examples out that can no longer be used, or fails of them.
    fn leave_out(
        &mut self,
        faults: &BTreeMap<usize, String>,
    ) -> Result<Vec<BrokenRecord>, TrainError> {
        let Some((data, _)) = self.validation.as_mut().filter(|_| !faults.is_empty()) else {
            return Ok(Vec::new());
        };
        let known = data.broken().len();
        *data = data.clone().without(faults, self.on_broken)?;
        Ok(data.broken().iter().skip(known).cloned().collect())
    }

    /// Pictures and captions, pair by pair: the captions of all `examples`, and the pictures of those in
    /// `batch`.
    fn pairs(
        &self,
        batch: &LoadedBatch,
        examples: &[&Example],
        device: &Device,
        seed: u64,
    ) -> Result<Pairs, TrainError> {
        let captions = examples.iter().enumerate();
        let captions = captions.map(|(place, example)| drawn(example, place, seed));
        let captions: Vec<&str> = captions.collect::<Result<_, _>>()?;
        let texts = self.texts.rows_cut(&captions, MAX_TOKENS)?;
        let mut subjects = Subjects::default();
        let shown: Vec<usize> = examples
            .iter()
            .zip(texts.ids())
            .map(|(example, ids)| subjects.of(example.picture, ids))
            .collect();
        let places: Vec<i64> = batch.rows().iter().map(|&row| row as i64).collect();
        let count = places.len();
        let places = TensorData::new(places, [count]);
        let places = Tensor::<1, Int>::from_data(places, device);
        let pixels = batch.pixel_values.clone().tensor(device);
        Ok(Pairs {
            pixel_values: match count {
                0 => pixels,
                _ => pixels.select(0, places),
            },
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
        let examples = batch.examples.iter().map(|loaded| &loaded.example);
        let examples: Vec<&Example> = examples.collect();
        let pairs = self.pairs(batch, &examples, &device_of(model), at.seed)?;
        Ok(first_stage_losses(model, &pairs, at.seed)?.into())
    }

    fn losses_together(
        &mut self,
        model: &Blip2ForPretraining,
        shared: &Shared<'_>,
        at: At,
    ) -> Result<Option<Losses>, TrainError> {
        let (batch, group) = (shared.batch(), shared.group());
        if group.size() == 1 {
            return self.losses(model, batch, at).map(Some);
        }
        let pairs = self.pairs(batch, shared.examples(), &device_of(model), at.seed);
        let pairs = together(group, pairs)?;
        let losses = first_stage_losses_together(model, &pairs, shared.own(), at.seed, group)?;
        Ok(losses.map(Losses::from))
    }

    fn fault(&self, example: &Example) -> Option<String> {
        fault(example, &self.texts)
    }

    fn measure(&self) -> Option<String> {
        let (data, recall) = self.validation.as_ref()?;
        let k = recall.k;
        Some(format!("recall@{k} on data {}", data.fingerprint()))
    }

    fn measure_of_the_whole(&self) -> Option<String> {
        let (data, recall) = self.validation.as_ref()?;
        let k = recall.k;
        let whole = || format!("recall@{k} on data {}", data.extent());
        (self.on_broken == OnBroken::Skip).then(whole)
    }

    fn try_score(
        &mut self,
        model: &Blip2ForPretraining,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<(), TrainError> {
        let Some((data, recall)) = &self.validation else {
            return Ok(());
        };
        let few = data.clone().first(recall.batch);
        let model = without_gradients(model.clone());
        let (model, texts, processor) = (model.retrieval(), &self.texts, &self.processor);
        let found = recall.of_checked(model, texts, processor, &few, cancel, group);
        found.map(drop)
    }

    fn score(
        &mut self,
        model: &Blip2ForPretraining,
        cancel: &CancelToken,
    ) -> Result<Option<Scores>, TrainError> {
        self.score_together(model, cancel, &Alone)
    }

    fn score_together(
        &mut self,
        model: &Blip2ForPretraining,
        cancel: &CancelToken,
        group: &dyn Group,
    ) -> Result<Option<Scores>, TrainError> {
        let Some((data, recall)) = &self.validation else {
            return Ok(None);
        };
        let model = without_gradients(model.clone());
        let found = recall.of_checked(
            model.retrieval(),
            &self.texts,
            &self.processor,
            data,
            cancel,
            group,
        );
        let Found { scores, faults } = found?;
        let left_out = self.leave_out(&faults)?;
        let value = scores.first().map(RecallScores::mean);
        let others = scores.iter().flat_map(|found| {
            let k = found.k;
            [
                (format!("text-to-image-recall@{k}"), found.text_to_image),
                (format!("image-to-text-recall@{k}"), found.image_to_text),
            ]
        });
        Ok(value.map(|value| Scores {
            value,
            others: others.collect(),
            left_out,
        }))
    }
}

impl From<FirstStageLosses> for Losses {
    fn from(losses: FirstStageLosses) -> Self {
        Self {
            total: losses.sum(),
            parts: vec![
                ("itc", losses.contrast),
                ("itm", losses.matching),
                ("itg", losses.generation),
            ],
            weight: None,
        }
    }
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
