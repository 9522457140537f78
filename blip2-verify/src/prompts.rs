//! How prompts become token rows: the layout of `Blip2Processor`.

use std::path::Path;

use blip2_core::{
    Blip2Error,
    model::{PaddingSide, PromptRows},
};
use blip2_io::{CheckpointFolder, config::Blip2Variant};
use serde::Deserialize;
use serde_json::Value;

use crate::{error::VerifyError, ids, report::Outcome, rows, verifier::Verifier};

pub(crate) fn verify(verifier: &mut Verifier<'_>, folder: &Path) -> Result<(), VerifyError> {
    let golden = verifier.golden;
    let prompts: Vec<String> = match golden.json("prompts").and_then(Value::as_array) {
        Some(prompts) => prompts
            .iter()
            .filter_map(|p| p.as_str().map(str::to_string))
            .collect(),
        None => return Ok(()),
    };
    let all: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let second: Vec<&str> = all.iter().skip(1).take(1).copied().collect();
    if let Some(expected) = golden.json("inputs") {
        let found = verifier.pipeline.prompt_rows(&all);
        let outcome = compare(
            found,
            &expected["input_ids"],
            Some(&expected["attention_mask"]),
        );
        verifier.report.push("inputs", outcome);
    }
    if golden.tensor("qformer_input_ids").is_some() {
        if let Some(expected) = verifier.rows()? {
            let found = verifier.pipeline.prompt_rows(&all);
            verifier
                .report
                .push("input_ids", same(found.map(Some), expected));
        }
        let golden = rows::rows(golden, "qformer_input_ids", "qformer_attention_mask")?;
        if let Some(expected) = golden {
            let found = instructions(verifier, folder, &all);
            verifier
                .report
                .push("qformer_input_ids", same(found, expected));
        }
    }
    if let Some(expected) = golden.json("input_ids_single") {
        let found = verifier.pipeline.prompt_rows(&second);
        verifier
            .report
            .push("input_ids_single", compare(found, expected, None));
    }
    if let Some(expected) = golden.json("input_ids_max_length") {
        let length = expected["max_length"].as_u64();
        let length = length.map_or(usize::MAX, |length| length as usize);
        let found = cut(verifier, &second, length);
        let outcome = compare(found, &expected["ids"], Some(&expected["mask"]));
        verifier.report.push("input_ids_max_length", outcome);
    }
    Ok(())
}

/// The rows of prompts, cut and padded so that the whole row has this length, image placeholders
/// included; those are never cut.
fn cut(
    verifier: &Verifier<'_>,
    prompts: &[&str],
    max_length: usize,
) -> Result<PromptRows, Blip2Error> {
    let (pipeline, model) = (verifier.pipeline, verifier.model());
    let (tokenizer, placeholders) = (pipeline.tokenizer(), model.num_placeholders());
    let room = max_length.saturating_sub(placeholders);
    let texts = prompts
        .iter()
        .map(|prompt| tokenizer.encode_truncated(prompt, room));
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let side = match model.decoder_start() {
        Some(_) => PaddingSide::Right,
        None => PaddingSide::Left,
    };
    let pad = model.pad_token().or(tokenizer.pad_token_id());
    PromptRows::lay_out(
        &texts,
        model.image_token(),
        placeholders,
        pad.unwrap_or_default(),
        side,
    )
}

/// What the Q-Former reads of prompts, if it reads any, laid out as the reference does:
/// `InstructBlipProcessor` pads for the Q-Former on the language model's side, which makes a row's
/// result depend on its company; `InstructBlipVideoProcessor` on the Q-Former's own.
fn instructions(
    verifier: &Verifier<'_>,
    folder: &Path,
    prompts: &[&str],
) -> Result<Option<PromptRows>, Blip2Error> {
    let Some(rows) = verifier.pipeline.instruction_rows(prompts)? else {
        return Ok(None);
    };
    let config = verifier.pipeline.config();
    let reader = CheckpointFolder::open(folder)?.qformer_tokenizer()?;
    let side = match config.model_type {
        Blip2Variant::InstructBlipVideo => reader.padding_side(),
        _ => verifier.pipeline.tokenizer().padding_side(),
    };
    let side = match side {
        blip2_io::PaddingSide::Left => PaddingSide::Left,
        blip2_io::PaddingSide::Right => PaddingSide::Right,
    };
    let pad = config.qformer_config.pad_token_id.or(reader.pad_token_id());
    PromptRows::lay_out(&rows.unpadded(), None, 0, pad.unwrap_or_default(), side).map(Some)
}

/// Rows and their masks against golden ones.
fn same(found: Result<Option<PromptRows>, Blip2Error>, expected: PromptRows) -> Outcome {
    match found {
        Ok(Some(found)) => ids::compare(&found, &expected),
        Ok(None) => Outcome::failed("the model reads no instructions"),
        Err(error) => Outcome::failed(error),
    }
}

pub(crate) fn compare(
    found: Result<PromptRows, Blip2Error>,
    ids: &Value,
    mask: Option<&Value>,
) -> Outcome {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            return Outcome::failed(error);
        }
    };
    let read = |value: &Value| Vec::<Vec<i64>>::deserialize(value);
    let expected = read(ids).and_then(|ids| Ok((ids, mask.map(read).transpose()?)));
    let (expected, mask) = match expected {
        Ok(expected) => expected,
        Err(error) => return Outcome::failed(format!("the golden holds no rows of ids: {error}")),
    };
    let of_mask = || ids::of_rows("the mask of row", found.mask(), &mask?);
    let difference = ids::of_rows("row", found.ids(), &expected).or_else(of_mask);
    Outcome::Exact { difference }
}
