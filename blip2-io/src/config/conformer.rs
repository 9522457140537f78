//! The configuration of Granite Speech's encoder, a conformer.

use serde::{Deserialize, Serialize};

use super::{ConfigError, LAYERS, WIDTH, check_size};

/// What every error of this configuration names first.
const PART: &str = "encoder_config";
/// The longest block of frames that attend to one another, and the longest convolution. Far beyond any
/// model, and so short that scores of all with all can still be counted.
const FRAMES: usize = 1 << 16;

/// `GraniteSpeechEncoderConfig`; the defaults are those of `transformers`.
///
/// The names that other encoders have for the same numbers (`hidden_size`, `num_hidden_layers`,
/// `num_attention_heads`, `num_mel_bins`) are read, too.
///
/// ```
/// use blip2_io::config::ConformerConfig;
///
/// let config: ConformerConfig = serde_json::from_str(r#"{ "hidden_dim": 96, "num_heads": 4 }"#)?;
/// config.validate()?;
/// assert_eq!((config.head_size(), config.inner_size()), (24, 96));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, tag = "model_type", rename = "granite_speech_encoder")]
#[non_exhaustive]
pub struct ConformerConfig {
    /// The width of a frame of features: mel bands, of two neighbours side by side. Default 160.
    #[serde(alias = "num_mel_bins")]
    pub input_dim: usize,
    /// The number of layers. Default 10.
    #[serde(alias = "num_hidden_layers")]
    pub num_layers: usize,
    /// The width of a frame within the encoder. Default 1024.
    #[serde(alias = "hidden_size")]
    pub hidden_dim: usize,
    /// How many times wider the feed-forward modules are inside. Default 4.
    pub feedforward_mult: usize,
    /// The number of attention heads. Default 8.
    #[serde(alias = "num_attention_heads")]
    pub num_heads: usize,
    /// The width of an attention head. Default: `hidden_dim / num_heads`.
    pub dim_head: Option<usize>,
    /// The number of characters that the middle layer is conditioned on. Default 42.
    pub output_dim: usize,
    /// How many frames attend to one another: attention is within blocks of this length. Default 200.
    pub context_size: usize,
    /// The largest distance between frames that has an embedding, forwards and backwards. Default 512.
    pub max_pos_emb: usize,
    /// Dropout while training. Default 0.1.
    pub dropout: f64,
    /// The length of the depthwise convolution, in frames. Default 15.
    pub conv_kernel_size: usize,
    /// How many times wider the convolution module is inside. Default 2.
    pub conv_expansion_factor: usize,
}

setters! { ConformerConfig {
    with_input_dim(input_dim: usize),
    with_num_layers(num_layers: usize),
    with_hidden_dim(hidden_dim: usize),
    with_feedforward_mult(feedforward_mult: usize),
    with_num_heads(num_heads: usize),
    with_dim_head(dim_head: Option<usize>),
    with_output_dim(output_dim: usize),
    with_context_size(context_size: usize),
    with_max_pos_emb(max_pos_emb: usize),
    with_dropout(dropout: f64),
    with_conv_kernel_size(conv_kernel_size: usize),
    with_conv_expansion_factor(conv_expansion_factor: usize),
} }

impl Default for ConformerConfig {
    fn default() -> Self {
        Self {
            input_dim: 160,
            num_layers: 10,
            hidden_dim: 1024,
            feedforward_mult: 4,
            num_heads: 8,
            dim_head: None,
            output_dim: 42,
            context_size: 200,
            max_pos_emb: 512,
            dropout: 0.1,
            conv_kernel_size: 15,
            conv_expansion_factor: 2,
        }
    }
}

impl ConformerConfig {
    /// The width of an attention head: `dim_head`, or what a head has of `hidden_dim`.
    pub fn head_size(&self) -> usize {
        self.dim_head
            .unwrap_or_else(|| self.hidden_dim.checked_div(self.num_heads).unwrap_or(0))
    }

    /// The width of all attention heads together, which need not be `hidden_dim`.
    pub fn inner_size(&self) -> usize {
        self.head_size().saturating_mul(self.num_heads)
    }

    /// The width inside the feed-forward modules.
    pub fn feedforward_size(&self) -> usize {
        self.hidden_dim.saturating_mul(self.feedforward_mult)
    }

    /// The width inside the convolution module, behind its gate.
    pub fn conv_size(&self) -> usize {
        self.hidden_dim.saturating_mul(self.conv_expansion_factor)
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, value, largest) in [
            ("input_dim", self.input_dim, WIDTH),
            ("num_layers", self.num_layers, LAYERS),
            ("hidden_dim", self.hidden_dim, WIDTH),
            ("output_dim", self.output_dim, WIDTH),
            ("num_heads", self.num_heads, WIDTH),
            ("feedforward_mult", self.feedforward_mult, WIDTH),
            ("conv_expansion_factor", self.conv_expansion_factor, WIDTH),
            ("conv_kernel_size", self.conv_kernel_size, FRAMES),
            ("context_size", self.context_size, FRAMES),
            ("max_pos_emb", self.max_pos_emb, FRAMES),
        ] {
            check_size(PART, key, value, largest)?;
        }
        self.check_heads()?;
        for (key, value) in [
            ("hidden_dim * feedforward_mult", self.feedforward_size()),
            ("hidden_dim * conv_expansion_factor", self.conv_size()),
        ] {
            check_size(PART, key, value, WIDTH)?;
        }
        if self.context_size > self.max_pos_emb {
            let reason = format!(
                "frames of a block need an embedding of each distance, and max_pos_emb = {} has fewer",
                self.max_pos_emb
            );
            let key = "context_size";
            return Err(ConfigError::value(PART, key, self.context_size, reason));
        }
        Ok(())
    }

    fn check_heads(&self) -> Result<(), ConfigError> {
        let (hidden, heads) = (self.hidden_dim, self.num_heads);
        match self.dim_head {
            Some(size) => check_size(PART, "dim_head", size, WIDTH)?,
            None if !hidden.is_multiple_of(heads) => {
                let reason =
                    format!("cannot be divided among num_heads = {heads}; name a dim_head");
                return Err(ConfigError::value(PART, "hidden_dim", hidden, reason));
            }
            None => {}
        }
        check_size(PART, "num_heads * dim_head", self.inner_size(), WIDTH)
    }
}
