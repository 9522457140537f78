//! Arguments of `blip2 explain`.

use std::path::PathBuf;

use blip2_core::Template;
use clap::{ArgGroup, Args, ValueEnum};

use super::{generation::GenerationArgs, model::ModelArgs, picture::PictureArgs};

#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("what")
        .required(true)
        .args(["question", "caption", "prompt", "matched", "similarity"])
))]
#[command(
    override_usage = "blip2 explain [OPTIONS] <--output <FILE>|--json> <IMAGE> <QUESTION|--caption|--prompt <TEXT>|\
                            --match <TEXT>|--similarity <TEXT>>"
)]
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
