//! Weights that another library packed: named for what they are, in place of a list of tensors that
//! do not fit.

use std::path::PathBuf;

use burn::tensor::DType;
use serde::Deserialize;

use crate::{error::IoError, files::Files};

/// Libraries by what the names of their tensors end with, or, after a dot, have for a part.
const MARKS: [(&str, &str); 7] = [
    ("bitsandbytes in 8 bits", ".SCB"),
    ("bitsandbytes in 8 bits", ".weight_format"),
    ("bitsandbytes in 4 bits", ".absmax"),
    ("bitsandbytes in 4 bits", ".quant_map"),
    ("GPTQ", ".g_idx"),
    ("GPTQ or AWQ", ".qweight"),
    ("GPTQ or AWQ", ".qzeros"),
];
const QUANT_STATE: &str = ".quant_state.";

/// Refuses weights whose names are another library's.
pub(super) fn check<'n>(
    files: &Files,
    file: &str,
    names: impl Iterator<Item = &'n String> + Clone,
) -> Result<(), IoError> {
    let marked = MARKS.iter().find_map(|(method, end)| {
        let name = names.clone().filter(|name| name.ends_with(end)).min()?;
        Some((*method, name))
    });
    let stated = || {
        let name = names
            .clone()
            .filter(|name| name.contains(QUANT_STATE))
            .min()?;
        Some(("bitsandbytes in 4 bits", name))
    };
    match marked.or_else(stated) {
        None => Ok(()),
        Some((method, tensor)) => {
            // AWQ and GPTQ share most names; the configuration tells them apart.
            let method = match (method, of_config(files).as_deref()) {
                ("GPTQ or AWQ", Some("awq")) => "AWQ",
                ("GPTQ or AWQ", Some("gptq")) => "GPTQ",
                (method, _) => method,
            };
            Err(IoError::Quantized {
                path: files.path(file),
                method: method.into(),
                tensor: tensor.clone(),
            })
        }
    }
}

/// Whether a tensor is another library's: of whole numbers, where the configuration names one. Such
/// are else buffers, which no model asks for.
pub(super) fn is_packed(files: &Files, dtype: DType) -> bool {
    matches!(dtype, DType::U8 | DType::I32) && of_config(files).is_some()
}

/// The error for a tensor of a format that no weights have: another library's, if the configuration
/// names one.
pub(super) fn refused(files: &Files, path: PathBuf, tensor: String, dtype: String) -> IoError {
    match of_config(files) {
        Some(method) => IoError::Quantized {
            path,
            method,
            tensor,
        },
        None => IoError::Dtype {
            path,
            tensor,
            dtype,
        },
    }
}

/// The library that `config.json` names, if it does.
fn of_config(files: &Files) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        quantization_config: Option<Quantization>,
    }
    #[derive(Deserialize)]
    struct Quantization {
        quant_method: Option<String>,
    }
    // A file that cannot be read is told of elsewhere.
    let config: Config = files.json("config.json").ok()??;
    let method = config.quantization_config?.quant_method?;
    Some(method)
}
