//! One command for every member of the family that can do what it asks for.

use blip2_core::{
    Answer, AnswerFlow, Blip2Error, Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner,
    BlipRetrieval, CompareOptions, Describes, ErrorKind, MatchScore, ModelKind, Options,
    RankOptions, Ranked, Seen, TextEmbedding, TypedAnswer,
};
use image::RgbImage;

use crate::{
    Failure,
    args::model::{ModelArgs, RetrievalArgs},
    model,
    shown::Shown,
    words::words,
};

/// The result of one picture, or why no other will have one either.
pub(crate) fn of_one<T>(result: Result<T, Blip2Error>) -> Result<Result<T, String>, Failure> {
    match result {
        Ok(done) => Ok(Ok(done)),
        Err(error) => match error.kind() {
            ErrorKind::Input | ErrorKind::Limit | ErrorKind::Generation => Ok(Err(words(&error))),
            _ => Err(Failure::work(error)),
        },
    }
}

/// [`of_one`] where each was tried alone: what has no room then leaves room for others.
#[cfg(feature = "tables")]
pub(crate) fn of_row<T>(result: Result<T, Blip2Error>) -> Result<Result<T, String>, Failure> {
    match result {
        Err(error) if error.kind() == ErrorKind::Memory => Ok(Err(words(&error))),
        result => of_one(result),
    }
}

/// What is wrong in a stream of pictures.
pub(crate) enum Fault {
    /// With one picture.
    OfOne(String),
    /// With all that would follow.
    OfAll(Failure),
}

impl From<Blip2Error> for Fault {
    fn from(error: Blip2Error) -> Self {
        match of_one::<()>(Err(error)) {
            Ok(Err(told)) => Self::OfOne(told),
            Ok(Ok(())) => Self::OfOne("there is no caption".into()),
            Err(failure) => Self::OfAll(failure),
        }
    }
}

