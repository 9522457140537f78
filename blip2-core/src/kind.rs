//! What is at fault in an error, for programs to decide by.

#[cfg(feature = "speech")]
use blip2_audio::AudioError;
#[cfg(feature = "speech")]
use blip2_io::sound::SoundError;
use blip2_io::{IoError, preprocessing::ImageError, video::VideoError};
use blip2_lm::{LmError, generate::GenerateError};
use blip2_qformer::QFormerError;
use blip2_vision::VisionError;

use crate::error::Blip2Error;

/// Where the fault of a [`Blip2Error`] lies, and of the errors of what stands on it (an index, a
/// training, a verification): for programs to decide by, as the message is for people.
///
/// ```
/// use blip2_core::{Blip2Error, ErrorKind};
///
/// /// The status that a server answers with.
/// fn status(error: &Blip2Error) -> u16 {
///     match error.kind() {
///         ErrorKind::Input => 400,
///         ErrorKind::Limit => 413,
///         ErrorKind::Cancelled => 499,
///         ErrorKind::Memory => 503,
///         ErrorKind::Deadline => 504,
///         _ => 500,
///     }
/// }
///
/// assert_eq!(status(&Blip2Error::EmptyQuestion), 400);
/// assert_eq!(status(&Blip2Error::Deadline), 504);
/// ```
///
/// What is wrong with a file, [`blip2_io::ErrorKind`] tells more finely: an
/// [`ImageError`](blip2_io::preprocessing::ImageError) of kind `Unsupported` would be a 415.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A picture, a video, a text or another argument of the call makes no sense.
    Input,
    /// A picture, a video or a text is larger than the limits or the model's context allow.
    Limit,
    /// A checkpoint is not there, is damaged, lacks a part, or holds another model.
    Checkpoint,
    /// A configuration, or a setting of a builder, makes no sense or does not go with the model.
    Configuration,
    /// A file beside the checkpoint cannot be read or written, or is damaged: a photo index, the state
    /// of a training, goldens.
    File,
    /// The device is not there, or does not give a result.
    Device,
    /// More memory would be needed than there is or is allowed; nothing was allocated.
    Memory,
    /// The model gave nothing that can be used; of a training, a loss that is no number.
    Generation,
    /// The call, or the load, was cancelled.
    Cancelled,
    /// The call's deadline passed.
    Deadline,
}

impl Blip2Error {
    /// What is at fault. An error of a batch's item has the kind of its item's.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Item { source, .. } => source.kind(),
            Self::Image(error) => of_image(error),
            Self::Video(error) => of_video(error),
            Self::EmptyQuestion
            | Self::EmptyText
            | Self::SpecialToken { .. }
            | Self::SpecialTokenInText { .. }
            | Self::PlaceholderInPrompt { .. }
            | Self::SoundPlaces { .. }
            | Self::Candidates { .. }
            | Self::Rows { .. }
            | Self::Placeholders { .. }
            | Self::Instructions { .. }
            | Self::Frames { .. }
            | Self::ForeignImage { .. }
            | Self::DamagedImage { .. }
            | Self::Embedding { .. }
            | Self::Incomparable { .. }
            | Self::UnknownAdapter { .. } => ErrorKind::Input,
            Self::PromptTooLong { .. } | Self::ContextTooLong { .. } => ErrorKind::Limit,
            Self::Io(error) => error.into(),
            Self::WrongModel { .. }
            | Self::UnknownModel { .. }
            | Self::Holes { .. }
            | Self::Incomplete { .. }
            | Self::NoEndToken => ErrorKind::Checkpoint,
            Self::Config(_)
            | Self::Setting { .. }
            | Self::AdapterName { .. }
            | Self::Template { .. }
            | Self::Precision { .. }
            | Self::PictureSize { .. } => ErrorKind::Configuration,
            Self::Device { .. } | Self::Unreadable { .. } => ErrorKind::Device,
            Self::Memory(_) => ErrorKind::Memory,
            Self::Unfinished { .. } | Self::Unparsed { .. } | Self::NotFinite { .. } => {
                ErrorKind::Generation
            }
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Deadline => ErrorKind::Deadline,
            Self::Vision(error) => of_vision(error),
            #[cfg(feature = "speech")]
            Self::ChatTemplate { .. } => ErrorKind::Checkpoint,
            #[cfg(feature = "speech")]
            Self::Sound(error) => of_sound(error),
            #[cfg(feature = "speech")]
            Self::Audio(error) => of_audio(error),
            Self::QFormer(error) => of_qformer(error),
            Self::Lm(error) => error.into(),
            Self::Generate(error) => of_generate(error),
        }
    }
}

