//! The command line.

use std::path::PathBuf;

use blip2_core::{
    Blip2PipelineBuilder, GenerationConfig, Options, Precision, PrecisionPlan, Template,
    generate::EarlyStopping, lavis::Architecture,
};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{Failure, bench::BenchArgs};

/// Ask questions about pictures with BLIP-2.
///
/// Without --model, a small demonstration model answers that is built into the program; it knows
/// the colours and shapes of the pictures of the easy-VQA data set and nothing else.
#[derive(Debug, Parser)]
#[command(name = "blip2", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer a question about a picture.
    Answer(AnswerArgs),
    /// Describe one or many pictures.
    Caption(CaptionArgs),
    /// Tell how well texts describe a picture; needs a retrieval checkpoint.
    Match(MatchArgs),
    /// Search pictures by a text or by another picture; needs a retrieval checkpoint.
    Index(IndexArgs),
    /// Show what a checkpoint folder holds and what it needs, without loading it.
    Inspect(InspectArgs),
    /// Write a checkpoint into one file, in another precision, that opens at once.
    Pack(PackArgs),
    /// Write a checkpoint of LAVIS as a Hugging Face folder.
    Convert(ConvertArgs),
    /// Compare a checkpoint's every stage with the goldens beside it.
    Verify(VerifyArgs),
    /// Fine-tune a model: parts of it, or low-rank adapters.
    Train(TrainArgs),
    /// Score a model's answers or captions on a data set.
    Eval(EvalArgs),
    /// Measure a model stage by stage: time, memory, and how near that is to this machine's limits.
    Bench(BenchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// The picture; for a model of videos, a folder of frames or an animated GIF, PNG or WebP.
    pub(crate) image: PathBuf,
    /// The question, put into the model's prompt template.
    #[arg(required_unless_present = "prompt", conflicts_with = "prompt")]
    pub(crate) question: Option<String>,
    /// A raw prompt, used as it is in place of a question.
    #[arg(long)]
    pub(crate) prompt: Option<String>,
    /// The prompt template, with {} for the question.
    #[arg(long, conflicts_with = "prompt")]
    pub(crate) template: Option<Template>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
    /// Rank these answers, separated by commas, and print them with their shares, the likeliest
    /// first.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "ANSWERS",
        conflicts_with = "prompt"
    )]
    pub(crate) one_of: Vec<String>,
    /// With --one-of, rank by the mean of the tokens' log-probabilities in place of their sum.
    #[arg(long, requires = "one_of")]
    pub(crate) length_normalized: bool,
    /// Answer yes or no, whatever else the model would rather say.
    #[arg(long, conflicts_with_all = ["prompt", "one_of", "number"])]
    pub(crate) yes_no: bool,
    /// Answer with a number, whatever else the model would rather say.
    #[arg(long, conflicts_with_all = ["prompt", "one_of"])]
    pub(crate) number: bool,
    /// Print the answer with its tokens, log-probabilities and timings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CaptionArgs {
    /// Pictures, folders of pictures, or glob patterns; for a model of videos, videos: folders of
    /// frames or animated GIFs, PNGs or WebPs.
    #[arg(required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// A raw prompt for the caption to continue, such as "a photo of".
    #[arg(long)]
    pub(crate) prompt: Option<String>,
    /// How many pictures are captioned together.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
    /// Print JSON even for a single picture; many are always JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MatchArgs {
    /// The picture.
    pub(crate) image: PathBuf,
    /// The texts.
    #[arg(required = true)]
    pub(crate) texts: Vec<String>,
    #[command(flatten)]
    pub(crate) model: RetrievalArgs,
    /// Print JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    pub(crate) command: IndexCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Add pictures to an index, which is made if it is not there; those that are in it are skipped.
    Add(IndexAddArgs),
    /// Remove pictures from an index, by the names that `list` prints.
    Remove(IndexRemoveArgs),
    /// List the pictures of an index.
    List(IndexListArgs),
    /// Find the pictures that a text describes best, or that are most alike to a picture.
    Search(IndexSearchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct IndexAddArgs {
    /// The index file.
    pub(crate) index: PathBuf,
    /// Pictures, folders of pictures, or glob patterns.
    #[arg(required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// How many pictures are encoded together.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) model: RetrievalArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IndexRemoveArgs {
    /// The index file.
    pub(crate) index: PathBuf,
    /// The pictures' names.
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct IndexListArgs {
    /// The index file.
    pub(crate) index: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct IndexSearchArgs {
    /// The index file.
    pub(crate) index: PathBuf,
    /// What the pictures should show.
    #[arg(required_unless_present = "image", conflicts_with = "image")]
    pub(crate) text: Option<String>,
    /// A picture that they should be alike to.
    #[arg(long, value_name = "PICTURE")]
    pub(crate) image: Option<PathBuf>,
    /// How many pictures to find.
    #[arg(long, default_value_t = 10)]
    pub(crate) limit: usize,
    /// How many of the most similar pictures are matched with the text; 0 for none.
    #[arg(long, default_value_t = 128, conflicts_with = "image")]
    pub(crate) rerank: usize,
    /// Draw what was found as a contact sheet, a PNG.
    #[arg(long, value_name = "PNG")]
    pub(crate) sheet: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: RetrievalArgs,
    /// Print JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RetrievalArgs {
    /// A Hugging Face checkpoint folder of a Blip2ForImageTextRetrieval; to match, also of a
    /// BlipForImageTextRetrieval.
    #[arg(long, value_name = "FOLDER", env = "BLIP2_RETRIEVAL_MODEL")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// LAVIS's file.
    pub(crate) file: PathBuf,
    /// Which model it is of, by LAVIS's name: blip2, blip2_opt, blip2_t5, blip2_t5_instruct or
    /// blip2_vicuna_instruct.
    #[arg(long, value_name = "NAME")]
    pub(crate) arch: Architecture,
    /// The folder to write.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// The image encoder's file, eva_vit_g.pth or clip_vit_L.pth, where LAVIS's has none.
    #[arg(long, value_name = "FILE")]
    pub(crate) vision: Option<PathBuf>,
    /// The Hugging Face folder of the frozen language model.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) language_model: Option<PathBuf>,
    /// The Hugging Face folder of the Q-Former's tokenizer, bert-base-uncased, where it reads text.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// A folder whose config.json says what the tensors do not: attention heads, activations,
    /// epsilons. Without it, those of the published models.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The file that says how; without it, a commented one is printed to begin with.
    pub(crate) config: Option<PathBuf>,
    /// Load everything, try a step that is kept nowhere, and show what would be trained and what it
    /// takes.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Show the training in the whole terminal.
    #[cfg(feature = "dashboard")]
    #[arg(long)]
    pub(crate) dashboard: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The file whose table `validation` says what is evaluated, and how.
    pub(crate) config: PathBuf,
    /// A Hugging Face checkpoint folder in place of the file's model.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) model: Option<PathBuf>,
    /// Write the answers here, a JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) answers: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PackArgs {
    /// The checkpoint folder.
    pub(crate) folder: PathBuf,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) precision: PrecisionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The checkpoint folder.
    pub(crate) folder: PathBuf,
    /// Print the account as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A folder with golden.json, or a folder of such folders.
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A Hugging Face checkpoint folder; without it, the built-in demonstration model.
    #[arg(long, value_name = "FOLDER", env = "BLIP2_MODEL")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DeviceArgs {
    /// Where to compute: flex (CPU), ndarray (CPU), wgpu, vulkan, metal or webgpu (GPU).
    #[arg(long, default_value = "flex", value_name = "NAME")]
    pub(crate) device: String,
    #[command(flatten)]
    pub(crate) precision: PrecisionArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PrecisionArgs {
    /// The format that weights are held in: as-stored (the default), f32, bf16, f16, int8, or int4
    /// (of the language model; its vision tower is then held in int8).
    #[arg(long, value_name = "FORMAT")]
    precision: Option<Precision>,
    /// The vision tower's format, where it is another one.
    #[arg(long, value_name = "FORMAT")]
    vision_precision: Option<Precision>,
    /// The language model's format, where it is another one.
    #[arg(long, value_name = "FORMAT")]
    lm_precision: Option<Precision>,
}

impl PrecisionArgs {
    /// What was given, by the options' names.
    pub(crate) fn options(&self) -> [(&'static str, Option<String>); 3] {
        [
            ("precision", self.precision),
            ("vision-precision", self.vision_precision),
            ("lm-precision", self.lm_precision),
        ]
        .map(|(name, precision)| (name, precision.map(|precision| precision.to_string())))
    }

    /// The plan, where what is left out is `default`.
    pub(crate) fn plan(&self, default: Precision) -> PrecisionPlan {
        let both = PrecisionPlan::from(self.precision.unwrap_or(default));
        both.with_vision(self.vision_precision.unwrap_or(both.vision))
            .with_language_model(self.lm_precision.unwrap_or(both.language_model))
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MemoryArgs {
    /// Refuse what would take more memory than this; without it, more than the machine has left.
    #[arg(long, value_name = "GB")]
    pub(crate) memory_limit: Option<f64>,
}

impl MemoryArgs {
    /// Limits what a model and its calls may take.
    pub(crate) fn limit(&self, builder: Blip2PipelineBuilder) -> Blip2PipelineBuilder {
        match self.memory_limit {
            // A number beyond the integers means no limit, one below zero nothing at all.
            Some(gigabytes) => builder.memory_limit((gigabytes * 1e9) as u64),
            None => builder,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct GenerationArgs {
    /// The most tokens to generate.
    #[arg(long, default_value_t = 20)]
    max_new_tokens: usize,
    /// No end before so many tokens.
    #[arg(long)]
    min_new_tokens: Option<usize>,
    /// Beams of a beam search; 1 is greedy.
    #[arg(long, default_value_t = 1)]
    beams: usize,
    /// When a beam search stops.
    #[arg(long, value_enum, default_value_t = Early::False)]
    early_stopping: Early,
    /// Above 0 favours long texts in a beam search, below 0 short ones.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    length_penalty: f64,
    /// Above 1 discourages tokens that already occurred.
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f64,
    /// No sequence of so many tokens occurs twice; 0 allows all.
    #[arg(long, default_value_t = 0)]
    no_repeat_ngram: usize,
    /// Draw tokens at random instead of taking the likeliest.
    #[arg(long)]
    sample: bool,
    /// With --sample: below 1 sharpens the distribution, above 1 flattens it.
    #[arg(long, default_value_t = 1.0, requires = "sample")]
    temperature: f64,
    /// With --sample: only the so many likeliest tokens; 0 for all.
    #[arg(long, default_value_t = 50, requires = "sample")]
    top_k: usize,
    /// With --sample: only the likeliest tokens that together reach this probability.
    #[arg(long, default_value_t = 1.0, requires = "sample")]
    top_p: f64,
    /// With --sample: the seed; the same seed gives the same text.
    #[arg(long, default_value_t = 0, requires = "sample")]
    seed: u64,
    /// End at this text; may be given several times.
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
    /// The options of a call.
    pub(crate) fn options(&self, template: Option<Template>) -> Result<Options, Failure> {
        let generation = GenerationConfig::default()
            .with_max_new_tokens(self.max_new_tokens)
            .with_min_new_tokens(self.min_new_tokens)
            .with_num_beams(self.beams)
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
        generation.validate().map_err(Failure::usage)?;
        let mut options = Options::default().with_generation(generation);
        if let Some(template) = template {
            options = options.with_template(template);
        }
        Ok(options)
    }
}
