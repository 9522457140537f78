//! Features of several sounds.

#[cfg(feature = "checkpoint")]
use burn::tensor::{Device, Tensor, TensorData};

/// What a model of speech reads: the mel features of a batch of sounds, padded to the longest, on the
/// host, and how many embeddings become of each sound.
#[derive(Debug, Clone, PartialEq)]
pub struct SoundBatch {
    pub(super) values: Vec<f32>,
    pub(super) shape: [usize; 3],
    pub(super) sizes: Vec<usize>,
}

impl SoundBatch {
    /// The features, row-major.
    pub fn input_features(&self) -> &[f32] {
        &self.values
    }

    /// `[batch, frames, 2 * n_mels]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// How many embeddings the projector makes of each sound, which is how many placeholders it has in
    /// the prompt.
    pub fn audio_embed_sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Which of the projector's embeddings are a sound's own and not of its padding: `[batch, largest of
    /// audio_embed_sizes]`, row-major.
    pub fn input_features_mask(&self) -> Vec<bool> {
        let largest = self.sizes.iter().copied().max().unwrap_or(0);
        let row = |size: &usize| {
            let size = *size;
            (0..largest).map(move |place| place < size)
        };
        self.sizes.iter().flat_map(row).collect()
    }

    /// The features on a device, `[batch, frames, 2 * n_mels]`.
    #[cfg(feature = "checkpoint")]
    pub fn tensor(self, device: &Device) -> Tensor<3> {
        Tensor::from_data(TensorData::new(self.values, self.shape), device)
    }
}
