//! The encoder as a whole.

use blip2_io::config::ConformerConfig;
use blip2_kernels::{Bias, Keep, Kept, Linear, Weights, in_groups, layers_in_pool, recompute};
use burn::{
    module::Module,
    tensor::{DType, Tensor},
};

use crate::{
    block::Block, conditioning::SelfConditioning, error::AudioError, options::ConformerOptions,
};

/// Granite Speech's encoder (`GraniteSpeechCTCEncoder`), a conformer (Gulati et al., 2020) whose middle layer
/// says which characters it hears.
///
/// ```
/// use blip2_audio::burn::tensor::{Device, Tensor};
/// use blip2_audio::{ConformerConfig, ConformerEncoder, ConformerOptions, RandomWeights, Weights};
///
/// let config = ConformerConfig::default()
///     .with_input_dim(32)
///     .with_hidden_dim(24)
///     .with_num_layers(2)
///     .with_num_heads(3)
///     .with_context_size(12);
/// let device = Device::flex();
/// let source = RandomWeights::new(0, 0.02); // or a checkpoint, by `blip2-io`
/// let encoder = ConformerEncoder::load(&config, &Weights::new(&source, &device).at("encoder"))?;
///
/// let input_features = Tensor::<3>::zeros([1, 65, 32], &device);
/// let output = encoder.forward(input_features, &ConformerOptions::default())?;
/// assert_eq!(output.last_hidden_state.dims(), [1, 65, 24]);
/// # Ok::<(), blip2_audio::AudioError>(())
/// ```
#[derive(Module, Debug)]
pub struct ConformerEncoder {
    input_linear: Linear,
    layers: Vec<Block>,
    conditioning: SelfConditioning,
}

/// What a [`forward`](ConformerEncoder::forward) returns.
///
/// ```
/// # use blip2_audio::burn::tensor::{Device, Tensor};
/// # use blip2_audio::{ConformerConfig, ConformerEncoder, ConformerOptions, RandomWeights, Weights};
/// # let config = ConformerConfig::default().with_input_dim(32).with_hidden_dim(24)
/// #     .with_num_layers(2).with_num_heads(3).with_context_size(12);
/// # let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// # let encoder = ConformerEncoder::load(&config, &Weights::new(&source, &device))?;
/// # let input_features = Tensor::<3>::zeros([1, 65, 32], &device);
/// let options = ConformerOptions::default().with_hidden_states(true);
/// let output = encoder.forward(input_features, &options)?;
/// assert_eq!(output.hidden_states.len(), 1 + 2); // of an encoder of two layers
/// # Ok::<(), blip2_audio::AudioError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConformerOutput {
    /// The output of the last layer, `[batch, frames, hidden]`.
    pub last_hidden_state: Tensor<3>,
    /// The projected features, then each layer's output as the next layer reads it, which for the middle
    /// one is with its guess of characters: `[batch, frames, hidden]` each. Empty unless asked for.
    pub hidden_states: Vec<Tensor<3>>,
}

impl ConformerEncoder {
    /// Builds the encoder from the weights below the cursor (`input_linear`, `layers`, `out`, `out_mid`),
    /// which a checkpoint has below `encoder`. The one thing there that is not asked for is
    /// `num_batches_tracked` of each batch norm, a counter of training.
    ///
    /// # Errors
    ///
    /// [`AudioError::Config`] for a configuration that makes no sense. What the source of weights
    /// lacks is no error here: the source keeps that account.
    pub fn load(config: &ConformerConfig, weights: &Weights<'_>) -> Result<Self, AudioError> {
        config.validate()?;
        let (input, hidden) = (config.input_dim, config.hidden_dim);
        let layers = weights.at("layers");
        Ok(Self {
            input_linear: weights.dense_linear("input_linear", input, hidden, Bias::With),
            layers: (0..config.num_layers)
                .map(|n| Block::load(config, &layers.at(&n.to_string())))
                .collect(),
            conditioning: SelfConditioning::load(config, weights),
        })
    }

    /// Encodes recordings.
    ///
    /// Recordings of a batch do not see one another, but there is no mask, as there is none in the
    /// reference: frames that fill a shorter one up are encoded like any others, and what is before
    /// them attends to them. Encode a recording alone for what it is without them.
    ///
    /// # Shapes
    ///
    /// - input_features: `[batch, frames, input_dim]`, log-mel features of two neighbouring steps side by
    ///   side, of any float format
    /// - output: see [`ConformerOutput`]
    ///
    /// # Errors
    ///
    /// [`AudioError`] for an empty batch, for no frames, and for another width than `input_dim`.
    pub fn forward(
        &self,
        input_features: Tensor<3>,
        options: &ConformerOptions,
    ) -> Result<ConformerOutput, AudioError> {
        self.check(input_features.dims())?;
        let keep = match options.hidden_states {
            true => Keep::HIDDEN_STATES,
            false => Keep::NOTHING,
        };
        // Rounding here is amplified by all layers, and the product is a thousandth of the encoder's.
        let features = input_features.cast(DType::F32);
        let hidden = self.input_linear.forward_exact(features);
        let ([batch, frames, width], device) = (hidden.dims(), hidden.device());
        let size = [width, batch * frames];
        Ok(layers_in_pool(
            self,
            &device,
            self.layers.len(),
            size,
            || self.projected(hidden, keep),
        ))
    }

    fn check(&self, shape: [usize; 3]) -> Result<(), AudioError> {
        let [batch, frames, found] = shape;
        let fault = |reason| Err(AudioError::InputFeatures { shape, reason });
        if batch == 0 {
            return fault("the batch is empty");
        }
        if frames == 0 {
            return fault("there is no frame; a recording must be as long as one");
        }
        let expected = self.input_linear.d_input();
        if found != expected {
            return Err(AudioError::Width { found, expected });
        }
        Ok(())
    }

    /// Takes projected features, `[batch, frames, hidden]`, through all layers.
    fn projected(&self, hidden: Tensor<3>, keep: Keep) -> ConformerOutput {
        let mut kept = Kept::new(keep);
        let last_hidden_state = match kept.is_idle() {
            true => in_groups(self, hidden, |some| {
                self.through(some, &mut Kept::default())
            }),
            false => self.through(hidden, &mut kept),
        };
        ConformerOutput {
            last_hidden_state,
            hidden_states: kept.hidden_states,
        }
    }

    /// Some recordings, which know nothing of the others, through all layers.
    fn through(&self, mut hidden: Tensor<3>, kept: &mut Kept) -> Tensor<3> {
        let middle = self.layers.len() / 2;
        kept.hidden(&hidden);
        for (layer, number) in self.layers.iter().zip(1..) {
            hidden = recompute::layer(layer, hidden, |layer, hidden| layer.forward(hidden));
            // Of a single layer there is no middle.
            if number == middle {
                hidden = self.conditioning.forward(hidden);
            }
            kept.hidden(&hidden);
        }
        hidden
    }
}
