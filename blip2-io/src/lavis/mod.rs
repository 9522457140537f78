//! Checkpoints of LAVIS, where BLIP-2 comes from, written as Hugging Face folders.
//!
//! A LAVIS file is a pickle, which can hold code. It is read as `pytorch_model.bin` is, and none is
//! run.
//!
//! LAVIS saves what it trained: of BLIP-2 the Q-Former, the queries and the projections. The frozen
//! parts are files of their own, the image encoder as [`vision`](Conversion::vision) and the
//! language model as a Hugging Face [folder](Conversion::language_model). Where they are in the file
//! too, as after fine-tuning, the file's count.
//!
//! BLIP-1's files hold the whole model, also those that its own authors saved.
//!
//! ```no_run
//! use blip2_io::lavis::{Architecture, Conversion};
//!
//! let report = Conversion::new("blip2_pretrained_opt2.7b.pth", Architecture::Opt)
//!     .vision("eva_vit_g.pth")
//!     .language_model("models/opt-2.7b")
//!     .write("models/blip2-opt-2.7b")?;
//! println!("{report}");
//! # Ok::<(), blip2_io::IoError>(())
//! ```

mod architecture;
mod config;
mod names;
mod pieces;
mod tokens;
mod write;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

pub use architecture::{Architecture, UnknownArchitecture};

use crate::{
    config::{Blip2Config, TextConfig, article},
    error::IoError,
    folder::CheckpointFolder,
};
use names::{Mapped, Names};
use pieces::{Piece, Pieces};

/// Small files by name.
type Files = BTreeMap<String, Vec<u8>>;

/// A conversion of a LAVIS checkpoint into a Hugging Face folder.
#[derive(Debug, Clone)]
#[must_use = "nothing is converted before `write`"]
pub struct Conversion {
    file: PathBuf,
    architecture: Architecture,
    vision: Option<PathBuf>,
    language_model: Option<PathBuf>,
    tokenizer: Option<PathBuf>,
    config: Option<PathBuf>,
}

/// What a conversion did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Converted {
    /// The folder that was written.
    pub path: PathBuf,
    /// How many tensors it holds.
    pub tensors: usize,
    /// Tensors of the LAVIS files that the model has no place for, as they are called there.
    pub left_out: Vec<String>,
    /// The temperature of the contrastive loss, which only training needs: it is kept as
    /// `itc_temperature` in `config.json`.
    pub temperature: Option<f32>,
}

impl Conversion {
    /// A conversion of a file that LAVIS saved from a model of this architecture.
    pub fn new(file: impl AsRef<Path>, architecture: Architecture) -> Self {
        Self {
            file: file.as_ref().to_path_buf(),
            architecture,
            vision: None,
            language_model: None,
            tokenizer: None,
            config: None,
        }
    }

    /// Takes the image encoder from this file, `eva_vit_g.pth` or `clip_vit_L.pth`, without the
    /// last of its layers, as LAVIS does. For LAVIS files that hold none.
    pub fn vision(mut self, file: impl AsRef<Path>) -> Self {
        self.vision = Some(file.as_ref().to_path_buf());
        self
    }

