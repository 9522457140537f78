//! One door to everything that a Hugging Face checkpoint folder holds.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Checkpoint, IoError, Tokenizer,
    config::{Blip2Config, PromptConfig},
    files::Files,
    image::ImageProcessorConfig,
    tokenizer,
};

/// A checkpoint folder: `config.json`, weights, tokenizer, preprocessing.
///
/// Opening reads nothing yet; each part is read when it is asked for.
///
/// ```no_run
/// use blip2_io::CheckpointFolder;
///
/// let folder = CheckpointFolder::open("models/blip2-opt-2.7b")?;
/// let config = folder.config()?;
/// println!("{} layers of vision", config.vision_config.num_hidden_layers);
/// println!("{} tensors", folder.checkpoint()?.len());
/// # Ok::<(), blip2_io::IoError>(())
/// ```
#[derive(Debug, Clone)]
pub struct CheckpointFolder {
    files: Files,
}

impl CheckpointFolder {
    /// The folder at `path`.
    ///
    /// # Errors
    ///
    /// [`IoError::NoFolder`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IoError> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Err(IoError::NoFolder(path.to_path_buf()));
        }
        Ok(Self {
            files: Files::Disk(path.to_path_buf()),
        })
    }

    /// Files that the program carries inside itself, by name; `name` stands for the folder in
    /// errors.
    pub fn in_memory<'f>(
        name: impl Into<PathBuf>,
        files: impl IntoIterator<Item = (&'f str, &'static [u8])>,
    ) -> Self {
        let files = files
            .into_iter()
            .map(|(name, bytes)| (name.to_string(), Bytes::from_static(bytes)))
            .collect();
        Self {
            files: Files::Memory {
                name: name.into(),
                files,
            },
        }
    }

    /// The folder's path, or the name of files in memory.
    pub fn path(&self) -> &Path {
        self.files.folder()
    }

    /// The model's configuration, checked.
    ///
    /// # Errors
    ///
    /// If `config.json` is missing, is no JSON, is of an unsupported `model_type`, or makes no
    /// sense.
    pub fn config(&self) -> Result<Blip2Config, IoError> {
        const FILE: &str = "config.json";
        let path = self.files.path(FILE);
        let value: Value = self.required_json(
            FILE,
            "a checkpoint folder holds config.json, model.safetensors, tokenizer.json and \
             preprocessor_config.json",
        )?;
        match value.get("model_type").and_then(Value::as_str) {
            Some("blip-2") => {}
            Some(found) => {
                return Err(IoError::ModelType {
                    path,
                    found: found.to_string(),
                });
            }
            // A hand-written file may leave the type out if its parts say what they are.
            None if value.get("vision_config").is_some() => {}
            None => {
                return Err(IoError::ModelType {
                    path,
                    found: "(none)".into(),
                });
            }
        }
        let config: Blip2Config = self.json(FILE)?.ok_or_else(|| self.missing(FILE, ""))?;
        config
            .validate()
            .map_err(|source| IoError::Config { path, source })?;
        Ok(config)
    }

    /// The weights.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`].
    pub fn checkpoint(&self) -> Result<Checkpoint, IoError> {
        Checkpoint::from_files(&self.files)
    }

    /// The tokenizer.
    ///
    /// # Errors
    ///
    /// If `tokenizer.json` is missing or damaged.
    pub fn tokenizer(&self) -> Result<Tokenizer, IoError> {
        tokenizer::load(&self.files)
    }

    /// How pictures are prepared: from `preprocessor_config.json`, or the `image_processor` part
    /// of `processor_config.json`.
    ///
    /// # Errors
    ///
    /// If neither file says it, or what it says makes no sense.
    pub fn image_processor(&self) -> Result<ImageProcessorConfig, IoError> {
        const FILE: &str = "preprocessor_config.json";
        if let Some(config) = self.json(FILE)? {
            return Ok(config);
        }
        let processor: Option<Value> = self.json("processor_config.json")?;
        match processor.and_then(|mut value| value.get_mut("image_processor").map(Value::take)) {
            Some(value) => serde_json::from_value(value)
                .map_err(|error| IoError::json(&self.files.path("processor_config.json"), error)),
            None => Err(self.missing(
                FILE,
                "it says how pictures are resized and normalised; copy it from the model's \
                 repository",
            )),
        }
    }

    /// The prompts that the folder brings, from `blip2.json`; the default if there is none.
    ///
    /// # Errors
    ///
    /// If the file is damaged, holds an unknown key, or a template that makes no sense.
    pub fn prompts(&self) -> Result<PromptConfig, IoError> {
        const FILE: &str = "blip2.json";
        let prompts: PromptConfig = self.json(FILE)?.unwrap_or_default();
        let path = self.files.path(FILE);
        prompts
            .validate()
            .map_err(|source| IoError::Config { path, source })?;
        Ok(prompts)
    }

    /// `generation_config.json` as it stands, if there is one. BLIP-2's own generation ignores it:
    /// its end, padding and start tokens come from `text_config`.
    ///
    /// # Errors
    ///
    /// If the file is no JSON or cannot be read as a `T`.
    pub fn generation_config<T: DeserializeOwned>(&self) -> Result<Option<T>, IoError> {
        self.json("generation_config.json")
    }

    /// A JSON file, if there is one.
    fn json<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, IoError> {
        let Some(bytes) = self.files.read(file)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| IoError::json(&self.files.path(file), error))
    }

    fn required_json<T: DeserializeOwned>(
        &self,
        file: &str,
        remedy: &'static str,
    ) -> Result<T, IoError> {
        self.json(file)?.ok_or_else(|| self.missing(file, remedy))
    }

    fn missing(&self, file: &str, remedy: &'static str) -> IoError {
        IoError::MissingFile {
            folder: self.path().to_path_buf(),
            file: file.to_string(),
            remedy,
        }
    }
}
