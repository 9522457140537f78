//! Token ids to the embeddings that the text branch reads.

use blip2_io::config::Blip2QFormerConfig;
use blip2_kernels::{Embedding, Precision, Role, Weights};
use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor, TensorData},
};

use crate::error::QFormerError;

/// The table of words and the table of positions (`Blip2TextEmbeddings`). Their sum is normed by
/// the Q-Former itself.
///
/// ```
/// use blip2_qformer::burn::tensor::Device;
/// use blip2_qformer::{
///     CheckpointFolder, CheckpointWeights, QFormer, QFormerInput, TextEmbeddings, Weights,
/// };
///
/// let (folder, device) = (CheckpointFolder::open("../fixtures/blip2_itr")?, Device::flex());
/// let (config, checkpoint) = (folder.config()?.qformer_config, folder.checkpoint()?);
/// let source = CheckpointWeights::new(&checkpoint);
/// let weights = Weights::new(&source, &device);
/// let table = TextEmbeddings::load(&config, &weights.at("embeddings"));
/// let qformer = QFormer::load(&config, &weights.at("qformer"))?;
///
/// let text = folder.tokenizer()?.encode("a red triangle")?;
/// let embeds = table.forward(&[text.clone()])?;
/// let read = qformer.forward(QFormerInput::text_only(embeds))?.last_hidden_state;
/// assert_eq!(read.dims(), [1, text.len(), config.hidden_size]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Module, Debug)]
pub struct TextEmbeddings {
    word_embeddings: Embedding,
    position_embeddings: Param<Tensor<2>>,
}

impl TextEmbeddings {
    /// Builds the tables from `word_embeddings` and `position_embeddings` below the cursor, which
    /// in a retrieval checkpoint is `embeddings`. They are held in `f32` whatever precision the
    /// cursor has.
    pub fn load(config: &Blip2QFormerConfig, weights: &Weights<'_>) -> Self {
        let weights = weights.with_precision(Precision::F32);
        let (hidden, positions) = (config.hidden_size, config.max_position_embeddings);
        let name = "position_embeddings.weight";
        Self {
            word_embeddings: weights
                .embedding("word_embeddings", config.vocab_size, hidden)
                .with_padding(config.pad_token_id),
            position_embeddings: weights.param(name, [positions, hidden], Role::Dense),
        }
    }

    /// How many tokens a text may have, special ones included.
    pub fn max_tokens(&self) -> usize {
        self.position_embeddings.lazy_shape()[0]
    }

    /// The product of each vector with every word's, the logits of a head that is tied to the table.
    ///
    /// # Shapes
    ///
    /// - hidden: `[batch, seq, hidden]`
    /// - output: `[batch, seq, vocab]`
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.word_embeddings.logits(hidden)
    }

    /// Embeds texts, whose positions count from 0.
    ///
    /// # Shapes
    ///
    /// - ids: `[batch][seq]`
    /// - output: `[batch, seq, hidden]`
    ///
    /// # Errors
    ///
    /// [`QFormerError::Tokens`] for an empty batch, ragged or empty rows and ids that the
    /// vocabulary does not have; [`QFormerError::TextTooLong`] for more tokens than positions.
    pub fn forward(&self, ids: &[Vec<u32>]) -> Result<Tensor<3>, QFormerError> {
        let seq = ids.first().map_or(0, Vec::len);
        let fault = |reason| Err(QFormerError::Tokens { reason });
        if seq == 0 {
            return fault("there are no rows, or they are empty".into());
        }
        if let Some(row) = ids.iter().position(|row| row.len() != seq) {
            return fault(format!("row {row} is not as long as row 0, {seq} tokens"));
        }
        let words = self.word_embeddings.rows();
        if let Some(id) = ids.iter().flatten().find(|&&id| id as usize >= words) {
            return fault(format!("{id} is not below the vocabulary's {words}"));
        }
        let positions = self.max_tokens();
        if seq > positions {
            return Err(QFormerError::TextTooLong {
                tokens: seq,
                positions,
            });
        }
        let flat: Vec<i64> = ids.iter().flatten().map(|&id| i64::from(id)).collect();
        let device = self.word_embeddings.device();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(flat, [ids.len(), seq]), &device);
        let positions = self.position_embeddings.val().narrow(0, 0, seq);
        Ok(self.word_embeddings.forward(ids) + positions.unsqueeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blip2_kernels::RandomWeights;
    use burn::tensor::{Device, Tolerance};

    fn table() -> TextEmbeddings {
        let config = Blip2QFormerConfig::default()
            .with_vocab_size(10)
            .with_hidden_size(4)
            .with_max_position_embeddings(3);
        let source = RandomWeights::new(7, 0.5);
        TextEmbeddings::load(&config, &Weights::new(&source, &Device::flex()))
    }

    #[test]
    fn a_words_vector_and_its_positions_are_added() {
        let table = table();
        let embeds = table.forward(&[vec![3, 5], vec![5, 3]]).unwrap();
        assert_eq!(embeds.dims(), [2, 2, 4]);
        let at = |row, place| embeds.clone().slice([row..row + 1, place..place + 1]);
        // Between two words lies the same, wherever both stand.
        let first = at(0, 0) - at(1, 0);
        let second = at(1, 1) - at(0, 1);
        first
            .into_data()
            .assert_approx_eq::<f32>(&second.into_data(), Tolerance::absolute(1e-6));
        let difference = at(0, 0) - at(1, 1);
        assert!(difference.abs().max().into_scalar::<f32>() > 1e-3);
    }

    #[test]
    fn what_cannot_be_embedded_is_refused() {
        let table = table();
        assert_eq!(table.max_tokens(), 3);
        for (rows, part) in [
            (vec![], "no rows"),
            (vec![vec![]], "no rows"),
            (vec![vec![1, 2], vec![1]], "row 1"),
            (vec![vec![1, 10]], "10 is not below"),
            (vec![vec![1; 4]], "4 tokens"),
        ] {
            let error = table.forward(&rows).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
