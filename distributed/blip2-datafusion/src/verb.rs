//! The functions that a model computes.

use blip2_core::{Ability, ModelKind};
use blip2_io::tables::{PictureColumn, TextColumn, vector_type};
use datafusion::arrow::datatypes::DataType;

/// What a function asks of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Caption,
    Answer,
    Match,
    Embed,
    EmbedText,
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    Picture,
    Text,
}

impl Verb {
    pub(crate) const ALL: [Self; 5] = [
        Self::Caption,
        Self::Answer,
        Self::Match,
        Self::Embed,
        Self::EmbedText,
    ];

    /// The function's name in SQL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caption => "blip2_caption",
            Self::Answer => "blip2_answer",
            Self::Match => "blip2_match",
            Self::Embed => "blip2_embed",
            Self::EmbedText => "blip2_embed_text",
        }
    }

    /// How the function is called.
    pub(crate) fn usage(self) -> &'static str {
        match self {
            Self::Caption => "blip2_caption(image)",
            Self::Answer => "blip2_answer(image, question)",
            Self::Match => "blip2_match(image, text)",
            Self::Embed => "blip2_embed(image)",
            Self::EmbedText => "blip2_embed_text(text)",
        }
    }

    pub(crate) fn arguments(self) -> &'static [Argument] {
        match self {
            Self::Caption | Self::Embed => &[Argument::Picture],
            Self::Answer | Self::Match => &[Argument::Picture, Argument::Text],
            Self::EmbedText => &[Argument::Text],
        }
    }

    /// The type of the result; `shape` is that of a picture's embedding.
    pub(crate) fn returns(self, shape: &[usize]) -> DataType {
        match self {
            Self::Caption | Self::Answer => DataType::Utf8,
            Self::Match => DataType::Float32,
            Self::Embed => vector_type(shape),
            // Of the queries' vectors and a text's the width is the same.
            Self::EmbedText => {
                vector_type(shape.get(shape.len().saturating_sub(1)..).unwrap_or(&[]))
            }
        }
    }

    /// Whether tokens are generated, which may be drawn.
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Caption | Self::Answer)
    }

    /// Whether models of this kind can do it.
    pub(crate) fn is_of(self, kind: ModelKind) -> bool {
        let any = |abilities: &[Ability]| abilities.iter().any(|ability| kind.can(*ability));
        match self {
            Self::Caption => any(&[Ability::Answer, Ability::Describe]),
            Self::Answer => any(&[Ability::Answer, Ability::AnswerQuestion]),
            Self::Match => any(&[Ability::Match]),
            Self::Embed => true,
            Self::EmbedText => any(&[Ability::EmbedText]),
        }
    }
}

impl Argument {
    /// What must be given, in SQL's words.
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Self::Picture => {
                "pictures: files' bytes (BYTEA), paths or URLs (VARCHAR), or structs of bytes and path"
            }
            Self::Text => "texts (VARCHAR)",
        }
    }

    /// Whether a column of this type can be given. What has no type at all is NULL in every row.
    pub(crate) fn takes(self, data_type: &DataType) -> bool {
        let fits = match self {
            Self::Picture => PictureColumn::is_one(data_type),
            Self::Text => TextColumn::is_one(data_type),
        };
        fits || *data_type == DataType::Null
    }
}
