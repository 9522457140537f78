//! What members of the family do to many pictures at once, whichever member it is.

use blip2_core::{
    Answer, Blip2Error, Blip2Pipeline, BlipAnswerer, BlipCaptioner, Options, Picture, Seen, Writer,
};

/// Looks at pictures.
pub(super) trait Verbal: Writer + Sized {
    fn look_together(&self, pictures: &[Picture<'_>]) -> Result<Vec<Seen<Self>>, Blip2Error>;
}

/// Describes pictures.
pub(super) trait Captions: Verbal {
    fn captions(
        &self,
        pictures: Vec<Picture<'_>>,
        options: &Options,
    ) -> Vec<Result<Answer, Blip2Error>>;

    fn prompted(
        &self,
        pairs: Vec<(Picture<'_>, &str)>,
        options: &Options,
    ) -> Vec<Result<Answer, Blip2Error>>;
}

/// Answers questions about pictures.
pub(super) trait Questions: Verbal {
    fn answers(
        &self,
        pairs: Vec<(Picture<'_>, &str)>,
        options: &Options,
    ) -> Vec<Result<Answer, Blip2Error>>;
}

macro_rules! verbal {
    ($($member:ty),*) => {$(
        impl Verbal for $member {
            fn look_together(&self, pictures: &[Picture<'_>]) -> Result<Vec<Seen<Self>>, Blip2Error> {
                self.look_batch(pictures.iter().copied(), &Options::default())
            }
        }
    )*};
}

macro_rules! captions {
    ($($member:ty),*) => {$(
        impl Captions for $member {
            fn captions(
                &self,
                pictures: Vec<Picture<'_>>,
                options: &Options,
            ) -> Vec<Result<Answer, Blip2Error>> {
                self.caption_each(pictures, options)
            }

            fn prompted(
                &self,
                pairs: Vec<(Picture<'_>, &str)>,
                options: &Options,
            ) -> Vec<Result<Answer, Blip2Error>> {
                self.prompt_each(pairs, options)
            }
        }
    )*};
}

macro_rules! questions {
    ($($member:ty),*) => {$(
        impl Questions for $member {
            fn answers(
                &self,
                pairs: Vec<(Picture<'_>, &str)>,
                options: &Options,
            ) -> Vec<Result<Answer, Blip2Error>> {
                self.answer_each(pairs, options)
            }
        }
    )*};
}

verbal!(Blip2Pipeline, BlipCaptioner, BlipAnswerer);
captions!(Blip2Pipeline, BlipCaptioner);
questions!(Blip2Pipeline, BlipAnswerer);
