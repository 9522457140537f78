//! The command line.

use std::{path::PathBuf, str::FromStr};

use blip2_core::{
    Builder, GenerationConfig, Member, Options, Precision, PrecisionPlan, Template,
    generate::EarlyStopping, lavis::Architecture, preprocessing::Resizing,
};
#[cfg(feature = "hub")]
use blip2_io::hub::ModelId;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "tables")]
use crate::map::MapArgs;
use crate::{
    Failure, adapters::AdapterArgs, bench::BenchArgs, candidates::Candidates, embed::VectorFile,
    examples, records::Output,
};

/// Ask questions about pictures with BLIP-2.
///
/// Without --model, a small demonstration model answers that is built into the program; it knows
/// the colours and shapes of the pictures of the easy-VQA data set and nothing else.
///
/// Results go to standard output, everything else to standard error. The exit code is 0 when the
/// work is done, 1 when it failed or a part of it did, 2 for a command line that makes no sense, and 130
/// when it was interrupted.
#[derive(Debug, Parser)]
#[command(name = "blip2", version, propagate_version = true, after_help = examples::PROGRAM)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer a question about a picture (visual question answering).
    #[command(after_help = examples::ANSWER)]
    Answer(AnswerArgs),
    /// Describe pictures (image captioning).
    #[command(after_help = examples::CAPTION)]
    Caption(CaptionArgs),
    /// Show where in a picture the model looked, for each word (attention relevance, rollout,
    /// occlusion).
    #[command(after_help = examples::EXPLAIN)]
    Explain(ExplainArgs),
    /// Write the feature vectors of pictures or texts.
    #[command(after_help = examples::EMBED)]
    Embed(EmbedArgs),
    /// Caption, answer, embed or match a whole table of pictures: Parquet, JSON lines, CSV or a folder in,
    /// a table out, which goes on where it was stopped.
    #[cfg(feature = "tables")]
    #[command(after_help = examples::MAP)]
    Map(Box<MapArgs>),
    /// Compare texts with a picture (image-text matching); needs a retrieval checkpoint.
    #[command(after_help = examples::MATCH)]
    Match(MatchArgs),
    /// Search pictures by a text or by another picture (image retrieval); needs a retrieval
    /// checkpoint.
    #[command(after_help = examples::INDEX)]
    Index(IndexArgs),
    /// Show a checkpoint's parts, parameters and memory, without loading it.
    #[command(after_help = examples::INSPECT)]
    Inspect(InspectArgs),
    /// Write a checkpoint into one file that loads at once, quantized if asked.
    #[command(after_help = examples::PACK)]
    Pack(PackArgs),
    /// Write a model with an adapter (LoRA) in its matrices.
    #[command(after_help = examples::MERGE)]
    Merge(MergeArgs),
    /// Convert a checkpoint of LAVIS into a Hugging Face folder.
    #[command(after_help = examples::CONVERT)]
    Convert(ConvertArgs),
    /// Compare every stage of a checkpoint with the reference outputs beside it.
    #[command(after_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// Train a model: parts of it, or low-rank adapters (LoRA).
    #[command(after_help = examples::TRAIN)]
    Train(TrainArgs),
    /// Evaluate a model's answers, captions or retrieval on a data set.
    #[command(after_help = examples::EVAL)]
    Eval(EvalArgs),
    /// Answer over HTTP: chat completions with pictures, embeddings, and a page of its own.
    #[cfg(feature = "serve")]
    #[command(after_help = examples::SERVE)]
    Serve(ServeArgs),
    /// Measure time and memory of each stage, and the share of this machine's limits they reach.
    #[command(after_help = examples::BENCH)]
    Bench(BenchArgs),
    /// Download a model from the Hugging Face hub, or what of it is new.
    #[cfg(feature = "hub")]
    #[command(after_help = examples::DOWNLOAD)]
    Download(DownloadArgs),
    /// List the models in the Hugging Face cache, with what they are and how large.
    #[command(after_help = examples::MODELS)]
    Models(ModelsArgs),
    /// Print what a shell needs to complete this program's arguments.
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for each command into a folder.
    #[command(after_help = examples::MAN)]
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// A folder for the pages of the program and of each command, such as
    /// ~/.local/share/man/man1.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    /// Pictures, folders of pictures, or glob patterns.
    #[arg(required_unless_present_any = ["text", "texts"])]
    pub(crate) images: Vec<PathBuf>,
    /// Look for pictures in the subfolders of folders too.
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// A text, in place of pictures; may be given several times. Needs a retrieval checkpoint.
    #[arg(long, value_name = "TEXT", conflicts_with = "images")]
    pub(crate) text: Vec<String>,
    /// A text file of texts, one a line; - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "text"])]
    pub(crate) texts: Option<PathBuf>,
    /// Which features. Default: what the model compares pictures and texts by (projected), or else
    /// its queries, or else the image encoder's vector of each picture (pooled).
    #[arg(long, value_name = "NAME", conflicts_with_all = ["text", "texts"])]
    pub(crate) features: Option<Feature>,
    /// The file to write: .npy (NumPy; the names beside it in NAME.names.json), .safetensors (the
    /// tensor `features`, the names in its metadata) or .jsonl; - for JSON lines on standard output.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: VectorFile,
    /// The batch size: how many pictures or texts are encoded together.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

