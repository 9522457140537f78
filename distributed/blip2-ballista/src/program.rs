//! What the three programs share: options, the model, messages.

use std::{path::PathBuf, process::ExitCode};

use blip2_core::{GenerationConfig, Precision, Template, device_by_name};
use blip2_datafusion::{FunctionError, Functions, Loading, Model, OnError};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// The model, and how its functions work. Scheduler, executors and clients are given the same.
#[derive(Debug, Clone, Args)]
pub struct FunctionArgs {
    /// The model: a folder, a file that `blip2 pack` wrote, or the id of a model in the Hugging Face cache.
    /// Who only plans reads its configuration alone.
    #[arg(long, value_name = "FOLDER|ID")]
    pub model: PathBuf,
    /// The most tokens of a caption or an answer.
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// How many beams are searched.
    #[arg(long, value_name = "N")]
    pub beams: Option<usize>,
    /// Draw tokens in place of taking the likeliest.
    #[arg(long)]
    pub sample: bool,
    /// How even the chances of tokens are, above 0.
    #[arg(long, value_name = "NUMBER", requires = "sample")]
    pub temperature: Option<f64>,
    /// Draw from the likeliest tokens that have this share together.
    #[arg(long, value_name = "SHARE", requires = "sample")]
    pub top_p: Option<f64>,
    /// What random numbers begin with.
    #[arg(long, value_name = "N", requires = "sample")]
    pub seed: Option<u64>,
    /// The prompt template, with {} in the question's place.
    #[arg(long, value_name = "TEXT")]
    pub template: Option<Template>,
    /// How many rows an engine hands over at once.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub rows: usize,
}

/// How a model computes.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// Where it computes.
    #[arg(long, value_name = "NAME", default_value = "flex")]
    pub device: String,
    /// The number format of its weights: as-stored, f32, bf16, int8, int4 …
    #[arg(long, value_name = "NAME")]
    pub precision: Option<Precision>,
    /// The batch size: how many rows the model computes together.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub batch: usize,
    /// How many threads compute. Default: one for each core.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// What becomes of a row that fails.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnErrorChoice::Fail)]
    pub on_error: OnErrorChoice,
    /// The folder of the pictures that paths name. Without it only bytes and URLs of registered stores are
    /// read.
    #[arg(long, value_name = "FOLDER")]
    pub pictures: Option<PathBuf>,
}

/// What becomes of a row that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnErrorChoice {
    /// The query fails.
    Fail,
    /// Its result is NULL.
    Null,
}

impl FunctionArgs {
    /// Functions to plan with.
    pub fn declared(&self) -> Result<Functions, FunctionError> {
        Ok(self.with_settings(Functions::declared(&self.model)?))
    }

    /// Functions of a model that is loaded.
    pub fn loaded(&self, args: &ModelArgs) -> Result<Functions, Box<dyn std::error::Error>> {
        if let Some(threads) = args.threads {
            // Before anything computes: what has begun keeps its threads.
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global()?;
        }
        let mut loading = Loading::default().with_device(device_by_name(&args.device)?);
        if let Some(precision) = args.precision {
            loading = loading.with_precision(precision);
        }
        let functions = Functions::new(Model::open(&self.model, &loading)?)?;
        let functions = self.with_settings(functions).with_batch(args.batch);
        let functions = functions.with_on_error(match args.on_error {
            OnErrorChoice::Fail => OnError::Fail,
            OnErrorChoice::Null => OnError::Null,
        });
        Ok(match &args.pictures {
            Some(folder) => functions.with_folder(folder),
            None => functions,
        })
    }

    fn with_settings(&self, functions: Functions) -> Functions {
        let mut functions = functions.with_rows(self.rows);
        if let Some(template) = &self.template {
            functions = functions.with_template(template.clone());
        }
        match self.generation() {
            Some(generation) => functions.with_generation(generation),
            None => functions,
        }
    }

    /// The arguments of generation, if any was given.
    fn generation(&self) -> Option<GenerationConfig> {
        let given = self.sample || self.max_new_tokens.is_some() || self.beams.is_some();
        if !given {
            return None;
        }
        let mut config = GenerationConfig::default()
            .with_max_new_tokens(Some(self.max_new_tokens.unwrap_or(20)))
            .with_num_beams(self.beams.unwrap_or(1))
            .with_do_sample(self.sample);
        if let Some(temperature) = self.temperature {
            config = config.with_temperature(temperature);
        }
        if let Some(top_p) = self.top_p {
            config = config.with_top_p(top_p);
        }
        if let Some(seed) = self.seed {
            config = config.with_seed(seed);
        }
        Some(config)
    }
}

/// Writes what the engines and the functions tell to standard error, as `filter` says.
pub fn log_to_stderr(filter: &str) -> Result<(), Box<dyn std::error::Error>> {
    let filter = EnvFilter::builder().parse(filter)?;
    let logging = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter(filter);
    logging.with_writer(std::io::stderr).init();
    Ok(())
}

/// Runs a program on threads whose stacks hold deep plans.
#[allow(clippy::print_stderr, reason = "a program says why it fails")]
pub fn run(work: impl Future<Output = Result<(), Box<dyn std::error::Error>>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(32 << 20)
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
