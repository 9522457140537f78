//! A tokenizer from the files of a checkpoint folder.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::ModelWrapper;

use super::{
    Special, Tokenizer, guard, overrides,
    padding::PaddingSide,
    published::{Class, PUBLISHED, Published},
    settings::Settings,
};
use crate::{
    error::IoError,
    files::{Files, parse_json},
};

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";

/// Loads the tokenizer of a checkpoint folder: `tokenizer.json`, or where there is none the files as
/// which it was published before.
pub(crate) fn load(files: &Files) -> Result<Tokenizer, IoError> {
    let config: Config = files.json(CONFIG)?.unwrap_or_default();
    let mut settings = Settings::read(files, config.rest)?;
    let (mut inner, class) = match files.read(TOKENIZER)? {
        Some(bytes) => (parse(files, &bytes, &settings.keys)?, None),
        None => {
            let published = Published::read(files, &settings.keys)?;
            let published = published.ok_or_else(|| missing(files))?;
            settings.assume(published.class, published.extra);
            (published.inner, Some(published.class))
        }
    };
    settings.add_tokens(files, &mut inner)?;
    if let Some(class) = class {
        let around = class.surround(&inner, &settings.keys, |role| settings.role(role));
        let around = around.map_err(|error| IoError::tokenizer(files.path(CONFIG), error))?;
        inner.with_post_processor(Some(around));
    }
    match settings.keys.get("split_special_tokens") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(split)) => inner.set_encode_special_tokens(*split),
        Some(other) => {
            let reason = format!("split_special_tokens = {other}: should be true or false");
            return Err(IoError::tokenizer(files.path(CONFIG), reason));
        }
    }
    let side = class.or_else(|| Class::named(&settings.keys));
    let side = side.map(Class::padding_side);
    let id = |role: &str| inner.token_to_id(settings.role(role)?);
    let special = Special {
        bos: id("bos_token"),
        eos: id("eos_token"),
        pad: id("pad_token"),
        unk: id("unk_token"),
    };
    let is_bpe = matches!(inner.get_model(), ModelWrapper::BPE(_));
    let clean_up = config.clean_up_tokenization_spaces.unwrap_or(false)
        && (!is_bpe || config.clean_up_bpe.unwrap_or(false));
    Ok(Tokenizer {
        inner,
        special,
        padding_side: config.padding_side.or(side).unwrap_or_default(),
        // No limit is written as 10^30.
        model_max_length: config
            .model_max_length
            .as_u64()
            .and_then(|n| n.try_into().ok()),
        clean_up,
    })
}

/// A `tokenizer.json`, after everything in it that the library takes on trust has been looked at.
fn parse(
    files: &Files,
    bytes: &[u8],
    keys: &Map<String, Value>,
) -> Result<tokenizers::Tokenizer, IoError> {
    let path = files.path(TOKENIZER);
    let mut json: Value = parse_json(&path, bytes)?;
    overrides::apply(&mut json, keys);
    guard::tokenizer(&mut json).map_err(|error| IoError::tokenizer(path.clone(), error))?;
    tokenizers::Tokenizer::deserialize(json).map_err(|error| {
        let detail = format!("not a tokenizer of `tokenizers`: {error}");
        IoError::tokenizer(path, detail)
    })
}

/// A folder's `tokenizer.json`, made of what was published before where there is none; nothing where
/// there is no tokenizer at all.
pub(crate) fn as_json(files: &Files) -> Result<Option<Bytes>, IoError> {
    if let Some(bytes) = files.read(TOKENIZER)? {
        return Ok(Some(bytes));
    }
    if !PUBLISHED.iter().any(|file| files.has(file)) {
        return Ok(None);
    }
    let text = load(files)?.inner.to_string(false);
    text.map(|text| Some(text.into()))
        .map_err(|error| IoError::tokenizer(files.path(TOKENIZER), error))
}

/// The keys of `tokenizer_config.json` that are read by themselves.
#[derive(Default, Deserialize)]
struct Config {
    padding_side: Option<PaddingSide>,
    #[serde(default)]
    model_max_length: Value,
    clean_up_tokenization_spaces: Option<bool>,
    /// The reference does not clean up after a BPE model, whose tokens carry their spaces, unless
    /// told to by this key.
    #[serde(rename = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output")]
    clean_up_bpe: Option<bool>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn missing(files: &Files) -> IoError {
    let remedy = if files.has("vocab.json") {
        "vocab.json is there without merges.txt; copy either from the model's repository"
    } else {
        "copy it from the model's repository, or what it was published as: vocab.json and merges.txt, \
         vocab.txt, spiece.model or tokenizer.model"
    };
    let folder = files.folder().to_path_buf();
    IoError::MissingFile {
        folder,
        file: TOKENIZER.into(),
        remedy,
    }
}
