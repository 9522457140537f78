//! Pictures described.

use blip2_io::config::ModelKind;

use super::parts::{Parts, by_length, common, one};
use crate::{Answer, Blip2Error, Options, Picture, Timings, model::BlipForConditionalGeneration};

/// A loaded BLIP-1 that describes pictures (`BlipForConditionalGeneration`).
///
/// ```no_run
/// use blip2_core::{BlipCaptioner, image};
///
/// let blip = BlipCaptioner::from_pretrained("models/blip-image-captioning-base")?;
/// let image = image::open("beach.jpg")?;
/// println!("{}", blip.caption(&image)?);
/// println!("a photography of {}", blip.prompt(&image, "a photography of")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BlipCaptioner {
    model: BlipForConditionalGeneration,
    parts: Parts,
}

common!(
    BlipCaptioner,
    ModelKind::BlipCaption,
    BlipForConditionalGeneration
);

impl BlipCaptioner {
    /// Describes a picture.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong with the picture or the generation.
    pub fn caption<'a>(&self, image: impl Into<Picture<'a>>) -> Result<Answer, Blip2Error> {
        one(self.caption_batch([image], &Options::default())?)
    }

    /// Describes many pictures together. Each caption is what the picture alone gets.
    ///
    /// # Errors
    ///
    /// As [`caption`](Self::caption), and for options that make no sense; the first fault fails
    /// the batch.
    pub fn caption_batch<'a, P: Into<Picture<'a>>>(
        &self,
        images: impl IntoIterator<Item = P>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let images = images.into_iter();
        self.prompt_batch(images.map(|image| (image, "")), options)
    }

    /// Goes on with the beginning of a caption; the result is what comes behind it.
    ///
    /// # Errors
    ///
    /// As [`caption`](Self::caption), and for a beginning that spells out a special token or has
    /// more tokens than the model has positions.
    pub fn prompt<'a>(
        &self,
        image: impl Into<Picture<'a>>,
        beginning: &str,
    ) -> Result<Answer, Blip2Error> {
        one(self.prompt_batch([(image, beginning)], &Options::default())?)
    }

    /// Goes on with the beginnings of many captions together. Each result is what the pair alone
    /// gets.
    ///
    /// # Errors
    ///
    /// As [`prompt`](Self::prompt), and for options that make no sense; the first fault fails the
    /// batch.
    pub fn prompt_batch<'a, P: Into<Picture<'a>>, T: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, T)>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let (mut pictures, mut beginnings) = (Vec::new(), Vec::new());
        for (picture, text) in pairs {
            pictures.push(picture.into());
            beginnings.push(self.beginning(text.as_ref())?);
        }
        by_length(&beginnings, |group| {
            let pictures: Vec<Picture<'a>> = group.iter().map(|&row| pictures[row]).collect();
            let ids: Vec<_> = group.iter().map(|&row| beginnings[row].clone()).collect();
            self.run(&pictures, ids, options)
        })
    }

    /// Beginnings of one length.
    fn run(
        &self,
        pictures: &[Picture<'_>],
        ids: Vec<Vec<u32>>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let length = ids.first().map_or(0, Vec::len);
        let (generator, new_tokens) = self.parts.generator(options, length)?;
        let mut timings = Timings::default();
        let vision = self.model.vision_model();
        let image_embeds = self.parts.encode(vision, pictures, &mut timings)?;
        let mask = vec![vec![true; length]; ids.len()];
        let decoder = self.model.text_decoder();
        let session = decoder.start(&ids, &mask, image_embeds, new_tokens)?;
        self.parts.write(&generator, session, &ids, timings)
    }

    /// What the decoder begins with: its start token in the place of the tokenizer's, and the
    /// text's tokens without the one that ends it, as the reference's `generate` has them.
    fn beginning(&self, text: &str) -> Result<Vec<u32>, Blip2Error> {
        let start = self.model.decoder_start()?;
        if text.trim().is_empty() {
            return Ok(vec![start]);
        }
        let ids = self.parts.ids(text)?;
        let inner = ids.get(1..ids.len().saturating_sub(1)).unwrap_or_default();
        Ok([&[start], inner].concat())
    }
}
