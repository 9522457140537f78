//! From the encoder's frames to what a language model reads.

use blip2_io::config::GraniteSpeechConfig;
use blip2_kernels::{Bias, Linear, Precision, Role, Weights};
use blip2_qformer::{QFormer, QFormerError, QFormerInput};
use burn::{
    module::{Module, Param},
    tensor::Tensor,
};

use crate::error::Blip2Error;

/// The projector of Granite Speech (`GraniteSpeechEncoderProjector`): the frames are cut into windows,
/// a few learned queries gather by a Q-Former what each window holds, and a linear layer brings them to
/// the language model's width.
#[derive(Module, Debug)]
pub struct SpeechProjector {
    query: Param<Tensor<3>>,
    qformer: QFormer,
    linear: Linear,
    window: usize,
    queries: usize,
}

impl SpeechProjector {
    /// Builds the projector from the weights below the cursor (`query`, `qformer`, `linear`), which in
    /// a checkpoint is `projector`. All of it is held in `f32`, as the Q-Former of a BLIP-2 is.
    ///
    /// # Errors
    ///
    /// For a configuration that makes no sense.
    pub fn load(config: &GraniteSpeechConfig, weights: &Weights<'_>) -> Result<Self, Blip2Error> {
        config.validate()?;
        let weights = weights.with_precision(Precision::F32);
        let (queries, hidden) = (
            config.queries_per_window(),
            config.projector_config.hidden_size,
        );
        Ok(Self {
            query: weights.param("query", [1, queries, hidden], Role::Dense),
            qformer: QFormer::load(&config.projector_config, &weights.at("qformer"))?,
            linear: weights.dense_linear(
                "linear",
                hidden,
                config.text_config.hidden_size(),
                Bias::With,
            ),
            window: config.window_size,
            queries,
        })
    }

    /// How many vectors come of each window.
    pub fn queries_per_window(&self) -> usize {
        self.queries
    }

    /// How many vectors come of `frames` frames. The last window counts whole.
    pub fn num_placeholders(&self, frames: usize) -> usize {
        frames.div_ceil(self.window) * self.queries
    }

    /// What the queries gather of each window. The frames that the last window lacks are zeros, which
    /// count, as in the reference.
    ///
    /// # Shapes
    ///
    /// - frames: `[batch, frames, encoder_hidden]`
    /// - output: `[batch · windows, queries, q_hidden]`, the windows of a sound after one another
    ///
    /// # Errors
    ///
    /// [`Blip2Error::QFormer`] for no frames, and for frames of another width.
    pub fn gather(&self, frames: Tensor<3>) -> Result<Tensor<3>, Blip2Error> {
        let [batch, count, width] = frames.dims();
        if batch == 0 || count == 0 {
            return Err(QFormerError::Shape {
                tensor: "encoder_hidden_states",
                found: vec![batch, count, width],
                expected: "[batch, frames, encoder_hidden], none of them zero,".into(),
            }
            .into());
        }
        let windows = count.div_ceil(self.window);
        let device = frames.device();
        let padded = match windows * self.window - count {
            0 => frames,
            missing => {
                let zeros = Tensor::zeros([batch, missing, width], (&device, frames.dtype()));
                Tensor::cat(vec![frames, zeros], 1)
            }
        };
        let cut = padded.reshape([batch * windows, self.window, width]);
        let queries = self.query.val();
        let [_, each, hidden] = queries.dims();
        let queries = queries.expand([batch * windows, each, hidden]);
        let output = self
            .qformer
            .forward(QFormerInput::new(queries).image(cut))?;
        Ok(output.last_hidden_state)
    }

    /// What was gathered of the windows of `batch` sounds, at the language model's width.
    ///
    /// # Shapes
    ///
    /// - gathered: `[batch · windows, queries, q_hidden]`
    /// - output: `[batch, windows · queries, lm_hidden]`
    pub fn project(&self, gathered: Tensor<3>, batch: usize) -> Tensor<3> {
        let [rows, queries, hidden] = gathered.dims();
        let each = rows / batch.max(1) * queries;
        // Summed exactly: all layers of the language model amplify this one's rounding.
        self.linear
            .forward_exact(gathered.reshape([batch, each, hidden]))
    }

    /// [`gather`](Self::gather) and [`project`](Self::project).
    ///
    /// # Shapes
    ///
    /// - frames: `[batch, frames, encoder_hidden]`
    /// - output: `[batch, windows · queries, lm_hidden]`
    ///
    /// # Errors
    ///
    /// As [`gather`](Self::gather).
    pub fn forward(&self, frames: Tensor<3>) -> Result<Tensor<3>, Blip2Error> {
        let [batch, ..] = frames.dims();
        Ok(self.project(self.gather(frames)?, batch))
    }
}
