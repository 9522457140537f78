//! Data sets of pictures with questions or captions, and their loading.
//!
//! | reader | of |
//! |---|---|
//! | [`Dataset::json_lines`] | a file with a record a line (`question`, `answer`, `image` or `pid`), which is IconQA's layout too |
//! | [`Dataset::json_records`] | the same by other names of keys, or a list of such records (LAVIS), or of conversations (LLaVA) |
//! | [`Dataset::csv`] | a table of text with the same columns |
//! | [`Dataset::image_folder`] | a folder with `metadata.jsonl` or `metadata.csv`, as Hugging Face has it |
//! | [`Dataset::iconqa_test`] | a folder of items, each with `data.json` and `image.png` |
//! | [`Dataset::vqa_v2`] | VQAv2's questions and annotations, with ten people's answers; OK-VQA's too |
//! | [`Dataset::a_okvqa`] | A-OKVQA's questions with choices |
//! | [`Dataset::vizwiz`], [`gqa`](Dataset::gqa), [`textvqa`](Dataset::textvqa) | the questions of these |
//! | [`Dataset::coco_captions`] | COCO's captions |
//! | [`Dataset::karpathy`] | Karpathy's splits of COCO and Flickr |
//! | [`Dataset::textcaps`], [`flickr30k`](Dataset::flickr30k) | the captions of these |
//! | [`Dataset::web_dataset`] | WebDataset's shards, tar archives with the pictures in them |
//! | `Dataset::parquet` | tables in Parquet with the pictures in them, as the hub has data sets (feature `tables`) |
//! | [`Dataset::easy_vqa`] | the wheel of `easy-vqa`, or its folder |
//!
//! A record that is broken is reported with its place, and fails the whole or is left out, as
//! [`OnBroken`] says. [`Loader`] makes batches of what was read, with worker threads, in an order that
//! follows from a seed alone.
//!
//! ```no_run
//! use blip2_io::{
//!     dataset::{Dataset, Loader, OnBroken},
//!     preprocessing::{ImageProcessor, ImageProcessorConfig},
//! };
//!
//! let data = Dataset::json_lines("train.jsonl", "pictures", OnBroken::Skip)?;
//! for record in data.broken() {
//!     eprintln!("{record}");
//! }
//! let processor = ImageProcessor::new(ImageProcessorConfig::default())?;
//! let loader = Loader::new(data, processor).batch(16).shuffled(0);
//! for batch in loader.epoch(0) {
//!     let batch = batch?;
//!     assert_eq!(batch.pixel_values.shape()[0], batch.pictures.len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod a_okvqa;
mod augment;
mod below;
mod choice;
mod coco;
mod collect;
mod columns;
mod easy_vqa;
mod error;
mod fields;
mod flickr;
mod gqa;
mod image_folder;
mod json;
mod json_lines;
mod karpathy;
mod loader;
mod order;
mod packed;
#[cfg(feature = "tables")]
mod parquet;
#[cfg(feature = "tables")]
mod parquet_rows;
mod picture;
mod quote;
mod read;
mod record;
mod same;
mod shard;
mod sift;
mod table;
mod textcaps;
mod turns;
mod unite;
mod vizwiz;
mod vqa_v2;
mod web_dataset;

use std::{collections::HashMap, path::PathBuf};

use crate::{preprocessing::DecodeOptions, video::Video};

pub use a_okvqa::ChoiceAnswers;
pub use augment::{Augmentation, Crop, depends_on_position};
pub use columns::Columns;
pub use easy_vqa::Split;
pub use error::{BrokenRecord, DatasetError};
pub use loader::{Epoch, LoadedBatch, LoadedExample, Loader};
#[cfg(feature = "tables")]
pub use parquet::TablePicture;
pub use picture::PictureFile;
pub use shard::ShardMember;

/// A picture with a question about it and its answers, or with captions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Example {
    /// What the data set calls it.
    pub id: String,
    /// By which of a record's keys that is told, such as `question_id`; none where the data set has ids of its own, or
    /// none.
    pub id_key: Option<String>,
    /// The picture: its number in [`Dataset::pictures`].
    pub picture: usize,
    /// The question; none for captions.
    pub question: Option<String>,
    /// The answers that people gave, or the captions that they wrote. None in a test set that does
    /// not tell them.
    pub answers: Vec<String>,
    /// Where in the data set's file it stands: a line, a question's id.
    pub place: String,
    /// What kind of question it is, where the data set says so: `how many` in VQAv2.
    pub question_type: Option<String>,
    /// What kind of answer it has, where the data set says so: `yes/no`, `number`, `other` in VQAv2.
    pub answer_type: Option<String>,
    /// The answers that are to choose from, where they are given.
    pub choices: Vec<String>,
    /// Of a picture that comes several times, which of the data set's copies lies beside the example.
    copy: Option<usize>,
}

