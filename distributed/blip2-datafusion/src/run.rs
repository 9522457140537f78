//! A model at work on a batch.

use blip2_core::{
    Answer, Blip2Error, CancelToken, Picture,
    burn::tensor::{Device, Tensor},
    preprocessing::PixelValues,
};
use blip2_vision::{VisionModel, VisionOptions};

use crate::{ask::Ask, cells::Cell, error::Fault, model::Model, verb::Verb};

/// A result for each row.
type Each = Vec<Result<Cell, Fault>>;

impl Model {
    /// Computes a batch: of pictures, and of a text for each where the function takes one.
    pub(crate) fn run(
        &self,
        verb: Verb,
        pictures: &[PixelValues],
        texts: &[String],
        ask: &Ask,
        cancel: &CancelToken,
    ) -> Each {
        let seen = pictures.iter().map(Picture::from);
        match verb {
            Verb::Caption => self.captions(seen, ask, cancel),
            Verb::Answer => self.answers(seen.zip(texts), ask, cancel),
            Verb::Match => self.matches(seen.zip(texts), cancel),
            Verb::Embed => self.embeddings(pictures, cancel),
            Verb::EmbedText => self.text_embeddings(texts, cancel),
        }
    }

    fn captions<'a>(
        &self,
        pictures: impl Iterator<Item = Picture<'a>>,
        ask: &Ask,
        cancel: &CancelToken,
    ) -> Each {
        let options = ask.options(cancel);
        match self {
            Self::Blip2(blip2) => cells(blip2.caption_each(pictures, &options), text),
            Self::Captioner(blip) => cells(blip.caption_each(pictures, &options), text),
            _ => none(pictures),
        }
    }

    fn answers<'a>(
        &self,
        pairs: impl Iterator<Item = (Picture<'a>, &'a String)>,
        ask: &Ask,
        cancel: &CancelToken,
    ) -> Each {
        let options = ask.options(cancel);
        match self {
            Self::Blip2(blip2) => cells(blip2.answer_each(pairs, &options), text),
            Self::Answerer(blip) => cells(blip.answer_each(pairs, &options), text),
            _ => none(pairs),
        }
    }

    fn matches<'a>(
        &self,
        pairs: impl Iterator<Item = (Picture<'a>, &'a String)>,
        cancel: &CancelToken,
    ) -> Each {
        let options = Ask::compare(cancel);
        let scores = match self {
            Self::Retrieval(blip2) => blip2.match_each(pairs, &options),
            Self::BlipRetrieval(blip) => blip.match_each(pairs, &options),
            _ => return none(pairs),
        };
        cells(scores, |score| Cell::Number(score.probability))
    }

    fn embeddings(&self, pictures: &[PixelValues], cancel: &CancelToken) -> Each {
        let options = Ask::compare(cancel);
        let seen = pictures.iter().map(Picture::from);
        let embeddings = match self {
            Self::Retrieval(blip2) => blip2.embed_image_each(seen, &options),
            Self::BlipRetrieval(blip) => blip.embed_image_each(seen, &options),
            Self::Blip2(model) => {
                return pooled(model.model().vision_model(), model.device(), pictures);
            }
            Self::Captioner(model) => {
                return pooled(model.model().vision_model(), model.device(), pictures);
            }
            Self::Answerer(model) => {
                return pooled(model.model().vision_model(), model.device(), pictures);
            }
        };
        cells(embeddings, |one| Cell::Vector(one.values().to_vec()))
    }

    fn text_embeddings(&self, texts: &[String], cancel: &CancelToken) -> Each {
        let options = Ask::compare(cancel);
        let embeddings = match self {
            Self::Retrieval(blip2) => blip2.embed_text_each(texts, &options),
            Self::BlipRetrieval(blip) => blip.embed_text_each(texts, &options),
            _ => return none(texts.iter()),
        };
        cells(embeddings, |one| Cell::Vector(one.vector().to_vec()))
    }
}

/// Cells of what the model made.
fn cells<T>(made: Vec<Result<T, Blip2Error>>, cell: impl Fn(T) -> Cell) -> Each {
    let made = made.into_iter();
    made.map(|one| one.map(&cell).map_err(Fault::from))
        .collect()
}

fn text(answer: Answer) -> Cell {
    Cell::Text(answer.text)
}

/// Of a model that has no such verb, of which no such function is made.
fn none<T>(rows: impl Iterator<Item = T>) -> Each {
    rows.map(|_| Err(Fault::Machine("the model cannot do this".into())))
        .collect()
}

/// The image encoder's pooled output.
fn pooled(vision: &VisionModel, device: &Device, pictures: &[PixelValues]) -> Each {
    match pooled_together(vision, device, pictures) {
        Ok(cells) => cells.into_iter().map(Ok).collect(),
        // Prepared pictures have one size: what goes wrong with them all goes wrong with each.
        Err(_) if pictures.len() > 1 => {
            let alone = pictures.iter().map(std::slice::from_ref);
            alone
                .flat_map(|picture| pooled(vision, device, picture))
                .collect()
        }
        Err(error) => vec![Err(error)],
    }
}

fn pooled_together(
    vision: &VisionModel,
    device: &Device,
    pictures: &[PixelValues],
) -> Result<Vec<Cell>, Fault> {
    let pixels = PixelValues::stack(pictures.iter().cloned()).map_err(Blip2Error::from)?;
    let encoded = vision.forward(pixels.tensor(device), &VisionOptions::default());
    let encoded = encoded.map_err(Blip2Error::from)?;
    numbers(vision.pool(encoded.last_hidden_state))
}

/// The rows of a tensor `[batch, width]`.
fn numbers(tensor: Tensor<2>) -> Result<Vec<Cell>, Fault> {
    let [_, width] = tensor.dims();
    let values = tensor.into_data().convert::<f32>().try_into_vec::<f32>();
    let values = values.map_err(|error| {
        Fault::Machine(format!(
            "the embeddings cannot be read from the device: {error:?}"
        ))
    })?;
    let rows = values.chunks(width.max(1));
    Ok(rows.map(|row| Cell::Vector(row.to_vec())).collect())
}
