//! Which member of the family a folder holds.

use std::fmt;

/// The models that this library reads, told apart by the `model_type` and the `architectures` of
/// their `config.json`.
///
/// ```
/// use blip2_io::{CheckpointFolder, config::Ability};
///
/// let kind = CheckpointFolder::open("../blip2-cli/demo")?.kind()?;
/// assert!(kind.can(Ability::Answer) && !kind.can(Ability::Match));
/// println!("{kind} can {}", kind.describe());
/// # Ok::<(), blip2_io::IoError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelKind {
    /// BLIP-2 with a language model: `Blip2ForConditionalGeneration`, or `Blip2Model`, which has
    /// the same weights.
    Blip2,
    /// BLIP-2's first stage, which compares pictures with texts: `Blip2ForImageTextRetrieval`.
    Blip2Retrieval,
    /// The text half of retrieval: `Blip2TextModelWithProjection`.
    Blip2Text,
    /// The picture half of retrieval: `Blip2VisionModelWithProjection`.
    Blip2Vision,
    /// InstructBLIP, whose Q-Former reads the question: `InstructBlipForConditionalGeneration`.
    InstructBlip,
    /// InstructBLIP for videos: `InstructBlipVideoForConditionalGeneration`.
    InstructBlipVideo,
    /// CLIP's vision tower alone: `CLIPVisionModel`.
    ClipVision,
    /// CLIP's vision tower with its projection: `CLIPVisionModelWithProjection`, or a whole
    /// `CLIPModel`, of which that is a part.
    ClipVisionProjected,
    /// BLIP-1 that describes pictures: `BlipForConditionalGeneration`.
    BlipCaption,
    /// BLIP-1 that answers questions: `BlipForQuestionAnswering`.
    BlipAnswer,
    /// BLIP-1 that compares pictures with texts: `BlipForImageTextRetrieval`.
    BlipRetrieval,
    /// A language model alone, OPT: `OPTForCausalLM`.
    Opt,
    /// A language model alone, T5, such as Flan-T5: `T5ForConditionalGeneration`; also mT5,
    /// `MT5ForConditionalGeneration`.
    T5,
    /// A language model alone, LLaMA, such as Vicuna: `LlamaForCausalLM`.
    Llama,
    /// A language model alone, Granite: `GraniteForCausalLM`.
    Granite,
    /// Granite Speech, whose Q-Former reads sound: `GraniteSpeechForConditionalGeneration`.
    GraniteSpeech,
}

/// What a model can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ability {
    /// Answer questions about pictures, describe them, continue prompts about them.
    Answer,
    /// Answer questions about videos, describe them, continue prompts about them.
    AnswerVideo,
    /// Describe pictures, and no more.
    Describe,
    /// Answer questions about pictures, and no more.
    AnswerQuestion,
    /// Tell how well a picture and a text go together.
    Match,
    /// Put pictures into a space that they share with texts.
    EmbedImage,
    /// Put texts into a space that they share with pictures.
    EmbedText,
    /// Encode pictures as one vector for each patch.
    EncodeImage,
    /// Continue texts, without pictures.
    ContinueText,
    /// Write down what is said, and answer questions about sound.
    AnswerSound,
}

/// A line of the table by which a folder is recognised. Of several with the same `model_type` the
/// first is meant where the configuration names no class.
struct Member {
    kind: ModelKind,
    model_types: &'static [&'static str],
    classes: &'static [&'static str],
    abilities: &'static [Ability],
}

