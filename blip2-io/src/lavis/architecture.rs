//! Which model a LAVIS file is of.

use std::{fmt, str::FromStr};

/// A model of LAVIS's BLIP and BLIP-2 families, by the name that LAVIS registers it under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// `blip2`: the first stage, which compares pictures with texts; also
    /// `blip2_image_text_matching` and `blip2_feature_extractor`.
    Retrieval,
    /// `blip2_opt`.
    Opt,
    /// `blip2_t5`.
    T5,
    /// `blip2_t5_instruct`: InstructBLIP with Flan-T5.
    InstructT5,
    /// `blip2_vicuna_instruct`: InstructBLIP with Vicuna.
    InstructVicuna,
    /// `blip_caption`: BLIP-1 that describes pictures, also as its own authors saved it.
    Blip1Caption,
    /// `blip_vqa`: BLIP-1 that answers questions.
    Blip1Answer,
    /// `blip_retrieval`: BLIP-1 that compares pictures with texts; also
    /// `blip_image_text_matching`.
    Blip1Retrieval,
}

/// A name that is none of an [`Architecture`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no known architecture; known: blip2, blip2_opt, blip2_t5, blip2_t5_instruct, \
     blip2_vicuna_instruct, blip_caption, blip_vqa, blip_retrieval"
)]
pub struct UnknownArchitecture(String);

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Retrieval,
        Self::Opt,
        Self::T5,
        Self::InstructT5,
        Self::InstructVicuna,
        Self::Blip1Caption,
        Self::Blip1Answer,
        Self::Blip1Retrieval,
    ];

    /// The name that LAVIS registers it under.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retrieval => "blip2",
            Self::Opt => "blip2_opt",
            Self::T5 => "blip2_t5",
            Self::InstructT5 => "blip2_t5_instruct",
            Self::InstructVicuna => "blip2_vicuna_instruct",
            Self::Blip1Caption => "blip_caption",
            Self::Blip1Answer => "blip_vqa",
            Self::Blip1Retrieval => "blip_retrieval",
        }
    }

    /// Whether its Q-Former reads the question.
    pub(super) fn is_instruct(self) -> bool {
        matches!(self, Self::InstructT5 | Self::InstructVicuna)
    }

    /// Whether it is a BLIP-1.
    pub(super) fn is_blip1(self) -> bool {
        matches!(
            self,
            Self::Blip1Caption | Self::Blip1Answer | Self::Blip1Retrieval
        )
    }

    /// The class in `transformers`.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Retrieval => "Blip2ForImageTextRetrieval",
            Self::Opt | Self::T5 => "Blip2ForConditionalGeneration",
            Self::InstructT5 | Self::InstructVicuna => "InstructBlipForConditionalGeneration",
            Self::Blip1Caption => "BlipForConditionalGeneration",
            Self::Blip1Answer => "BlipForQuestionAnswering",
            Self::Blip1Retrieval => "BlipForImageTextRetrieval",
        }
    }

    /// The `model_type` of its language model.
    pub(super) fn language_model(self) -> Option<&'static str> {
        match self {
            Self::Retrieval | Self::Blip1Caption | Self::Blip1Answer | Self::Blip1Retrieval => None,
            Self::Opt => Some("opt"),
            Self::T5 | Self::InstructT5 => Some("t5"),
            Self::InstructVicuna => Some("llama"),
        }
    }

    /// Where BERT's tokenizer, by which it reads text, lies in a folder.
    pub(super) fn tokenizer_folder(self) -> Option<&'static str> {
        match self {
            Self::Retrieval | Self::Blip1Caption | Self::Blip1Answer | Self::Blip1Retrieval => {
                Some("")
            }
            Self::InstructT5 | Self::InstructVicuna => Some("qformer_tokenizer"),
            _ => None,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Architecture {
    type Err = UnknownArchitecture;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = match name {
            "blip2_image_text_matching" | "blip2_feature_extractor" => Self::Retrieval,
            "blip_image_text_matching" => Self::Blip1Retrieval,
            _ => {
                let found = Self::ALL.into_iter().find(|known| known.name() == name);
                found.ok_or_else(|| UnknownArchitecture(name.to_string()))?
            }
        };
        Ok(known)
    }
}
