//! What the library says of a fault, in the words of the request that is at fault.

use blip2_core::{
    Blip2Error, generate::GenerateError, preprocessing::ImageError, video::VideoError,
};
use blip2_lm::LmError;

/// The keys of a request by which errors name its parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// Its picture.
    pub(crate) picture: &'static str,
    /// Its question, prompt or text.
    pub(crate) text: &'static str,
    /// Its list of texts or candidates, or a text beside the first, if it has one.
    pub(crate) texts: &'static str,
}

/// What is wrong, and the part of the request that is at fault.
pub(crate) struct Fault {
    pub(crate) words: String,
    pub(crate) param: Option<String>,
}

impl Names {
    /// Tells what is wrong with a request.
    pub(crate) fn tell(&self, error: &Blip2Error) -> Fault {
        let text = |words: String| fault(words, self.text);
        let noun = self.noun();
        match error {
            Blip2Error::Item { source, .. } => self.tell(source),
            Blip2Error::EmptyQuestion => text(format!("{noun} is empty")),
            Blip2Error::EmptyText => fault("the text is empty".into(), self.texts),
            Blip2Error::SpecialToken { token, .. } => text(special(noun, token)),
            Blip2Error::SpecialTokenInText { token, .. } => {
                fault(special("the text", token), self.texts)
            }
            Blip2Error::PlaceholderInPrompt { token, .. } => text(format!(
                "{noun} contains `{token}`, the place of the picture; leave it out"
            )),
            Blip2Error::PromptTooLong { tokens, positions } => text(format!(
                "{noun} has {tokens} tokens, and the model reads {positions}; shorten it"
            )),
            Blip2Error::Candidates { reason, .. } => fault(
                format!("the candidates cannot be used: {reason}"),
                self.texts,
            ),
            Blip2Error::Image(error) => fault(of_image(error), self.picture),
            Blip2Error::Video(error) => fault(of_video(error), self.picture),
            Blip2Error::Frames { .. } => fault(error.to_string(), self.picture),
            Blip2Error::ContextTooLong { tokens, context } => self.too_long(*tokens, *context),
            Blip2Error::Lm(error) => self.of_model(error),
            Blip2Error::Generate(error) => self.of_generation(error),
            error => Fault {
                words: error.to_string(),
                param: None,
            },
        }
    }

    fn too_long(&self, tokens: usize, context: usize) -> Fault {
        let noun = self.noun();
        fault(
            format!(
                "{noun}, with the picture and the answer, takes {tokens} tokens, and the model reads {context}; \
                 shorten it, or ask for fewer tokens"
            ),
            self.text,
        )
    }

    /// Says that its text has more tokens than are allowed.
    pub(crate) fn too_many_tokens(&self, tokens: usize, most: usize) -> Fault {
        fault(too_many(self.noun(), tokens, most), self.text)
    }

    /// As [`too_many_tokens`](Self::too_many_tokens), of one of its texts.
    pub(crate) fn part_of_too_many_tokens(&self, at: usize, tokens: usize, most: usize) -> Fault {
        let noun = format!("`{}[{at}]`", self.texts);
        fault(too_many(&noun, tokens, most), self.texts)
    }

    fn of_model(&self, error: &LmError) -> Fault {
        match error {
            LmError::ContextTooLong {
                tokens, context, ..
            } => self.too_long(*tokens, *context),
            LmError::Token { id, vocab, .. } => fault(
                format!("the model has no token {id}: its tokens are those below {vocab}"),
                "tokens",
            ),
            error => fault(
                format!("{} cannot be read: {error}", self.noun()),
                self.text,
            ),
        }
    }

    fn of_generation(&self, error: &GenerateError) -> Fault {
        match error {
            GenerateError::InvalidArgument {
                argument: "continuations",
                value,
                reason,
            } => fault(format!("a candidate has {value}: {reason}"), self.texts),
            GenerateError::InvalidArgument {
                argument,
                value,
                reason,
            } => {
                let key = key(argument);
                fault(format!("`{key}` is {value}: {reason}"), key)
            }
            GenerateError::BadScores { .. } => fault(
                "a token's score overflowed: `temperature` or `repetition_penalty` is too extreme"
                    .into(),
                "temperature",
            ),
            GenerateError::Session(source) => match source.downcast_ref() {
                Some(error) => self.of_model(error),
                None => fault(error.to_string(), self.text),
            },
            error => fault(error.to_string(), self.text),
        }
    }

    /// What the text is.
    fn noun(&self) -> &'static str {
        match self.text {
            "question" => "the question",
            "prompt" => "the prompt",
            "messages" => "the conversation",
            _ => "the text",
        }
    }
}

fn too_many(noun: &str, tokens: usize, most: usize) -> String {
    format!("{noun} has {tokens} tokens, and this server allows {most}; shorten it")
}

fn special(noun: &str, token: &str) -> String {
    format!("{noun} contains the special token `{token}`, which is not read as text; leave it out")
}

fn fault(words: String, param: &str) -> Fault {
    Fault {
        words,
        param: Some(param.into()),
    }
}

fn of_video(error: &VideoError) -> String {
    match error {
        VideoError::UnknownFormat => {
            "the model looks at videos, and this is no animated GIF, PNG or WebP; send one, or several pictures"
                .into()
        }
        VideoError::Limit { what, limit, .. } => {
            format!("the video has more than {limit} {what}; send fewer")
        }
        VideoError::Frame(error) => of_image(error),
        error => error.to_string(),
    }
}

fn of_image(error: &ImageError) -> String {
    match error {
        ImageError::Limit {
            what, found, limit, ..
        } => {
            format!("the picture's {what} is {found}, over the limit of {limit}; make it smaller")
        }
        ImageError::Animated { format } => {
            format!("the picture is an animated {format}; send one frame of it")
        }
        ImageError::Pages { found } => {
            format!("the picture is a TIFF of {found} pages; send one of them")
        }
        error => error.to_string(),
    }
}

/// What a request calls an argument of generation.
fn key(argument: &'static str) -> &'static str {
    match argument {
        "max_new_tokens" => "max_tokens",
        "num_return_sequences" => "n",
        "num_beams" => "beams",
        "stop_strings" => "stop",
        other => other,
    }
}