/// Everything that is recognised; a new member of the family is one more line.
const MEMBERS: [Member; 16] = [
    Member {
        kind: ModelKind::Blip2,
        model_types: &["blip-2"],
        classes: &["Blip2ForConditionalGeneration", "Blip2Model"],
        abilities: &[Ability::Answer],
    },
    Member {
        kind: ModelKind::Blip2Retrieval,
        model_types: &["blip-2"],
        classes: &["Blip2ForImageTextRetrieval"],
        abilities: &[Ability::Match, Ability::EmbedImage, Ability::EmbedText],
    },
    Member {
        kind: ModelKind::Blip2Text,
        model_types: &["blip-2"],
        classes: &["Blip2TextModelWithProjection"],
        abilities: &[Ability::EmbedText],
    },
    Member {
        kind: ModelKind::Blip2Vision,
        model_types: &["blip-2"],
        classes: &["Blip2VisionModelWithProjection"],
        abilities: &[Ability::EmbedImage],
    },
    Member {
        kind: ModelKind::InstructBlip,
        model_types: &["instructblip"],
        classes: &["InstructBlipForConditionalGeneration"],
        abilities: &[Ability::Answer],
    },
    Member {
        kind: ModelKind::InstructBlipVideo,
        model_types: &["instructblipvideo"],
        classes: &["InstructBlipVideoForConditionalGeneration"],
        abilities: &[Ability::AnswerVideo],
    },
    Member {
        kind: ModelKind::ClipVision,
        model_types: &["clip_vision_model"],
        classes: &["CLIPVisionModel"],
        abilities: &[Ability::EncodeImage],
    },
    Member {
        kind: ModelKind::ClipVisionProjected,
        model_types: &["clip_vision_model", "clip"],
        classes: &["CLIPVisionModelWithProjection", "CLIPModel"],
        abilities: &[Ability::EncodeImage, Ability::EmbedImage],
    },
    Member {
        kind: ModelKind::BlipCaption,
        model_types: &["blip"],
        classes: &["BlipForConditionalGeneration"],
        abilities: &[Ability::Describe],
    },
    Member {
        kind: ModelKind::BlipAnswer,
        model_types: &["blip"],
        classes: &["BlipForQuestionAnswering"],
        abilities: &[Ability::AnswerQuestion],
    },
    Member {
        kind: ModelKind::BlipRetrieval,
        model_types: &["blip"],
        classes: &["BlipForImageTextRetrieval"],
        abilities: &[Ability::Match, Ability::EmbedImage, Ability::EmbedText],
    },
    Member {
        kind: ModelKind::Opt,
        model_types: &["opt"],
        classes: &["OPTForCausalLM"],
        abilities: &[Ability::ContinueText],
    },
    Member {
        kind: ModelKind::T5,
        model_types: &["t5", "mt5"],
        classes: &["T5ForConditionalGeneration", "MT5ForConditionalGeneration"],
        abilities: &[Ability::ContinueText],
    },
    Member {
        kind: ModelKind::Llama,
        model_types: &["llama"],
        classes: &["LlamaForCausalLM"],
        abilities: &[Ability::ContinueText],
    },
    Member {
        kind: ModelKind::Granite,
        model_types: &["granite"],
        classes: &["GraniteForCausalLM"],
        abilities: &[Ability::ContinueText],
    },
    Member {
        kind: ModelKind::GraniteSpeech,
        model_types: &["granite_speech"],
        classes: &["GraniteSpeechForConditionalGeneration"],
        abilities: &[Ability::AnswerSound],
    },
];

impl ModelKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        MEMBERS.iter().map(|member| member.kind)
    }

    /// The kind of a configuration: by its `model_type` and the classes in `architectures`, or by
    /// one of them where the other is left out. `None` if this library does not read it.
    ///
    /// ```
    /// use blip2_io::config::ModelKind;
    ///
    /// let retrieval = ["Blip2ForImageTextRetrieval".to_string()];
    /// assert_eq!(ModelKind::detect(Some("blip-2"), &retrieval), Some(ModelKind::Blip2Retrieval));
    /// assert_eq!(ModelKind::detect(None, &retrieval), Some(ModelKind::Blip2Retrieval));
    /// assert_eq!(ModelKind::detect(Some("blip-2"), &[]), Some(ModelKind::Blip2));
    /// assert_eq!(ModelKind::detect(Some("llava"), &retrieval), None);
    /// ```
    pub fn detect(model_type: Option<&str>, architectures: &[String]) -> Option<Self> {
        let of_type = |member: &&Member| {
            model_type.is_none_or(|model_type| member.model_types.contains(&model_type))
        };
        let of_class = |member: &&Member| {
            architectures
                .iter()
                .any(|class| member.classes.contains(&class.as_str()))
        };
        let mut members = MEMBERS.iter().filter(of_type);
        let member = match (model_type, architectures) {
            (None, []) => None,
            (Some(_), []) => members.next(),
            _ => members.find(of_class),
        };
        Some(member?.kind)
    }

    /// The `model_type` of its configuration.
    pub fn model_type(self) -> &'static str {
        self.member().map_or("", |member| member.model_types[0])
    }

    /// Its class in `transformers`.
    pub fn class(self) -> &'static str {
        self.member().map_or("", |member| member.classes[0])
    }

    /// What it can do.
    pub fn abilities(self) -> &'static [Ability] {
        self.member().map_or(&[], |member| member.abilities)
    }

    /// Whether it can do this.
    pub fn can(self, ability: Ability) -> bool {
        self.abilities().contains(&ability)
    }

    /// Whether it is a language model alone, as [`CheckpointFolder::text_config`] reads it.
    ///
    /// [`CheckpointFolder::text_config`]: crate::CheckpointFolder::text_config
    pub fn is_language_model(self) -> bool {
        self.can(Ability::ContinueText)
    }

    /// What it can do, in words.
    pub fn describe(self) -> String {
        let abilities: Vec<_> = self.abilities().iter().map(ToString::to_string).collect();
        match abilities.as_slice() {
            [] => "do nothing".into(),
            [one] => one.clone(),
            [first @ .., last] => format!("{} and {last}", first.join(", ")),
        }
    }

    /// Its class after `a` or `an`, for messages.
    ///
    /// ```
    /// use blip2_io::config::ModelKind;
    ///
    /// assert!(ModelKind::InstructBlip.with_article().starts_with("an Instruct"));
    /// assert!(ModelKind::Blip2.with_article().starts_with("a Blip2"));
    /// ```
    pub fn with_article(self) -> String {
        let class = self.class();
        format!("{} {class}", article(class))
    }

    /// A kind without a line cannot be made by [`detect`](Self::detect); a test sees to it that
    /// every kind has one.
    fn member(self) -> Option<&'static Member> {
        MEMBERS.iter().find(|member| member.kind == self)
    }

    /// Every `model_type`, for messages.
    pub(crate) fn known_types() -> String {
        let types = MEMBERS.iter().flat_map(|member| member.model_types);
        listed(types)
    }

    /// Every class of a `model_type`, for messages.
    pub(crate) fn known_classes(model_type: Option<&str>) -> String {
        let members = MEMBERS.iter().filter(|member| {
            model_type.is_none_or(|model_type| member.model_types.contains(&model_type))
        });
        listed(members.flat_map(|member| member.classes))
    }
}

