//! The library's errors in the program's words.
//!
//! The library speaks to those who write programs, of its types and settings. Where a message does,
//! it is said here in commands and options, by the error's type and variant; every other message is
//! the library's own.

use std::{error::Error, io, path::Path};

use blip2_core::{
    Blip2Error, ModelKind,
    generate::GenerateError,
    memory::{Fit, NotEnoughMemory},
    photo_index::IndexError,
    preprocessing::ImageError,
    video::VideoError,
};
#[cfg(feature = "speech")]
use blip2_io::sound::SoundError;
use blip2_io::{IoError, dataset::DatasetError};
use blip2_train::TrainError;
use blip2_verify::VerifyError;
use blip2_vision::VisionError;

/// What went wrong, with all its causes.
pub(crate) fn words(error: &(dyn Error + 'static)) -> String {
    translated(error).unwrap_or_else(|| with_causes(error))
}

/// A message and those of its causes that it does not say itself.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // A transparent error repeats its cause.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The message of an error that has one of the program's own.
fn translated(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref() {
        return of_blip2(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_folder(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_picture(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_video(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_generation(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_vision(error);
    }
    of_wrapped(error)
}

/// What an error of another crate wraps.
fn of_wrapped(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(TrainError::Model(refusal) | TrainError::Data(refusal)) = error.downcast_ref() {
        return translated(refusal.get_ref());
    }
    if let Some(TrainError::Score { step, source }) = error.downcast_ref() {
        let source = words(&**source);
        return Some(format!(
            "the evaluation after {step} steps failed: {source}"
        ));
    }
    if let Some(TrainError::File { path, source }) = error.downcast_ref() {
        return Some(of_file(path, source));
    }
    match error.downcast_ref() {
        Some(IndexError::Model(error)) => return of_blip2(error),
        Some(IndexError::Io(error)) => return of_folder(error),
        _ => {}
    }
    if let Some(VerifyError::Model(error)) = error.downcast_ref() {
        return of_blip2(error);
    }
    match error.downcast_ref() {
        Some(DatasetError::Image(error)) => of_picture(error),
        Some(DatasetError::Read { path, source }) => Some(of_file(path, source)),
        _ => None,
    }
}

/// Why the system refused a file, in words that say what is in the way.
pub(crate) fn of_system(error: &io::Error) -> String {
    let text = error.to_string();
    let Some(number) = error.raw_os_error() else {
        // The library's own words.
        return text;
    };
    let told = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder",
        io::ErrorKind::PermissionDenied => "this user has no permission",
        io::ErrorKind::AlreadyExists => "there is something else of that name",
        io::ErrorKind::IsADirectory => "it is a folder, where a file is due",
        io::ErrorKind::NotADirectory => "there is a file, where a folder is due",
        io::ErrorKind::StorageFull => "the disk is full",
        io::ErrorKind::QuotaExceeded => "this user may keep no more on the disk",
        io::ErrorKind::FileTooLarge => "no file may be so large",
        io::ErrorKind::ReadOnlyFilesystem => "the disk can be read alone",
        io::ErrorKind::InvalidFilename => "no file can have that name",
        _ => {
            let end = format!(" (os error {number})");
            return text.strip_suffix(&end).unwrap_or(&text).to_string();
        }
    };
    told.to_string()
}

fn of_file(path: &Path, error: &io::Error) -> String {
    format!("{}: {}", path.display(), of_system(error))
}

fn of_vision(error: &VisionError) -> Option<String> {
    match error {
        VisionError::ImageSize {
            height,
            width,
            expected,
        } => {
            let larger = height.max(width);
            let other = match larger == expected {
                true => String::new(),
                false => format!(", or --image-size {expected}"),
            };
            Some(format!(
                "the folder prepares pictures of {height}×{width} pixels (height × width), and the model \
             was trained at {expected}×{expected}: give --image-size {larger}{other}, which makes squares of \
             pictures and interpolates positions where that is another size"
            ))
        }
        _ => None,
    }
}

fn of_blip2(error: &Blip2Error) -> Option<String> {
    Some(match error {
        Blip2Error::Io(error) => return of_folder(error),
        Blip2Error::Image(error) => return of_picture(error),
        Blip2Error::Video(error) => return of_video(error),
        #[cfg(feature = "speech")]
        Blip2Error::Sound(error) => return of_sound(error),
        Blip2Error::Generate(error) => return of_generation(error),
        Blip2Error::Memory(error) => of_memory(error),
        Blip2Error::Vision(error) => return of_vision(error),
        Blip2Error::Item { index, source } => {
            format!("item {index} of the batch: {}", of_blip2(source)?)
        }
        #[cfg(feature = "speech")]
        Blip2Error::ChatTemplate { path, .. } => format!(
            "{}: the folder's chat template, which is not run here, is of no known form, so that a question \
             cannot be put as the model knows it; give the whole text by --prompt, with <|audio|> where the \
             recording goes",
            path.display()
        ),
        Blip2Error::EmptyQuestion => "the question is empty; ask something, describe the picture \
             with `blip2 caption`, or give a --prompt"
            .into(),
        Blip2Error::SpecialToken { token, .. } => format!(
            "the question contains the special token `{token}`, which would not be read as text; \
             leave it out, or give it in a --prompt if you mean it"
        ),
        Blip2Error::Frames {
            found, expected, ..
        } => frames(*found, *expected),
        Blip2Error::Setting {
            setting,
            member,
            reason,
            ..
        } => format!(
            "{} is not for {member}: {reason}; leave it out",
            option(setting).unwrap_or(setting)
        ),
        Blip2Error::WrongModel { path, found, .. } => {
            format!("{}: {}", path.display(), other_model(*found))
        }
        Blip2Error::Holes { tensors } => {
            let (count, first) = (tensors.len(), tensors.first().map_or("", String::as_str));
            format!("the model has no numbers for {count} of its tensors, the first is {first}")
        }
        _ => return None,
    })
}

fn of_folder(error: &IoError) -> Option<String> {
    Some(match error {
        IoError::Image(error) => return of_picture(error),
        IoError::Read { path, source } => of_file(path, source),
        IoError::Write { path, source } => {
            format!(
                "{}: cannot be written: {}",
                path.display(),
                of_system(source)
            )
        }
        IoError::Kind { path, found, .. } => {
            format!("{}: {}", path.display(), other_model(*found))
        }
        IoError::NotCached { id, cache, .. } => format!(
            "{id}: there is no such folder, and no model of that id in the Hugging Face cache {}; \
             `blip2 download {id}` downloads it",
            cache.display()
        ),
        IoError::NoRevision {
            id,
            cache,
            revisions,
        } => format!(
            "{id}: the Hugging Face cache {} has no such revision of it, but {}; take one of these after \
             the @, or `blip2 download {id}` downloads it",
            cache.display(),
            revisions.join(", ")
        ),
        IoError::LavisNeeds {
            path,
            reason,
            setting,
            what,
            ..
        } => {
            let setting = option(setting).unwrap_or(setting);
            format!("{}: {reason}; give {setting}, {what}", path.display())
        }
        _ => return None,
    })
}

fn of_picture(error: &ImageError) -> Option<String> {
    Some(match error {
        ImageError::File { path, source } => {
            format!("{}: {}", path.display(), of_picture(source)?)
        }
        ImageError::Limit {
            what,
            found,
            limit,
            option: "max_pixels_per_byte",
        } => format!(
            "the picture's {what} of the file is {found}, over the limit of {limit}: all is of one colour, \
             or the file claims more than it holds"
        ),
        ImageError::Limit {
            what, found, limit, ..
        } => {
            format!("the picture's {what} is {found}, over the limit of {limit}; make it smaller")
        }
        #[cfg(feature = "speech")]
        ImageError::Sound { format, .. } => {
            format!("it is a sound ({format}) and no picture; `blip2 transcribe` hears sounds")
        }
        ImageError::Animated { format } => {
            format!("the picture is an animated {format}; save one frame of it")
        }
        ImageError::Pages { found } => {
            format!("the picture is a TIFF of {found} pages; save one of them")
        }
        ImageError::NoFrame { wanted, found: 1 } => format!(
            "the picture has one frame, and --frame asks for number {}",
            wanted + 1
        ),
        ImageError::NoFrame { wanted, found } => format!(
            "the picture has {found} frames, and --frame asks for number {}",
            wanted + 1
        ),
        _ => return None,
    })
}

#[cfg(feature = "speech")]
fn of_sound(error: &SoundError) -> Option<String> {
    Some(match error {
        SoundError::File { path, source } => {
            format!("{}: {}", path.display(), of_sound(source)?)
        }
        SoundError::Limit {
            what,
            found,
            limit,
            option: "max_channels",
        } => format!(
            "the sound's {what} is {found}, over the limit of {limit}; mix them down, as by \
             `ffmpeg -i sound.wav -ac 1 mono.wav`"
        ),
        SoundError::Limit {
            what, found, limit, ..
        } => format!("the sound's {what} is {found}, over the limit of {limit}; cut it into parts"),
        _ => return None,
    })
}

fn of_video(error: &VideoError) -> Option<String> {
    Some(match error {
        VideoError::File { path, source } => {
            format!("{}: {}", path.display(), of_video(source)?)
        }
        VideoError::Frame(error) => return of_picture(error),
        VideoError::Limit { what, limit, .. } => {
            format!("the video has more than {limit} {what}; give a shorter or smaller one")
        }
        _ => return None,
    })
}

fn of_generation(error: &GenerateError) -> Option<String> {
    Some(match error {
        GenerateError::InvalidArgument {
            argument,
            value,
            reason,
        } => {
            let reason = match *argument {
                "temperature" => "must be above 0 and finite; without --sample there is none",
                "num_return_sequences" if reason.contains('`') => {
                    "must not be above --beams; greedy search gives one, --sample any number"
                }
                _ => reason,
            };
            format!("{} {value}: {reason}", option(argument)?)
        }
        GenerateError::BadScores { value, .. } => format!(
            "a token's score became {value}: --repetition-penalty or --temperature is too extreme"
        ),
        GenerateError::NoAllowedToken { step, .. } => format!(
            "no token is allowed after {step} generated ones; raise --no-repeat-ngram, or leave it \
             out"
        ),
        GenerateError::Session(source) => {
            format!("the language model failed: {}", words(&**source))
        }
        _ => return None,
    })
}

fn of_memory(error: &NotEnoughMemory) -> String {
    let amount = |bytes: u64| format!("{:.2} GB ({bytes} bytes)", bytes as f64 / 1e9);
    let fits = error.fits.iter().filter_map(|fit| match fit {
        Fit::Precision(precision) => Some(format!("--precision {precision}")),
        Fit::Batch(batch) => Some(format!("--batch {batch}")),
        Fit::Beams(beams) => Some(format!("--beams {beams}")),
        Fit::SoundFrames(_) => Some(fit.to_string()),
        _ => None,
    });
    let fits: Vec<String> = fits.collect();
    let remedy = match fits.is_empty() {
        true if error.reads_sound => {
            "no other precision would fit: use a smaller model, or cut the recording into parts"
                .into()
        }
        true => "no other precision or batch would fit: use a smaller model or picture".into(),
        false => format!("what would fit: {}", fits.join(", or ")),
    };
    let (needed, allowed) = (amount(error.predicted), amount(error.allowed));
    match &error.piece {
        Some(piece) => format!(
            "{piece} would take {needed} in one piece, where the largest buffer of the --device has \
             {allowed}; {remedy}; or use another --device"
        ),
        None => format!(
            "{needed} of memory would be needed, where {allowed} are allowed; {remedy}; or raise \
             --memory-limit"
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
            "the model looks at {expected} frames of a video, and was given {found}; give a longer \
             video"
        ),
        (None, _) => format!(
            "the model looks at {expected} frames of a video, and was given a picture; give a \
             folder of frames, or an animated GIF, PNG or WebP"
        ),
    }
}

/// What a folder holds that a command has no use for, and which command has.
fn other_model(found: ModelKind) -> String {
    let remedy = match commands(found) {
        Some(commands) => format!("use {commands}"),
        None => "no command runs it alone; `blip2 inspect` shows what it holds".into(),
    };
    let abilities = found.describe();
    let found = found.with_article();
    format!("the checkpoint is {found}, which can {abilities}; {remedy}")
}

/// The commands that run a member of the family.
pub(crate) fn commands(kind: ModelKind) -> Option<&'static str> {
    match kind {
        ModelKind::Blip2 | ModelKind::InstructBlip | ModelKind::InstructBlipVideo => {
            Some("`blip2 answer` or `blip2 caption`")
        }
        ModelKind::Blip2Retrieval => Some("`blip2 match` or `blip2 index`"),
        ModelKind::BlipCaption => Some("`blip2 caption`"),
        ModelKind::BlipAnswer => Some("`blip2 answer`"),
        ModelKind::BlipRetrieval => Some("`blip2 match`"),
        #[cfg(feature = "speech")]
        ModelKind::GraniteSpeech => Some("`blip2 transcribe`"),
        _ => None,
    }
}

/// The option that gives a setting or an argument of the library.
fn option(name: &str) -> Option<&'static str> {
    Some(match name {
        "template" => "--template",
        "adapter" => "--adapter",
        "image_size" => "--image-size",
        "resizing" => "--resizing",
        "memory_limit" => "--memory-limit",
        "precision" => "--precision",
        "vision" => "--vision",
        "language_model" => "--language-model",
        "tokenizer" => "--tokenizer",
        "config" => "--config",
        "max_new_tokens" => "--max-new-tokens",
        "min_new_tokens" => "--min-new-tokens",
        "num_beams" => "--beams",
        "num_return_sequences" => "--num-return-sequences",
        "length_penalty" => "--length-penalty",
        "repetition_penalty" => "--repetition-penalty",
        "no_repeat_ngram_size" => "--no-repeat-ngram",
        "temperature" => "--temperature",
        "top_k" => "--top-k",
        "top_p" => "--top-p",
        "stop_strings" => "--stop",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_told_without_its_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let onto = std::fs::create_dir_all(&file).unwrap_err();
        let below = std::fs::create_dir(file.join("a")).unwrap_err();
        let gone = std::fs::read(folder.path().join("gone")).unwrap_err();
        for (error, told) in [
            (onto, "there is something else of that name"),
            (below, "there is a file, where a folder is due"),
            (gone, "there is no such file or folder"),
            // EMLINK, of which nothing is said here.
            (io::Error::from_raw_os_error(31), "Too many links"),
        ] {
            assert_eq!(of_system(&error), told);
        }
        let own = io::Error::new(io::ErrorKind::AlreadyExists, "holds a model");
        assert_eq!(of_system(&own), "holds a model");
        let error = TrainError::File {
            path: "out".into(),
            source: own,
        };
        assert_eq!(words(&error), "out: holds a model");
    }
}
