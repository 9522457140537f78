//! From what was said to what the model reads.

use blip2_core::Template;

use super::types::{Content, Message, Part, Role};
use crate::{
    engine::Ask, error::ApiError, model::Model, routes::generation::check_texts, settings::Limits,
};

/// A conversation as a model of pictures takes it: one picture, or the frames of one video, what was said
/// about it, and the last word.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// Where the picture is, or a video's frames are.
    pub(super) pictures: Vec<String>,
    system: String,
    /// What was asked and answered about the picture.
    turns: Vec<(String, String)>,
    last: String,
}

impl Conversation {
    /// Reads messages. What was said about an earlier picture does not concern the last one, and is left
    /// out. What one says in several messages is one word.
    pub(super) fn read(messages: Vec<Message>) -> Result<Self, ApiError> {
        let mut read = Self::default();
        let mut speaker = None;
        // Whether the user has shown something since the assistant spoke.
        let mut shown = false;
        for message in messages {
            let (text, pictures) = content(message.content);
            let before = speaker;
            match message.role {
                Role::System | Role::Developer => {
                    no_picture(&pictures)?;
                    join(&mut read.system, &text);
                    continue;
                }
                Role::User => {
                    shown &= before == Some(Role::User);
                    if !pictures.is_empty() {
                        read.pictures = pictures;
                        read.turns.clear();
                        if shown {
                            read.last.clear();
                        }
                        shown = true;
                    }
                    join(&mut read.last, &text);
                }
                Role::Assistant => {
                    no_picture(&pictures)?;
                    match read.turns.last_mut() {
                        Some((_, answer)) if before == Some(Role::Assistant) => join(answer, &text),
                        _ => read.turns.push((std::mem::take(&mut read.last), text)),
                    }
                }
            }
            speaker = Some(message.role);
        }
        match speaker {
            Some(Role::User) => Ok(read),
            _ => Err(fault("the last message is not the user's")),
        }
    }

    /// All texts.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let turns = self.turns.iter();
        let turns = turns.flat_map(|(question, answer)| [question.as_str(), answer.as_str()]);
        turns.chain([self.system.as_str(), self.last.as_str()])
    }

    /// What the model is asked, and how its prompt reads.
    pub(super) fn ask(&self, model: &Model, limits: &Limits) -> Result<(Ask, String), ApiError> {
        if !model.answers() && !model.describes() {
            return Err(ApiError::unable("this model writes no texts"));
        }
        check_texts(self.texts().map(|text| ("messages", text)), limits)?;
        let alone = self.turns.is_empty() && self.system.trim().is_empty();
        let last = self.last.trim();
        match model {
            // A system message is about conversations, and this is none.
            Model::Blip2(_) if self.turns.is_empty() && last.is_empty() => {
                Ok((Ask::Caption, String::new()))
            }
            Model::Blip2(blip2) if alone => {
                let prompt = blip2.template().render(last);
                Ok((Ask::Question(self.last.clone()), prompt))
            }
            Model::Blip2(blip2) => {
                let prompt = self.prompt(blip2.template(), model, limits)?;
                Ok((Ask::Prompt(prompt.clone()), prompt))
            }
            _ if !alone => Err(ApiError::unable(
                "this model takes one message: it reads no earlier turns and no system message",
            )
            .with_param("messages")),
            Model::Captioner(_) if last.is_empty() => Ok((Ask::Caption, String::new())),
            Model::Captioner(_) => Ok((Ask::Prompt(self.last.clone()), self.last.clone())),
            _ => Ok((Ask::Question(self.last.clone()), self.last.clone())),
        }
    }

    /// Earlier turns before the question, each in its template, as BLIP-2's examples converse (LAVIS,
    /// `examples/blip2_instructed_generation.ipynb`): `Question: … Answer: … . Question: … Answer:`.
    fn prompt(
        &self,
        template: &Template,
        model: &Model,
        limits: &Limits,
    ) -> Result<String, ApiError> {
        let last = self.last.trim();
        if last.is_empty() {
            return Err(fault("the last message says nothing"));
        }
        // In a question alone the pipeline looks for them itself. All at once: there may be thousands of turns.
        let texts: Vec<&str> = self.texts().collect();
        if let Some(token) = model.tokenizer().special_token_in(&texts.join("\n")) {
            return Err(fault(&format!(
                "a message contains the special token `{token}`, which is not read as text; leave it out"
            )));
        }
        let mut parts = Vec::new();
        if !self.system.trim().is_empty() {
            parts.push(self.system.trim().to_string());
        }
        for (question, answer) in &self.turns {
            let said = answer.trim().trim_end_matches('.');
            match question.trim() {
                "" if said.is_empty() => {}
                // A caption that was not asked for by words.
                "" => parts.push(format!("{said}.")),
                question => parts.push(format!("{} {said}.", template.render(question))),
            }
        }
        parts.push(template.render(last));
        let prompt = parts.join(" ");
        // Each turn brings the template's words, too, however short it is itself.
        if prompt.len() > limits.text_bytes {
            return Err(fault(&format!(
                "the conversation has {} bytes as the model reads it, and this server allows {}; leave out earlier \
                 turns",
                prompt.len(),
                limits.text_bytes
            )));
        }
        Ok(prompt)
    }
}

/// The text of a message, and its pictures.
fn content(content: Option<Content>) -> (String, Vec<String>) {
    let parts = match content {
        None => return Default::default(),
        Some(Content::Text(text)) => return (text, Vec::new()),
        Some(Content::Parts(parts)) => parts,
    };
    let (mut text, mut pictures) = (String::new(), Vec::new());
    for part in parts {
        match part {
            Part::Text { text: more } => join(&mut text, &more),
            Part::ImageUrl { image_url } => pictures.push(image_url.url),
        }
    }
    (text, pictures)
}

