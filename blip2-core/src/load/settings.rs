//! What may be set before a model is loaded, and which member takes what.

use std::{fmt, path::PathBuf};

use blip2_io::{
    Adapter, CheckpointFolder,
    preprocessing::{DecodeOptions, Resizing},
};
use blip2_kernels::Precision;
use blip2_lm::generate::{CancelToken, GenerationConfig};
use burn::tensor::Device;

use super::progress::Listener;
use crate::{error::Blip2Error, precision::PrecisionPlan, text::Template};

/// The settings of every builder.
#[derive(Clone, Default)]
pub struct Settings {
    pub(crate) device: Option<Device>,
    pub(crate) precision: PrecisionPlan,
    pub(crate) template: Option<Template>,
    pub(crate) generation: Option<GenerationConfig>,
    pub(crate) decode: Option<DecodeOptions>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) image_size: Option<u32>,
    pub(crate) resizing: Option<Resizing>,
    pub(crate) copied: bool,
    /// The adapter that the model runs with once it is loaded.
    pub(crate) adapter: Option<PathBuf>,
    /// Those that it can run with, by their names.
    pub(crate) named_adapters: Vec<(String, PathBuf)>,
    pub(crate) speculative: bool,
    pub(crate) cancel: CancelToken,
    pub(crate) listener: Option<Listener>,
}

/// Which settings a member takes.
#[derive(Debug, Clone, Copy)]
pub struct Takes {
    pub(crate) template: bool,
    pub(crate) generation: bool,
    pub(crate) pictures: bool,
    pub(crate) image_size: bool,
    pub(crate) memory_limit: bool,
    pub(crate) speculative: bool,
    pub(crate) vision_precision: bool,
    pub(crate) text_precision: bool,
}

impl Takes {
    pub(crate) const ALL: Self = Self {
        template: true,
        generation: true,
        pictures: true,
        image_size: true,
        memory_limit: true,
        speculative: true,
        vision_precision: true,
        text_precision: true,
    };
}

impl Settings {
    /// The default settings, but for the precision.
    pub(crate) fn of_precision(precision: PrecisionPlan) -> Self {
        Self {
            precision,
            ..Self::default()
        }
    }

    /// The template that adapters were trained with, from the `blip2.json` beside each, where none was
    /// asked for: in another one they would be asked what they do not know. All must have the same, or none.
    pub(super) fn in_template_of<'a>(
        mut self,
        adapters: impl IntoIterator<Item = &'a Adapter>,
        takes: Takes,
        member: &str,
    ) -> Result<Self, Blip2Error> {
        if self.template.is_some() || !takes.template {
            return Ok(self);
        }
        let mut found = Vec::new();
        for adapter in adapters {
            let prompts = CheckpointFolder::open(adapter.path())?.prompts()?;
            found.push(prompts.answer_template);
        }
        found.sort();
        found.dedup();
        self.template = match found.as_slice() {
            [] => None,
            [one] => one.as_deref().map(str::parse).transpose()?,
            _ => {
                return Err(Blip2Error::Setting {
                    setting: "template",
                    member: member.into(),
                    reason: "the adapters were trained with different ones; give the one to ask in"
                        .into(),
                });
            }
        };
        Ok(self)
    }

    /// Refuses by name what a member does not take.
    pub(crate) fn check(&self, takes: Takes, member: &str) -> Result<(), Blip2Error> {
        let set = [
            (
                "template",
                self.template.is_some() && !takes.template,
                "its texts are read as they are",
            ),
            (
                "generation",
                self.generation.is_some() && !takes.generation,
                "it writes no text",
            ),
            (
                "decode_options",
                self.decode.is_some() && !takes.pictures,
                "it reads no pictures",
            ),
            (
                "resizing",
                self.resizing.is_some() && !takes.pictures,
                "it reads no pictures",
            ),
            (
                "image_size",
                self.image_size.is_some() && !takes.image_size,
                "it looks at pictures of the size it was trained at, or at none",
            ),
            (
                "memory_limit",
                self.memory_limit.is_some() && !takes.memory_limit,
                "its memory is not predicted",
            ),
            (
                "speculative",
                self.speculative && !takes.speculative,
                "it has no language model of a size that a draft would pay for",
            ),
            (
                "speculative",
                self.speculative && self.precision.language_model == Precision::Int4,
                "its language model is held in int4 itself, as the draft would be",
            ),
            ("precision", !self.precision_fits(takes), PARTS_IN_F32),
        ];
        match set.into_iter().find(|(_, refused, _)| *refused) {
            Some((setting, _, reason)) => Err(Blip2Error::Setting {
                setting,
                member: member.into(),
                reason: reason.into(),
            }),
            None => Ok(()),
        }
    }

    /// Whether the precision asks nothing of a part that is always `f32`. One precision for all
    /// speaks of the parts that can follow it, if there is one.
    fn precision_fits(&self, takes: Takes) -> bool {
        let PrecisionPlan {
            vision,
            language_model,
        } = self.precision;
        let exact = |precision| matches!(precision, Precision::AsStored | Precision::F32);
        let one_for_all = self.precision == PrecisionPlan::from(language_model);
        match (takes.vision_precision, takes.text_precision) {
            (true, true) => true,
            (true, false) => one_for_all || exact(language_model),
            (false, true) => one_for_all || exact(vision),
            (false, false) => exact(vision) && exact(language_model),
        }
    }
}

const PARTS_IN_F32: &str = "a part that it names is not there or always held in f32";

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("device", &self.device)
            .field("precision", &self.precision)
            .field("template", &self.template)
            .field("generation", &self.generation)
            .field("decode", &self.decode)
            .field("memory_limit", &self.memory_limit)
            .field("image_size", &self.image_size)
            .field("resizing", &self.resizing)
            .field("copied", &self.copied)
            .field("adapter", &self.adapter)
            .field("named_adapters", &self.named_adapters)
            .field("speculative", &self.speculative)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What an adapter was trained with is what it is asked in, unless someone asks otherwise.
    #[test]
    fn an_adapter_brings_its_template() {
        let folder = tempfile::tempdir().unwrap();
        let fixture = blip2_testing::fixture("peft/opt_list");
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(fixture.join(name), folder.path().join(name)).unwrap();
        }
        let adapter = Adapter::open(folder.path()).unwrap();
        let of = |settings: Settings, takes: Takes| {
            let settings = settings.in_template_of([&adapter], takes, "Blip2Pipeline")?;
            Ok::<_, Blip2Error>(settings.template.map(|template| template.to_string()))
        };
        assert_eq!(of(Settings::default(), Takes::ALL).unwrap(), None);
        let prompts = folder.path().join("blip2.json");
        fs::write(&prompts, r#"{ "answer_template": "Q: {} A:" }"#).unwrap();
        let found = of(Settings::default(), Takes::ALL).unwrap();
        assert_eq!(found.as_deref(), Some("Q: {} A:"));
        let asked = Settings {
            template: Some("{}?".parse().unwrap()),
            ..Settings::default()
        };
        assert_eq!(of(asked, Takes::ALL).unwrap().as_deref(), Some("{}?"));
        let none = Takes {
            template: false,
            ..Takes::ALL
        };
        assert_eq!(of(Settings::default(), none).unwrap(), None);
        fs::write(&prompts, r#"{ "answer_template": "no place" }"#).unwrap();
        assert!(of(Settings::default(), Takes::ALL).is_err());
    }
}
