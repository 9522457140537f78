//! The first steps of a training against those of `transformers` and PyTorch's AdamW: losses,
//! gradients, their norms, and what the parameters are afterwards.

use std::{collections::BTreeSet, path::Path};

use blip2_core::{CheckpointFolder, ModelKind};
use blip2_train::{
    AdamW, Adapter, Decay, Gradients, Lora, LoraConfig, TrainError, Trained, Training, Writes,
    objective::Batch,
};
use burn::tensor::TensorData;
use serde_json::Value;

use crate::{
    error::VerifyError,
    golden::{Golden, GoldenTensor},
    options::VerifyOptions,
    report::{Outcome, Report},
    rows::{frames, rows},
};

/// How many times a norm may be as far from its golden, in parts of itself, as a stage's numbers.
const NORM: f64 = 20.0;

/// Gradients below this part of all gradients' norm are judged as if they were as large.
const SMALL: f64 = 0.02;

pub(crate) fn verify(
    folder: &Path,
    checkpoint: &str,
    golden: &Golden,
    options: &VerifyOptions,
    report: &mut Report,
) -> Result<(), VerifyError> {
    // What they say is said by the numbers, too.
    for key in [
        "eps",
        "lora",
        "mode",
        "no_grad_params",
        "torch",
        "weight_decay_on",
    ] {
        golden.json(key);
    }
    let base = folder.join("../..").join(checkpoint);
    let base = CheckpointFolder::open(base).map_err(TrainError::from)?;
    let batch = batch(&Golden::open(base.path())?, options)?;
    let mut training = Training::of(&base)?
        .device(options.device.clone())
        .precision(options.precision);
    for name in trained_names(golden).filter(|name| !is_adapter(name)) {
        training = training.part(name);
    }
    if let Some(lora) = adapters(golden)? {
        training = training.adapters(lora);
    }
    let mut course = Course {
        golden,
        options,
        report,
        batch,
    };
    match base.kind().map_err(TrainError::from)? {
        ModelKind::BlipAnswer => course.run(training.load_blip1_answerer()?),
        ModelKind::BlipCaption => course.run(training.load_blip1_captioner()?),
        _ => course.run(training.load()?),
    }
}

/// The batch that the checkpoint's own goldens were made of.
fn batch(given: &Golden, options: &VerifyOptions) -> Result<Batch, VerifyError> {
    let missing = |what: &str| {
        let detail = format!("the checkpoint's own goldens have no {what} to train on");
        VerifyError::golden(detail)
    };
    let pixels = given.tensor("pixel_values");
    let pixels = frames(pixels.ok_or_else(|| missing("pixel_values"))?);
    let read = rows(given, "input_ids", "attention_mask")?;
    let read = read.ok_or_else(|| missing("input_ids"))?;
    let labels = given.tensor("labels").ok_or_else(|| missing("labels"))?;
    Ok(Batch {
        pixel_values: pixels.tensor(&options.device)?,
        pictures: (0..read.len()).collect(),
        instructions: rows(given, "qformer_input_ids", "qformer_attention_mask")?,
        rows: read,
        labels: labels.rows()?,
    })
}

