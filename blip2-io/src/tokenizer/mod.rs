//! Text to token ids and back.

#[cfg(feature = "sound")]
mod audio_token;
mod batch;
mod clean_up;
mod guard;
mod load;
mod overrides;
mod padding;
mod published;
mod settings;
mod special_token;

use tokenizers::{PostProcessor, TruncationDirection};

use crate::error::IoError;

#[cfg(feature = "sound")]
pub(crate) use audio_token::audio_token;
pub use batch::TokenBatch;
use clean_up::clean_up;
pub(crate) use load::{as_json, load};
pub use padding::PaddingSide;

/// A Hugging Face tokenizer: `tokenizer.json`, the tokens that `tokenizer_config.json`,
/// `special_tokens_map.json` and `added_tokens.json` add to it, and the roles they give them.
///
/// Which special tokens surround a text is decided by the post-processor in `tokenizer.json`
/// alone, as in `transformers` 5: OPT's puts `</s>` before it, T5's after it.
///
/// ```
/// use blip2_io::CheckpointFolder;
///
/// // A checkpoint folder holds this file; here it is one of four words.
/// let words = r#"{
///     "version": "1.0", "normalizer": null, "post_processor": null, "decoder": null,
///     "truncation": null, "padding": null,
///     "added_tokens": [{ "id": 0, "content": "<pad>", "special": true, "single_word": false,
///                        "lstrip": false, "rstrip": false, "normalized": false }],
///     "pre_tokenizer": { "type": "Whitespace" },
///     "model": { "type": "WordLevel", "unk_token": "<pad>",
///                "vocab": { "<pad>": 0, "two": 1, "dogs": 2, "run": 3 } }
/// }"#;
/// let roles = r#"{ "pad_token": "<pad>" }"#;
/// let files = [("tokenizer.json", words), ("tokenizer_config.json", roles)];
/// let tokenizer = CheckpointFolder::in_memory("words", files).tokenizer()?;
///
/// let ids = tokenizer.encode("two dogs run")?;
/// assert_eq!(ids, [1, 2, 3]);
/// assert_eq!(tokenizer.decode(&ids, true)?, "two dogs run");
/// let rows = tokenizer.encode_batch(&["dogs", "two dogs"], None)?;
/// assert_eq!(rows.input_ids, [[2, 0], [1, 2]]); // the shorter one is padded
/// # Ok::<(), blip2_io::IoError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: Special,
    padding_side: PaddingSide,
    model_max_length: Option<usize>,
    clean_up: bool,
}

/// The tokens that have a role, by id.
#[derive(Debug, Clone, Default)]
struct Special {
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    unk: Option<u32>,
}

impl Tokenizer {
    /// The ids of a text, with the special tokens that the post-processor puts around it.
    ///
    /// # Errors
    ///
    /// [`IoError::Tokenize`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, IoError> {
        self.encode_with(text, true)
    }

    /// The ids of a text, with or without special tokens around it. Special tokens that are
    /// spelled out in the text count as such either way.
    ///
    /// # Errors
    ///
    /// [`IoError::Tokenize`].
    pub fn encode_with(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, IoError> {
        let encoding = self
            .inner
            .encode_fast(text, add_special_tokens)
            .map_err(IoError::tokenize)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text, cut at its end so that with its special tokens it has at most
    /// `max_length` ids.
    ///
    /// # Errors
    ///
    /// [`IoError::Tokenize`], also if `max_length` leaves no room for the special tokens.
    pub fn encode_truncated(&self, text: &str, max_length: usize) -> Result<Vec<u32>, IoError> {
        let special = self
            .inner
            .get_post_processor()
            .map_or(0, |post| post.added_tokens(false));
        let room = max_length.checked_sub(special).ok_or_else(|| {
            IoError::tokenize(format!(
                "max_length = {max_length} leaves no room for {special} special tokens"
            ))
        })?;
        let mut encoding = self.inner.encode(text, false).map_err(IoError::tokenize)?;
        encoding.truncate(room, 0, TruncationDirection::Right);
        let encoding = self
            .inner
            .post_process(encoding, None, true)
            .map_err(IoError::tokenize)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids, without special tokens if they are to be skipped. Ids that no token has
    /// are passed over; bytes that are no whole character become U+FFFD.
    ///
    /// # Errors
    ///
    /// [`IoError::Tokenize`].
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, IoError> {
        let added = self.inner.get_added_vocabulary();
        let shown = |id: &u32| {
            let token = self.inner.id_to_token(*id);
            token.is_some_and(|token| !skip_special_tokens || !added.is_special_token(&token))
        };
        // One of the library's decoders counts back from its last token without asking for one.
        if !ids.iter().any(shown) {
            return Ok(String::new());
        }
        let text = self
            .inner
            .decode(ids, skip_special_tokens)
            .map_err(IoError::tokenize)?;
        Ok(if self.clean_up { clean_up(&text) } else { text })
    }

    /// The id of a token.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id that begins a text.
    pub fn bos_token_id(&self) -> Option<u32> {
        self.special.bos
    }

    /// The id that ends a text.
    pub fn eos_token_id(&self) -> Option<u32> {
        self.special.eos
    }

    /// The id that fills shorter rows.
    pub fn pad_token_id(&self) -> Option<u32> {
        self.special.pad
    }

    /// The id that stands for what has no token.
    pub fn unk_token_id(&self) -> Option<u32> {
        self.special.unk
    }

    /// On which side shorter rows are padded.
    pub fn padding_side(&self) -> PaddingSide {
        self.padding_side
    }

    /// The longest text that the model was made for, in tokens, if `tokenizer_config.json` says so.
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// The first special token that is spelled out in `text`, if there is one.
    pub fn special_token_in(&self, text: &str) -> Option<String> {
        // Told to split them, the tokenizer reads their characters as those of any text.
        if self.inner.get_encode_special_tokens() {
            return None;
        }
        let added = self.inner.get_added_tokens_decoder();
        let mut special: Vec<_> = added
            .into_iter()
            .filter(|(_, token)| token.special)
            .collect();
        special.sort_by_key(|(id, _)| *id);
        special
            .into_iter()
            .map(|(_, token)| token.content)
            .find(|token| text.contains(token))
    }

    /// Checks that a model with `embeddings` token embeddings has one for every token.
    ///
    /// # Errors
    ///
    /// [`IoError::Vocabulary`] naming a token without one.
    pub fn check_fits(&self, embeddings: usize) -> Result<(), IoError> {
        let beyond = self
            .inner
            .get_vocab(true)
            .into_iter()
            .max_by_key(|(_, id)| *id);
        match beyond {
            Some((example, id)) if id as usize >= embeddings => Err(IoError::Vocabulary {
                tokens: id as usize + 1,
                vocab: embeddings,
                example,
            }),
            _ => Ok(()),
        }
    }
}
