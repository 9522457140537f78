//! Generation cases: token ids, scores and texts.

use blip2_core::{
    Blip2Error, Blip2Pipeline,
    model::{ImageFeatures, PromptRows},
};
use blip2_lm::generate::{DecodeSession, Generated, GenerationConfig, Generator, Speculative};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{error::VerifyError, golden::GoldenTensor, ids, report::Outcome, verifier::Verifier};

/// How far a score may be from the recorded one, as a share of it.
const SCORE_SHARE: f64 = 1e-4;

/// The most tokens that a recorded generation may ask for: no golden needs as many, and a spoilt one
/// must not run for hours.
const MOST_TOKENS: usize = 4096;

/// A recorded generation.
#[derive(Deserialize)]
pub(crate) struct Case {
    #[serde(default)]
    pub(crate) kwargs: Map<String, Value>,
    sequences: Vec<Vec<u32>>,
    #[serde(default)]
    sequences_scores: Vec<f64>,
    #[serde(default)]
    text: Option<Vec<String>>,
    pub(crate) f64_agrees: Option<bool>,
}

pub(crate) fn verify(
    verifier: &mut Verifier<'_>,
    features: &ImageFeatures,
) -> Result<(), VerifyError> {
    let golden = verifier.golden;
    if let Some(rows) = verifier.rows()? {
        cases(verifier, "gen", features, &rows)?;
    }
    if let Some(ids) = golden.json("input_ids_single") {
        let ids: Vec<Vec<u32>> = Deserialize::deserialize(ids)
            .map_err(|error| VerifyError::golden(format!("input_ids_single: {error}")))?;
        let mask = ids.iter().map(|row| vec![true; row.len()]).collect();
        let rows = PromptRows::new(ids, mask)?;
        cases(verifier, "gen_single", &features.select(&[0]), &rows)?;
    }
    if let Some(value) = golden.json("gen_no_prompt") {
        match case("gen_no_prompt", value) {
            Ok(mut case) => {
                case.kwargs.insert("max_new_tokens".into(), 8.into());
                let rows = verifier.pipeline.prompt_rows(&vec![""; features.len()]);
                let outcome = match rows {
                    Ok(rows) => replay(verifier, &case, features, &rows),
                    Err(error) => Outcome::failed(error),
                };
                verifier.report.push("gen_no_prompt", outcome);
            }
            Err(_) => verifier
                .report
                .skip("gen_no_prompt", "the reference failed too"),
        }
    }
    Ok(())
}

pub(crate) fn case(key: &str, value: &Value) -> Result<Case, VerifyError> {
    Case::deserialize(value).map_err(|error| VerifyError::golden(format!("{key}: {error}")))
}

/// All cases of a group.
fn cases(
    verifier: &mut Verifier<'_>,
    group: &str,
    features: &ImageFeatures,
    rows: &PromptRows,
) -> Result<(), VerifyError> {
    let golden = verifier.golden;
    let Some(group_cases) = golden.json(group).and_then(Value::as_object) else {
        return Ok(());
    };
    let logits_key = format!("{group}.greedy.logits");
    if let (Some(logits), Some(greedy)) = (golden.tensor(&logits_key), group_cases.get("greedy")) {
        let greedy = case("greedy", greedy)?;
        let outcome = step_logits(verifier, &greedy, features, rows, logits);
        verifier.report.push(logits_key, outcome);
    }
    for (name, value) in group_cases
        .iter()
        .filter(|(name, _)| !name.starts_with('_'))
    {
        let key = format!("{group}.{name}");
        let case = case(&key, value)?;
        if case.f64_agrees == Some(false) {
            verifier
                .report
                .skip(key, "the reference in f64 gives other tokens");
            continue;
        }
        let outcome = replay(verifier, &case, features, rows);
        verifier.report.push(key.as_str(), outcome);
        if let Some(draft) = verifier.draft
            && case.writes_one()
        {
            let found = generate_ahead(verifier, draft, &case, features, rows);
            let outcome = judge(verifier, &case, rows, found);
            let key = format!("{key}.speculative");
            verifier.report.push(key, outcome);
        }
    }
    Ok(())
}

/// Runs a case and compares tokens, scores and texts.
fn replay(
    verifier: &Verifier<'_>,
    case: &Case,
    features: &ImageFeatures,
    rows: &PromptRows,
) -> Outcome {
    judge(
        verifier,
        case,
        rows,
        generate(verifier, case, features, rows),
    )
}