impl Example {
    /// The answer that most people gave, the first one of several; `None` if nobody tells.
    pub fn usual_answer(&self) -> Option<&str> {
        let count = |one: &&String| self.answers.iter().filter(|other| other == one).count();
        // `max_by_key` gives the last of equals.
        let usual = self.answers.iter().rev().max_by_key(count);
        usual.map(String::as_str)
    }

    /// An example of no known kind, without choices.
    fn new(
        id: String,
        picture: usize,
        question: Option<String>,
        answers: Vec<String>,
        place: String,
    ) -> Self {
        Self {
            id,
            id_key: None,
            picture,
            question,
            answers,
            place,
            question_type: None,
            answer_type: None,
            choices: Vec::new(),
            copy: None,
        }
    }
}

/// What becomes of a broken record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBroken {
    /// All broken records are listed in an error.
    #[default]
    Fail,
    /// It is left out, and kept in [`Dataset::broken`].
    Skip,
}

/// Examples and their pictures.
///
/// ```
/// use blip2_io::dataset::{Dataset, PictureFile};
///
/// let pictures = vec![PictureFile::File("beach.jpg".into())];
/// let ask = |question: &str, answer: &str| (0, Some(question.into()), vec![answer.into()]);
/// let data = Dataset::new(pictures, [ask("how many dogs?", "2"), ask("is it raining?", "no")])?;
/// let closed = data.clone().filtered(|example| example.answers.iter().any(|it| it == "no"));
/// assert_eq!((data.len(), closed.len()), (2, 1));
///
/// let error = Dataset::new(vec![], [ask("how many dogs?", "2")]).unwrap_err();
/// assert!(error.to_string().contains("there is no picture 0"));
/// # Ok::<(), blip2_io::dataset::DatasetError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    examples: Vec<Example>,
    pictures: Vec<PictureFile>,
    /// The pictures that are the same as one of those, and lie elsewhere.
    copies: Vec<PictureFile>,
    broken: Vec<BrokenRecord>,
    /// What errors call it.
    file: PathBuf,
    /// How many examples are one of given choices.
    choices: usize,
    /// As how many frames a picture is seen; none for pictures.
    frames: Option<usize>,
    /// How many records were read, the broken ones among them.
    records: usize,
    /// How many examples were taken, the first ones; none where all were.
    taken: Option<usize>,
}

impl Dataset {
    /// A data set of one's own: each example's `picture` is a place in `pictures`.
    ///
    /// # Errors
    ///
    /// [`DatasetError::Broken`] listing the examples whose picture is none.
    pub fn new(
        pictures: Vec<PictureFile>,
        examples: impl IntoIterator<Item = (usize, Option<String>, Vec<String>)>,
    ) -> Result<Self, DatasetError> {
        let mut collector = collect::Collector::new(PathBuf::from("examples"));
        collector.pictures = pictures;
        for (number, (picture, question, answers)) in examples.into_iter().enumerate() {
            let place = format!("example {number}");
            let example = Example::new(number.to_string(), picture, question, answers, place);
            match picture < collector.pictures.len() {
                true => collector.examples.push(example),
                false => collector.broken(
                    format!("example {number}"),
                    format!("there is no picture {picture}"),
                ),
            }
        }
        collector.finish(OnBroken::Fail)
    }

    /// All examples, in the data set's order.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The pictures that examples are about.
    pub fn pictures(&self) -> &[PictureFile] {
        &self.pictures
    }

    /// The records that were left out.
    pub fn broken(&self) -> &[BrokenRecord] {
        &self.broken
    }

    /// How many of the examples, as they were read, ask for one of given choices: their answer is the
    /// right choice's words.
    pub fn choices(&self) -> usize {
        self.choices
    }

    /// The same of videos: each picture is a folder of frames or an animation, of which so many frames are
    /// seen, evenly chosen.
    #[must_use]
    pub fn of_videos(mut self, frames: usize) -> Self {
        self.frames = Some(frames.max(1));
        self
    }

