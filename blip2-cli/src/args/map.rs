//! The command line of `blip2 map`.

use std::{path::PathBuf, str::FromStr};

use blip2_core::Template;
use blip2_io::tables::TableFormat;
use clap::{ArgGroup, Args, ValueEnum};

use super::{
    embed::Feature, folders::FolderArgs, generation::GenerationArgs, model::ModelArgs,
    picture::PictureArgs,
};

#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("what")
        .required(true)
        .multiple(true)
        .args(["caption", "answer", "rank", "score", "embed", "matched"])
))]
pub(crate) struct MapArgs {
    /// A table: a Parquet file or a folder of them, or a file that ends in .jsonl, .csv or .tsv. Or
    /// pictures: a folder of them, a glob pattern, or one. In a folder of both, --image COLUMN asks for the
    /// tables and a pattern ('photos/*.png') for the pictures.
    pub(crate) input: PathBuf,
    /// Where the table goes: a file that ends in .parquet or .jsonl, or a folder of parts
    /// (part-00000.parquet …). The same command again goes on where it was stopped.
    #[arg(short, long, value_name = "FILE|FOLDER")]
    pub(crate) output: PathBuf,
    /// Describe each picture: the columns caption, caption_confidence, caption_log_prob and
    /// caption_finish_reason.
    #[arg(long)]
    pub(crate) caption: bool,
    /// The prompt that captions continue: a column of the table, or a text. A text of one word is given as
    /// text:WORD, here and in other options, since a word alone is a column.
    #[arg(long, value_name = "COLUMN|TEXT", requires = "caption")]
    pub(crate) prompt: Option<String>,
    /// Answer a question about each picture, a column of the table or one text for all: the columns
    /// answer, answer_confidence, answer_log_prob and answer_finish_reason.
    #[arg(long, value_name = "COLUMN|TEXT")]
    pub(crate) answer: Option<String>,
    /// The question of --rank and --score, if it is not that of --answer.
    #[arg(long, value_name = "COLUMN|TEXT", conflicts_with = "answer")]
    pub(crate) question: Option<String>,
    /// Rank given answers to the question, separated by commas, or a column that holds them (a list, a JSON
    /// list in a text, or such a text): the columns best, best_share, best_log_prob and shares.
    #[arg(long, value_name = "ANSWERS|COLUMN")]
    pub(crate) rank: Option<String>,
    /// How likely the model finds a text as the answer to the question, or as a caption where there is
    /// no question: the columns score (its log-probability) and score_confidence.
    #[arg(long, value_name = "COLUMN|TEXT")]
    pub(crate) score: Option<String>,
    /// The feature vector of each picture: the column embedding.
    #[arg(long)]
    pub(crate) embed: bool,
    /// Which features --embed gives, as of `blip2 embed`.
    #[arg(long, value_name = "NAME", requires = "embed")]
    pub(crate) features: Option<Feature>,
    /// How well a text describes the picture (needs a retrieval checkpoint): the columns
    /// match_probability, match_logit and similarity.
    #[arg(id = "matched", long = "match", value_name = "COLUMN|TEXT")]
    pub(crate) matched: Option<String>,
    /// The column of pictures: files' bytes, paths, or the hub's struct of bytes and path. Default:
    /// image, file_name, image_path, filename, picture, img or path, the first that there is.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) image: Option<String>,
    /// The folder that a table's paths are relative to. Default: the table's.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) pictures: Option<PathBuf>,
    /// What stands between the cells of a table of text: one sign, or `tab`. Default: by the file's name.
    #[arg(long, value_name = "SIGN|tab")]
    pub(crate) delimiter: Option<Delimiter>,
    /// Leave this column of the input out of the output; may be given several times.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) without: Vec<String>,
    /// What the new columns' names begin with.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) prefix: String,
    /// The form of a folder's parts.
    #[arg(long, value_name = "FORM", value_enum)]
    pub(crate) format: Option<FormatChoice>,
    /// How many rows a part has: what is computed again, at most, after a stop.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) part_rows: u32,
    /// The batch size: how many rows are computed together.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) folders: FolderArgs,
    /// End with exit code 1 if a row has an error.
    #[arg(long)]
    pub(crate) fail_on_error: bool,
    /// Throw away what another run left in the output, and begin anew. Files that `blip2 map` did not make
    /// are left alone, but for an --output that is a file.
    #[arg(long)]
    pub(crate) restart: bool,
    /// Compute the parts anew in which a row has an error; otherwise it counts as done.
    #[arg(long, conflicts_with = "restart")]
    pub(crate) retry: bool,
    /// The prompt template, with {} in the question's place.
    #[arg(long, value_name = "TEXT")]
    pub(crate) template: Option<Template>,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
}

/// A sign between cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delimiter(pub(crate) u8);

impl FromStr for Delimiter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.as_bytes()) {
            ("tab" | "\\t", _) => Ok(Self(b'\t')),
            (_, [sign]) if sign.is_ascii() && !b"\"\r\n".contains(sign) => Ok(Self(*sign)),
            _ => Err("give one sign, such as ';', or tab"),
        }
    }
}

/// The form of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatChoice {
    Parquet,
    Jsonl,
}

impl From<FormatChoice> for TableFormat {
    fn from(choice: FormatChoice) -> Self {
        match choice {
            FormatChoice::Parquet => Self::Parquet,
            FormatChoice::Jsonl => Self::JsonLines,
        }
    }
}
