//! What can go wrong.

use std::path::PathBuf;

#[cfg(feature = "speech")]
use blip2_audio::AudioError;
#[cfg(feature = "speech")]
use blip2_io::sound::SoundError;
use blip2_io::{
    IoError,
    config::{ConfigError, ModelKind},
    preprocessing::{ImageError, Size},
    video::VideoError,
};
use blip2_lm::{
    LmError,
    generate::{FinishReason, GenerateError},
};
use blip2_qformer::QFormerError;
use blip2_vision::VisionError;

use crate::{door::opened_with, fit::NotEnoughMemory};

/// Everything that can go wrong between a checkpoint folder and an answer.
///
/// A program decides by [`kind`](Self::kind), which groups the variants by where the fault lies. The
/// crates of the parts have errors of their own, kept here as they are: all crates have one version.
/// What other libraries said is in the chain of sources alone.
///
/// ```
/// use blip2_core::{Blip2Error, Blip2Pipeline};
///
/// let blip2 = Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// let image = blip2.open("../examples/images/red-triangle.png")?;
/// match blip2.answer(&image, "  ") {
///     Err(Blip2Error::EmptyQuestion) => println!("ask something"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Blip2Error {
    // Input: pictures, videos, texts and other arguments of a call.
    /// A picture could not be decoded or prepared.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A folder that prepares pictures in another size than its model was trained at.
    #[error(
        "the folder prepares pictures {}, and the model was trained at {trained}×{trained} pixels: \
         give the image size that is to be seen, and positions are interpolated to it", size(*.found)
    )]
    #[non_exhaustive]
    PictureSize {
        /// The size that pictures have, if they all have the same.
        found: Option<Size>,
        /// The height and width that the model was trained at.
        trained: usize,
    },
    /// A video could not be read or sampled.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// A sound could not be read or prepared.
    #[cfg(feature = "speech")]
    #[error(transparent)]
    Sound(#[from] SoundError),
    /// A question without a word in it.
    #[error("the question is empty; ask something, or use `caption` or `prompt`")]
    EmptyQuestion,
    /// A text without a word in it.
    #[error("the text is empty; say what the picture should show")]
    EmptyText,
    /// A question that spells out a special token.
    #[error(
        "the question contains the special token `{token}`, which would not be read as text; leave \
         it out, or use `prompt` if you mean it"
    )]
    #[non_exhaustive]
    SpecialToken {
        /// The token.
        token: String,
    },
    /// A text to compare that spells out a special token.
    #[error(
        "the text contains the special token `{token}`, which would not be read as text; leave it \
         out"
    )]
    SpecialTokenInText {
        /// The token.
        token: String,
    },
    /// A prompt that holds the image placeholder, which only the library may place.
    #[error(
        "the prompt contains the image placeholder `{token}`; leave it out, the picture is put in \
         for you"
    )]
    #[non_exhaustive]
    PlaceholderInPrompt {
        /// The placeholder's text.
        token: String,
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
    /// A prompt that the language model's context has no room for, where it is the only one.
    #[error(
        "the prompt has {tokens} tokens with its picture or sound, but the model's context holds {context}; \
         cut a long recording into parts, or shorten the prompt"
    )]
    ContextTooLong {
        /// Its tokens.
        tokens: usize,
        /// What the context holds.
        context: usize,
    },
    /// A prompt that does not have one place for each sound that it is about.
    #[error("{}", sound_places(*.found, *.expected, .token))]
    #[non_exhaustive]
    SoundPlaces {
        /// The placeholders found.
        found: usize,
        /// How many there should be: one, or none of a text without sound.
        expected: usize,
        /// The placeholder's text.
        token: String,
    },
    /// Candidate answers that cannot be ranked or chosen from.
    #[error("the candidate answers cannot be used: {reason}")]
    #[non_exhaustive]
    Candidates {
        /// What is wrong.
        reason: String,
    },
    /// A picture where the model wants a video, a video where it wants a picture, or a video with
    /// another number of frames.
    #[error("{}", frames(*.found, *.expected))]
    #[non_exhaustive]
    Frames {
        /// The frames given; `None` for a picture.
        found: Option<usize>,
        /// The frames that the model looks at together; 1 for a picture.
        expected: usize,
    },
    /// An item of a batch that is at fault.
    #[error("item {index} of the batch: {source}")]
    Item {
        /// Its place, counted from zero.
        index: usize,
        /// What is wrong with it.
        source: Box<Blip2Error>,
    },

    // Input of the stages: rows, encoded pictures, embeddings.
    /// Prompt rows that are no rectangle, or do not go with the pictures.
    #[error("the prompt rows do not fit: {reason}")]
    #[non_exhaustive]
    Rows {
        /// What is wrong.
        reason: String,
    },
    /// A row with too few or too many image placeholders.
    #[error(
        "row {row} holds {found} image placeholders (token {image_token}) where a picture takes \
         {expected}"
    )]
    #[non_exhaustive]
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
    #[non_exhaustive]
    Instructions {
        /// What is wrong.
        reason: String,
    },
    /// An encoded picture that another model made.
    #[error(
        "the encoded picture was made by a model with other weights or preprocessing ({found}) than \
         this one ({expected}); encode the picture again"
    )]
    #[non_exhaustive]
    ForeignImage {
        /// The fingerprint in the encoded picture.
        found: String,
        /// This model's fingerprint.
        expected: String,
    },
    /// An encoded picture whose numbers do not have the shape it states.
    #[error("the encoded picture is damaged: {reason}; encode the picture again")]
    #[non_exhaustive]
    DamagedImage {
        /// What is wrong.
        reason: String,
    },
    /// Numbers that are no embedding.
    #[error("the numbers are no embedding: {reason}; give back what `vectors` gave")]
    #[non_exhaustive]
    Embedding {
        /// What is wrong.
        reason: String,
    },
    /// Embeddings that different models made.
    #[error(
        "a picture's vectors have {image} numbers and the other's {other}: different models made \
         them; embed both with one"
    )]
    #[non_exhaustive]
    Incomparable {
        /// The numbers of the picture's vectors.
        image: usize,
        /// The numbers of what it was compared with.
        other: usize,
    },

    // The checkpoint.
    /// A checkpoint folder could not be read, or does not hold what its configuration says.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The folder holds a model of another kind than the call needs.
    #[error(
        "{}: the checkpoint is {}, which can {}, not {}; open it with `{}`",
        .path.display(), .found.with_article(), .found.describe(), .wanted.with_article(), opened_with(*.found)
    )]
    WrongModel {
        /// The folder.
        path: PathBuf,
        /// What it holds.
        found: ModelKind,
        /// What is needed.
        wanted: ModelKind,
    },
    /// The folder holds a model that this version has no parts of.
    #[error("{}: this version does not know what {} is made of", .path.display(), .found.with_article())]
    #[non_exhaustive]
    UnknownModel {
        /// The folder.
        path: PathBuf,
        /// What it holds.
        found: ModelKind,
    },
    /// A model some of whose parameters have no numbers: its source of weights lacked them, or was
    /// stopped.
    #[error("{}", holes(.tensors))]
    Holes {
        /// The places of the parameters in the model.
        tensors: Vec<String>,
    },
    /// The checkpoint's configuration leaves out what a prompt needs.
    #[error("{what}; {remedy}")]
    #[non_exhaustive]
    Incomplete {
        /// What is missing.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A question to a model of sound whose folder has a chat template of no form that is known here, where
    /// neither the call nor the pipeline has a template of its own.
    #[cfg(feature = "speech")]
    #[error(
        "{}: the folder's chat template, which is not run here, is of no known form, so that a question \
         cannot be put as the model knows it; give a template, with `<|audio|>` and `{{}}` in it, or the \
         whole text to `prompt`", .path.display()
    )]
    #[non_exhaustive]
    ChatTemplate {
        /// The folder.
        path: PathBuf,
    },
    /// A checkpoint that does not say what ends an answer.
    #[error(
        "neither the configuration nor the tokenizer names an end token, which every answer is \
         trained to end with; give `eos_token_id` in generation_config.json"
    )]
    NoEndToken,

    // Configurations and settings.
    /// A configuration whose numbers make no sense together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A prompt template without exactly one place for the question.
    #[error("the template `{template}` must contain `{{}}` exactly once, where the question goes")]
    #[non_exhaustive]
    Template {
        /// The template.
        template: String,
    },
    /// A setting that a member of the family does not take.
    #[error("`{setting}` is no setting of {member}: {reason}; leave it out")]
    #[non_exhaustive]
    Setting {
        /// The setting.
        setting: &'static str,
        /// The member.
        member: String,
        /// Why it does not take it.
        reason: String,
    },
    /// A name of no adapter that was loaded.
    #[error("there is no adapter `{name}`; {}", names(.known))]
    #[non_exhaustive]
    UnknownAdapter {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A name that no adapter can have.
    #[error("the name `{name}` of an adapter cannot be used: {reason}; give each one of its own")]
    #[non_exhaustive]
    AdapterName {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A precision that the device cannot compute with.
    #[error("the device cannot compute with {precision} weights; use f32")]
    #[non_exhaustive]
    Precision {
        /// The precision asked for.
        precision: blip2_kernels::Precision,
    },

    // The device and memory.
    /// A device that this build does not know.
    #[error("no device `{name}` in this build; it has {available}{hint}")]
    #[non_exhaustive]
    Device {
        /// The name asked for.
        name: String,
        /// The names known.
        available: String,
        /// Which feature would bring it.
        hint: String,
    },
    /// A result that could not be read from the device.
    #[error("{what} cannot be read from the device: {reason}")]
    #[non_exhaustive]
    Unreadable {
        /// The result.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// More memory would be needed than there is or is allowed; nothing was allocated.
    #[error(transparent)]
    Memory(#[from] NotEnoughMemory),

    // The models and generation.
    /// The image encoder refused its input or configuration.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// The encoder of sound refused its input or configuration.
    #[cfg(feature = "speech")]
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The Q-Former refused its input or configuration.
    #[error(transparent)]
    QFormer(#[from] QFormerError),
    /// The language model refused its input or configuration.
    #[error(transparent)]
    Lm(#[from] LmError),
    /// The generation arguments make no sense, or the generation failed.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A typed answer that ended before it had a value.
    #[error("the answer ended at `{text}`, before it had a value; {}", ended(*.reason))]
    #[non_exhaustive]
    Unfinished {
        /// What there is of it.
        text: String,
        /// Why it ended.
        reason: FinishReason,
    },
    /// A typed answer that is one of its type's texts, and that the type makes nothing of.
    #[error(
        "the answer `{text}` is complete, but `TypedAnswer::parse` of {wanted} gives it no value; \
         its grammar and its parser do not agree"
    )]
    #[non_exhaustive]
    Unparsed {
        /// The answer.
        text: String,
        /// The name of the type.
        wanted: &'static str,
    },
    /// A result that is no number.
    #[error(
        "the model gave NaN or infinity as {what}; the checkpoint is damaged, or its precision too \
         narrow"
    )]
    #[non_exhaustive]
    NotFinite {
        /// The result.
        what: &'static str,
    },

    // An end from without.
    /// A load, or a call, that was cancelled before there was anything to return.
    #[error("it was cancelled")]
    Cancelled,
    /// A call whose deadline passed before there was anything to return.
    #[error("its deadline passed before there was a result; give it more time, or less to do")]
    Deadline,
}

impl Blip2Error {
    /// An error of an item of a batch.
    pub(crate) fn item(index: usize, source: Self) -> Self {
        let source = Box::new(source);
        Self::Item { index, source }
    }

    /// The error of an item, without its place.
    pub(crate) fn of_item(self) -> Self {
        match self {
            Self::Item { source, .. } => source.of_item(),
            Self::Lm(LmError::ContextTooLong {
                tokens, context, ..
            }) => Self::ContextTooLong { tokens, context },
            other => other,
        }
    }
}

fn ended(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Cancelled => "it was cancelled",
        FinishReason::Deadline => "its deadline passed; give it more time",
        FinishReason::ContextFull => "the model's context is full; shorten the prompt",
        _ => "its tokens were used up",
    }
}

/// The names of adapters.
fn names(names: &[String]) -> String {
    match names {
        [] => "none was loaded".into(),
        names => format!("there are: {}", names.join(", ")),
    }
}

/// A size of pictures in words.
fn size(size: Option<Size>) -> String {
    match size {
        Some(Size { height, width }) => format!("of {height}×{width} pixels (height × width)"),
        None => "of many shapes (it keeps their aspect, and cuts nothing)".into(),
    }
}

/// The first few of what is missing, and how many there are.
fn holes(tensors: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = tensors.iter().take(SHOWN).map(String::as_str);
    let more = match tensors.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "the model has no numbers for {} of its tensors: {}{more}; its source of weights lacks them \
         or was stopped, and tells more if it keeps an account (`CheckpointWeights::finish`)",
        tensors.len(),
        shown.collect::<Vec<_>>().join(", ")
    )
}

fn sound_places(found: usize, expected: usize, token: &str) -> String {
    match expected {
        0 => format!(
            "the prompt holds `{token}` {found} times, and there is no sound to put there; leave it out, \
             or give a sound"
        ),
        _ => format!(
            "the prompt holds `{token}` {found} times; write it exactly once, where the sound goes"
        ),
    }
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
