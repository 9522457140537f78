//! The model that a server answers with.

use blip2_core::{
    Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, BlipRetrieval, Tokenizer,
};

/// A loaded model of any member of the family. A handle, as what it holds.
///
/// ```
/// use blip2_core::Blip2Pipeline;
/// use blip2_server::Model;
///
/// let model = Model::from(Blip2Pipeline::from_pretrained("../blip2-cli/demo")?);
/// assert!(model.answers() && model.describes() && !model.compares());
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Model {
    /// BLIP-2 or InstructBLIP, of pictures or of videos: answers and captions.
    Blip2(Blip2Pipeline),
    /// A BLIP-1 that answers.
    Answerer(BlipAnswerer),
    /// A BLIP-1 that describes.
    Captioner(BlipCaptioner),
    /// A BLIP-2 that compares.
    Retrieval(Blip2Retrieval),
    /// A BLIP-1 that compares.
    Blip1Retrieval(BlipRetrieval),
}

impl Model {
    /// Whether it answers questions about pictures.
    pub fn answers(&self) -> bool {
        matches!(self, Self::Blip2(_) | Self::Answerer(_))
    }

    /// Whether it describes pictures.
    pub fn describes(&self) -> bool {
        matches!(self, Self::Blip2(_) | Self::Captioner(_))
    }

    /// Whether it compares pictures with texts.
    pub fn compares(&self) -> bool {
        matches!(self, Self::Retrieval(_) | Self::Blip1Retrieval(_))
    }

    /// What it can do, as `/v1/models` says it.
    pub(crate) fn abilities(&self) -> Vec<&'static str> {
        let abilities = [
            ("answer", self.answers()),
            ("rank", self.answers()),
            ("caption", self.describes()),
            ("match", self.compares()),
            ("embed", self.compares()),
            ("explain", true),
        ];
        let able = abilities.into_iter().filter(|(_, can)| *can);
        able.map(|(name, _)| name).collect()
    }

    /// How many frames it looks at together: 1 where it looks at pictures.
    pub(crate) fn frames(&self) -> usize {
        match self {
            Self::Blip2(blip2) => blip2.model().num_frames(),
            _ => 1,
        }
    }

    /// How many positions a picture takes in a prompt.
    pub(crate) fn picture_tokens(&self) -> usize {
        match self {
            Self::Blip2(blip2) if blip2.model().image_token().is_some() => {
                blip2.model().num_placeholders()
            }
            _ => 0,
        }
    }

    /// The tokenizer by which it reads.
    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        match self {
            Self::Blip2(blip2) => blip2.tokenizer(),
            Self::Answerer(blip) => blip.tokenizer(),
            Self::Captioner(blip) => blip.tokenizer(),
            Self::Retrieval(blip2) => blip2.tokenizer(),
            Self::Blip1Retrieval(blip) => blip.tokenizer(),
        }
    }
}

/// A model and the name by which it is asked.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) id: String,
    pub(crate) model: Model,
    /// The name of the model that it is with another adapter.
    pub(crate) parent: Option<String>,
}

impl Served {
    /// A model, and itself with each of its adapters as `id:adapter`.
    pub(crate) fn all(id: &str, model: &Model) -> Vec<Self> {
        let plain = Self {
            id: id.to_string(),
            model: model.clone(),
            parent: None,
        };
        let adapted = model.adapted().into_iter().map(|(name, model)| Self {
            id: format!("{id}:{name}"),
            model,
            parent: Some(id.to_string()),
        });
        [plain].into_iter().chain(adapted).collect()
    }
}

/// Makes a [`Model`] of each kind of loaded model.
macro_rules! from {
    ($($kind:ident: $member:ty),+ $(,)?) => {
        $(
            impl From<$member> for Model {
                fn from(member: $member) -> Self {
                    Self::$kind(member)
                }
            }
        )+

        impl Model {
            /// It with each adapter but its own, and that one's name.
            fn adapted(&self) -> Vec<(String, Self)> {
                match self {
                    $(Self::$kind(model) => {
                        let own = model.active_adapter();
                        let others = model.adapters().filter(|name| Some(*name) != own);
                        // Each is there, since it was named.
                        let with = |name: &str| Some((name.to_string(), model.with_adapter(name).ok()?.into()));
                        others.filter_map(with).collect()
                    })+
                }
            }
        }
    };
}

from! {
    Blip2: Blip2Pipeline,
    Answerer: BlipAnswerer,
    Captioner: BlipCaptioner,
    Retrieval: Blip2Retrieval,
    Blip1Retrieval: BlipRetrieval,
}
