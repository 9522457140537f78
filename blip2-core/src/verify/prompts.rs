//! How prompts become token rows: the layout of `Blip2Processor`.

use serde_json::Value;

use super::{Outcome, VerifyError, stages::Verifier, tokenizers::equal};
use crate::{Blip2Error, model::PromptRows};

pub(super) fn verify(verifier: &mut Verifier<'_>) -> Result<(), VerifyError> {
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
        let found = rows(verifier, &all, None);
        let outcome = compare(
            found,
            &expected["input_ids"],
            Some(&expected["attention_mask"]),
        );
        verifier.report.push("inputs", outcome);
    }
    if golden.tensor("qformer_input_ids").is_some() {
        if let Some(expected) = verifier.rows()? {
            let found = rows(verifier, &all, None);
            verifier
                .report
                .push("input_ids", same(found.map(Some), expected));
        }
        let golden = super::stages::rows(golden, "qformer_input_ids", "qformer_attention_mask")?;
        if let Some(expected) = golden {
            let found = verifier.pipeline.prompts().reference_instructions(&all);
            verifier
                .report
                .push("qformer_input_ids", same(found, expected));
        }
    }
    if let Some(expected) = golden.json("input_ids_single") {
        let found = rows(verifier, &second, None);
        verifier
            .report
            .push("input_ids_single", compare(found, expected, None));
    }
    if let Some(expected) = golden.json("input_ids_max_length") {
        let length = expected["max_length"]
            .as_u64()
            .map(|length| length as usize);
        let found = rows(verifier, &second, length);
        let outcome = compare(found, &expected["ids"], Some(&expected["mask"]));
        verifier.report.push("input_ids_max_length", outcome);
    }
    Ok(())
}

/// The rows of prompts, cut to a length that includes the image's placeholders.
fn rows(
    verifier: &Verifier<'_>,
    prompts: &[&str],
    max_length: Option<usize>,
) -> Result<PromptRows, Blip2Error> {
    verifier
        .pipeline
        .prompts()
        .reference_rows(prompts, max_length)
}

/// Rows and their masks against golden ones.
fn same(found: Result<Option<PromptRows>, Blip2Error>, expected: PromptRows) -> Outcome {
    match found {
        Ok(found) => equal(&found, &Some(expected)),
        Err(error) => Outcome::Failed {
            error: error.to_string(),
        },
    }
}

fn compare(found: Result<PromptRows, Blip2Error>, ids: &Value, mask: Option<&Value>) -> Outcome {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            return Outcome::Failed {
                error: error.to_string(),
            };
        }
    };
    let outcome = equal(&serde_json::json!(found.ids()), ids);
    match mask {
        Some(mask) if outcome.passed() => {
            let found: Vec<Vec<u8>> = found
                .mask()
                .iter()
                .map(|row| row.iter().map(|&b| u8::from(b)).collect())
                .collect();
            equal(&serde_json::json!(found), mask)
        }
        _ => outcome,
    }
}