/// The adapters that the training begins with.
fn adapters(golden: &Golden) -> Result<Option<Lora>, VerifyError> {
    let mut starts = Vec::new();
    for key in golden.tensor_keys() {
        let layer = key.strip_prefix("init.");
        let Some(layer) = layer.and_then(|layer| layer.strip_suffix(".lora_A")) else {
            continue;
        };
        let last = golden.tensor(&format!("final.{layer}.lora_B"));
        let (Some(a), Some(b)) = (golden.tensor(key), last) else {
            let detail = format!("there is no final.{layer}.lora_B");
            return Err(VerifyError::golden(detail));
        };
        let (&[r, _], &[outputs, _]) = (&a.shape[..], &b.shape[..]) else {
            return Err(VerifyError::golden(format!("{key} is no matrix")));
        };
        let a = TensorData::new(a.floats()?, a.shape.clone());
        let b = TensorData::new(vec![0f32; outputs * r], [outputs, r]);
        starts.push((r, layer.to_string(), Adapter { a, b }));
    }
    let Some(&(r, ..)) = starts.first() else {
        return Ok(None);
    };
    let lora = golden.json("lora");
    let alpha = lora.and_then(|lora| lora.get("alpha")?.as_f64());
    let alpha = alpha.ok_or_else(|| VerifyError::golden("`lora` has no `alpha`"))?;
    let layers: BTreeSet<String> = starts.iter().map(|(_, layer, _)| layer.clone()).collect();
    let config = LoraConfig::new(r, layers).with_alpha(alpha);
    let starts = starts.into_iter().map(|(_, layer, start)| (layer, start));
    Ok(Some(Lora::of(config, starts)?))
}

/// A training under way.
struct Course<'v> {
    golden: &'v Golden,
    options: &'v VerifyOptions,
    report: &'v mut Report,
    batch: Batch,
}

impl Course<'_> {
    fn run<M: Writes>(&mut self, mut trained: Trained<M>) -> Result<(), VerifyError> {
        let losses = self.numbers("losses")?;
        let exact = self.numbers("losses_f64")?;
        let norms = self.numbers("grad_norms")?;
        let [beta1, beta2] = self.numbers("betas")?[..] else {
            return Err(VerifyError::golden("`betas` are no two numbers"));
        };
        let (lr, decay) = (self.number("lr")?, self.number("weight_decay")?);
        let smoothing = self.number("label_smoothing").unwrap_or_default();
        let mut optimizer = AdamW::default()
            .with_betas([beta1 as f32, beta2 as f32])
            .with_weight_decay(decay as f32)
            .with_decay(Decay::All);
        // How far the reference in 32 bits is from itself in 64.
        let pairs = || losses.iter().zip(&exact);
        let rounding = pairs().fold(0f64, |most, (a, b)| most.max((a - b).abs()));
        for (step, (&expected, &exact)) in pairs().enumerate() {
            let loss = trained.model().loss(&self.batch, smoothing)?;
            let found = f64::from(loss.clone().into_scalar::<f32>());
            let off = (found - expected).abs().min((found - exact).abs());
            let base = self.options.base().at_least(rounding).0;
            let allowed = base * (expected.abs() / 10.0).max(1.0);
            self.judge(format!("loss.{step}"), off, expected, allowed);
            let Some(&norm) = norms.get(step) else {
                break;
            };
            let gradients = trained.gradients(loss)?;
            let off = (gradients.norm() - norm).abs();
            let allowed = NORM * self.options.base().0 * norm;
            self.judge(format!("grad_norm.{step}"), off, norm, allowed);
            if step == 0 {
                self.gradients(&gradients, norm, base)?;
            }
            optimizer.step(&mut trained, gradients, lr)?;
        }
        self.parameters(&trained, lr)
    }

    /// The gradients of the first step. What rounding does to the reference's own losses (`base`) it does
    /// to its gradients.
    fn gradients(&mut self, found: &Gradients, norm: f64, base: f64) -> Result<(), VerifyError> {
        let names = names(self.golden, "grad0.");
        let expected: BTreeSet<String> = names.iter().map(|name| own_name(name)).collect();
        let own: BTreeSet<String> = found.names().map(str::to_string).collect();
        self.report
            .push("grad0 (names)", Outcome::equal(&own, &expected));
        for name in names {
            let (stage, own) = (format!("grad0.{name}"), found.get(&own_name(&name)));
            let (Some(golden), Some(own)) = (self.golden.tensor(&stage), own) else {
                continue;
            };
            let own = own.clone().into_data();
            let (_, most, largest) = distance(own, golden)?;
            let allowed = base * largest.max(SMALL * norm);
            self.judge(stage, most, largest, allowed);
        }
        Ok(())
    }

    /// The parameters after the last step.
    fn parameters<M: Writes>(&mut self, trained: &Trained<M>, lr: f64) -> Result<(), VerifyError> {
        let values = trained.values();
        let names = names(self.golden, "final.");
        let expected: BTreeSet<String> = names.iter().map(|name| own_name(name)).collect();
        let own: BTreeSet<String> = values.keys().cloned().collect();
        self.report
            .push("final (names)", Outcome::equal(&own, &expected));
        for name in names {
            let (stage, own) = (format!("final.{name}"), values.get(&own_name(&name)));
            let (Some(golden), Some(own)) = (self.golden.tensor(&stage), own) else {
                continue;
            };
            let (mean, _, largest) = distance(own.clone(), golden)?;
            // A bias of keys moves all of a query's scores alike, which changes nothing: its gradient
            // is rounding alone, which Adam scales up to a whole step.
            let allowed = match name.ends_with("key.bias") {
                true => 10.0 * lr,
                false => self.options.base().0,
            };
            self.judge(format!("{stage} (rms)"), mean, largest, allowed);
        }
        Ok(())
    }

    fn judge(&mut self, stage: String, off: f64, scale: f64, tolerance: f64) {
        let max_abs = if off.is_finite() { off } else { f64::INFINITY };
        let max_rel = match scale.abs() {
            0.0 => max_abs,
            scale => max_abs / scale,
        };
        let outcome = Outcome::Tensor {
            max_abs,
            max_rel,
            tolerance,
        };
        self.report.push(stage, outcome);
    }

    fn number(&self, key: &str) -> Result<f64, VerifyError> {
        let value = self.golden.json(key).and_then(Value::as_f64);
        value.ok_or_else(|| VerifyError::golden(format!("`{key}` is no number")))
    }

    fn numbers(&self, key: &str) -> Result<Vec<f64>, VerifyError> {
        let values = self.golden.json(key).and_then(Value::as_array);
        let numbers = values.and_then(|values| values.iter().map(Value::as_f64).collect());
        numbers.ok_or_else(|| VerifyError::golden(format!("`{key}` is no list of numbers")))
    }
}

