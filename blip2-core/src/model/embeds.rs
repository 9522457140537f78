//! Pictures and texts on their way to a comparison, one type for each stage, so that none is taken
//! for another.

use burn::tensor::Tensor;

/// Pictures as the image encoder sees them: one vector for each patch, the class token first. Raw:
/// nothing of texts is in them, and they cannot be compared with texts.
///
/// ```
/// # let blip2 = blip2_core::Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// use blip2_core::model::EncodedImages;
///
/// let pixel_values = blip2.processor().process(&image)?.tensor(blip2.device());
/// let images = blip2.model().encode_images(pixel_values)?;
/// let kept = images.tensor(); // to be compared another day …
/// let images = EncodedImages::new(kept);
/// assert_eq!(blip2.model().project_images(&images)?.count(), 1); // … without the image encoder
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct EncodedImages(Tensor<3>);

/// Texts as the Q-Former's text branch gives them: one vector for each token. Raw: they cannot be
/// compared with pictures.
#[derive(Debug, Clone)]
pub struct EncodedTexts(Tensor<3>);

/// Pictures in the space that they share with texts: one vector of length 1 for each query.
#[derive(Debug, Clone)]
pub struct ProjectedImages(Tensor<3>);

/// Texts in the space that they share with pictures: one vector of length 1 for each text.
///
/// ```
/// # use blip2_core::{Blip2Retrieval, CheckpointFolder, TextRows, model::ProjectedTexts};
/// # let folder = CheckpointFolder::open("../fixtures/blip2_itr")?;
/// # let blip2 = Blip2Retrieval::from_pretrained("../fixtures/blip2_itr")?;
/// # let model = blip2.model();
/// let texts = TextRows::of(&folder)?.rows(&["a dog", "a cat", "a bird"])?;
/// let texts = model.project_texts(&model.encode_texts(&texts)?);
/// let parts = vec![texts.part(0, 2), texts.part(2, 2)]; // held one at a time
/// assert_eq!([parts[0].count(), parts[1].count()], [2, 1]);
/// assert_eq!(ProjectedTexts::cat(parts).map(|all| all.count()), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ProjectedTexts(Tensor<2>);

impl EncodedImages {
    /// Wraps the image encoder's last hidden states, `[batch, patches + 1, vision_hidden]`.
    pub fn new(last_hidden_state: Tensor<3>) -> Self {
        Self(last_hidden_state)
    }

    /// The vectors, `[batch, patches + 1, vision_hidden]`.
    pub fn tensor(&self) -> Tensor<3> {
        self.0.clone()
    }

    /// The number of pictures.
    pub fn count(&self) -> usize {
        self.0.dims()[0]
    }
}

impl EncodedTexts {
    pub(super) fn new(last_hidden_state: Tensor<3>) -> Self {
        Self(last_hidden_state)
    }

    /// The vectors, `[batch, seq, q_hidden]`.
    pub fn tensor(&self) -> Tensor<3> {
        self.0.clone()
    }
}

impl ProjectedImages {
    /// All pictures of these, one after another; `None` for nothing.
    pub fn cat(parts: Vec<Self>) -> Option<Self> {
        joined(parts.into_iter().map(|part| part.0).collect()).map(Self)
    }

    /// The number of pictures.
    pub fn count(&self) -> usize {
        self.0.dims()[0]
    }

    /// At most `count` pictures from the one at `first` on.
    #[must_use]
    pub fn part(&self, first: usize, count: usize) -> Self {
        Self(some_of(&self.0, first, count))
    }

    /// Scales projected queries, `[batch, queries, dim]`, to length 1.
    pub(super) fn new(projected: Tensor<3>) -> Self {
        Self(unit(projected))
    }

    /// Vectors that have length 1 already, `[batch, queries, dim]`.
    pub fn of_unit(vectors: Tensor<3>) -> Self {
        Self(vectors)
    }

    /// The vectors, `[batch, queries, dim]`.
    pub fn tensor(&self) -> Tensor<3> {
        self.0.clone()
    }

    /// How similar each picture is to each text: the largest cosine of a query with the text
    /// (Li et al., 2023, section 3.2; image-text contrast, ITC).
    ///
    /// # Shapes
    ///
    /// - output: `[images, texts]`, each between −1 and 1
    pub fn similarity(&self, texts: &ProjectedTexts) -> Tensor<2> {
        let [images, queries, dim] = self.0.dims();
        let flat = self.0.clone().reshape([images * queries, dim]);
        let cosines = flat.matmul(texts.0.clone().transpose());
        let [_, texts] = cosines.dims();
        cosines
            .reshape([images, queries, texts])
            .max_dim(1)
            .reshape([images, texts])
    }
}

impl ProjectedTexts {
    /// All texts of these, one after another; `None` for nothing.
    pub fn cat(parts: Vec<Self>) -> Option<Self> {
        joined(parts.into_iter().map(|part| part.0).collect()).map(Self)
    }

    /// The number of texts.
    pub fn count(&self) -> usize {
        self.0.dims()[0]
    }

    /// At most `count` texts from the one at `first` on.
    #[must_use]
    pub fn part(&self, first: usize, count: usize) -> Self {
        Self(some_of(&self.0, first, count))
    }

    /// Scales projected texts, `[batch, dim]`, to length 1.
    pub(super) fn new(projected: Tensor<2>) -> Self {
        Self(unit(projected))
    }

    /// Vectors that have length 1 already, `[batch, dim]`.
    pub fn of_unit(vectors: Tensor<2>) -> Self {
        Self(vectors)
    }

    /// The vectors, `[batch, dim]`.
    pub fn tensor(&self) -> Tensor<2> {
        self.0.clone()
    }
}

/// All of these along the first axis.
fn joined<const D: usize>(parts: Vec<Tensor<D>>) -> Option<Tensor<D>> {
    (!parts.is_empty()).then(|| Tensor::cat(parts, 0))
}

/// At most `count` along the first axis, from `first` on.
fn some_of<const D: usize>(all: &Tensor<D>, first: usize, count: usize) -> Tensor<D> {
    let end = first.saturating_add(count).min(all.dims()[0]);
    all.clone().slice_dim(0, first.min(end)..end)
}

/// Vectors along the last axis scaled to length 1, as `torch.nn.functional.normalize` does.
pub(super) fn unit<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let length = x.clone().square().sum_dim(D - 1).sqrt().clamp_min(1e-12);
    x / length
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn similarity_is_the_best_querys_cosine() {
        let device = Device::flex();
        let images = ProjectedImages::new(Tensor::from_floats(
            [[[3.0, 0.0], [0.0, 2.0]], [[-1.0, 0.0], [-1.0, -1.0]]],
            &device,
        ));
        let texts = ProjectedTexts::new(Tensor::from_floats([[5.0, 0.0], [0.0, 0.0]], &device));
        let found = images.similarity(&texts).into_data();
        let found = found.try_to_vec::<f32>().unwrap();
        let expected = [1.0, 0.0, -(0.5f32.sqrt()), 0.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn parts_are_cut_and_joined_again() {
        let texts = Tensor::from_floats([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], &Device::flex());
        let texts = ProjectedTexts::new(texts);
        let parts = vec![texts.part(0, 2), texts.part(2, usize::MAX)];
        assert_eq!([parts[0].count(), parts[1].count()], [2, 1]);
        assert_eq!([texts.part(1, 0).count(), texts.part(9, 4).count()], [0, 0]);
        let joined = ProjectedTexts::cat(parts).unwrap();
        assert_eq!(joined.tensor().into_data(), texts.tensor().into_data());
        assert!(ProjectedTexts::cat(Vec::new()).is_none());
    }
}