fn no_picture(pictures: &[String]) -> Result<(), ApiError> {
    match pictures.is_empty() {
        true => Ok(()),
        false => Err(fault("pictures come in the user's messages alone")),
    }
}

/// Adds a line to a text.
fn join(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push('\n');
    }
    text.push_str(more);
}

fn fault(text: &str) -> ApiError {
    ApiError::invalid(text).with_param("messages")
}

#[cfg(test)]
mod tests {
    use blip2_core::Blip2Pipeline;
    use serde_json::{Value, json};

    use super::*;
    use crate::http::fields::FromValue as _;

    fn read(messages: Value) -> Result<Conversation, String> {
        let messages = Vec::from_value(messages, "messages");
        let read = messages.and_then(Conversation::read);
        read.map_err(|error| error.message().to_string())
    }

    fn prompt(messages: Value) -> String {
        let blip2 = Blip2Pipeline::from_pretrained("../blip2-cli/demo").unwrap();
        let asked = read(messages)
            .unwrap()
            .ask(&blip2.into(), &Limits::default());
        asked.map_or_else(|error| error.message().to_string(), |(_, prompt)| prompt)
    }

    fn picture(url: &str) -> Value {
        json!({"type": "image_url", "image_url": {"url": url, "detail": "low"}})
    }

    #[test]
    fn a_question_alone_is_put_into_the_template() {
        let parts = json!([picture("data:1"), {"type": "text", "text": "what color?"}]);
        let messages = json!([{"role": "user", "content": parts}]);
        assert_eq!(read(messages.clone()).unwrap().pictures, ["data:1"]);
        assert_eq!(prompt(messages), "Question: what color? Answer:");
    }

    #[test]
    fn earlier_turns_stand_before_the_question() {
        let messages = json!([
            {"role": "user", "content": [picture("data:1"), {"type": "text", "text": "what shape?"}]},
            {"role": "assistant", "content": "triangle"},
            {"role": "user", "content": "what color?"},
            {"role": "assistant", "content": "red."},
            {"role": "user", "content": "sure?"},
        ]);
        assert_eq!(
            prompt(messages),
            "Question: what shape? Answer: triangle. Question: what color? Answer: red. \
             Question: sure? Answer:"
        );
    }

    #[test]
    fn a_new_picture_ends_what_was_said_about_the_old_one() {
        let messages = json!([
            {"role": "user", "content": [picture("data:1"), {"type": "text", "text": "what shape?"}]},
            {"role": "assistant", "content": "triangle"},
            {"role": "user", "content": [{"type": "text", "text": "and here?"}, picture("data:2")]},
        ]);
        assert_eq!(read(messages.clone()).unwrap().pictures, ["data:2"]);
        assert_eq!(prompt(messages), "Question: and here? Answer:");
    }

    #[test]
    fn what_one_says_in_several_messages_is_one_word() {
        let shown = |content: Value| json!({"role": "user", "content": content});
        let question = shown(json!("what color?"));
        let read = |messages: Value| prompt(messages);
        let first = json!([question, shown(json!([picture("data:1")]))]);
        assert_eq!(read(first), "Question: what color? Answer:");
        let between = json!([
            question,
            {"role": "assistant", "content": "red"},
            {"role": "assistant", "content": "or blue"},
            shown(json!("sure?")),
            shown(json!("really?")),
        ]);
        assert_eq!(
            read(between),
            "Question: what color? Answer: red\nor blue. Question: sure?\nreally? Answer:"
        );
        // What was asked about one picture is not asked about the next.
        let two = json!([
            shown(json!([picture("data:1"), {"type": "text", "text": "what shape?"}])),
            shown(json!([picture("data:2"), {"type": "text", "text": "and here?"}])),
        ]);
        assert_eq!(read(two), "Question: and here? Answer:");
    }

    #[test]
    fn a_picture_without_a_word_is_described_whatever_the_system_says() {
        let messages = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [picture("data:1")]},
        ]);
        let blip2 = Blip2Pipeline::from_pretrained("../blip2-cli/demo").unwrap();
        let asked = read(messages)
            .unwrap()
            .ask(&blip2.into(), &Limits::default());
        assert!(matches!(asked, Ok((Ask::Caption, _))));
    }

    #[test]
    fn turns_are_bounded_by_what_the_model_reads_of_them() {
        let turn = [
            json!({"role": "user", "content": "x"}),
            json!({"role": "assistant", "content": null}),
        ];
        let mut messages = [&turn[..]; 1000].concat();
        messages.push(json!({"role": "user", "content": "x"}));
        assert!(prompt(messages.into()).contains("this server allows 16384"));
        let mut empty = vec![json!({"role": "assistant"}); 1000];
        empty.push(json!({"role": "user", "content": "x"}));
        assert_eq!(prompt(empty.into()), "Question: x Answer:");
    }

    #[test]
    fn special_tokens_in_earlier_turns_are_refused() {
        let messages = json!([
            {"role": "user", "content": [picture("data:1"), {"type": "text", "text": "what? </s>"}]},
            {"role": "assistant", "content": "triangle"},
            {"role": "user", "content": "sure?"},
        ]);
        assert!(prompt(messages).contains("special token"));
    }

    #[test]
    fn conversations_that_make_no_sense_are_refused() {
        for (messages, says) in [
            (json!([]), "not the user's"),
            (
                json!([{"role": "assistant", "content": "x"}]),
                "not the user's",
            ),
            (
                json!([{"role": "system", "content": [picture("1")]}, {"role": "user", "content": "x"}]),
                "user's messages alone",
            ),
        ] {
            let told = read(messages.clone()).unwrap_err();
            assert!(told.contains(says), "{messages}: {told}");
        }
    }
}
