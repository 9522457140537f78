//! What the goldens give a model to read: pixel values, rows of ids with their mask.

use std::path::Path;

use blip2_core::{model::PromptRows, open_image, preprocessing::ImageProcessor};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    compare::Compare,
    error::VerifyError,
    golden::{Golden, GoldenTensor, Tolerance},
};

/// Preprocessing, where the pictures lie in a folder `images` beside this one. JPEG decoders
/// differ, so only lossless pictures are compared.
pub(crate) fn pixels(
    verification: &mut impl Compare,
    folder: &Path,
    golden: &GoldenTensor,
    processor: &ImageProcessor,
) -> Result<(), VerifyError> {
    let names = verification.golden().json("px_images");
    let Some(names) = names.and_then(Value::as_array).cloned() else {
        return Ok(());
    };
    let beside = folder.parent().unwrap_or(folder).join("images");
    let golden = &frames(golden);
    let count = golden.shape.iter().skip(1).product::<usize>();
    let values = golden.floats()?;
    for (name, values) in names
        .iter()
        .filter_map(Value::as_str)
        .zip(values.chunks(count.max(1)))
    {
        let path = beside.join(name);
        if !name.ends_with(".png") || !path.is_file() {
            continue;
        }
        let key = format!("pixel_values ({name})");
        let processed = open_image(&path).and_then(|image| Ok(processor.process(&image)?));
        if let Some(found) = verification.run(&key, processed) {
            let golden = GoldenTensor::row(&golden.shape, values);
            let outcome = Tolerance(1e-6).compare(&found.shape(), found.data(), &golden);
            verification.report().push(key, outcome);
        }
    }
    Ok(())
}

/// Pixel values with the frames of videos one after the other, `[batch · frames, 3, height, width]`.
pub(crate) fn frames(golden: &GoldenTensor) -> GoldenTensor {
    let mut golden = golden.clone();
    if let [batch, frames, ref picture @ ..] = golden.shape[..]
        && golden.shape.len() == 5
    {
        golden.shape = [&[batch * frames], picture].concat();
    }
    golden
}

/// The rows of golden ids and their golden mask, if both are there.
pub(crate) fn rows(
    golden: &Golden,
    ids: &str,
    mask: &str,
) -> Result<Option<PromptRows>, VerifyError> {
    let (Some(ids), Some(mask)) = (golden.tensor(ids), golden.tensor(mask)) else {
        return Ok(None);
    };
    let ids = unsigned(&ids.rows()?, 0);
    let mask: Vec<Vec<bool>> = mask
        .rows()?
        .iter()
        .map(|row| row.iter().map(|&bit| bit != 0).collect())
        .collect();
    Ok(Some(PromptRows::new(ids, mask)?))
}

/// The row of the prompt that was recorded alone, if one was.
pub(crate) fn single(golden: &Golden) -> Result<Option<PromptRows>, VerifyError> {
    let Some(ids) = golden.json("input_ids_single") else {
        return Ok(None);
    };
    let ids: Vec<Vec<u32>> = Deserialize::deserialize(ids)
        .map_err(|error| VerifyError::golden(format!("input_ids_single: {error}")))?;
    let mask = ids.iter().map(|row| vec![true; row.len()]).collect();
    Ok(Some(PromptRows::new(ids, mask)?))
}

/// Token ids, with `fill` for what is no id (ignored labels).
pub(crate) fn unsigned(rows: &[Vec<i64>], fill: u32) -> Vec<Vec<u32>> {
    let id = |&id: &i64| u32::try_from(id).unwrap_or(fill);
    rows.iter()
        .map(|row| row.iter().map(id).collect())
        .collect()
}
