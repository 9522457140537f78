//! Running a model over and over and taking its times.

use std::time::{Duration, Instant};

use blip2_core::{
    Answer, Blip2Config, Blip2Pipeline, GenerationConfig, Options, Timings,
    gpu::{self, Watch},
    memory::{Workload, machine},
    model::{Keep, LanguageModel, PromptRows},
};
use image::RgbImage;

use super::{
    BenchArgs, builder,
    continuous::Continuous,
    machine::{Machine, Peaks},
    report::{Adapter, Caption, Decode, Prompt, Rated, Report, Stages, Step, Times},
    work::{Operations, decoder_bytes},
};
use crate::{Failure, model};

/// Loads the model, runs it, and measures the machine when the model is gone.
pub(super) fn measure(args: &BenchArgs) -> Result<Report, Failure> {
    let (name, builder) = builder(args)?;
    let device = model::device(&args.device)?;
    let held_before = gpu::memory_in_use(&device).unwrap_or_default();
    let start = Instant::now();
    let blip2 = builder.load().map_err(Failure::work)?;
    let load = Times::of(vec![start.elapsed().as_secs_f64()]);
    let held = gpu::memory_in_use(&device).map(|held| held.saturating_sub(held_before));

    let work = work(args, blip2.config());
    // Before a prompt of that length is made.
    blip2.check_memory(&work).map_err(Failure::work)?;
    let runs = Runs::take(args, &blip2)?;
    let encoder = encoder(args, &blip2)?;
    // On a GPU it is the device's memory that is of interest, and that is predicted.
    let peak_memory_bytes = match gpu::name(&device) {
        Some(_) => device_peak(args, &blip2)?.map(|peak| peak.saturating_sub(held_before)),
        None => machine::peak_held(),
    };
    let continuous = args
        .continuous
        .map(|pictures| Continuous::take(args, &blip2, pictures))
        .transpose()?;
    let account = Account::take(args, &blip2)?;

    let (config, plan) = (blip2.config().clone(), blip2.memory().clone());
    let precision = blip2.precision();
    drop(blip2);
    let machine = Machine::new((!args.no_peaks).then_some(precision), &device);

    let side = side(args, &config);
    let operations = Operations::new(&config, side, args.prompt_tokens);
    let peaks = machine.peaks;
    let rated = |times: Times, operations: f64, peak: fn(&Peaks) -> f64| {
        let gflops = args.batch as f64 * operations / times.seconds / 1e9;
        Rated {
            gflops,
            of_peak: peaks.map(|peaks| gflops / peak(&peaks)),
            times,
        }
    };
    let of_prompt = |times| {
        rated(times, operations.prompt, |peaks| {
            peaks.language_model_gflops
        })
    };
    let prompt = match encoder {
        Some(times) => Prompt::Encoder(of_prompt(times)),
        None => Prompt::Prefill(of_prompt(runs.stage(|t| t.prefill))),
    };
    let steps = args.new_tokens - 1;
    let decode = (steps > 0).then(|| {
        let times = runs.stage(|t| t.decode).divided(steps as f64);
        let bytes = decoder_bytes(&config.text_config, &plan) as f64;
        let gb_per_second = bytes / times.seconds / 1e9;
        Decode {
            seconds_per_token: times.seconds,
            tokens_per_second: args.batch as f64 / times.seconds,
            gb_per_second,
            of_streaming_peak: peaks.map(|peaks| gb_per_second / peaks.streaming_gb_per_second),
            bytes_per_token: account.map(|account| account.bytes),
            launches_per_token: account.map(|account| account.launches),
            accepted: runs.accepted(),
            runs: times.runs,
        }
    });
    let adapter = gpu::name(&device).map(|name| Adapter {
        name,
        weights_bytes: held.unwrap_or_default(),
        copy_gb_per_second: peaks.map(|peaks| peaks.streaming_gb_per_second),
        product_gflops: peaks.map(|peaks| peaks.language_model_gflops),
    });
    Ok(Report {
        model: name,
        precision: precision.into(),
        threads: rayon::current_num_threads(),
        batch: args.batch,
        beams: args.beams,
        prompt_tokens: args.prompt_tokens,
        new_tokens: args.new_tokens,
        image_size: side,
        machine,
        decode: decode
            .as_ref()
            .filter(|_| adapter.is_some())
            .map(|decode| Step {
                seconds_per_token: decode.seconds_per_token,
                bytes_per_token: decode.bytes_per_token.unwrap_or_default(),
                launches_per_token: decode.launches_per_token.unwrap_or_default(),
            }),
        device: adapter,
        stages: Stages {
            load,
            preprocess: runs.stage(|t| t.preprocess),
            vision: rated(runs.stage(|t| t.vision), operations.vision, |peaks| {
                peaks.vision_gflops
            }),
            qformer: rated(runs.stage(|t| t.qformer), operations.qformer, |peaks| {
                peaks.f32_gflops
            }),
            prompt,
            decode,
            caption: Caption {
                tokens: args.new_tokens,
                times: Times::of(runs.whole),
            },
        },
        continuous,
        peak_memory_bytes,
        weights_bytes: plan.weights(None),
        predicted_peak_bytes: plan.predict(&work).peak(),
    })
}

