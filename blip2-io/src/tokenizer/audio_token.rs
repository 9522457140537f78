//! The token that stands for sound, where a tokenizer names one.

use serde_json::{Map, Value};

use super::special_token::content;
use crate::{error::IoError, files::Files};

/// `audio_token` of `tokenizer_config.json`, by itself or among its `extra_special_tokens`.
pub(crate) fn audio_token(files: &Files) -> Result<Option<String>, IoError> {
    const KEY: &str = "audio_token";
    let config: Option<Map<String, Value>> = files.json("tokenizer_config.json")?;
    let Some(config) = config else {
        return Ok(None);
    };
    let extra = || config.get("extra_special_tokens")?.get(KEY);
    let named = config.get(KEY).or_else(extra);
    Ok(named.and_then(content).map(str::to_string))
}