/// Of a folder: of what the caller reads with it, its tokenizer is given texts and its processor
/// pictures.
impl From<&IoError> for ErrorKind {
    fn from(error: &IoError) -> Self {
        match error {
            IoError::Image(error) => of_image(error),
            #[cfg(feature = "speech")]
            IoError::Sound(error) => of_sound(error),
            IoError::Tokenize(_) => Self::Input,
            IoError::Config { .. } => Self::Configuration,
            _ => Self::Checkpoint,
        }
    }
}

/// Of a language model.
impl From<&LmError> for ErrorKind {
    fn from(error: &LmError) -> Self {
        match error {
            LmError::Config(_) | LmError::StartToken { .. } | LmError::NoStartToken => {
                Self::Configuration
            }
            LmError::Unsupported(_) => Self::Checkpoint,
            LmError::ContextTooLong { .. } => Self::Limit,
            LmError::Device(_) => Self::Device,
            LmError::Logits(error) => of_generate(error),
            _ => Self::Input,
        }
    }
}

fn of_image(error: &ImageError) -> ErrorKind {
    match error {
        ImageError::Config { .. } => ErrorKind::Configuration,
        error => of_read(error.kind()),
    }
}

fn of_video(error: &VideoError) -> ErrorKind {
    of_read(error.kind())
}

fn of_read(kind: blip2_io::ErrorKind) -> ErrorKind {
    match kind {
        blip2_io::ErrorKind::Limit => ErrorKind::Limit,
        _ => ErrorKind::Input,
    }
}

fn of_vision(error: &VisionError) -> ErrorKind {
    match error {
        VisionError::Config(_) => ErrorKind::Configuration,
        _ => ErrorKind::Input,
    }
}

#[cfg(feature = "speech")]
fn of_sound(error: &SoundError) -> ErrorKind {
    match error {
        SoundError::Config { .. } => ErrorKind::Configuration,
        SoundError::File { source, .. } => of_sound(source),
        error => of_read(error.kind()),
    }
}

#[cfg(feature = "speech")]
fn of_audio(error: &AudioError) -> ErrorKind {
    match error {
        AudioError::Config(_) => ErrorKind::Configuration,
        _ => ErrorKind::Input,
    }
}

fn of_qformer(error: &QFormerError) -> ErrorKind {
    match error {
        QFormerError::Config(_) => ErrorKind::Configuration,
        QFormerError::NoTextBranch => ErrorKind::Checkpoint,
        QFormerError::TextTooLong { .. } => ErrorKind::Limit,
        _ => ErrorKind::Input,
    }
}

fn of_generate(error: &GenerateError) -> ErrorKind {
    match error {
        GenerateError::InvalidArgument { .. }
        | GenerateError::PromptCount { .. }
        | GenerateError::NoTokenDecoder { .. }
        | GenerateError::BadScores { .. }
        | GenerateError::NoAllowedToken { .. }
        | GenerateError::ConstraintToken { .. } => ErrorKind::Input,
        GenerateError::Session(source) => match source.downcast_ref::<LmError>() {
            Some(error) => error.into(),
            None => ErrorKind::Generation,
        },
        _ => ErrorKind::Generation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_has_the_kind_of_its_fault() {
        let error = Blip2Error::item(2, LmError::NoStartToken.into());
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let [row, tokens, context] = [0, 9, 8];
        let long = LmError::ContextTooLong {
            row,
            tokens,
            context,
        };
        assert_eq!(Blip2Error::from(long).kind(), ErrorKind::Limit);
    }

    #[test]
    fn what_the_model_said_is_found_within_what_generating_said() {
        let within = GenerateError::Session(Box::new(LmError::Device("lost".into())));
        assert_eq!(Blip2Error::from(within).kind(), ErrorKind::Device);
        let other = GenerateError::Session("lost".into());
        assert_eq!(Blip2Error::from(other).kind(), ErrorKind::Generation);
    }

    #[test]
    fn a_picture_is_input_and_its_folder_a_checkpoint() {
        let empty = Blip2Error::from(ImageError::Empty);
        assert_eq!(empty.kind(), ErrorKind::Input);
        let within = Blip2Error::from(IoError::Image(ImageError::Empty));
        assert_eq!(within.kind(), ErrorKind::Input);
        let folder = Blip2Error::from(IoError::NoFolder("nowhere".into()));
        assert_eq!(folder.kind(), ErrorKind::Checkpoint);
    }
}
