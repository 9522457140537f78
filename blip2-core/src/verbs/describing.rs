//! The forms in which pictures are described and prompts continued.

use super::{Answer, AnswerStream, Describes, Options, Picture, run};
use crate::error::Blip2Error;

pub(crate) fn caption_batch<'a, W: Describes, P: Into<Picture<'a>>>(
    writer: &W,
    images: impl IntoIterator<Item = P>,
    options: &Options,
) -> Result<Vec<Answer>, Blip2Error> {
    let pairs = images.into_iter().map(|image| (image, ()));
    run::run_made(writer, pairs, |()| writer.caption_prompt(), options)
}

pub(crate) fn caption_each<'a, W: Describes, P: Into<Picture<'a>>>(
    writer: &W,
    images: impl IntoIterator<Item = P>,
    options: &Options,
) -> Vec<Result<Answer, Blip2Error>> {
    let pairs = images.into_iter().map(|image| (image, ()));
    run::run_each(writer, pairs, |()| writer.caption_prompt(), options)
}

pub(crate) fn stream_caption<W: Describes>(
    writer: &W,
    picture: Picture<'_>,
    options: &Options,
) -> Result<AnswerStream, Blip2Error> {
    run::stream(writer, picture, writer.caption_prompt()?, options)
}

pub(crate) fn prompt_batch<'a, W: Describes, P: Into<Picture<'a>>, Q: AsRef<str>>(
    writer: &W,
    pairs: impl IntoIterator<Item = (P, Q)>,
    options: &Options,
) -> Result<Vec<Answer>, Blip2Error> {
    run::run_made(
        writer,
        pairs,
        |prompt: Q| writer.raw(prompt.as_ref()),
        options,
    )
}

pub(crate) fn prompt_each<'a, W: Describes, P: Into<Picture<'a>>, Q: AsRef<str>>(
    writer: &W,
    pairs: impl IntoIterator<Item = (P, Q)>,
    options: &Options,
) -> Vec<Result<Answer, Blip2Error>> {
    run::run_each(
        writer,
        pairs,
        |prompt: Q| writer.raw(prompt.as_ref()),
        options,
    )
}

pub(crate) fn stream_prompt<W: Describes>(
    writer: &W,
    picture: Picture<'_>,
    prompt: &str,
    options: &Options,
) -> Result<AnswerStream, Blip2Error> {
    run::stream(writer, picture, writer.raw(prompt)?, options)
}

