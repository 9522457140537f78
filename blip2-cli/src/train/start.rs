//! The template of adapters that a training begins with.

use std::{fs, path::Path};

use blip2_io::config::PromptConfig;

use super::config::Config;
use crate::Failure;

/// Takes the template beside the adapters in `start` where the file has none: they were trained to be asked
/// in it. Another one in the file is told.
pub(super) fn take_template(config: &mut Config, base: &Path) -> Result<(), Failure> {
    let start = config.lora.as_ref().and_then(|lora| lora.start.as_ref());
    let Some(path) = start.map(|start| base.join(start).join("blip2.json")) else {
        return Ok(());
    };
    let Ok(text) = fs::read(&path) else {
        return Ok(());
    };
    let failed = |error: &dyn std::fmt::Display| {
        let text = format!("{}: {error}", path.display());
        Failure::Work(text)
    };
    let prompts: PromptConfig = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
    prompts.validate().map_err(|error| failed(&error))?;
    let Some(own) = prompts.answer_template else {
        return Ok(());
    };
    match &config.train.template {
        None => {
            note!("template  {own:?}, with which the adapters in `start` were trained");
            config.train.template = Some(own);
        }
        Some(said) if *said != own => note!(
            "note      the adapters in `start` were trained with the template {own:?}, and go on with \
             {said:?}"
        ),
        Some(_) => {}
    }
    Ok(())
}
