//! Generation cases: token ids, scores and texts, and the logits of each step.

use blip2_core::{Blip2Error, TextConfig};
use blip2_io::Tokenizer;
use blip2_lm::{
    LanguageModel, Session,
    generate::{DecodeSession, Generated, GenerationConfig, Generator, Speculative},
};
use burn::tensor::Tensor;
use serde_json::Value;

use crate::{
    case::Case,
    error::VerifyError,
    golden::{Golden, GoldenTensor, Tolerance},
    report::{Outcome, Report},
};

/// The most tokens that a recorded generation may ask for: no golden needs as many, and a spoilt one
/// must not run for hours.
const MOST_TOKENS: usize = 4096;

/// A language model whose generations were recorded, whatever it is shown.
pub(crate) struct Writer<'v> {
    pub(crate) language_model: &'v LanguageModel,
    /// The same model in four bits, if it is to write ahead of the other.
    pub(crate) draft: Option<&'v LanguageModel>,
    pub(crate) config: &'v TextConfig,
    pub(crate) tokenizer: &'v Tokenizer,
    /// The token that a decoder apart from the prompts starts with.
    pub(crate) decoder_start: Option<u32>,
    pub(crate) tolerance: Tolerance,
    /// How far a beam's score may be from its golden.
    pub(crate) scores: f64,
}

/// Prompts as a language model reads them: what it is shown stands among the embedded text.
pub(crate) struct Prompts {
    pub(crate) ids: Vec<Vec<u32>>,
    pub(crate) embeds: Tensor<3>,
    pub(crate) mask: Vec<Vec<bool>>,
}

impl Prompts {
    /// One of them alone, with the padding that it has among the others.
    fn row(&self, row: usize) -> Self {
        Self {
            ids: self.ids.iter().skip(row).take(1).cloned().collect(),
            embeds: self.embeds.clone().narrow(0, row, 1),
            mask: self.mask.iter().skip(row).take(1).cloned().collect(),
        }
    }
}

impl<'v> Writer<'v> {
    /// All cases of a group.
    pub(crate) fn cases(
        &self,
        golden: &Golden,
        report: &mut Report,
        group: &str,
        prompts: &Prompts,
    ) -> Result<(), VerifyError> {
        let Some(group_cases) = golden.json(group).and_then(Value::as_object) else {
            return Ok(());
        };
        let logits_key = format!("{group}.greedy.logits");
        let greedy = group_cases.get("greedy");
        if let (Some(logits), Some(greedy)) = (golden.tensor(&logits_key), greedy) {
            let greedy = Case::read("greedy", greedy)?;
            let outcome = self.step_logits(&greedy, prompts, logits);
            report.push(logits_key, outcome.unwrap_or_else(Outcome::failed));
        }
        let named = group_cases.iter();
        for (name, value) in named.filter(|(name, _)| !name.starts_with('_')) {
            let key = format!("{group}.{name}");
            let case = Case::read(&key, value)?;
            if case.f64_agrees == Some(false) {
                report.skip(key, "the reference in f64 gives other tokens");
                continue;
            }
            report.push(key.as_str(), self.replay(&case, prompts));
            if let Some(draft) = self.draft
                && case.writes_one()
            {
                let found = self.generate_ahead(draft, &case, prompts);
                let outcome = self.judge(&case, prompts, found);
                report.push(format!("{key}.speculative"), outcome);
            }
        }
        Ok(())
    }

    /// Runs a case and compares tokens, scores and texts.
    pub(crate) fn replay(&self, case: &Case, prompts: &Prompts) -> Outcome {
        self.judge(case, prompts, self.generate(case, prompts))
    }

    fn judge(
        &self,
        case: &Case,
        prompts: &Prompts,
        found: Result<Vec<Generated>, VerifyError>,
    ) -> Outcome {
        let results = match found {
            Ok(results) => results,
            Err(error) => return Outcome::failed(error),
        };
        let difference = case.differs(
            &self.histories(prompts),
            &results,
            case.padding(self.config),
            self.scores,
            |ids| Ok(self.tokenizer.decode(ids, true)?),
        );
        Outcome::Exact { difference }
    }

    fn generate(&self, case: &Case, prompts: &Prompts) -> Result<Vec<Generated>, VerifyError> {
        let histories = self.histories(prompts);
        let (generator, new_tokens) = self.generator(case, &histories)?;
        let mut session = self.start(self.language_model, prompts, new_tokens)?;
        let results = generator.generate(&mut session, &histories);
        let results = results.map_err(Blip2Error::from)?;
        Ok(results.into_iter().flatten().collect())
    }

