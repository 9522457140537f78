//! How texts are written.

use blip2_core::{GenerationConfig, Options, Template, generate::EarlyStopping};
use clap::{Args, ValueEnum};

use crate::Failure;

#[derive(Debug, Args)]
pub(crate) struct GenerationArgs {
    /// The maximum number of tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 20)]
    max_new_tokens: usize,
    /// The minimum number of tokens to generate.
    #[arg(long, value_name = "N")]
    min_new_tokens: Option<usize>,
    /// The number of beams of beam search; 1 for greedy search.
    #[arg(long, value_name = "N", default_value_t = 1)]
    beams: usize,
    /// How many texts to write, the best first: at most as many as --beams, or with --sample any number.
    #[arg(long, value_name = "N", default_value_t = 1)]
    num_return_sequences: usize,
    /// When beam search stops: true, as soon as there are as many finished sequences as beams;
    /// false, when a better one is unlikely; never, when none can come.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Early::False)]
    early_stopping: Early,
    /// The length penalty of beam search: above 0 favours long sequences, below 0 short ones.
    #[arg(
        long,
        value_name = "X",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    length_penalty: f64,
    /// The repetition penalty: above 1 discourages tokens that occurred before.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repetition_penalty: f64,
    /// Forbid n-grams of this many tokens from occurring twice; 0 allows them.
    #[arg(long, value_name = "N", default_value_t = 0)]
    no_repeat_ngram: usize,
    /// Sample tokens from their distribution instead of taking the most probable.
    #[arg(long)]
    sample: bool,
    /// With --sample: the temperature; below 1 sharpens the distribution, above 1 flattens it.
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "sample")]
    temperature: f64,
    /// With --sample: sample from the K most probable tokens; 0 for all.
    #[arg(long, value_name = "K", default_value_t = 50, requires = "sample")]
    top_k: usize,
    /// With --sample: sample from the most probable tokens whose probabilities add up to P (nucleus
    /// sampling).
    #[arg(long, value_name = "P", default_value_t = 1.0, requires = "sample")]
    top_p: f64,
    /// With --sample: the random seed; the same seed gives the same text.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "sample")]
    seed: u64,
    /// Stop generating at this text; may be given several times.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Early {
    False,
    True,
    Never,
}

impl GenerationArgs {
    /// How many texts there are of each picture.
    pub(crate) fn sequences(&self) -> usize {
        self.num_return_sequences
    }

    /// Whether a text depends on which others are written with it: a sample does, since all are drawn
    /// from one row of random numbers.
    pub(crate) fn samples(&self) -> bool {
        self.sample
    }

    /// What was given, or stands in for it, by the options' names.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let early = format!("{:?}", self.early_stopping).to_lowercase();
        let known = [
            ("max-new-tokens", self.max_new_tokens.to_string()),
            ("beams", self.beams.to_string()),
            (
                "num-return-sequences",
                self.num_return_sequences.to_string(),
            ),
            ("early-stopping", early),
            ("length-penalty", self.length_penalty.to_string()),
            ("repetition-penalty", self.repetition_penalty.to_string()),
            ("no-repeat-ngram", self.no_repeat_ngram.to_string()),
            ("sample", self.sample.to_string()),
            ("temperature", self.temperature.to_string()),
            ("top-k", self.top_k.to_string()),
            ("top-p", self.top_p.to_string()),
            ("seed", self.seed.to_string()),
        ];
        let fewest = self
            .min_new_tokens
            .map(|fewest| ("min-new-tokens", fewest.to_string()));
        let stops = self.stop.iter().map(|stop| ("stop", stop.clone()));
        known.into_iter().chain(fewest).chain(stops).collect()
    }

    /// The options of a call.
    pub(crate) fn options(&self, template: Option<Template>) -> Result<Options, Failure> {
        let mut options = Options::default().with_generation(self.config()?);
        if let Some(template) = template {
            options = options.with_template(template);
        }
        Ok(options)
    }

    /// How texts are written.
    pub(crate) fn config(&self) -> Result<GenerationConfig, Failure> {
        let generation = GenerationConfig::default()
            .with_max_new_tokens(self.max_new_tokens)
            .with_min_new_tokens(self.min_new_tokens)
            .with_num_beams(self.beams)
            .with_num_return_sequences(self.num_return_sequences)
            .with_early_stopping(match self.early_stopping {
                Early::False => EarlyStopping::False,
                Early::True => EarlyStopping::True,
                Early::Never => EarlyStopping::Never,
            })
            .with_length_penalty(self.length_penalty)
            .with_repetition_penalty(self.repetition_penalty)
            .with_no_repeat_ngram_size(self.no_repeat_ngram)
            .with_do_sample(self.sample)
            .with_temperature(self.temperature)
            .with_top_k(self.top_k)
            .with_top_p(self.top_p)
            .with_seed(self.seed)
            .with_stop_strings(self.stop.clone());
        // Refused before a model is loaded for minutes.
        generation.validate().map_err(Failure::refused)?;
        Ok(generation)
    }
}