fn captions_of<P: Describes>(
    model: &P,
    pictures: impl Iterator<Item = Result<(Shown, Option<String>), Fault>> + Send + 'static,
    places: usize,
    options: &Options,
    mut each: impl FnMut(Result<Answer, String>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let flow = AnswerFlow::new(model)
        .with_places(places)
        .in_order(true)
        .with_options(options.clone());
    for (_, captioned) in flow.captions(pictures) {
        each(match captioned {
            Ok(answer) => Ok(answer),
            Err(Fault::OfOne(told)) => Err(told),
            Err(Fault::OfAll(failure)) => return Err(failure),
        })?;
    }
    Ok(())
}

/// A model that answers questions.
pub(crate) enum Answerer {
    Blip2(Box<Blip2Pipeline>),
    Blip1(Box<BlipAnswerer>),
}

impl Answerer {
    pub(crate) fn open(args: &ModelArgs) -> Result<Self, Failure> {
        match (&args.model, model::kind(args.model.as_deref())) {
            (Some(folder), Some(ModelKind::BlipAnswer)) => {
                let builder = BlipAnswerer::builder(folder);
                let opened = model::open_any_blip1(builder, args)?;
                Ok(Self::Blip1(Box::new(opened)))
            }
            _ => Ok(Self::Blip2(Box::new(model::open(args)?))),
        }
    }

    pub(crate) fn answer(
        &self,
        image: &Shown,
        question: &str,
        options: &Options,
    ) -> Result<Answer, Failure> {
        match self {
            Self::Blip2(blip2) => blip2.answer_with(image, question, options),
            Self::Blip1(blip) => blip.answer_with(image, question, options),
        }
        .map_err(Failure::work)
    }

    pub(crate) fn prompt(
        &self,
        image: &Shown,
        prompt: &str,
        options: &Options,
    ) -> Result<Answer, Failure> {
        match self {
            Self::Blip2(blip2) => blip2
                .prompt_with(image, prompt, options)
                .map_err(Failure::work),
            Self::Blip1(_) => Err(Failure::usage(
                "BLIP-1 reads questions as they are: give a question in place of --prompt",
            )),
        }
    }

    pub(crate) fn answer_as<T: TypedAnswer>(
        &self,
        image: &Shown,
        question: &str,
        options: &Options,
    ) -> Result<Answer, Failure> {
        let pair = [(image, question)];
        let typed = match self {
            Self::Blip2(blip2) => blip2.answer_as_batch::<T, _, _>(pair, options),
            Self::Blip1(blip) => blip.answer_as_batch::<T, _, _>(pair, options),
        };
        let typed = typed.map_err(Failure::work)?.into_iter().next();
        let typed = typed.ok_or_else(|| Failure::Work("there is no answer".into()))?;
        Ok(typed.answer)
    }

    pub(crate) fn rank(
        &self,
        image: &Shown,
        question: &str,
        candidates: &[String],
        options: &RankOptions,
    ) -> Result<Vec<Ranked>, Failure> {
        let pair = [(image, question)];
        let ranked = match self {
            Self::Blip2(blip2) => blip2.rank_batch(pair, candidates, options),
            Self::Blip1(blip) => blip.rank_batch(pair, candidates, options),
        };
        Ok(ranked
            .map_err(Failure::work)?
            .into_iter()
            .flatten()
            .collect())
    }

    /// Encodes a picture for many questions.
    pub(crate) fn look(&self, image: &Shown) -> Result<Result<Looked, String>, Failure> {
        of_one(match self {
            Self::Blip2(blip2) => blip2.look(image).map(Looked::Blip2),
            Self::Blip1(blip) => blip.look(image).map(Looked::Blip1),
        })
    }

    /// Whether questions are put into a template.
    pub(crate) fn has_template(&self) -> bool {
        matches!(self, Self::Blip2(_))
    }
}

/// A picture that a model has encoded.
pub(crate) enum Looked {
    Blip2(Seen<Blip2Pipeline>),
    Blip1(Seen<BlipAnswerer>),
}

impl Looked {
    /// Answers questions together, with a result for each.
    pub(crate) fn ask_each(
        &self,
        questions: &[String],
        options: &Options,
    ) -> Result<Vec<Result<Answer, String>>, Failure> {
        let answers = match self {
            Self::Blip2(seen) => seen.ask_each(questions, options),
            Self::Blip1(seen) => seen.ask_each(questions, options),
        };
        answers.into_iter().map(of_one).collect()
    }

    /// Answers a question with a value of a type.
    pub(crate) fn ask_as<T: TypedAnswer>(
        &self,
        question: &str,
        options: &Options,
    ) -> Result<Result<Answer, String>, Failure> {
        let typed = match self {
            Self::Blip2(seen) => seen.ask_as_with::<T>(question, options),
            Self::Blip1(seen) => seen.ask_as_with::<T>(question, options),
        };
        of_one(typed.map(|typed| typed.answer))
    }

    /// Ranks candidates as answers to a question.
    pub(crate) fn rank(
        &self,
        question: &str,
        candidates: &[String],
        options: &RankOptions,
    ) -> Result<Result<Vec<Ranked>, String>, Failure> {
        let ranked = match self {
            Self::Blip2(seen) => seen.rank_batch([question], candidates, options),
            Self::Blip1(seen) => seen.rank_batch([question], candidates, options),
        };
        of_one(ranked.map(|ranked| ranked.into_iter().flatten().collect()))
    }
}

/// A model that describes pictures.
pub(crate) enum Captioner {
    Blip2(Box<Blip2Pipeline>),
    Blip1(Box<BlipCaptioner>),
}

impl Captioner {
    pub(crate) fn open(args: &ModelArgs) -> Result<Self, Failure> {
        match (&args.model, model::kind(args.model.as_deref())) {
            (Some(folder), Some(ModelKind::BlipCaption)) => {
                let builder = BlipCaptioner::builder(folder);
                let opened = model::open_any_blip1(builder, args)?;
                Ok(Self::Blip1(Box::new(opened)))
            }
            _ => Ok(Self::Blip2(Box::new(model::open(args)?))),
        }
    }

    /// Describes a stream of pictures, each after its prompt if it has one, as many at a time as there are
    /// places, and hands the results on in their order. What is wrong with one of them is its own result;
    /// what is wrong with the model or the machine ends the call.
    pub(crate) fn captions(
        &self,
        pictures: impl Iterator<Item = Result<(Shown, Option<String>), Fault>> + Send + 'static,
        places: usize,
        options: &Options,
        each: impl FnMut(Result<Answer, String>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self {
            Self::Blip2(blip2) => captions_of(&**blip2, pictures, places, options, each),
            Self::Blip1(blip) => captions_of(&**blip, pictures, places, options, each),
        }
    }

    /// Describes pictures, after a prompt if there is one.
    pub(crate) fn describe(
        &self,
        images: &[&Shown],
        prompt: Option<&str>,
        options: &Options,
    ) -> Result<Vec<Answer>, Failure> {
        let pairs = |prompt| images.iter().map(move |image| (*image, prompt));
        match (self, prompt) {
            (Self::Blip2(blip2), None) => blip2.caption_batch(images.iter().copied(), options),
            (Self::Blip2(blip2), Some(prompt)) => blip2.prompt_batch(pairs(prompt), options),
            (Self::Blip1(blip), None) => blip.caption_batch(images.iter().copied(), options),
            (Self::Blip1(blip), Some(prompt)) => blip.prompt_batch(pairs(prompt), options),
        }
        .map_err(Failure::work)
    }
}

/// A model that compares pictures with texts.
pub(crate) enum Matcher {
    Blip2(Box<Blip2Retrieval>),
    Blip1(Box<BlipRetrieval>),
}

impl Matcher {
    pub(crate) fn open(args: &RetrievalArgs) -> Result<Self, Failure> {
        match model::kind(Some(&args.model)) {
            Some(ModelKind::BlipRetrieval) => {
                let builder = BlipRetrieval::builder(&args.model);
                let opened = model::open_blip1(builder, args)?;
                Ok(Self::Blip1(Box::new(opened)))
            }
            _ => Ok(Self::Blip2(Box::new(model::open_retrieval(args)?))),
        }
    }

    /// A text in the space that it shares with pictures.
    pub(crate) fn embed_text(&self, text: &str) -> Result<TextEmbedding, Failure> {
        match self {
            Self::Blip2(blip2) => blip2.embed_text(text),
            Self::Blip1(blip) => blip.embed_text(text),
        }
        .map_err(Failure::work)
    }

    /// How well each text describes the picture, and how similar they are.
    pub(crate) fn compare(
        &self,
        image: &RgbImage,
        texts: &[String],
    ) -> Result<Vec<(MatchScore, f32)>, Failure> {
        let options = CompareOptions::default();
        let compared = || -> Result<_, Blip2Error> {
            let (scores, image, texts) = match self {
                Self::Blip2(blip2) => {
                    // Encoded once for all texts.
                    let photo = blip2.encode(image)?;
                    let scores = texts.iter().map(|text| blip2.match_encoded([&photo], text));
                    let scores: Vec<_> = scores.collect::<Result<_, _>>()?;
                    let scores = scores.into_iter().flatten().collect();
                    (
                        scores,
                        photo.embedding,
                        blip2.embed_text_batch(texts, &options)?,
                    )
                }
                Self::Blip1(blip) => {
                    let scores =
                        blip.match_batch(texts.iter().map(|text| (image, text)), &options)?;
                    (
                        scores,
                        blip.embed_image(image)?,
                        blip.embed_text_batch(texts, &options)?,
                    )
                }
            };
            let scores: Vec<MatchScore> = scores;
            scores
                .into_iter()
                .zip(&texts)
                .map(|(score, text)| Ok((score, image.similarity(text)?)))
                .collect()
        };
        compared().map_err(Failure::work)
    }
}