fn judge(
    verifier: &Verifier<'_>,
    case: &Case,
    rows: &PromptRows,
    found: Result<Vec<Generated>, VerifyError>,
) -> Outcome {
    match found {
        Ok(results) => Outcome::Exact {
            difference: differ(verifier, case, rows, &results),
        },
        Err(error) => Outcome::failed(error),
    }
}

fn generate(
    verifier: &Verifier<'_>,
    case: &Case,
    features: &ImageFeatures,
    rows: &PromptRows,
) -> Result<Vec<Generated>, VerifyError> {
    let histories = histories(verifier, rows);
    let (generator, new_tokens) = generator(verifier, case, &histories)?;
    let mut session = verifier.model().start(features, rows, new_tokens)?;
    let results = generator
        .generate(&mut session, &histories)
        .map_err(Blip2Error::from)?;
    Ok(results.into_iter().flatten().collect())
}

/// The same with a draft that writes ahead: row by row, since it does so for one row alone.
fn generate_ahead(
    verifier: &Verifier<'_>,
    draft: &Blip2Pipeline,
    case: &Case,
    features: &ImageFeatures,
    rows: &PromptRows,
) -> Result<Vec<Generated>, VerifyError> {
    let histories = histories(verifier, rows);
    let (generator, new_tokens) = generator(verifier, case, &histories)?;
    let mut results = Vec::new();
    for (row, history) in histories.into_iter().enumerate() {
        let features = features.select(&[row]);
        let rows = rows.select(&[row])?;
        let target = verifier.model().start(&features, &rows, new_tokens)?;
        let ahead = draft.model().start(&features, &rows, new_tokens)?;
        let mut session = Speculative::new(target, ahead);
        let found = generator.generate(&mut session, &[history]);
        results.extend(found.map_err(Blip2Error::from)?.into_iter().flatten());
    }
    Ok(results)
}

/// What decodes a case, and how many tokens it may write after these.
fn generator(
    verifier: &Verifier<'_>,
    case: &Case,
    histories: &[Vec<u32>],
) -> Result<(Generator<'static>, usize), VerifyError> {
    let mut config: GenerationConfig =
        serde_json::from_value(Value::Object(case.kwargs.clone()))
            .map_err(|error| VerifyError::golden(format!("kwargs: {error}")))?;
    if config.eos_token_id.is_empty() {
        let text = &verifier.pipeline.config().text_config;
        config.eos_token_id = text.eos_token_ids().to_vec();
    }
    let length = histories.first().map_or(0, Vec::len);
    let new_tokens = config.new_tokens_after(length).map_err(Blip2Error::from)?;
    if new_tokens > MOST_TOKENS {
        let reason = format!("{new_tokens} new tokens are more than the {MOST_TOKENS} of a golden");
        return Err(VerifyError::golden(reason));
    }
    let generator = Generator::new(config).map_err(Blip2Error::from)?;
    Ok((generator, new_tokens))
}

/// What the reference's lengths and penalties count: the padded prompt, or the start token.
fn histories(verifier: &Verifier<'_>, rows: &PromptRows) -> Vec<Vec<u32>> {
    match verifier.model().decoder_start() {
        Some(start) => vec![vec![start]; rows.len()],
        None => rows.ids().to_vec(),
    }
}

fn differ(
    verifier: &Verifier<'_>,
    case: &Case,
    rows: &PromptRows,
    results: &[Generated],
) -> Option<String> {
    let tokenizer = verifier.pipeline.tokenizer();
    let pad = padding(verifier, case);
    case.differs(
        &histories(verifier, rows),
        results,
        pad,
        verifier.scores,
        |ids| Ok(tokenizer.decode(ids, true)?),
    )
}

impl Case {
    /// Whether each prompt gets one text, without beams: a draft writes ahead for these.
    fn writes_one(&self) -> bool {
        let is_one = |key| self.kwargs.get(key).is_none_or(|count| count == 1);
        is_one("num_beams") && is_one("num_return_sequences")
    }

