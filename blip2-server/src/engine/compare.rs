//! What is computed of encoded pictures and texts without writing.

use blip2_core::{Blip2Error, CancelToken, CompareOptions, EncodedPhoto, Ranked, TextEmbedding};

use super::{
    job::{Compared, EmbedText, Match, Rank},
    seen::Sight,
};
use crate::{error::ApiError, model::Model, words::Names};

/// Ranks candidates as answers to a question.
pub(super) fn rank(
    rank: &Rank,
    sight: &Sight,
    names: &Names,
    cancel: &CancelToken,
) -> Result<Vec<Ranked>, ApiError> {
    let options = rank.options.clone().with_cancel(cancel.clone());
    let ranked = match sight {
        Sight::Blip2(seen) => seen.rank_with(&rank.question, &rank.candidates, &options),
        Sight::Answerer(seen) => seen.rank_with(&rank.question, &rank.candidates, &options),
        Sight::Captioner(_) | Sight::Photo(_) => return Err(unable()),
    };
    ranked.map_err(|error| ApiError::told(&error, names))
}

/// How well each text goes with a picture.
pub(super) fn compare(
    model: &Model,
    of: &Match,
    sight: &Sight,
    names: &Names,
    cancel: &CancelToken,
) -> Result<Vec<Compared>, ApiError> {
    let Sight::Photo(photo) = sight else {
        return Err(unable());
    };
    let options = CompareOptions::default().with_cancel(cancel.clone());
    let embedded = embed(model, &of.texts, &options)?;
    let embedded = embedded.map_err(|error| ApiError::told_of_list(&error, names, |n| n))?;
    let texts = of.texts.iter().zip(&embedded);
    let compared = texts.map(|(text, embedded)| {
        let compared = one(model, photo, text, embedded, &options);
        compared.map_err(|error| error.map_or_else(unable, |error| ApiError::told(&error, names)))
    });
    compared.collect()
}

/// How one text goes with it; the error [`None`] is that of a model that compares nothing.
fn one(
    model: &Model,
    photo: &EncodedPhoto,
    text: &str,
    embedded: &TextEmbedding,
    options: &CompareOptions,
) -> Result<Compared, Option<Blip2Error>> {
    let scores = match model {
        Model::Retrieval(blip2) => blip2.match_encoded_with([photo], text, options)?,
        Model::Blip1Retrieval(blip) => blip.match_encoded_with([photo], text, options)?,
        _ => Vec::new(),
    };
    let score = scores.into_iter().next().ok_or(None)?;
    let similarity = photo.embedding.similarity(embedded)?;
    Ok(Compared { score, similarity })
}

/// Texts in the space that they share with pictures.
pub(super) fn embed_texts(
    model: &Model,
    of: &EmbedText,
    names: &Names,
    cancel: &CancelToken,
) -> Result<Vec<TextEmbedding>, ApiError> {
    let options = CompareOptions::default().with_cancel(cancel.clone());
    let place = |n| of.places.get(n).copied().unwrap_or(n);
    let embedded = embed(model, &of.texts, &options)?;
    embedded.map_err(|error| ApiError::told_of_list(&error, names, place))
}

fn embed(
    model: &Model,
    texts: &[String],
    options: &CompareOptions,
) -> Result<Result<Vec<TextEmbedding>, Blip2Error>, ApiError> {
    Ok(match model {
        Model::Retrieval(blip2) => blip2.embed_text_batch(texts, options),
        Model::Blip1Retrieval(blip) => blip.embed_text_batch(texts, options),
        _ => return Err(unable()),
    })
}

pub(super) fn unable() -> ApiError {
    ApiError::unable("this model cannot do what was asked; /v1/models says what it can")
}
