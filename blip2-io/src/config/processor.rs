//! The processor's configuration.

use serde::{Deserialize, Serialize};

use crate::preprocessing::ImageProcessorConfig;

/// `processor_config.json`: how pictures and texts are brought together.
///
/// Old folders have no such file, or keep the image processor in `preprocessor_config.json`;
/// [`CheckpointFolder::image_processor`](crate::CheckpointFolder::image_processor) looks in both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ProcessorConfig {
    /// How pictures are prepared. Default none.
    pub image_processor: Option<ImageProcessorConfig>,
    /// The number of placeholders that a picture takes in a text; without it a text gets none.
    /// Default none.
    pub num_query_tokens: Option<usize>,
}

setters! { ProcessorConfig {
    with_image_processor(image_processor: Option<ImageProcessorConfig>),
    with_num_query_tokens(num_query_tokens: Option<usize>),
} }
