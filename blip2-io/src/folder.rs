//! A Hugging Face checkpoint folder as a whole.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use bytes::Bytes;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

#[cfg(feature = "sound")]
use crate::sound::{ProcessorParts, SoundProcessorConfig};
use crate::{
    adapter_files,
    checkpoint::{Checkpoint, CheckpointWeights, PlannedTensor, packed, packed::PackedFiles},
    config::{
        Ability, Blip2Config, BlipConfig, ClipVisionConfig, ConfigError, GraniteSpeechConfig,
        ModelKind, ProcessorConfig, PromptConfig, TextConfig,
    },
    error::IoError,
    files::{Files, Reading, map_at},
    hub::{HubCache, ModelId},
    preprocessing::{ImageError, ImageProcessorConfig},
    tokenizer::{self, Tokenizer},
};

/// A folder as it is, or the one in the hub's cache that its id stands for.
pub(crate) fn found(path: &Path) -> Result<PathBuf, IoError> {
    if path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let absent = || IoError::NoFolder(path.to_path_buf());
    let id = ModelId::of_path(path).ok_or_else(absent)?;
    let cache = HubCache::of_environment();
    cache.find(&id).ok_or_else(|| {
        let revisions = cache.revisions(&id);
        let (id, cache) = (id.to_string(), cache.path().to_path_buf());
        match revisions.is_empty() {
            true => IoError::NotCached { id, cache },
            false => IoError::NoRevision {
                id,
                cache,
                revisions,
            },
        }
    })
}

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const QFORMER_TOKENIZER: &str = "qformer_tokenizer/tokenizer.json";
/// The files that a packed file holds beside the weights.
const PACKED: [&str; 12] = [
    CONFIG,
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "blip2.json",
    TOKENIZER,
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    QFORMER_TOKENIZER,
    "qformer_tokenizer/tokenizer_config.json",
    "qformer_tokenizer/special_tokens_map.json",
];
/// What to say where it is missing.
const COMPLETE: &str = "a checkpoint folder holds config.json, model.safetensors, tokenizer.json \
                        and preprocessor_config.json or processor_config.json";
/// What to say where an adapter is there without its model.
const ADAPTER: &str = "the folder holds an adapter alone; give the model that it was trained on, and \
                       this folder as its adapter";

/// A checkpoint folder: `config.json`, weights, tokenizer, preprocessing.
///
/// Opening reads nothing yet; each part is read when it is asked for.
///
/// ```
/// use blip2_io::{CheckpointFolder, config::ModelKind};
/// # let models = tempfile::tempdir()?;
/// # std::fs::write(
/// #     models.path().join("config.json"),
/// #     r#"{ "model_type": "blip-2", "num_query_tokens": 32 }"#,
/// # )?;
/// # let path = models.path();
///
/// let folder = CheckpointFolder::open(path)?; // "models/blip2-opt-2.7b"
/// assert_eq!(folder.kind()?, ModelKind::Blip2);
/// let config = folder.config()?;
/// assert_eq!(config.vision_config.num_hidden_layers, 39);
///
/// let missing = folder.checkpoint().unwrap_err();
/// assert!(missing.to_string().contains("model.safetensors is missing"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct CheckpointFolder {
    files: Files,
}

impl fmt::Debug for CheckpointFolder {
    /// The path alone: files in memory would print every byte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CheckpointFolder");
        shown.field("path", &self.path()).finish_non_exhaustive()
    }
}

