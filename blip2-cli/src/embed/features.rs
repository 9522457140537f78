//! Which features each member of the family has.

use blip2_core::{
    Blip2Error, Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, BlipRetrieval,
    CompareOptions, ModelKind, TextEmbedding,
    preprocessing::{ImageProcessor, PixelValues},
};
use blip2_vision::{VisionModel, VisionOptions};
use burn::tensor::{Device, Tensor};

use crate::{
    Failure,
    args::{embed::Feature, model::ModelArgs},
    model, shown,
};

/// A model that encodes pictures, and texts where it is one of retrieval.
pub(crate) struct Embedder {
    member: Member,
    vision: VisionOptions,
}

/// A member of the family that sees pictures.
pub(crate) enum Member {
    Blip2(Box<Blip2Pipeline>),
    Retrieval(Box<Blip2Retrieval>),
    Captioner(Box<BlipCaptioner>),
    Answerer(Box<BlipAnswerer>),
    BlipRetrieval(Box<BlipRetrieval>),
}

/// Numbers of several pictures or texts, one after another.
pub(crate) struct Values {
    /// The shape of those of each.
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Embedder {
    /// Opens the model of a command.
    pub(crate) fn open(args: &ModelArgs, command: &str) -> Result<Self, Failure> {
        if shown::frames(args) > 1 {
            return Err(Failure::usage(format!(
                "a model of videos looks at several frames together: `blip2 {command}` takes single \
                 pictures",
            )));
        }
        let kind = model::kind(args.model.as_deref());
        let member = match (&args.model, kind) {
            (Some(folder), Some(ModelKind::BlipCaption)) => {
                let builder = BlipCaptioner::builder(folder);
                Member::Captioner(Box::new(model::open_any_blip1(builder, args)?))
            }
            (Some(folder), Some(ModelKind::BlipAnswer)) => {
                let builder = BlipAnswerer::builder(folder);
                Member::Answerer(Box::new(model::open_any_blip1(builder, args)?))
            }
            (Some(folder), Some(ModelKind::BlipRetrieval)) => {
                let builder = BlipRetrieval::builder(folder);
                Member::BlipRetrieval(Box::new(model::open_any_blip1(builder, args)?))
            }
            (Some(folder), Some(ModelKind::Blip2Retrieval)) => {
                let builder = Blip2Retrieval::builder(folder);
                Member::Retrieval(Box::new(model::open_any_blip1(builder, args)?))
            }
            _ => Member::Blip2(Box::new(model::open(args)?)),
        };
        let other_size = args.image_size.is_some();
        let vision = VisionOptions::default().with_interpolate_pos_encoding(other_size);
        Ok(Self { member, vision })
    }

    /// The feature that is asked for, or the one that is usual of the model.
    pub(crate) fn feature(&self, asked: Option<Feature>) -> Result<Feature, Failure> {
        let known: &[Feature] = match &self.member {
            Member::Blip2(blip2) if blip2.model().reads_instructions() => {
                &[Feature::Pooled, Feature::Vision]
            }
            Member::Blip2(_) => &[
                Feature::Queries,
                Feature::Language,
                Feature::Pooled,
                Feature::Vision,
            ],
            Member::Retrieval(_) => &[
                Feature::Projected,
                Feature::Queries,
                Feature::Pooled,
                Feature::Vision,
            ],
            Member::BlipRetrieval(_) => &[Feature::Projected, Feature::Pooled, Feature::Vision],
            Member::Captioner(_) | Member::Answerer(_) => &[Feature::Pooled, Feature::Vision],
        };
        match (asked, known) {
            (None, [usual, ..]) => Ok(*usual),
            (Some(asked), _) if known.contains(&asked) => Ok(asked),
            _ => {
                let names = known.iter().map(|name| format!("{name:?}").to_lowercase());
                Err(Failure::Usage(format!(
                    "the model has no such features; give --features {}{}",
                    names.collect::<Vec<_>>().join(", or "),
                    match &self.member {
                        Member::Blip2(blip2) if blip2.model().reads_instructions() =>
                            " (its queries read the question)",
                        _ => "",
                    }
                )))
            }
        }
    }

    /// The model.
    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    /// What prepares pictures.
    pub(crate) fn processor(&self) -> &ImageProcessor {
        match &self.member {
            Member::Blip2(model) => model.processor(),
            Member::Retrieval(model) => model.processor(),
            Member::Captioner(model) => model.processor(),
            Member::Answerer(model) => model.processor(),
            Member::BlipRetrieval(model) => model.processor(),
        }
    }

    fn device(&self) -> &Device {
        match &self.member {
            Member::Blip2(model) => model.device(),
            Member::Retrieval(model) => model.device(),
            Member::Captioner(model) => model.device(),
            Member::Answerer(model) => model.device(),
            Member::BlipRetrieval(model) => model.device(),
        }
    }

    fn vision_model(&self) -> &VisionModel {
        match &self.member {
            Member::Blip2(model) => model.model().vision_model(),
            Member::Retrieval(model) => model.model().vision().vision_model(),
            Member::Captioner(model) => model.model().vision_model(),
            Member::Answerer(model) => model.model().vision_model(),
            Member::BlipRetrieval(model) => model.model().vision_model(),
        }
    }

    /// Features of pictures that were prepared.
    pub(crate) fn of_pictures(
        &self,
        pixels: Vec<PixelValues>,
        feature: Feature,
    ) -> Result<Values, Failure> {
        let pixels = PixelValues::stack(pixels).map_err(Failure::work)?;
        let encoded = self
            .vision_model()
            .forward(pixels.tensor(self.device()), &self.vision);
        let encoded = encoded.map_err(Failure::work)?.last_hidden_state;
        match feature {
            Feature::Vision => Values::of(encoded),
            Feature::Pooled => Values::of(self.vision_model().pool(encoded)),
            Feature::Queries => Values::of(self.queries(encoded).map_err(Failure::work)?),
            Feature::Language | Feature::Projected => self.projected(encoded),
        }
    }

    /// What the Q-Former's queries gather.
    fn queries(&self, encoded: Tensor<3>) -> Result<Tensor<3>, Blip2Error> {
        match &self.member {
            Member::Blip2(blip2) => {
                let model = blip2.model();
                let input = model.query_input(encoded);
                Ok(model.qformer().forward(input)?.last_hidden_state)
            }
            Member::Retrieval(blip2) => {
                let images = blip2_core::model::EncodedImages::new(encoded);
                blip2.model().vision().query(&images)
            }
            _ => Ok(encoded),
        }
    }

    /// In the space of texts, or of the language model.
    fn projected(&self, encoded: Tensor<3>) -> Result<Values, Failure> {
        match &self.member {
            Member::Blip2(blip2) => {
                let features = blip2.model().query(encoded).map_err(Failure::work)?;
                Values::of(features.tensor())
            }
            Member::Retrieval(blip2) => {
                let images = blip2_core::model::EncodedImages::new(encoded);
                let projected = blip2.model().project_images(&images);
                Values::of(projected.map_err(Failure::work)?.tensor())
            }
            Member::BlipRetrieval(blip) => Values::of(blip.model().project_images(encoded)),
            _ => Values::of(encoded),
        }
    }

    /// Texts in the space that they share with pictures.
    pub(crate) fn of_texts(&self, texts: &[String]) -> Result<Values, Failure> {
        let options = CompareOptions::default();
        let embeddings = match &self.member {
            Member::Retrieval(blip2) => blip2.embed_text_batch(texts, &options),
            Member::BlipRetrieval(blip) => blip.embed_text_batch(texts, &options),
            _ => {
                return Err(Failure::usage(
                    "the model compares no texts with pictures; give --model a retrieval \
                     checkpoint, such as blip2-itm-vit-g",
                ));
            }
        };
        let embeddings = embeddings.map_err(Failure::work)?;
        Ok(Values {
            shape: vec![embeddings.first().map_or(0, |one| one.vector().len())],
            values: embeddings
                .iter()
                .flat_map(TextEmbedding::vector)
                .copied()
                .collect(),
        })
    }
}

impl Values {
    /// Those of a tensor whose first dimension counts pictures.
    fn of<const D: usize>(tensor: Tensor<D>) -> Result<Self, Failure> {
        let shape = tensor.dims().into_iter().skip(1).collect();
        let values = tensor.into_data().convert::<f32>().try_into_vec::<f32>();
        let values = values.map_err(|error| {
            Failure::Work(format!(
                "the features cannot be read from the device: {error:?}"
            ))
        })?;
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(Self { shape, values }),
            false => Err(Failure::Work(
                "the model gave NaN or infinity as features: a weight is no number (`blip2 inspect --numbers` \
                 names it), or the precision is too narrow"
                    .into(),
            )),
        }
    }
}