/// The most that a GPU's memory holds for the whole process in a caption.
fn device_peak(args: &BenchArgs, blip2: &Blip2Pipeline) -> Result<Option<u64>, Failure> {
    let (image, ids) = (picture(), prompt_ids(blip2.config(), args.prompt_tokens));
    let pairs = (0..args.batch).map(|_| (&image, ids.clone()));
    let watch = Watch::of_memory(blip2.device());
    blip2
        .prompt_ids_batch(pairs, &exactly(args, args.new_tokens))
        .map_err(Failure::work)?;
    Ok(watch.peak_memory())
}

/// The height and width that pictures are resized to.
fn side(args: &BenchArgs, config: &Blip2Config) -> usize {
    args.image_size
        .map_or(config.vision_config.image_size, |side| side as usize)
}

fn work(args: &BenchArgs, config: &Blip2Config) -> Workload {
    let side = side(args, config);
    Workload::default()
        .with_batch(args.batch)
        .with_prompt_tokens(args.prompt_tokens)
        .with_new_tokens(args.new_tokens)
        .with_beams(args.beams)
        .with_image_size([side, side])
        .with_picture_pixels((WIDTH * HEIGHT) as usize)
}

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;

/// A picture of no meaning.
pub(super) fn picture() -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        image::Rgb([x as u8, y as u8, ((x * y) >> 6) as u8])
    })
}

/// A prompt of `tokens` ids, none of them the image placeholder.
fn prompt_ids(config: &Blip2Config, tokens: usize) -> Vec<u32> {
    let vocab = config.text_config.vocab_size() as u32;
    (0..vocab)
        .skip(4)
        .filter(|id| config.image_token_index != Some(*id))
        .cycle()
        .take(tokens)
        .collect()
}

/// The times of whole captions and of their stages.
struct Runs {
    whole: Vec<f64>,
    stages: Vec<Timings>,
}

impl Runs {
    fn take(args: &BenchArgs, blip2: &Blip2Pipeline) -> Result<Self, Failure> {
        let options = exactly(args, args.new_tokens);
        let image = picture();
        let ids = prompt_ids(blip2.config(), args.prompt_tokens);
        let mut runs = Self {
            whole: Vec::new(),
            stages: Vec::new(),
        };
        for run in 0..=args.repeat {
            let start = Instant::now();
            let pairs = (0..args.batch).map(|_| (&image, ids.clone()));
            let answers = blip2
                .prompt_ids_batch(pairs, &options)
                .map_err(Failure::work)?;
            let whole = start.elapsed().as_secs_f64();
            let timings = checked(&answers, args.new_tokens)?;
            // The first run finds cold caches and memory that was never touched.
            if run > 0 {
                runs.whole.push(whole);
                runs.stages.push(timings);
            }
        }
        Ok(runs)
    }

    /// The share of the tokens written ahead that held.
    fn accepted(&self) -> Option<f64> {
        let sum = |of: fn(&Timings) -> Option<usize>| {
            self.stages.iter().filter_map(of).sum::<usize>() as f64
        };
        let drafted = sum(|timings| timings.drafted);
        (drafted > 0.0).then(|| sum(|timings| timings.accepted) / drafted)
    }