/// How far a tensor is from its golden, as the root of the mean square and at most, and the golden's
/// largest number.
fn distance(own: TensorData, golden: &GoldenTensor) -> Result<(f64, f64, f64), VerifyError> {
    let (own, expected) = (own.try_into_vec::<f32>(), golden.floats()?);
    let own = own.unwrap_or_default();
    if own.len() != expected.len() {
        return Ok((f64::INFINITY, f64::INFINITY, 1.0));
    }
    let (mut squares, mut most, mut largest) = (0f64, 0f64, 0f64);
    for (&own, &expected) in own.iter().zip(&expected) {
        let off = (f64::from(own) - f64::from(expected)).abs();
        squares += off * off;
        // Not `f64::max`, which would pass over NaN.
        most = if off <= most { most } else { off };
        largest = largest.max(f64::from(expected).abs());
    }
    let mean = (squares / expected.len().max(1) as f64).sqrt();
    Ok((mean, most, largest))
}

/// The names of goldens behind a prefix.
fn names(golden: &Golden, prefix: &str) -> Vec<String> {
    let keys = golden.tensor_keys();
    keys.filter_map(|key| Some(key.strip_prefix(prefix)?.to_string()))
        .collect()
}

fn trained_names(golden: &Golden) -> impl Iterator<Item = String> {
    names(golden, "final.").into_iter()
}

fn is_adapter(name: &str) -> bool {
    name.ends_with(".lora_A") || name.ends_with(".lora_B")
}

/// Adapters have another name in PEFT's files than in the goldens.
fn own_name(name: &str) -> String {
    match is_adapter(name) {
        true => format!("{name}.weight"),
        false => name.to_string(),
    }
}