    /// Takes the frozen language model, its configuration and its tokenizer from this Hugging Face
    /// folder. Every architecture needs it but [`Architecture::Retrieval`] and BLIP-1.
    pub fn language_model(mut self, folder: impl AsRef<Path>) -> Self {
        self.language_model = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Takes the tokenizer of what reads text as BERT does, `bert-base-uncased`, from this Hugging
    /// Face folder. For [`Architecture::Retrieval`] and InstructBLIP, whose Q-Formers read text, and
    /// for BLIP-1.
    pub fn tokenizer(mut self, folder: impl AsRef<Path>) -> Self {
        self.tokenizer = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Takes what the tensors do not tell (the numbers of attention heads, activations, epsilons)
    /// from this folder's `config.json` in place of the published models'.
    pub fn config(mut self, folder: impl AsRef<Path>) -> Self {
        self.config = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Writes the folder, which must not exist or be empty. One tensor is in memory at a time.
    ///
    /// # Errors
    ///
    /// [`IoError::Lavis`] naming the file and what is wrong with it or lacks, and whatever goes
    /// wrong with the other folders.
    pub fn write(self, folder: impl AsRef<Path>) -> Result<Converted, IoError> {
        let folder = folder.as_ref();
        write::check_empty(folder)?;
        if self.architecture.is_blip1() {
            return self.write_blip1(folder);
        }
        let base = self.base()?;
        let mut pieces = Pieces::default();
        let mut left_out = self.add_file(&mut pieces)?;
        if !pieces.has_vision() {
            left_out.extend(self.add_vision(&mut pieces, base.as_ref())?);
        }
        let (text_config, tokenizer) = self.add_language_model(&mut pieces)?;
        let mut config = config::derive(&pieces, base, text_config, self.architecture)
            .map_err(|reason| self.fault(reason))?;
        let mut files = tokenizer;
        let text_files = self.add_text_files(&config, &mut files)?;
        tokens::place_image(&mut config, &mut pieces, &mut files, self.architecture)
            .map_err(|reason| self.fault(reason))?;
        files.extend(text_files);
        config.validate().map_err(|error| {
            let what = "a folder whose config.json says it, if the tensors do not";
            self.needs(error.to_string(), "config", what)
        })?;
        let temperature = pieces.temperature;
        write::others(&config, self.architecture, temperature, &mut files);
        let tensors = pieces.len();
        write::folder(folder, pieces, files)?;
        left_out.sort();
        Ok(Converted {
            path: folder.to_path_buf(),
            tensors,
            left_out,
            temperature,
        })
    }

    /// A BLIP-1 has all its parts in its file, and no placeholder.
    fn write_blip1(self, folder: &Path) -> Result<Converted, IoError> {
        let base = self.config.as_ref().map(CheckpointFolder::open);
        let base = base.transpose()?.map(|folder| folder.blip_config());
        let mut pieces = Pieces::default();
        let mut left_out = self.add_file(&mut pieces)?;
        let config = config::derive_blip1(&pieces, base.transpose()?, self.architecture)
            .map_err(|reason| self.fault(reason))?;
        config.validate().map_err(|error| {
            let what = "a folder whose config.json says it, if the tensors do not";
            self.needs(error.to_string(), "config", what)
        })?;
        let mut files = tokens::files(&CheckpointFolder::open(self.reading_tokenizer()?)?)?;
        let temperature = pieces.temperature;
        write::others_of_blip1(&config, self.architecture, temperature, &mut files);
        let tensors = pieces.len();
        write::folder(folder, pieces, files)?;
        left_out.sort();
        Ok(Converted {
            path: folder.to_path_buf(),
            tensors,
            left_out,
            temperature,
        })
    }

    /// The folder of BERT's tokenizer.
    fn reading_tokenizer(&self) -> Result<&Path, IoError> {
        self.tokenizer.as_deref().ok_or_else(|| {
            let reason = format!(
                "{} needs the tokenizer by which it reads",
                self.architecture
            );
            let what = "the Hugging Face folder of bert-base-uncased's tokenizer";
            self.needs(reason, "tokenizer", what)
        })
    }

    fn base(&self) -> Result<Option<Blip2Config>, IoError> {
        let folder = self.config.as_ref().map(CheckpointFolder::open);
        folder
            .transpose()?
            .map(|folder| folder.config())
            .transpose()
    }

    /// The LAVIS file's tensors; returns the names of those that have no place.
    fn add_file(&self, pieces: &mut Pieces) -> Result<Vec<String>, IoError> {
        let tensors = pieces::open(&self.file)?;
        let names = Names::of(self.architecture);
        let mut left_out = Vec::new();
        for (name, tensor) in tensors {
            match names.map(&name) {
                Some(mapped) => pieces.add(mapped, tensor, &self.file)?,
                None => left_out.push(name),
            }
        }
        if !pieces.contains("query_tokens") && !self.architecture.is_blip1() {
            let reason = "it has no `query_tokens`: it is no BLIP-2 that LAVIS saved".to_string();
            return Err(self.fault(reason));
        }
        pieces.finish(&self.file)?;
        Ok(left_out)
    }

    /// An image encoder's own file: all but the last layer.
    fn add_vision(
        &self,
        pieces: &mut Pieces,
        base: Option<&Blip2Config>,
    ) -> Result<Vec<String>, IoError> {
        let Some(file) = &self.vision else {
            let reason = "it has no image encoder, as is usual where that was frozen".to_string();
            let what = "the file eva_vit_g.pth or clip_vit_L.pth";
            return Err(self.needs(reason, "vision", what));
        };
        let tensors = pieces::open(file)?;
        let layers = names::vision_layers(tensors.keys().map(String::as_str));
        let kept = base.map_or(layers.saturating_sub(1), |base| {
            base.vision_config.num_hidden_layers
        });
        let names = Names::of(self.architecture);
        let mut left_out = Vec::new();
        for (name, tensor) in tensors {
            let nested = format!("visual_encoder.{name}");
            let dropped = names::vision_layer(&nested).is_some_and(|layer| layer >= kept);
            match names.map(&nested).filter(|_| !dropped) {
                Some(mapped) => pieces.add(mapped, tensor, file)?,
                None => left_out.push(name),
            }
        }
        pieces.finish(file)?;
        Ok(left_out)
    }

    /// The frozen language model's tensors under their names in BLIP-2; returns its configuration
    /// and its tokenizer's files.
    fn add_language_model(
        &self,
        pieces: &mut Pieces,
    ) -> Result<(Option<TextConfig>, Files), IoError> {
        if self.architecture == Architecture::Retrieval {
            return Ok((None, Files::new()));
        }
        let Some(path) = &self.language_model else {
            let reason = format!("{} needs its language model", self.architecture);
            let what = "the Hugging Face folder of the language model that was frozen";
            return Err(self.needs(reason, "language_model", what));
        };
        let folder = CheckpointFolder::open(path)?;
        let mut text_config = folder.text_config()?;
        if let Some(wanted) = self.architecture.language_model()
            && text_config.model_type() != wanted
        {
            let found = text_config.model_type();
            let reason = format!(
                "{} needs {} {wanted} and {} is of {found}",
                self.architecture,
                article(wanted),
                path.display()
            );
            return Err(self.fault(reason));
        }
        tokens::as_lavis_loads(&mut text_config, &folder)?;
        let is_opt = self.architecture == Architecture::Opt;
        pieces.add_language_model(folder.checkpoint()?, is_opt);
        Ok((Some(text_config), tokens::files(&folder)?))
    }

    /// The files of the Q-Former's tokenizer, where it reads text.
    fn add_text_files(&self, config: &Blip2Config, own: &mut Files) -> Result<Files, IoError> {
        let Some(below) = self.architecture.tokenizer_folder() else {
            return Ok(Files::new());
        };
        let mut files = tokens::files(&CheckpointFolder::open(self.reading_tokenizer()?)?)?;
        let rows = config.qformer_config.vocab_size;
        tokens::add_start(&mut files, rows).map_err(|reason| self.fault(reason))?;
        if below.is_empty() {
            own.append(&mut files);
            return Ok(Files::new());
        }
        let nested = files.into_iter();
        Ok(nested
            .map(|(name, content)| (format!("{below}/{name}"), content))
            .collect())
    }

    fn fault(&self, reason: String) -> IoError {
        let path = self.file.clone();
        IoError::Lavis { path, reason }
    }

    /// A part that is not there, which a setting of the conversion gives.
    fn needs(&self, reason: String, setting: &'static str, what: &'static str) -> IoError {
        IoError::LavisNeeds {
            path: self.file.clone(),
            reason,
            setting,
            what,
        }
    }
}

impl fmt::Display for Converted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} tensors", self.path.display(), self.tensors)?;
        if let Some(temperature) = self.temperature {
            write!(f, "\n  temperature of the contrastive loss: {temperature}")?;
        }
        for name in &self.left_out {
            write!(f, "\n  left out: {name}")?;
        }
        Ok(())
    }
}
