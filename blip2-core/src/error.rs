//! What can go wrong.

use std::path::PathBuf;

use blip2_io::{IoError, config::ConfigError, preprocessing::ImageError, video::VideoError};
use blip2_lm::{LmError, generate::GenerateError};
use blip2_qformer::QFormerError;
use blip2_vision::VisionError;

use crate::memory::NotEnoughMemory;

/// Everything that can go wrong between a checkpoint folder and an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Blip2Error {
    /// A checkpoint folder could not be read, or does not hold what its configuration says.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A configuration whose numbers make no sense together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A picture could not be decoded or prepared.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image encoder refused its input or configuration.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// The Q-Former refused its input or configuration.
    #[error(transparent)]
    QFormer(#[from] QFormerError),
    /// The language model refused its input or configuration.
    #[error(transparent)]
    Lm(#[from] LmError),
    /// The generation arguments make no sense, or the generation failed.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A question without a word in it.
    #[error("the question is empty; ask something, or use `caption` or `prompt`")]
    EmptyQuestion,
    /// A question that spells out a special token.
    #[error(
        "the question contains the special token `{token}`, which would not be read as text; leave \
         it out, or use `prompt` if you mean it"
    )]
    SpecialToken {
        /// The token.
        token: String,
    },
    /// A checkpoint that does not say what ends an answer.
    #[error(
        "neither the configuration nor the tokenizer names an end token, which every answer is \
         trained to end with; give `eos_token_id` in generation_config.json"
    )]
    NoEndToken,
    /// A prompt that holds the image placeholder, which only the library may place.
    #[error(
        "the prompt contains the image placeholder `{token}`; leave it out, the picture is put in \
         for you"
    )]
    PlaceholderInPrompt {
        /// The placeholder's text.
        token: String,
    },
    /// A prompt template without exactly one place for the question.
    #[error("the template `{template}` must contain `{{}}` exactly once, where the question goes")]
    Template {
        /// The template.
        template: String,
    },
    /// Candidate answers that cannot be ranked or chosen from.
    #[error("the candidate answers cannot be used: {reason}")]
    Candidates {
        /// What is wrong.
        reason: String,
    },
    /// An answer that was cancelled before it had a value.
    #[error("the answer ended at `{text}`, before it had a value; it was cancelled")]
    Unfinished {
        /// What there is of it.
        text: String,
    },
    /// Prompt rows that are no rectangle, or do not go with the pictures.
    #[error("the prompt rows do not fit: {reason}")]
    Rows {
        /// What is wrong.
        reason: String,
    },
    /// A row with too few or too many image placeholders.
    #[error(
        "row {row} holds {found} image placeholders (token {image_token}) where a picture takes \
         {expected}"
    )]
    Placeholders {
        /// The row.
        row: usize,
        /// The placeholders found.
        found: usize,
        /// The placeholders that a picture takes.
        expected: usize,
        /// The placeholder's token id.
        image_token: u32,
    },
    /// A picture and a model whose Q-Formers do not go together.
    #[error("the model cannot look at it so: {reason}")]
    Instructions {
        /// What is wrong.
        reason: String,
    },
    /// A prompt that the Q-Former has too few positions for.
    #[error(
        "the prompt has {tokens} tokens for the Q-Former, special ones included, but that has only \
         {positions} positions; shorten the prompt"
    )]
    PromptTooLong {
        /// Its tokens.
        tokens: usize,
        /// The Q-Former's positions.
        positions: usize,
    },
    /// A picture where the model wants a video, a video where it wants a picture, or a video with
    /// another number of frames.
    #[error("{}", frames(*.found, *.expected))]
    Frames {
        /// The frames given; `None` for a picture.
        found: Option<usize>,
        /// The frames that the model looks at together; 1 for a picture.
        expected: usize,
    },
    /// A video could not be read or sampled.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// The checkpoint's configuration leaves out what a prompt needs.
    #[error("{what}; {remedy}")]
    Incomplete {
        /// What is missing.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// An encoded picture that another model made.
    #[error(
        "the encoded picture was made by a model with other weights or preprocessing ({found}) than \
         this one ({expected}); encode the picture again"
    )]
    ForeignImage {
        /// The fingerprint in the encoded picture.
        found: String,
        /// This model's fingerprint.
        expected: String,
    },
    /// An encoded picture whose numbers do not have the shape it states.
    #[error("the encoded picture is damaged: {reason}; encode the picture again")]
    DamagedImage {
        /// What is wrong.
        reason: String,
    },
    /// A device that this build does not know.
    #[error("no device `{name}` in this build; it has {available}{hint}")]
    Device {
        /// The name asked for.
        name: String,
        /// The names known.
        available: String,
        /// Which feature would bring it.
        hint: String,
    },
    /// A precision that the device cannot compute with.
    #[error("the device cannot compute with {precision} weights; use f32")]
    Precision {
        /// The precision asked for.
        precision: blip2_kernels::Precision,
    },
    /// More memory would be needed than there is or is allowed; nothing was allocated.
    #[error(transparent)]
    Memory(#[from] NotEnoughMemory),
    /// The folder holds a model of another kind than the call needs.
    #[error("{}: {reason}", .path.display())]
    WrongModel {
        /// The folder.
        path: PathBuf,
        /// What it holds and what was needed.
        reason: String,
    },
    /// A text without a word in it.
    #[error("the text is empty; say what the picture should show")]
    EmptyText,
    /// A text to compare that spells out a special token.
    #[error(
        "the text contains the special token `{token}`, which would not be read as text; leave it \
         out"
    )]
    SpecialTokenInText {
        /// The token.
        token: String,
    },
    /// Embeddings that different models made.
    #[error(
        "a picture's vectors have {image} numbers and the other's {other}: different models made \
         them; embed both with one"
    )]
    Incomparable {
        /// The numbers of the picture's vectors.
        image: usize,
        /// The numbers of what it was compared with.
        other: usize,
    },
    /// A result that is no number.
    #[error(
        "the model gave NaN or infinity as {what}; the checkpoint is damaged, or its precision too \
         narrow"
    )]
    NotFinite {
        /// The result.
        what: &'static str,
    },
    /// A result that could not be read from the device.
    #[error("{what} cannot be read from the device: {reason}")]
    Unreadable {
        /// The result.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

fn frames(found: Option<usize>, expected: usize) -> String {
    match (found, expected) {
        (Some(found), 1) => format!(
            "the model looks at single pictures, and was given a video of {found} frames; give it \
             one of them"
        ),
        (Some(found), _) => format!(
            "the model looks at {expected} frames of a video, and was given {found}; choose with \
             `Video::sample({expected})`"
        ),
        (None, _) => format!(
            "the model looks at {expected} frames of a video, and was given a picture; give it a \
             `Video`"
        ),
    }
}