/// Which features of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Feature {
    /// The image encoder's last hidden state: a vector for each patch, the class token first.
    Vision,
    /// The image encoder's vector of the whole picture.
    Pooled,
    /// The Q-Former's vector for each query.
    Queries,
    /// The queries as the language model reads them.
    Language,
    /// In the space that pictures share with texts, of length 1: a vector for each query, of BLIP-1 one.
    Projected,
}

#[cfg(feature = "serve")]
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The address to listen at. With another than this machine's own, whoever reaches it may ask: give
    /// --keys then.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: std::net::IpAddr,
    /// The port to listen at; 0 for one that is free, which the first line of output tells.
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,
    /// What the model is called in answers. Default: the last part of --model.
    #[arg(long, value_name = "NAME")]
    pub(crate) model_name: Option<String>,
    /// A text file of keys, one a line, any of which a request must bring as `Authorization: Bearer KEY`.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Fetch pictures by their URLs (http and https) too, of public servers.
    #[cfg(feature = "urls")]
    #[arg(long)]
    pub(crate) allow_urls: bool,
    /// Leave out the page at /.
    #[arg(long)]
    pub(crate) no_page: bool,
    /// How many requests run together at most.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    /// How many batches run at a time, sharing the cores.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// How many requests may wait; more are answered with 429.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) queue: u16,
    /// How much memory encoded pictures may take that are kept for further questions.
    #[arg(long, value_name = "MB", default_value_t = 256)]
    pub(crate) cache: u32,
    /// The largest request.
    #[arg(long, value_name = "MB", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_body: u16,
    /// The largest picture, in millions of pixels.
    #[arg(long, value_name = "MILLIONS", default_value_t = 50)]
    pub(crate) max_pixels: u16,
    /// The most tokens that a request may ask for.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_tokens: u16,
    /// How long a request may take, and how long requests under way may take to end when the program is
    /// told to stop.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) timeout: u16,
    /// What is logged on standard error: off, error, warn, info (a line for each request) or debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: tracing_subscriber::filter::LevelFilter,
    /// Send spans of requests to this collector of OpenTelemetry, such as http://localhost:4318 (OTLP over
    /// HTTP).
    #[cfg(feature = "otel")]
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

#[cfg(feature = "hub")]
#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// The model's id, such as Salesforce/blip2-opt-2.7b, or with @ and a branch, tag or commit.
    pub(crate) id: ModelId,
}

