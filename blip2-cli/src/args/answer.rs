//! Arguments of `blip2 answer`.

use std::path::PathBuf;

use blip2_core::Template;
use clap::Args;

use super::{
    generation::GenerationArgs, model::ModelArgs, output::OutputArgs, picture::PictureArgs,
};
use crate::candidates::{self, Candidates};

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
    #[arg(long, value_name = "ANSWERS", conflicts_with = "prompt", value_parser = candidates::given)]
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
