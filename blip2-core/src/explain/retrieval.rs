//! BLIP-2's retrieval.

use blip2_kernels::Keep;
use burn::tensor::Tensor;

use super::{
    explaining::explaining_comparisons,
    scene::Prepared,
    traces::{Comparison, TracesComparison},
    trail::{Scores, Stage, Trail},
};
use crate::{
    embedding::numbers,
    error::Blip2Error,
    load::Handle,
    model::{EncodedImages, ProjectedImages, ProjectedTexts},
    picture::Picture,
    retrieval::Blip2Retrieval,
    text::PromptRows,
};

explaining_comparisons!(Blip2Retrieval, "../fixtures/blip2_itr");

impl TracesComparison for Blip2Retrieval {
    fn prepare_picture(&self, picture: Picture<'_>) -> Result<Prepared, Blip2Error> {
        let loaded = self.loaded();
        let vision = &loaded.config.vision_config;
        Prepared::of(picture, &loaded.pictures, vision, &loaded.device)
    }

    fn trace(
        &self,
        pixels: Tensor<4>,
        text: &PromptRows,
        comparison: Comparison,
        keep: Keep,
    ) -> Result<Trail, Blip2Error> {
        let loaded = self.loaded();
        let (model, queries) = (&loaded.model, loaded.config.num_query_tokens);
        let vision = model.vision();
        let options = loaded.pictures.vision.with_keep(keep);
        let seen = vision.vision_model().forward(pixels, &options)?;
        let [batch, ..] = seen.last_hidden_state.dims();
        let images = EncodedImages::new(seen.last_hidden_state);
        let input = match comparison {
            Comparison::Match => {
                let pictures: Vec<usize> = (0..batch).collect();
                model.fused_input(&images, &pictures, &text.repeated(batch)?)?
            }
            Comparison::Similarity => vision.query_input(&images),
        };
        let queried = vision.qformer().forward(input.keep(keep))?;
        let hidden = queried.last_hidden_state;
        let (scores, start) = match comparison {
            // The head's verdict is the mean over the queries.
            Comparison::Match => {
                let each = (0..queries).map(|query| (query, 1.0 / queries as f32));
                (Scores::Match(model.match_logits(hidden)), each.collect())
            }
            // The query that is most similar speaks alone.
            Comparison::Similarity => {
                let images = vision.projected(hidden);
                let text = model.project_texts(&model.encode_texts(text)?);
                let cosines = images.similarity(&text).reshape([batch]);
                let start = vec![(best(&images, &text)?, 1.0)];
                (Scores::Similarity(cosines), start)
            }
        };
        Ok(Trail {
            scores,
            starts: vec![start],
            stages: vec![
                Stage::Crossing {
                    own: queried.attentions,
                    cross: queried.cross_attentions,
                },
                Stage::Own(seen.attentions),
            ],
        })
    }
}

/// The first picture's query that is most similar to a text.
fn best(images: &ProjectedImages, text: &ProjectedTexts) -> Result<usize, Blip2Error> {
    let first = images.tensor().inner().narrow(0, 0, 1);
    let [_, queries, dim] = first.dims();
    let text = text.tensor().inner().reshape([dim, 1]);
    let cosines = first.reshape([queries, dim]).matmul(text);
    let cosines = numbers(cosines, "a similarity")?;
    let best = cosines.iter().enumerate();
    let best = best.max_by(|(_, a), (_, b)| a.total_cmp(b));
    Ok(best.map_or(0, |(query, _)| query))
}