/// Gives a member that describes pictures its verbs: `caption`, `prompt` and their streams.
macro_rules! describing {
    ($member:ident, $folder:literal) => {
        impl $member {
            /// Describes a picture.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// println!("{}", blip.caption(&image)?);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// Whatever goes wrong with the picture or the generation.
            pub fn caption<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
            ) -> Result<crate::verbs::Answer, crate::error::Blip2Error> {
                self.caption_with(image, &crate::verbs::Options::default())
            }

            /// [`caption`](Self::caption) with options.
            ///
            /// # Errors
            ///
            /// As [`caption`](Self::caption), and for options that make no sense.
            pub fn caption_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                options: &crate::verbs::Options,
            ) -> Result<crate::verbs::Answer, crate::error::Blip2Error> {
                crate::verbs::alone(self.caption_batch([image], options))
            }

            /// Describes many pictures together. Each caption is what the picture alone gets.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// use blip2_core::Options;
            ///
            /// let other = blip.open("../examples/images/blue-circle.png")?;
            /// let captions = blip.caption_batch([&image, &other], &Options::default())?;
            /// assert_eq!(captions.len(), 2);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`caption_with`](Self::caption_with); the first fault fails the batch, and
            /// [`Item`](crate::Blip2Error::Item) says whose it is.
            pub fn caption_batch<'a, P: Into<crate::picture::Picture<'a>>>(
                &self,
                images: impl IntoIterator<Item = P>,
                options: &crate::verbs::Options,
            ) -> Result<Vec<crate::verbs::Answer>, crate::error::Blip2Error> {
                crate::verbs::describing::caption_batch(self, images, options)
            }

            /// [`caption_batch`](Self::caption_batch) with a result for each picture: what is at
            /// fault is left out of the batch, and the others are described.
            pub fn caption_each<'a, P: Into<crate::picture::Picture<'a>>>(
                &self,
                images: impl IntoIterator<Item = P>,
                options: &crate::verbs::Options,
            ) -> Vec<Result<crate::verbs::Answer, crate::error::Blip2Error>> {
                crate::verbs::describing::caption_each(self, images, options)
            }

            /// Describes a picture piece by piece, as the text grows.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// for piece in blip.stream_caption(&image)? {
            ///     print!("{}", piece?);
            /// }
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`caption`](Self::caption); errors of later steps come out of the stream.
            pub fn stream_caption<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
            ) -> Result<crate::verbs::AnswerStream, crate::error::Blip2Error> {
                self.stream_caption_with(image, &crate::verbs::Options::default())
            }

            /// [`stream_caption`](Self::stream_caption) with options; more than one beam cannot be
            /// streamed.
            ///
            /// # Errors
            ///
            /// As [`stream_caption`](Self::stream_caption), and for options that make no sense.
            pub fn stream_caption_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                options: &crate::verbs::Options,
            ) -> Result<crate::verbs::AnswerStream, crate::error::Blip2Error> {
                crate::verbs::describing::stream_caption(self, image.into(), options)
            }

            /// Continues a raw prompt about a picture; no template is applied. Of BLIP-1 the prompt
            /// is the beginning of a caption, and the result is what follows it.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// println!("a picture of {}", blip.prompt(&image, "a picture of")?);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// For a prompt that holds what only the library may place there, or that is too long;
            /// and whatever goes wrong with the picture or the generation.
            pub fn prompt<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                prompt: &str,
            ) -> Result<crate::verbs::Answer, crate::error::Blip2Error> {
                self.prompt_with(image, prompt, &crate::verbs::Options::default())
            }

            /// [`prompt`](Self::prompt) with options.
            ///
            /// # Errors
            ///
            /// As [`prompt`](Self::prompt), and for options that make no sense.
            pub fn prompt_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                prompt: &str,
                options: &crate::verbs::Options,
            ) -> Result<crate::verbs::Answer, crate::error::Blip2Error> {
                crate::verbs::alone(self.prompt_batch([(image, prompt)], options))
            }

            /// Continues many raw prompts together. Each result is what the pair alone gets.
            ///
            /// # Errors
            ///
            /// As [`prompt_with`](Self::prompt_with); the first fault fails the batch, and
            /// [`Item`](crate::Blip2Error::Item) says whose it is.
            pub fn prompt_batch<'a, P: Into<crate::picture::Picture<'a>>, Q: AsRef<str>>(
                &self,
                pairs: impl IntoIterator<Item = (P, Q)>,
                options: &crate::verbs::Options,
            ) -> Result<Vec<crate::verbs::Answer>, crate::error::Blip2Error> {
                crate::verbs::describing::prompt_batch(self, pairs, options)
            }

            /// [`prompt_batch`](Self::prompt_batch) with a result for each pair: what is at fault is
            /// left out of the batch, and the others are continued.
            pub fn prompt_each<'a, P: Into<crate::picture::Picture<'a>>, Q: AsRef<str>>(
                &self,
                pairs: impl IntoIterator<Item = (P, Q)>,
                options: &crate::verbs::Options,
            ) -> Vec<Result<crate::verbs::Answer, crate::error::Blip2Error>> {
                crate::verbs::describing::prompt_each(self, pairs, options)
            }

            /// Continues a raw prompt about a picture piece by piece, as the text grows.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// for piece in blip.stream(&image, "a picture of")? {
            ///     print!("{}", piece?);
            /// }
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`prompt`](Self::prompt); errors of later steps come out of the stream.
            pub fn stream<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                prompt: &str,
            ) -> Result<crate::verbs::AnswerStream, crate::error::Blip2Error> {
                self.stream_with(image, prompt, &crate::verbs::Options::default())
            }

            /// [`stream`](Self::stream) with options; more than one beam cannot be streamed.
            ///
            /// # Errors
            ///
            /// As [`stream`](Self::stream), and for options that make no sense.
            pub fn stream_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                prompt: &str,
                options: &crate::verbs::Options,
            ) -> Result<crate::verbs::AnswerStream, crate::error::Blip2Error> {
                crate::verbs::describing::stream_prompt(self, image.into(), prompt, options)
            }
        }
    };
}
pub(crate) use describing;