#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    /// Print JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// The picture; for a model of videos, a folder of frames or an animated GIF, PNG or WebP.
    #[arg(required_unless_present = "table", conflicts_with = "table")]
    pub(crate) image: Option<PathBuf>,
    /// The question, or several; each is put into the model's prompt template. The picture is encoded
    /// once for all.
    #[arg(
        value_name = "QUESTION",
        required_unless_present_any = ["prompt", "questions", "table"],
        conflicts_with_all = ["prompt", "questions", "table"]
    )]
    pub(crate) question: Vec<String>,
    /// A text file of questions about the picture, one a line; - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "table"])]
    pub(crate) questions: Option<PathBuf>,
    /// A table of pictures and questions: a .csv or .jsonl file with `image` (or `file_name`), relative
    /// to the file's folder, and `question`.
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub(crate) table: Option<PathBuf>,
    /// The batch size: how many questions about a picture are answered together.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Continue this prompt as it is, in place of a question.
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// The prompt template, with {} in the question's place.
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt")]
    pub(crate) template: Option<Template>,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
    /// Rank these answers, separated by commas, by their probabilities, and print them, the most
    /// probable first; of several questions the most probable alone. One with a comma in it stands in
    /// quotes: "red, 'blue, or teal'".
    #[arg(long, value_name = "ANSWERS", conflicts_with = "prompt")]
    pub(crate) one_of: Vec<Candidates>,
    /// With --one-of: rank by the mean of the tokens' log-probabilities in place of their sum.
    #[arg(long, requires = "one_of")]
    pub(crate) length_normalized: bool,
    /// Allow the answers yes and no alone (constrained decoding).
    #[arg(long, conflicts_with_all = ["prompt", "one_of", "number"])]
    pub(crate) yes_no: bool,
    /// Allow a number alone as the answer (constrained decoding).
    #[arg(long, conflicts_with_all = ["prompt", "one_of"])]
    pub(crate) number: bool,
    /// Print each answer with its tokens, log-probabilities and timings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CaptionArgs {
    /// Pictures, folders of pictures, or glob patterns; for a model of videos, videos: folders of
    /// frames or animated GIFs, PNGs or WebPs. May be left out with --prompts.
    #[arg(required_unless_present = "prompts")]
    pub(crate) images: Vec<PathBuf>,
    /// Look for pictures in the subfolders of folders too.
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// The prompt that the caption continues, such as "a photo of".
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Prompts of single pictures: a .csv or .jsonl file with `image` (or `file_name`), relative to
    /// the file's folder, and `prompt`. A picture without one has --prompt, if that is given.
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// The batch size: how many pictures are captioned together.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
    /// Print JSON for a single picture too; for several it is always one JSON line each.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("what")
        .required(true)
        .args(["question", "caption", "prompt", "matched", "similarity"])
))]
pub(crate) struct ExplainArgs {
    /// The picture; for a model of videos, a folder of frames or an animated GIF, PNG or WebP.
    pub(crate) image: PathBuf,
    /// The question whose answer is explained.
    #[arg(value_name = "QUESTION")]
    pub(crate) question: Option<String>,
    /// Explain the caption.
    #[arg(long)]
    pub(crate) caption: bool,
    /// Explain what continues this prompt.
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Explain how well this text matches the picture; needs a retrieval checkpoint.
    #[arg(id = "matched", long = "match", value_name = "TEXT")]
    pub(crate) matched: Option<String>,
    /// Explain how similar this text is to the picture; needs a retrieval checkpoint.
    #[arg(long, value_name = "TEXT")]
    pub(crate) similarity: Option<String>,
    /// Explain this answer, or caption, in place of the one that the model gives.
    #[arg(long, value_name = "ANSWER", conflicts_with_all = ["matched", "similarity"])]
    pub(crate) text: Option<String>,
    /// By which method.
    #[arg(long, value_name = "NAME", value_enum, default_value_t = MethodChoice::Relevance)]
    pub(crate) method: MethodChoice,
    /// Draw a map for each token.
    #[arg(long, requires = "output", conflicts_with_all = ["matched", "similarity"])]
    pub(crate) per_token: bool,
    /// The PNG to draw the map into, over the picture and with its legend.
    #[arg(short, long, value_name = "FILE", required_unless_present = "json")]
    pub(crate) output: Option<PathBuf>,
    /// Print the values of the patches, row by row from the top left, of the whole and of each token,
    /// as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// The prompt template, with {} in the question's place.
    #[arg(long, value_name = "TEXT", requires = "question")]
    pub(crate) template: Option<Template>,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
}