impl CheckpointFolder {
    /// The folder at `path`, or what a file holds that [`pack`](Self::pack) wrote; where there is
    /// neither and `path` is an id of the Hugging Face hub, `owner/name` or `owner/name@revision`, the
    /// model as Python has [downloaded](crate::hub) it.
    ///
    /// # Errors
    ///
    /// [`IoError::NoFolder`], [`IoError::NotCached`] or [`IoError::NoRevision`]; of a file, that it is no safetensors file, or no packed one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IoError> {
        Self::open_by(path.as_ref(), Reading::Mapped)
    }

    /// As [`open`](Self::open), but weights are copied into memory in place of being mapped: for
    /// files that another program may change or cut while they are in use, as on shared storage. A
    /// mapped file that is cut ends the process that reads it.
    ///
    /// Weights that are held as they are stored then take memory of this process's own, and opening
    /// takes as long as reading the whole file.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_copied(path: impl AsRef<Path>) -> Result<Self, IoError> {
        Self::open_by(path.as_ref(), Reading::Copied)
    }

    fn open_by(path: &Path, reading: Reading) -> Result<Self, IoError> {
        if path.is_file() {
            return Self::open_packed(path, reading);
        }
        let folder = found(path)?;
        Ok(Self {
            files: Files::disk(&folder, reading),
        })
    }

    fn open_packed(path: &Path, reading: Reading) -> Result<Self, IoError> {
        let content =
            map_at(path, reading)?.ok_or_else(|| IoError::NoFolder(path.to_path_buf()))?;
        Ok(Self {
            files: Files::Memory {
                files: packed::unpacked_files(path, content.bytes)?,
                name: path.to_path_buf(),
            },
        })
    }

    /// Writes the whole checkpoint to one file, which [`open`](Self::open) maps and computes with
    /// as it is: `tensors`, as a plan of the model lists them, each in its own precision. Returns
    /// the file's size.
    ///
    /// One tensor is in memory at a time, and the file appears under its name when it is whole.
    ///
    /// # Errors
    ///
    /// If the checkpoint cannot be read or lacks one of the tensors, or the file cannot be written.
    pub fn pack(
        &self,
        tensors: &[PlannedTensor],
        device: &Device,
        path: impl AsRef<Path>,
    ) -> Result<u64, IoError> {
        let mut files = PackedFiles::default();
        for name in PACKED {
            if let Some(text) = self.text(name)? {
                files.texts.insert(name.to_string(), text);
            }
        }
        // A model that hears has its adapter beside it; others are given theirs.
        if self.kind()?.can(Ability::AnswerSound)
            && let Some(config) = self.text(adapter_files::CONFIG)?
        {
            let tensors = adapter_files::open_tensors(&self.files)?.to_safetensors()?;
            files
                .texts
                .insert(adapter_files::CONFIG.to_string(), config);
            files
                .large
                .insert(adapter_files::TENSORS.to_string(), tensors);
        }
        let checkpoint = self.checkpoint()?;
        let source = CheckpointWeights::new(&checkpoint);
        packed::write(path.as_ref(), &files, tensors, &source, device)
    }

    /// A small file as text, if there is one of that name; a tokenizer's as `tokenizer.json`, whatever was
    /// published.
    fn text(&self, name: &str) -> Result<Option<String>, IoError> {
        let content = match name {
            TOKENIZER => tokenizer::as_json(&self.files)?,
            QFORMER_TOKENIZER => tokenizer::as_json(&self.files.below("qformer_tokenizer"))?,
            name => self.files.read(name)?,
        };
        let text = content.map(|bytes| String::from_utf8(bytes.to_vec()));
        text.transpose().map_err(|error| {
            let invalid = io::Error::new(io::ErrorKind::InvalidData, error);
            IoError::read(&self.files.path(name), invalid)
        })
    }

    /// Files that the program carries inside itself or has made, by name; `name` stands for the
    /// folder in errors.
    pub fn in_memory<'f, B: Into<Bytes>>(
        name: impl Into<PathBuf>,
        files: impl IntoIterator<Item = (&'f str, B)>,
    ) -> Self {
        let files = files
            .into_iter()
            .map(|(name, bytes)| (name.to_string(), bytes.into()))
            .collect();
        Self {
            files: Files::Memory {
                name: name.into(),
                files,
            },
        }
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// The folder's path, or the name of files in memory.
    pub fn path(&self) -> &Path {
        self.files.folder()
    }

    /// Which member of the family the folder holds, and so what it can do.
    ///
    /// # Errors
    ///
    /// If `config.json` is missing or no JSON, or the model is not supported.
    pub fn kind(&self) -> Result<ModelKind, IoError> {
        #[derive(Deserialize)]
        struct Header {
            model_type: Option<String>,
            architectures: Option<Vec<String>>,
            vision_config: Option<IgnoredAny>,
        }
        let header: Header = self.required_json(CONFIG, COMPLETE)?;
        let architectures = header.architectures.unwrap_or_default();
        let model_type = header.model_type;
        if let Some(kind) = ModelKind::detect(model_type.as_deref(), &architectures) {
            return Ok(kind);
        }
        let path = self.files.path(CONFIG);
        let known_type = ModelKind::detect(model_type.as_deref(), &[]).is_some();
        match model_type {
            // A file written by hand may say what it is by its parts alone.
            None if architectures.is_empty() && header.vision_config.is_some() => {
                Ok(ModelKind::Blip2)
            }
            Some(found) if !known_type => Err(IoError::ModelType { path, found }),
            None if architectures.is_empty() => Err(IoError::ModelType {
                path,
                found: "(none)".into(),
            }),
            model_type => Err(IoError::Architecture {
                path,
                found: architectures.join(", "),
                model_type,
            }),
        }
    }

    /// The configuration of a BLIP-2, whatever its head, or of an InstructBLIP, checked.
    ///
    /// # Errors
    ///
    /// If `config.json` is missing, is no JSON, is of another or an unsupported model, or makes no
    /// sense.
    pub fn config(&self) -> Result<Blip2Config, IoError> {
        const TYPES: [&str; 3] = ["blip-2", "instructblip", "instructblipvideo"];
        self.expect(|kind| TYPES.contains(&kind.model_type()), "a BLIP-2")?;
        let config: Blip2Config = self.required_json(CONFIG, COMPLETE)?;
        self.checked(config, Blip2Config::validate)
    }

    /// The configuration of a language model: the file itself where the folder holds an OPT, T5, LLaMA
    /// or Granite alone, or its `text_config` where it holds a whole BLIP-2 or Granite Speech, checked.
    ///
    /// # Errors
    ///
    /// As [`config`](Self::config), also for a model without a language model.
    ///
    /// ```
    /// use blip2_io::{CheckpointFolder, config::TextConfig};
    ///
    /// let config = r#"{ "model_type": "opt", "hidden_size": 64, "num_attention_heads": 4 }"#;
    /// let folder = CheckpointFolder::in_memory("my-opt", [("config.json", config)]);
    /// assert!(folder.kind()?.is_language_model());
    /// let TextConfig::Opt(config) = folder.text_config()? else {
    ///     unreachable!("its model_type is opt");
    /// };
    /// assert_eq!(config.hidden_size, 64);
    /// # Ok::<(), blip2_io::IoError>(())
    /// ```
    pub fn text_config(&self) -> Result<TextConfig, IoError> {
        #[derive(Deserialize)]
        struct Whole {
            text_config: Option<TextConfig>,
        }
        let answers = |kind: ModelKind| kind.can(Ability::Answer) || kind.can(Ability::AnswerVideo);
        let hears = |kind: ModelKind| kind.can(Ability::AnswerSound);
        let kind = self.expect(
            |kind| kind.is_language_model() || answers(kind) || hears(kind),
            "a language model, or a BLIP-2 with one",
        )?;
        if hears(kind) {
            return Ok(self.speech_config()?.text_config);
        }
        let config = if kind.is_language_model() {
            self.required_json(CONFIG, COMPLETE)?
        } else {
            let whole: Whole = self.required_json(CONFIG, COMPLETE)?;
            whole.text_config.unwrap_or_default()
        };
        self.checked(config, TextConfig::validate)
    }

    /// The content of `tokenizer.json`, made of what was published before where there is none.
    #[cfg(feature = "lavis")]
    pub(crate) fn tokenizer_json(&self) -> Result<Option<Bytes>, IoError> {
        tokenizer::as_json(&self.files)
    }

    /// A small file as it is, if there is one of that name.
    #[cfg(feature = "lavis")]
    pub(crate) fn small_file(&self, name: &str) -> Result<Option<Bytes>, IoError> {
        self.files.read(name)
    }

    /// The configuration of a BLIP-1.
    ///
    /// # Errors
    ///
    /// [`IoError`] naming the file and the key, also for another kind of model.
    pub fn blip_config(&self) -> Result<BlipConfig, IoError> {
        self.expect(|kind| kind.model_type() == "blip", "a BLIP-1")?;
        let config: BlipConfig = self.required_json(CONFIG, COMPLETE)?;
        self.checked(config.joined(), BlipConfig::validate)
    }

    /// The configuration of a Granite Speech, checked.
    ///
    /// # Errors
    ///
    /// As [`config`](Self::config).
    pub fn speech_config(&self) -> Result<GraniteSpeechConfig, IoError> {
        self.expect(|kind| kind == ModelKind::GraniteSpeech, "a Granite Speech")?;
        let config: GraniteSpeechConfig = self.required_json(CONFIG, COMPLETE)?;
        self.checked(config, GraniteSpeechConfig::validate)
    }

    /// The text of the folder's chat template (`chat_template.jinja`, or the key `chat_template` of
    /// `tokenizer_config.json`, `processor_config.json` or `chat_template.json`), if there is one. It is a
    /// Jinja program, which this library does not run.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or one of the others is no JSON.
    pub fn chat_template(&self) -> Result<Option<String>, IoError> {
        const FILE: &str = "chat_template.jinja";
        #[derive(Deserialize)]
        struct Written {
            chat_template: Option<Value>,
        }
        if let Some(bytes) = self.files.read(FILE)? {
            let text = String::from_utf8(bytes.to_vec()).map_err(|error| {
                let invalid = io::Error::new(io::ErrorKind::InvalidData, error);
                IoError::read(&self.files.path(FILE), invalid)
            })?;
            return Ok(Some(text));
        }
        for file in [
            "tokenizer_config.json",
            "processor_config.json",
            "chat_template.json",
        ] {
            let written: Option<Written> = self.files.json(file)?;
            match written.and_then(|written| written.chat_template) {
                Some(Value::String(text)) => return Ok(Some(text)),
                // Templates by their names.
                Some(named @ (Value::Array(_) | Value::Object(_))) => {
                    return Ok(Some(named.to_string()));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The configuration of CLIP's vision tower, checked: the file itself, or its `vision_config`
    /// where the folder holds a whole CLIP.
    ///
    /// # Errors
    ///
    /// As [`config`](Self::config).
    pub fn clip_vision_config(&self) -> Result<ClipVisionConfig, IoError> {
        #[derive(Deserialize)]
        struct Whole {
            vision_config: Option<ClipVisionConfig>,
        }
        self.expect(
            |kind| kind.model_type() == "clip_vision_model",
            "a CLIP vision tower",
        )?;
        let whole: Whole = self.required_json(CONFIG, COMPLETE)?;
        let config = match whole.vision_config {
            Some(config) => config,
            None => self.required_json(CONFIG, COMPLETE)?,
        };
        self.checked(config, ClipVisionConfig::validate)
    }

    /// The folder's kind, if it is one that fits.
    fn expect(
        &self,
        fits: impl Fn(ModelKind) -> bool,
        wanted: &'static str,
    ) -> Result<ModelKind, IoError> {
        let found = self.kind()?;
        if fits(found) {
            return Ok(found);
        }
        let path = self.files.path(CONFIG);
        Err(IoError::Kind {
            path,
            found,
            wanted,
        })
    }

    fn checked<T>(
        &self,
        config: T,
        validate: impl Fn(&T) -> Result<(), ConfigError>,
    ) -> Result<T, IoError> {
        match validate(&config) {
            Ok(()) => Ok(config),
            Err(source) => Err(IoError::Config {
                path: self.files.path(CONFIG),
                source,
            }),
        }
    }

    /// The weights.
    ///
    /// An OPT alone was published with and without `model.` before its names, and has it here
    /// either way.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`].
    pub fn checkpoint(&self) -> Result<Checkpoint, IoError> {
        let checkpoint = Checkpoint::from_files(&self.files)?;
        // The weights of a folder whose configuration is missing or wrong can still be looked at.
        Ok(match self.kind() {
            Ok(ModelKind::Opt) => checkpoint.with_alias("decoder.", "model.decoder."),
            _ => checkpoint,
        })
    }

    /// The tokenizer: `tokenizer.json`, or where there is none what was published before it, turned into
    /// the same: `vocab.json` with `merges.txt`, `vocab.txt`, `spiece.model` or `tokenizer.model`.
    ///
    /// # Errors
    ///
    /// If all of them are missing, or one that is needed is damaged.
    pub fn tokenizer(&self) -> Result<Tokenizer, IoError> {
        tokenizer::load(&self.files)
    }

    /// The tokenizer by which InstructBLIP's Q-Former reads, in the folder `qformer_tokenizer`.
    ///
    /// # Errors
    ///
    /// As [`tokenizer`](Self::tokenizer).
    pub fn qformer_tokenizer(&self) -> Result<Tokenizer, IoError> {
        const FOLDER: &str = "qformer_tokenizer";
        let loaded = tokenizer::load(&self.files.below(FOLDER));
        loaded.map_err(|error| match error {
            IoError::MissingFile { file, .. } => IoError::MissingFile {
                folder: self.path().to_path_buf(),
                file: format!("{FOLDER}/{file}"),
                remedy: "the Q-Former of InstructBLIP reads questions by this second tokenizer \
                         (bert-base-uncased's, with the token [DEC]); copy the folder \
                         qformer_tokenizer from the model's repository, such as \
                         Salesforce/instructblip-flan-t5-xl",
            },
            other => other,
        })
    }

    /// How pictures are prepared: from the `image_processor` part of `processor_config.json`, else
    /// from `preprocessor_config.json`.
    ///
    /// # Errors
    ///
    /// If neither file says it, or what it says makes no sense.
    pub fn image_processor(&self) -> Result<ImageProcessorConfig, IoError> {
        let (file, config) = match self.processor()?.image_processor {
            Some(config) => ("processor_config.json", config),
            None => {
                let file = "preprocessor_config.json";
                let remedy = "it says how pictures are resized and normalised; copy it from the model's repository";
                (file, self.required_json(file, remedy)?)
            }
        };
        let checked = ImageProcessorConfig::validate(&config);
        checked.map_err(|source| ImageError::File {
            path: self.files.path(file),
            source: Box::new(source),
        })?;
        Ok(config)
    }

    /// How sounds are prepared: from the `audio_processor` part of `processor_config.json`, else from
    /// `preprocessor_config.json`; the token that stands for a sound is the one that
    /// `tokenizer_config.json` names, else `processor_config.json`.
    ///
    /// # Errors
    ///
    /// If neither file says it, or what it says makes no sense.
    #[cfg(feature = "sound")]
    pub fn sound_processor(&self) -> Result<SoundProcessorConfig, IoError> {
        self.sound_processor_in().map(|(config, _)| config)
    }

    /// As [`sound_processor`](Self::sound_processor), and the file that says it.
    ///
    /// # Errors
    ///
    /// As [`sound_processor`](Self::sound_processor).
    #[cfg(feature = "sound")]
    pub fn sound_processor_in(&self) -> Result<(SoundProcessorConfig, PathBuf), IoError> {
        const PROCESSOR: &str = "processor_config.json";
        let mut parts: ProcessorParts = self.files.json(PROCESSOR)?.unwrap_or_default();
        let (file, mut config) = match parts.sound() {
            Some(config) => (PROCESSOR, config),
            None => {
                let file = "preprocessor_config.json";
                let remedy =
                    "it says how mel features are computed; copy it from the model's repository";
                (file, self.required_json(file, remedy)?)
            }
        };
        let path = self.files.path(file);
        if let Some(token) = tokenizer::audio_token(&self.files)?.or(parts.audio_token) {
            config.audio_token = token;
        }
        let checked = SoundProcessorConfig::validate(&config);
        checked.map_err(|source| source.in_file(&path))?;
        Ok((config, path))
    }

    /// `processor_config.json`; the default if there is none.
    ///
    /// # Errors
    ///
    /// If the file is damaged.
    pub fn processor(&self) -> Result<ProcessorConfig, IoError> {
        Ok(self
            .files
            .json("processor_config.json")?
            .unwrap_or_default())
    }

    /// The prompts that the folder brings, from `blip2.json`; the default if there is none.
    ///
    /// # Errors
    ///
    /// If the file is damaged, holds an unknown key, or a template that makes no sense.
    pub fn prompts(&self) -> Result<PromptConfig, IoError> {
        const FILE: &str = "blip2.json";
        let prompts: PromptConfig = self.files.json(FILE)?.unwrap_or_default();
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
        self.files.json("generation_config.json")
    }

    /// The version of `transformers` that wrote `config.json`, if that says it.
    ///
    /// # Errors
    ///
    /// If the file is missing or no JSON.
    pub fn transformers_version(&self) -> Result<Option<String>, IoError> {
        #[derive(Deserialize)]
        struct Written {
            transformers_version: Option<String>,
        }
        let written: Written = self.required_json(CONFIG, COMPLETE)?;
        Ok(written.transformers_version)
    }

    fn required_json<T: DeserializeOwned>(
        &self,
        file: &str,
        remedy: &'static str,
    ) -> Result<T, IoError> {
        let remedy = match file == CONFIG && self.files.has("adapter_config.json") {
            true => ADAPTER,
            false => remedy,
        };
        self.files.json(file)?.ok_or_else(|| IoError::MissingFile {
            folder: self.path().to_path_buf(),
            file: file.to_string(),
            remedy,
        })
    }
}