    /// Decodes a picture, or the frames of a video that are seen.
    ///
    /// # Errors
    ///
    /// As [`PictureFile::open`] and [`PictureFile::open_video`], and [`DatasetError::Format`] for a number
    /// that no picture has.
    pub fn open(&self, picture: usize, options: &DecodeOptions) -> Result<Video, DatasetError> {
        let file = self.pictures.get(picture).ok_or_else(|| {
            let reason = format!("there is no picture {picture}");
            DatasetError::format(&self.file, reason)
        })?;
        self.opened(file, options)
    }

    /// Decodes an example's picture: of one that a table or shards have several times, the copy that lies
    /// beside the example, so that they are read nearly in their order.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_of(
        &self,
        example: &Example,
        options: &DecodeOptions,
    ) -> Result<Video, DatasetError> {
        match self.copy_of(example) {
            Some(copy) => self.opened(copy, options),
            None => self.open(example.picture, options),
        }
    }

    /// The copy of an example's picture that lies beside it, where that is another than the first.
    fn copy_of(&self, example: &Example) -> Option<&PictureFile> {
        self.copies.get(example.copy?)
    }

    fn opened(&self, file: &PictureFile, options: &DecodeOptions) -> Result<Video, DatasetError> {
        match self.frames {
            Some(frames) => file.open_video(frames, options),
            None => Ok(Video::new(vec![file.open(options)?])?),
        }
    }

    /// Whether its pictures are videos.
    pub fn is_of_videos(&self) -> bool {
        self.frames.is_some()
    }

    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// The examples for which `keep` says so.
    #[must_use]
    pub fn filtered(mut self, keep: impl FnMut(&Example) -> bool) -> Self {
        self.examples.retain(keep);
        self
    }

    /// The first `count` examples, as for a quick evaluation.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.examples.truncate(count);
        self.taken = Some(self.taken.map_or(count, |before| before.min(count)));
        self
    }

    /// The same with all captions of a picture in one example, the first one's, as COCO has them, where each is a
    /// record of its own: scores of captions are defined so. Questions stay as they are.
    ///
    /// ```
    /// use blip2_io::dataset::{Dataset, PictureFile};
    ///
    /// let pictures = ["beach.jpg", "city.jpg"].map(|name| PictureFile::File(name.into()));
    /// let caption = |picture, text: &str| (picture, None, vec![text.to_string()]);
    /// let rows = [caption(0, "a dog"), caption(1, "a street"), caption(0, "a dog on a beach")];
    /// let data = Dataset::new(pictures.into(), rows)?.captions_by_picture();
    /// assert_eq!(data.len(), 2);
    /// assert_eq!(data.examples()[0].answers, ["a dog", "a dog on a beach"]);
    /// # Ok::<(), blip2_io::dataset::DatasetError>(())
    /// ```
    #[must_use]
    pub fn captions_by_picture(mut self) -> Self {
        let mut places = HashMap::new();
        let mut kept: Vec<Example> = Vec::with_capacity(self.examples.len());
        for example in self.examples {
            let is_caption = example.question.is_none() && example.choices.is_empty();
            let place = places.get(&example.picture).filter(|_| is_caption);
            match place.and_then(|&place: &usize| kept.get_mut(place)) {
                Some(first) => first.answers.extend(example.answers),
                None => {
                    if is_caption {
                        places.insert(example.picture, kept.len());
                    }
                    kept.push(example);
                }
            }
        }
        self.examples = kept;
        self
    }

    /// What it is of what was read, in words: the same whichever of the records turn out to be broken, since another
    /// example is then the last of the first ones.
    ///
    /// ```
    /// use blip2_io::dataset::{Dataset, PictureFile};
    ///
    /// let pictures = vec![PictureFile::File("beach.jpg".into())];
    /// let captions = ["a dog", "a beach"].map(|caption| (0, None, vec![caption.to_string()]));
    /// let data = Dataset::new(pictures, captions)?;
    /// assert_eq!(data.extent(), "of 2 records");
    /// assert_eq!(data.first(1).extent(), "of the first 1 of 2 records");
    /// # Ok::<(), blip2_io::dataset::DatasetError>(())
    /// ```
    pub fn extent(&self) -> String {
        let records = self.records;
        match self.taken {
            None => format!("of {records} records"),
            Some(taken) => format!("of the first {taken} of {records} records"),
        }
    }
}
