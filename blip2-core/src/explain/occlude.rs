//! Occlusion: what is lost when patches are hidden.

use blip2_kernels::Keep;
use burn::tensor::Tensor;

use super::scene::Scene;
use crate::{error::Blip2Error, verbs::go_on};

/// How many pictures are looked at together.
const TOGETHER: usize = 8;

/// How many pictures, or videos of so many frames, are looked at together.
pub(super) fn at_once(frames: usize) -> usize {
    (TOGETHER / frames.max(1)).max(1)
}

/// For each thing that is explained, how much it loses with each patch, frame after frame.
pub(super) fn losses(scene: &Scene<'_>) -> Result<(Vec<Vec<f32>>, Vec<f32>), Blip2Error> {
    let whole = (scene.forward)(scene.pixels.clone(), Keep::NOTHING)?;
    let whole = whole.scores.measured()?.into_iter().next();
    let whole = whole.unwrap_or_default();
    let [rows, columns] = scene.grid;
    let [frames, ..] = scene.pixels.dims();
    let places: Vec<[usize; 3]> = (0..frames)
        .flat_map(|frame| (0..rows).map(move |row| [frame, row]))
        .flat_map(|[frame, row]| (0..columns).map(move |column| [frame, row, column]))
        .collect();
    // Of each frame and channel.
    let mean = scene.pixels.clone().mean_dim(3).mean_dim(2);
    let mut maps = vec![Vec::with_capacity(places.len()); whole.len()];
    for some in places.chunks(at_once(frames)) {
        go_on(scene.cancel)?;
        let hidden = some.iter().map(|place| without(scene, &mean, *place));
        let hidden = Tensor::cat(hidden.collect(), 0);
        let found = (scene.forward)(hidden, Keep::NOTHING)?.scores.measured()?;
        for found in found {
            for (map, (whole, found)) in maps.iter_mut().zip(whole.iter().zip(found)) {
                map.push(whole - found);
            }
        }
    }
    Ok((maps, whole))
}

/// The picture without a patch, which has the frame's mean colour.
fn without(scene: &Scene<'_>, mean: &Tensor<4>, [frame, row, column]: [usize; 3]) -> Tensor<4> {
    let ([_, channels, ..], side) = (scene.pixels.dims(), scene.patch);
    let fill = mean.clone().narrow(0, frame, 1);
    let fill = fill.expand([1, channels, side, side]);
    let place = [
        frame..frame + 1,
        0..channels,
        row * side..(row + 1) * side,
        column * side..(column + 1) * side,
    ];
    scene.pixels.clone().slice_assign(place, fill)
}
