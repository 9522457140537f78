//! Where a pipeline's parts come from: a checkpoint folder, or a configuration alone.

use std::path::PathBuf;

use blip2_io::{
    Checkpoint, CheckpointFolder, CheckpointWeights, LoadReport, Tokenizer,
    config::{Blip2Config, PromptConfig},
    preprocessing::{ImageProcessorConfig, Size},
};
use blip2_kernels::{RandomWeights, Weights};
use burn::tensor::Device;

use super::builder::IGNORABLE;
use crate::{
    Blip2Error, PrecisionPlan, byte_tokenizer, family,
    memory::MemoryPlan,
    model::{Blip2ForConditionalGeneration, has_tied_head},
};

/// Where everything comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Path(PathBuf),
    Folder(CheckpointFolder),
    Random(Box<Blip2Config>, u64),
}

/// Everything that a pipeline is made of, the weights not yet read.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) config: Blip2Config,
    pub(super) tokenizer: Tokenizer,
    /// The Q-Former's tokenizer, if it reads prompts.
    pub(super) reader: Option<Tokenizer>,
    pub(super) image_processor: ImageProcessorConfig,
    pub(super) prompts: PromptConfig,
    pub(super) origin: Origin,
}

/// Where the weights come from.
#[derive(Debug)]
pub(super) enum Origin {
    Checkpoint(Checkpoint),
    Random { seed: u64 },
}

impl Source {
    pub(super) fn open(self) -> Result<Parts, Blip2Error> {
        match self {
            Self::Path(path) => Parts::of_folder(&CheckpointFolder::open(path)?),
            Self::Folder(folder) => Parts::of_folder(&folder),
            Self::Random(config, seed) => Parts::of_config(*config, seed),
        }
    }
}

impl Parts {
    fn of_folder(folder: &CheckpointFolder) -> Result<Self, Blip2Error> {
        family::expect(folder, &family::ANSWERING)?;
        let config = folder.config()?;
        let reads = config.model_type.reads_instructions();
        Ok(Self {
            config,
            tokenizer: folder.tokenizer()?,
            reader: reads.then(|| folder.qformer_tokenizer()).transpose()?,
            image_processor: folder.image_processor()?,
            prompts: folder.prompts()?,
            origin: Origin::Checkpoint(folder.checkpoint()?),
        })
    }

    fn of_config(config: Blip2Config, seed: u64) -> Result<Self, Blip2Error> {
        config.validate()?;
        if config.model_type.reads_instructions() {
            return Err(Blip2Error::Incomplete {
                what: "there is no tokenizer of single bytes for a Q-Former that reads prompts"
                    .into(),
                remedy: "make a random model of a BLIP-2's configuration".into(),
            });
        }
        let side = u32::try_from(config.vision_config.image_size).unwrap_or(u32::MAX);
        Ok(Self {
            tokenizer: byte_tokenizer::tokenizer(&config)?,
            reader: None,
            image_processor: ImageProcessorConfig::default().with_size(Size {
                height: side,
                width: side,
            }),
            prompts: PromptConfig::default(),
            origin: Origin::Random { seed },
            config,
        })
    }
}

impl Origin {
    /// What the model will take.
    pub(super) fn memory(
        &self,
        config: &Blip2Config,
        precision: PrecisionPlan,
        device: &Device,
    ) -> Result<MemoryPlan, Blip2Error> {
        let checkpoint = match self {
            Self::Checkpoint(checkpoint) => Some(checkpoint),
            Self::Random { .. } => None,
        };
        MemoryPlan::on(config, checkpoint, precision, device)
    }

    /// Builds the model, and says what there was beside the weights that it wanted.
    pub(super) fn load(
        &self,
        config: &Blip2Config,
        precision: PrecisionPlan,
        device: &Device,
    ) -> Result<(Blip2ForConditionalGeneration, LoadReport), Blip2Error> {
        let build = |weights| Blip2ForConditionalGeneration::load(config, &weights, precision);
        match self {
            Self::Checkpoint(checkpoint) => {
                let source = CheckpointWeights::new(checkpoint);
                let model = build(Weights::new(&source, device))?;
                Ok((model, source.finish(&IGNORABLE)?))
            }
            Self::Random { seed } => {
                let mut source = RandomWeights::new(*seed, config.initializer_range as f32);
                if has_tied_head(config) {
                    source = source.without("lm_head.weight");
                }
                let model = build(Weights::new(&source, device))?;
                Ok((model, LoadReport::default()))
            }
        }
    }

    /// A hash of the tensors whose names start with one of `prefixes`, and of `extra`.
    pub(super) fn fingerprint(&self, prefixes: &[&str], extra: &str) -> String {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.fingerprint(prefixes, extra),
            Self::Random { seed } => {
                // The seed stands for every weight that it makes.
                Checkpoint::default().fingerprint(prefixes, &format!("seed {seed} {extra}"))
            }
        }
    }
}