    /// The same with a draft that writes ahead: row by row, since it does so for one row alone.
    fn generate_ahead(
        &self,
        draft: &'v LanguageModel,
        case: &Case,
        prompts: &Prompts,
    ) -> Result<Vec<Generated>, VerifyError> {
        let histories = self.histories(prompts);
        let (generator, new_tokens) = self.generator(case, &histories)?;
        let mut results = Vec::new();
        for (row, history) in histories.into_iter().enumerate() {
            let prompt = prompts.row(row);
            let target = self.start(self.language_model, &prompt, new_tokens)?;
            let ahead = self.start(draft, &prompt, new_tokens)?;
            let mut session = Speculative::new(target, ahead);
            let found = generator.generate(&mut session, &[history]);
            results.extend(found.map_err(Blip2Error::from)?.into_iter().flatten());
        }
        Ok(results)
    }

    fn start(
        &self,
        model: &'v LanguageModel,
        prompts: &Prompts,
        new_tokens: usize,
    ) -> Result<Session<&'v LanguageModel>, VerifyError> {
        let Prompts { embeds, mask, .. } = prompts;
        let session = model.start(embeds.clone(), mask, self.decoder_start, new_tokens);
        Ok(session.map_err(Blip2Error::from)?)
    }

    /// What decodes a case, and how many tokens it may write after these.
    fn generator(
        &self,
        case: &Case,
        histories: &[Vec<u32>],
    ) -> Result<(Generator<'static>, usize), VerifyError> {
        let mut config: GenerationConfig =
            serde_json::from_value(Value::Object(case.kwargs.clone()))
                .map_err(|error| VerifyError::golden(format!("kwargs: {error}")))?;
        if config.eos_token_id.is_empty() {
            config.eos_token_id = self.config.eos_token_ids().to_vec();
        }
        let length = histories.first().map_or(0, Vec::len);
        let new_tokens = config.new_tokens_after(length).map_err(Blip2Error::from)?;
        if new_tokens > MOST_TOKENS {
            let reason =
                format!("{new_tokens} new tokens are more than the {MOST_TOKENS} of a golden");
            return Err(VerifyError::golden(reason));
        }
        let generator = Generator::new(config).map_err(Blip2Error::from)?;
        Ok((generator, new_tokens))
    }

    /// What the reference's lengths and penalties count: the padded prompt, or the start token.
    fn histories(&self, prompts: &Prompts) -> Vec<Vec<u32>> {
        match self.decoder_start {
            Some(start) => vec![vec![start]; prompts.ids.len()],
            None => prompts.ids.clone(),
        }
    }

    /// Feeds the reference's own tokens one by one and compares the logits after each: the KV cache
    /// against the whole pass.
    fn step_logits(
        &self,
        greedy: &Case,
        prompts: &Prompts,
        golden: &GoldenTensor,
    ) -> Result<Outcome, VerifyError> {
        let [count, steps, vocab] = golden.shape[..] else {
            return Err(VerifyError::golden(format!(
                "greedy.logits: shape {:?}",
                golden.shape
            )));
        };
        let history = self.histories(prompts).first().map_or(0, Vec::len);
        let mut session = self.start(self.language_model, prompts, steps)?;
        let parents: Vec<usize> = (0..count).collect();
        let mut logits = vec![0f32; count * steps * vocab];
        for step in 0..steps {
            let found = if step == 0 {
                session.prefill()
            } else {
                let place = history + step - 1;
                let sequences = greedy.sequences.iter();
                let tokens: Option<Vec<u32>> =
                    sequences.map(|ids| ids.get(place).copied()).collect();
                let tokens = tokens
                    .ok_or_else(|| VerifyError::golden("greedy: sequences shorter than logits"))?;
                session.step(&parents, &tokens)
            }
            .map_err(Blip2Error::from)?;
            for row in 0..count.min(found.rows()) {
                let start = (row * steps + step) * vocab;
                let (of_row, place) = (found.row(row), logits.get_mut(start..start + vocab));
                let Some(place) = place.filter(|place| place.len() == of_row.len()) else {
                    return Err(VerifyError::golden(format!(
                        "greedy.logits: shape {:?}, of a vocabulary of {}",
                        golden.shape,
                        of_row.len()
                    )));
                };
                place.copy_from_slice(of_row);
            }
        }
        Ok(self.tolerance.compare(&golden.shape, &logits, golden))
    }
}