    /// How results, with the tokens before them, differ from what was recorded.
    pub(crate) fn differs(
        &self,
        histories: &[Vec<u32>],
        results: &[Generated],
        pad: u32,
        scores: f64,
        text: impl Fn(&[u32]) -> Result<String, Blip2Error>,
    ) -> Option<String> {
        if results.len() != self.sequences.len() {
            let (found, expected) = (results.len(), self.sequences.len());
            return Some(format!("{found} sequences instead of {expected}"));
        }
        let per_row = results.len() / histories.len().max(1);
        for (n, (result, expected)) in results.iter().zip(&self.sequences).enumerate() {
            let mut found = histories
                .get(n / per_row.max(1))
                .cloned()
                .unwrap_or_default();
            found.extend(&result.tokens);
            // Finished rows are padded to the longest.
            found.resize(found.len().max(expected.len()), pad);
            if let Some(difference) = ids::difference(&found, expected) {
                return Some(format!("sequence {n} {difference}"));
            }
            if let Some(expected) = self.sequences_scores.get(n) {
                let found = result.score.map_or(f64::NAN, f64::from);
                let difference = (found - expected).abs();
                // A length penalty of -1 multiplies a sum by its length, and with it how far right
                // implementations are from one another.
                let allowed = scores.max(SCORE_SHARE * expected.abs());
                if difference.is_nan() || difference > allowed {
                    return Some(format!(
                        "sequence {n} has the score {found} instead of {expected}"
                    ));
                }
            }
            if let Some(expected) = self.text.as_ref().and_then(|text| text.get(n)) {
                match text(&found) {
                    Ok(text) if &text == expected => {}
                    Ok(text) => {
                        return Some(format!("text {n} is {text:?} instead of {expected:?}"));
                    }
                    Err(error) => return Some(error.to_string()),
                }
            }
        }
        None
    }
}

/// What the reference pads finished sequences with: the padding token, but in a beam search the
/// end token where the padding token is 0, which its code takes for none.
fn padding(verifier: &Verifier<'_>, case: &Case) -> u32 {
    let text = &verifier.pipeline.config().text_config;
    let pad = text.pad_token_id().unwrap_or_default();
    if pad != 0 || case.sequences_scores.is_empty() {
        return pad;
    }
    let own = case
        .kwargs
        .get("eos_token_id")
        .and_then(Value::as_u64)
        .map(|id| id as u32);
    own.or(text.eos_token_ids().first().copied()).unwrap_or(pad)
}

/// Feeds the reference's own tokens one by one and compares the logits after each: the KV cache
/// against the whole pass.
fn step_logits(
    verifier: &Verifier<'_>,
    greedy: &Case,
    features: &ImageFeatures,
    rows: &PromptRows,
    golden: &GoldenTensor,
) -> Outcome {
    let other_shape = |golden: &GoldenTensor, vocab: usize| {
        VerifyError::golden(format!(
            "greedy.logits: shape {:?}, of a vocabulary of {vocab}",
            golden.shape
        ))
    };
    let run = || -> Result<Outcome, VerifyError> {
        let [count, steps, vocab] = golden.shape[..] else {
            return Err(VerifyError::golden(format!(
                "greedy.logits: shape {:?}",
                golden.shape
            )));
        };
        let prompt = histories(verifier, rows).first().map_or(0, Vec::len);
        let mut session = verifier.model().start(features, rows, steps)?;
        let parents: Vec<usize> = (0..count).collect();
        let mut logits = vec![0f32; count * steps * vocab];
        for step in 0..steps {
            let found = if step == 0 {
                session.prefill()
            } else {
                let place = prompt + step - 1;
                let tokens: Option<Vec<u32>> = greedy
                    .sequences
                    .iter()
                    .map(|ids| ids.get(place).copied())
                    .collect();
                let tokens = tokens
                    .ok_or_else(|| VerifyError::golden("greedy: sequences shorter than logits"))?;
                session.step(&parents, &tokens)
            }
            .map_err(Blip2Error::from)?;
            for row in 0..count.min(found.rows()) {
                let start = (row * steps + step) * vocab;
                let (of_row, place) = (found.row(row), logits.get_mut(start..start + vocab));
                match place.filter(|place| place.len() == of_row.len()) {
                    Some(place) => place.copy_from_slice(of_row),
                    None => return Err(other_shape(golden, of_row.len())),
                }
            }
        }
        Ok(verifier.tolerance.compare(&golden.shape, &logits, golden))
    };
    run().unwrap_or_else(Outcome::failed)
}