/// Names in quotes, each once.
fn listed<'a>(names: impl Iterator<Item = &'a &'static str>) -> String {
    let mut quoted: Vec<String> = Vec::new();
    for name in names {
        let name = format!("`{name}`");
        if !quoted.contains(&name) {
            quoted.push(name);
        }
    }
    quoted.join(", ")
}

/// `a` or `an`, before a name.
pub(crate) fn article(name: &str) -> &'static str {
    match name.to_ascii_lowercase().starts_with(['a', 'e', 'i', 'o']) {
        true => "an",
        false => "a",
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class())
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer => "answer questions about pictures",
            Self::AnswerVideo => "answer questions about videos",
            Self::Describe => "describe pictures",
            Self::AnswerQuestion => "answer questions about pictures",
            Self::Match => "match pictures with texts",
            Self::EmbedImage => "embed pictures",
            Self::EmbedText => "embed texts",
            Self::EncodeImage => "encode pictures",
            Self::ContinueText => "continue texts",
            Self::AnswerSound => "transcribe speech and answer questions about sound",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_recognised_by_its_type_its_name_and_both() {
        for member in &MEMBERS {
            assert_eq!(member.kind.member().unwrap().classes, member.classes);
            assert!(!member.abilities.is_empty());
            for class in member.classes {
                let classes = [class.to_string()];
                assert_eq!(ModelKind::detect(None, &classes), Some(member.kind));
                for model_type in member.model_types {
                    let found = ModelKind::detect(Some(model_type), &classes);
                    assert_eq!(found, Some(member.kind), "{model_type} {class}");
                }
            }
        }
        let types: Vec<_> = MEMBERS.iter().map(|member| member.kind).collect();
        assert_eq!(ModelKind::all().collect::<Vec<_>>(), types);
    }

    #[test]
    fn what_is_unknown_is_not_guessed() {
        assert_eq!(ModelKind::detect(None, &[]), None);
        assert_eq!(ModelKind::detect(Some("blip-2"), &["Blip3".into()]), None);
        let mixed = ["Blip2Model".to_string()];
        assert_eq!(ModelKind::detect(Some("clip"), &mixed), None);
    }

    #[test]
    fn abilities_read_as_a_sentence() {
        assert_eq!(
            ModelKind::Blip2Retrieval.describe(),
            "match pictures with texts, embed pictures and embed texts"
        );
        assert_eq!(ModelKind::Blip2Text.describe(), "embed texts");
        assert_eq!(
            ModelKind::known_types(),
            "`blip-2`, `instructblip`, `instructblipvideo`, `clip_vision_model`, `clip`, `blip`, \
             `opt`, `t5`, `mt5`, `llama`, `granite`, `granite_speech`"
        );
    }
}