    fn stage(&self, time: impl Fn(&Timings) -> Option<Duration>) -> Times {
        let seconds = |timings| time(timings).map_or(0.0, |time| time.as_secs_f64());
        Times::of(self.stages.iter().map(seconds).collect())
    }
}

/// What a GPU is made to do for a token.
#[derive(Clone, Copy)]
struct Account {
    bytes: f64,
    launches: f64,
}

impl Account {
    /// Of the tokens that a longer answer has more than a shorter one; `None` on a processor.
    fn take(args: &BenchArgs, blip2: &Blip2Pipeline) -> Result<Option<Self>, Failure> {
        const TOKENS: [usize; 2] = [2, 4];
        if gpu::name(blip2.device()).is_none() {
            return Ok(None);
        }
        let image = picture();
        let ids = prompt_ids(blip2.config(), args.prompt_tokens);
        let mut counts = Vec::new();
        for tokens in TOKENS {
            let watch = Watch::new();
            let pairs = (0..args.batch).map(|_| (&image, ids.clone()));
            blip2
                .prompt_ids_batch(pairs, &exactly(args, tokens))
                .map_err(Failure::work)?;
            counts.push([watch.bytes_moved() as f64, watch.launches() as f64]);
        }
        let more = (TOKENS[1] - TOKENS[0]) as f64;
        let [short, long] = counts[..] else {
            return Ok(None);
        };
        Ok(Some(Self {
            bytes: (long[0] - short[0]) / more,
            launches: (long[1] - short[1]) / more,
        }))
    }
}

/// The options of answers of so many tokens.
pub(super) fn exactly(args: &BenchArgs, tokens: usize) -> Options {
    Options::default().with_generation(
        GenerationConfig::default()
            .with_min_new_tokens(tokens)
            .with_max_new_tokens(tokens)
            .with_num_beams(args.beams),
    )
}

/// The times of answers, if they have the length that was asked for.
fn checked(answers: &[Answer], new_tokens: usize) -> Result<Timings, Failure> {
    if let Some(short) = answers.iter().find(|a| a.tokens.len() != new_tokens) {
        return Err(Failure::Work(format!(
            "{} tokens were generated where --new-tokens asks for {new_tokens} ({}); ask for fewer, \
             or for a shorter prompt",
            short.tokens.len(),
            serde_json::to_string(&short.finish_reason).unwrap_or_default()
        )));
    }
    Ok(answers
        .first()
        .map(|answer| answer.timings)
        .unwrap_or_default())
}

/// The times of T5's encoder alone; `None` of a model without one.
fn encoder(args: &BenchArgs, blip2: &Blip2Pipeline) -> Result<Option<Times>, Failure> {
    let model = blip2.model();
    let LanguageModel::T5(t5) = model.language_model() else {
        return Ok(None);
    };
    let image = picture();
    let seen = blip2.look(&image).map_err(Failure::work)?;
    // Of an InstructBLIP they depend on the question.
    let Some(features) = seen.features() else {
        return Ok(None);
    };
    let features = features.select(&vec![0; args.batch]);
    let placeholders = model
        .image_token()
        .map_or_else(Vec::new, |token| vec![token; model.num_placeholders()]);
    let text = prompt_ids(blip2.config(), args.prompt_tokens);
    let row = [placeholders, text].concat();
    let mask = vec![vec![true; row.len()]; args.batch];
    let rows = PromptRows::new(vec![row; args.batch], mask).map_err(Failure::work)?;
    let mut seconds = Vec::new();
    for run in 0..=args.repeat {
        let start = Instant::now();
        let (embeds, mask) = model
            .inputs_embeds(&features, &rows)
            .map_err(Failure::work)?;
        t5.encode(embeds, &mask, Keep::NOTHING)
            .map_err(Failure::work)?;
        blip2
            .device()
            .sync()
            .map_err(|error| Failure::Work(format!("{error:?}")))?;
        if run > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(Some(Times::of(seconds)))
}
