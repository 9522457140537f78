//! One engine for every member and method.

use blip2_kernels::Keep;

use super::{
    Method, occlude,
    scene::Scene,
    trail::Trail,
    walk::{Rule, walk},
};
use crate::{error::Blip2Error, verbs::go_on};

/// For each thing that is explained, a value for each patch, frame after frame; and what it scores.
pub(super) fn find(
    scene: &Scene<'_>,
    method: Method,
) -> Result<(Vec<Vec<f32>>, Vec<f32>), Blip2Error> {
    let rule = match method {
        Method::Relevance => return relevances(scene),
        Method::Occlusion => return occlude::losses(scene),
        Method::Rollout => Rule::Rollout,
        Method::Attention => Rule::Attention,
    };
    let trail = (scene.forward)(scene.pixels.clone(), Keep::ATTENTIONS)?;
    let each = trail.starts.iter();
    let maps = each.map(|start| patches(walk(&trail.stages, start, &rule)?, scene));
    Ok((maps.collect::<Result<_, _>>()?, scores(&trail)?))
}

/// A pass forward and back for each thing that is explained: Burn's graph can be gone through once.
fn relevances(scene: &Scene<'_>) -> Result<(Vec<Vec<f32>>, Vec<f32>), Blip2Error> {
    let (mut maps, mut measured) = (Vec::new(), Vec::new());
    loop {
        go_on(scene.cancel)?;
        // On a device that records gradients every map that is kept is a leaf of the graph.
        let pixels = scene.pixels.clone().autodiff();
        let trail = (scene.forward)(pixels, Keep::ATTENTIONS)?;
        let Some(start) = trail.starts.get(maps.len()) else {
            return Ok((maps, measured));
        };
        if measured.is_empty() {
            measured = scores(&trail)?;
        }
        go_on(scene.cancel)?;
        let gradients = trail.scores.objective(maps.len()).backward();
        let found = walk(&trail.stages, start, &Rule::Relevance(&gradients))?;
        maps.push(patches(found, scene)?);
        if maps.len() == trail.starts.len() {
            return Ok((maps, measured));
        }
    }
}

fn scores(trail: &Trail) -> Result<Vec<f32>, Blip2Error> {
    Ok(trail
        .scores
        .measured()?
        .into_iter()
        .next()
        .unwrap_or_default())
}

/// The weights of patches, without the class token that stands before them.
fn patches(weights: Vec<Vec<f32>>, scene: &Scene<'_>) -> Result<Vec<f32>, Blip2Error> {
    let [rows, columns] = scene.grid;
    let values: Vec<f32> = weights
        .into_iter()
        .flat_map(|row| row.into_iter().skip(1))
        .collect();
    let [frames, ..] = scene.pixels.dims();
    match values.len() == frames * rows * columns && values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(Blip2Error::NotFinite {
            what: "an explanation",
        }),
    }
}
