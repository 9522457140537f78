//! The features of one sound.

/// The mel features of a sound, two neighbouring mel frames side by side in each frame.
#[derive(Debug, Clone, PartialEq)]
pub struct MelFeatures {
    pub(super) values: Vec<f32>,
    pub(super) shape: [usize; 2],
}

impl MelFeatures {
    /// The values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values, given away.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// `[frames, 2 * n_mels]`.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.shape[0]
    }
}
