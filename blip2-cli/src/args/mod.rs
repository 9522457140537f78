//! The command line: the program, its commands, and in each file the arguments of one or what several share.

pub(crate) mod answer;
pub(crate) mod caption;
pub(crate) mod checkpoint;
pub(crate) mod device;
pub(crate) mod embed;
pub(crate) mod environment;
pub(crate) mod explain;
pub(crate) mod folders;
pub(crate) mod generation;
pub(crate) mod hub;
pub(crate) mod index;
#[cfg(feature = "tables")]
pub(crate) mod map;
pub(crate) mod match_texts;
pub(crate) mod memory;
pub(crate) mod model;
pub(crate) mod output;
pub(crate) mod picture;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod train;
#[cfg(feature = "speech")]
pub(crate) mod transcribe;

use clap::{Parser, Subcommand};

#[cfg(feature = "hub")]
use self::hub::DownloadArgs;
#[cfg(feature = "tables")]
use self::map::MapArgs;
#[cfg(feature = "serve")]
use self::serve::ServeArgs;
#[cfg(feature = "speech")]
use self::transcribe::TranscribeArgs;
use self::{
    answer::AnswerArgs,
    caption::CaptionArgs,
    checkpoint::{ConvertArgs, InspectArgs, MergeArgs, PackArgs, VerifyArgs},
    embed::EmbedArgs,
    explain::ExplainArgs,
    hub::ModelsArgs,
    index::IndexArgs,
    match_texts::MatchArgs,
    shell::{CompletionsArgs, ManArgs},
    train::{EvalArgs, TrainArgs},
};
use crate::{bench::BenchArgs, examples};

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
    /// Write down what is said in recordings, or answer questions about them; needs a checkpoint of Granite Speech.
    #[cfg(feature = "speech")]
    #[command(after_help = examples::TRANSCRIBE)]
    Transcribe(TranscribeArgs),
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