/// How it is told where a model looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodChoice {
    /// Every attention map weighted by its gradient (Chefer et al., 2021).
    Relevance,
    /// The product of all attention maps (Abnar and Zuidema, 2020).
    Rollout,
    /// What is lost when a patch is hidden: slow and honest.
    Occlusion,
    /// The last layers' attention alone, to compare with.
    Attention,
}

/// Where the records of many pictures go.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Where to write: a file that ends in .jsonl or .csv; `beside` for a .txt beside each picture
    /// (`blip2 caption`); - for standard output. What the file holds already is skipped, so that a run
    /// that was stopped goes on where it was.
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FILE|beside|-",
        default_value = "-"
    )]
    pub(crate) to: Output,
    /// Try again what failed before, as the --output file says; otherwise it counts as done.
    #[arg(long)]
    pub(crate) retry: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MatchArgs {
    /// The picture.
    pub(crate) image: PathBuf,
    /// The texts to compare with it.
    #[arg(required = true)]
    pub(crate) texts: Vec<String>,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
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
    /// Add pictures to an index, which is created if it does not exist; pictures that it holds
    /// already are skipped.
    #[command(after_help = examples::INDEX)]
    Add(IndexAddArgs),
    /// Remove pictures from an index, by the names that `blip2 index list` prints.
    #[command(after_help = examples::INDEX)]
    Remove(IndexRemoveArgs),
    /// List the pictures of an index.
    #[command(after_help = examples::INDEX)]
    List(IndexListArgs),
    /// Write the embeddings of an index as a NumPy file, for a vector database.
    #[command(after_help = examples::INDEX)]
    Export(IndexExportArgs),
    /// Find the pictures that a text describes best, or that are most similar to a picture.
    #[command(after_help = examples::INDEX)]
    Search(IndexSearchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct IndexAddArgs {
    /// The index file.
    pub(crate) index: PathBuf,
    /// Pictures, folders of pictures, or glob patterns.
    #[arg(required_unless_present = "from")]
    pub(crate) images: Vec<PathBuf>,
    /// A file of vectors that the same model made before, of `blip2 embed`, `blip2 map --embed` or `blip2 index
    /// export` (.npy, .parquet); may be given several times. These pictures are found by similarity alone.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Vec<PathBuf>,
    /// The batch size: how many pictures are encoded together.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
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
pub(crate) struct IndexExportArgs {
    /// The index file.
    pub(crate) index: PathBuf,
    /// The NumPy file to write, [pictures, queries, width]; the pictures' names stand beside it in
    /// NAME.names.json.
    #[arg(short, long, value_name = "FILE.npy")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct IndexSearchArgs {
    /// The index file; or a file of vectors of `blip2 embed` or `blip2 map --embed` (.npy, .parquet),
    /// which is searched by similarity alone.
    pub(crate) index: PathBuf,
    /// What the pictures should show.
    #[arg(required_unless_present = "image", conflicts_with = "image")]
    pub(crate) text: Option<String>,
    /// The picture that they should be similar to, in place of a text.
    #[arg(long, value_name = "PICTURE")]
    pub(crate) image: Option<PathBuf>,
    /// How many pictures to find.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) limit: usize,
    /// How many of the most similar pictures are reranked by image-text matching; 0 for none.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 128,
        conflicts_with = "image"
    )]
    pub(crate) rerank: usize,
    /// Draw the pictures that were found as a contact sheet into this PNG.
    #[arg(long, value_name = "FILE")]
    pub(crate) sheet: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) model: RetrievalArgs,
    /// Print JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RetrievalArgs {
    /// A Hugging Face checkpoint folder of BLIP-2 for retrieval, such as blip2-itm-vit-g; for
    /// `blip2 match` also of BLIP-1. Or its id on the Hugging Face hub.
    #[arg(long, value_name = "FOLDER", env = "BLIP2_RETRIEVAL_MODEL")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    #[command(flatten)]
    pub(crate) loading: LoadingArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The checkpoint that LAVIS saved, a .pth file.
    pub(crate) file: PathBuf,
    /// The model's name in LAVIS: blip2, blip2_opt, blip2_t5, blip2_t5_instruct,
    /// blip2_vicuna_instruct, blip_caption, blip_vqa or blip_retrieval.
    #[arg(long, value_name = "NAME")]
    pub(crate) arch: Architecture,
    /// The folder to write.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// The image encoder's checkpoint, eva_vit_g.pth or clip_vit_L.pth, if FILE has none.
    #[arg(long, value_name = "FILE")]
    pub(crate) vision: Option<PathBuf>,
    /// The Hugging Face folder of the frozen language model.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) language_model: Option<PathBuf>,
    /// The Hugging Face folder of the Q-Former's tokenizer, bert-base-uncased, if it reads text.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// A folder whose config.json says what the tensors do not (attention heads, activations,
    /// epsilons); without it, the published models' values.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The TOML file that describes the training; without it, a commented example is printed.
    pub(crate) config: Option<PathBuf>,
    /// Load everything, run a single step without saving anything, and show what would be trained
    /// and what memory and time it takes.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Show the training's curves in the whole terminal.
    #[cfg(feature = "dashboard")]
    #[arg(long)]
    pub(crate) dashboard: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The TOML file whose table `[validation]` says what is evaluated, and how.
    pub(crate) config: PathBuf,
    /// A Hugging Face checkpoint folder, in place of the model that the file names.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    /// Write the answers into this file, beside the right ones and their scores: as a table, the worst
    /// first, if it ends in .csv, else as JSON lines; and tell what is most often wrong.
    #[arg(long, value_name = "FILE")]
    pub(crate) answers: Option<PathBuf>,
    /// Write the answers, or captions, into this file as the servers of VQA, or COCO, take them.
    #[arg(long, value_name = "FILE")]
    pub(crate) results: Option<PathBuf>,
    /// Draw the pictures with the worst answers as a contact sheet into this PNG, each with its question,
    /// its answer and the right one.
    #[arg(long, value_name = "FILE")]
    pub(crate) sheet: Option<PathBuf>,
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
pub(crate) struct MergeArgs {
    /// The model's folder, or the adapter's, which finds the model that it was trained on.
    pub(crate) folder: PathBuf,
    /// The folder in which PEFT or `blip2 train` saved the adapter.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) adapter: Option<PathBuf>,
    /// The folder to write.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The checkpoint folder.
    pub(crate) folder: PathBuf,
    /// Read all weights too, and tell a tensor that holds NaN or infinity. Takes as long as the disk needs.
    #[arg(long)]
    pub(crate) numbers: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A checkpoint folder with reference outputs (golden.json), or a folder of such folders.
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Check every recorded text without beams once more with the same language model in int4 writing
    /// ahead (`--speculative` of `blip2 answer`): its tokens must be the same.
    #[arg(long)]
    pub(crate) speculative: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PictureArgs {
    /// Which frame of an animated GIF, PNG or WebP a model of single pictures is shown: its number,
    /// from 1, or all of them one after another. Default: the first, with a note.
    #[arg(long, value_name = "N|all")]
    pub(crate) frame: Option<FrameChoice>,
    /// Leave pictures as their pixels are stored, whatever their EXIF says of how the camera was held.
    #[arg(long)]
    pub(crate) ignore_orientation: bool,
    /// Take pictures by their URLs (http and https) too: of public servers, up to 64 MB each, within 30
    /// seconds.
    #[cfg(feature = "urls")]
    #[arg(long)]
    pub(crate) allow_urls: bool,
}

/// Frames of an animation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameChoice {
    /// One of them, counted from 0.
    One(usize),
    All,
}

impl FromStr for FrameChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse::<usize>()) {
            ("all", _) => Ok(Self::All),
            (_, Ok(number @ 1..)) => Ok(Self::One(number - 1)),
            _ => Err("give a frame's number, from 1, or all"),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A Hugging Face checkpoint folder, a file of `blip2 pack`, or an id on the Hugging Face hub,
    /// such as Salesforce/blip2-opt-2.7b; without it, the built-in demonstration model.
    #[arg(long, value_name = "FOLDER", env = "BLIP2_MODEL")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    /// Write ahead with the same language model in int4 and check several tokens at once: the same answers,
    /// sooner where a model is held in f32, f16 or bf16, for the memory of the int4 one.
    #[arg(long)]
    pub(crate) speculative: bool,
    /// The height and width that pictures are resized to, in pixels, if it is another than the
    /// model was trained at; position embeddings are interpolated.
    #[arg(long, value_name = "PIXELS")]
    pub(crate) image_size: Option<u32>,
    #[command(flatten)]
    pub(crate) loading: LoadingArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LoadingArgs {
    /// Copy the weights into memory in place of mapping their files: for shared storage, where
    /// another program may cut a file while it is in use, which would end this one.
    #[arg(long)]
    pub(crate) no_mmap: bool,
    /// Whose arithmetic resizes pictures: pillow, torchvision (what transformers 5 uses), or folder
    /// (whichever the model's own processor names).
    #[arg(long, value_name = "NAME", default_value = "pillow")]
    pub(crate) resizing: Resizing,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DeviceArgs {
    /// The device to compute on: flex or ndarray (CPU), wgpu, vulkan, metal or webgpu (GPU).
    #[arg(long, default_value = "flex", value_name = "NAME")]
    pub(crate) device: String,
    #[command(flatten)]
    pub(crate) precision: PrecisionArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PrecisionArgs {
    /// The number format of the weights in memory: as-stored (the default), f32, bf16, f16, int8, or
    /// int4 (the language model's; the image encoder's is then int8).
    #[arg(long, value_name = "FORMAT")]
    precision: Option<Precision>,
    /// The format of the image encoder's weights, if it differs.
    #[arg(long, value_name = "FORMAT")]
    vision_precision: Option<Precision>,
    /// The format of the language model's weights, if it differs.
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
    pub(crate) fn plan(&self, default: impl Into<PrecisionPlan>) -> PrecisionPlan {
        let both = self.precision.map_or_else(|| default.into(), Into::into);
        both.with_vision(self.vision_precision.unwrap_or(both.vision))
            .with_language_model(self.lm_precision.unwrap_or(both.language_model))
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MemoryArgs {
    /// The most memory that may be used; without it, what the machine has available. A model or a
    /// call that needs more is refused beforehand.
    #[arg(long, value_name = "GB", value_parser = gigabytes)]
    pub(crate) memory_limit: Option<f64>,
}

impl MemoryArgs {
    /// Limits what a model and its calls may take.
    pub(crate) fn limit<M: Member>(&self, builder: Builder<M>) -> Builder<M> {
        match self.memory_limit {
            // A number beyond the integers means no limit, one below zero nothing at all.
            Some(gigabytes) => builder.memory_limit((gigabytes * 1e9) as u64),
            None => builder,
        }
    }
}

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

/// An amount of memory.
fn gigabytes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(amount) if amount.is_finite() && amount >= 0.0 => Ok(amount),
        Ok(_) => Err("give a number of gigabytes, 0 or more".into()),
        Err(error) => Err(error.to_string()),
    }
}
