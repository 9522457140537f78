//! Which family a configuration belongs to.

/// The families of models that this library reads, told apart by the `model_type` of their
/// `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelKind {
    /// `blip-2`, whatever its head: generation, features or retrieval.
    Blip2,
}

impl ModelKind {
    /// Every family.
    pub const ALL: [Self; 1] = [Self::Blip2];

    /// The family's `model_type`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Blip2 => "blip-2",
        }
    }

    /// What the names of the family's classes start with.
    fn class_prefix(self) -> &'static str {
        match self {
            Self::Blip2 => "Blip2",
        }
    }

    /// The family of a configuration: by its `model_type`, or where that is left out by the
    /// classes in `architectures`. `None` if this library does not read it.
    ///
    /// ```
    /// use blip2_io::config::ModelKind;
    ///
    /// assert_eq!(ModelKind::detect(Some("blip-2"), &[]), Some(ModelKind::Blip2));
    /// assert_eq!(ModelKind::detect(None, &["Blip2Model".into()]), Some(ModelKind::Blip2));
    /// assert_eq!(ModelKind::detect(Some("llava"), &["Blip2Model".into()]), None);
    /// ```
    pub fn detect(model_type: Option<&str>, architectures: &[String]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| match model_type {
            Some(name) => name == kind.model_type(),
            None => architectures
                .iter()
                .any(|class| class.starts_with(kind.class_prefix())),
        })
    }

    /// Every family's `model_type`, for messages.
    pub(crate) fn known() -> String {
        Self::ALL
            .map(|kind| format!("`{}`", kind.model_type()))
            .join(", ")
    }
}
