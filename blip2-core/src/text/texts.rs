//! From texts to token rows.

use blip2_io::{
    CheckpointFolder, Tokenizer,
    config::{Blip2Config, ModelKind},
};
use blip2_qformer::QFormerError;

use super::{PaddingSide, PromptRows, checks::check_text};
use crate::{error::Blip2Error, family};

/// Lays texts out as a checkpoint of retrieval reads them: between `[CLS]` and `[SEP]`, padded on the right to
/// one length.
///
/// ```no_run
/// use blip2_core::{CheckpointFolder, TextRows};
///
/// let texts = TextRows::of(&CheckpointFolder::open("models/blip2-itm-vit-g")?)?;
/// let rows = texts.rows(&["a dog", "a woman and her dog on the beach"])?;
/// assert_eq!(rows.len(), 2);
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Debug)]
pub struct TextRows {
    pub(crate) tokenizer: Tokenizer,
    pad_token: u32,
    max_tokens: usize,
}

impl TextRows {
    /// The rows of a checkpoint of retrieval.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::WrongModel`] for a folder of another kind, and if the folder's configuration or
    /// tokenizer cannot be read or the two do not go together.
    pub fn of(folder: &CheckpointFolder) -> Result<Self, Blip2Error> {
        family::expect(folder, &[ModelKind::Blip2Retrieval, ModelKind::Blip2Text])?;
        Self::new(&folder.config()?, folder.tokenizer()?)
    }

    pub(crate) fn new(config: &Blip2Config, tokenizer: Tokenizer) -> Result<Self, Blip2Error> {
        let qformer = &config.qformer_config;
        tokenizer.check_fits(qformer.vocab_size)?;
        let pad = tokenizer.pad_token_id().or(qformer.pad_token_id);
        Ok(Self {
            pad_token: pad.unwrap_or_default(),
            max_tokens: qformer.max_position_embeddings,
            tokenizer,
        })
    }

    /// A batch of texts, padded on the right to one length. Positions count from a text's beginning, so
    /// padding there changes nothing.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Item`] with the place of an empty text, one that spells out a special token or
    /// has more tokens than the Q-Former has positions.
    pub fn rows<T: AsRef<str>>(&self, texts: &[T]) -> Result<PromptRows, Blip2Error> {
        self.laid_out(texts, |text| {
            let ids = self.tokenizer.encode(text)?;
            if ids.len() > self.max_tokens {
                let (tokens, positions) = (ids.len(), self.max_tokens);
                return Err(QFormerError::TextTooLong { tokens, positions }.into());
            }
            Ok(ids)
        })
    }

    /// The same, of texts that are cut at their ends where they have more than `max_tokens` tokens,
    /// `[CLS]` and `[SEP]` included.
    ///
    /// # Errors
    ///
    /// For an empty text, one that spells out a special token, or no room for `[CLS]` and `[SEP]`.
    pub fn rows_cut<T: AsRef<str>>(
        &self,
        texts: &[T],
        max_tokens: usize,
    ) -> Result<PromptRows, Blip2Error> {
        let most = max_tokens.min(self.max_tokens);
        self.laid_out(texts, |text| {
            Ok(self.tokenizer.encode_truncated(text, most)?)
        })
    }

    /// The token that a text begins with in place of `[CLS]` where it is written (`[DEC]`), if the
    /// tokenizer has it.
    pub fn begins_written(&self) -> Option<u32> {
        self.tokenizer.token_to_id("[DEC]")
    }

    fn laid_out<T: AsRef<str>>(
        &self,
        texts: &[T],
        ids: impl Fn(&str) -> Result<Vec<u32>, Blip2Error>,
    ) -> Result<PromptRows, Blip2Error> {
        let checked = |(index, text): (usize, &T)| {
            let text = text.as_ref();
            let ids = check_text(text, &self.tokenizer).and_then(|()| ids(text));
            ids.map_err(|error| Blip2Error::item(index, error))
        };
        let texts = texts.iter().enumerate();
        let ids: Vec<_> = texts.map(checked).collect::<Result<_, _>>()?;
        PromptRows::lay_out(&ids, None, 0, self.pad_token, PaddingSide::Right)
    }
}
