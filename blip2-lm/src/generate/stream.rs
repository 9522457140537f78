//! Generation as an iterator, for text that is shown while it grows.

use std::fmt;
use std::iter::FusedIterator;

use super::GenerateError;
use super::ask;
use super::logits::Scores;
use super::output::{FinishReason, Generated, StreamToken};
use super::run::Run;
use super::session::DecodeSession;
use super::walk::Walk;

/// What one step of a [`Stream`] brought. Displays as its text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StreamPiece {
    /// New text, whole characters only. Empty while a character is incomplete, while the text may
    /// prove to be a stop string, and for end tokens. The pieces together are the text of
    /// [`Generated::content`] up to the first stop string. (One exception: a byte-fallback decoder
    /// makes U+FFFD of valid bytes if invalid ones follow at once; what was shown stays shown.)
    pub text: String,
    /// The token generated; `None` in a last piece that only brings the text held back when the
    /// generation was cancelled.
    pub token: Option<StreamToken>,
    /// The likeliest tokens of the step, as in [`Generated::top_logprobs`].
    pub top: Vec<StreamToken>,
}

impl StreamPiece {
    /// Text that was held back.
    pub(super) fn held(text: String) -> Self {
        Self {
            text,
            token: None,
            top: Vec::new(),
        }
    }
}

impl fmt::Display for StreamPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Greedy or sampled generation for one prompt, a token at a time.
///
/// Made by [`Generator::stream`](super::Generator::stream). The model runs inside
/// [`next`](Iterator::next), and only as far as the iterator is driven. After an error the
/// iterator is over.
///
/// ```
/// # use blip2_lm::burn::tensor::Device;
/// # use blip2_lm::generate::{BoxError, TokenDecoder};
/// # use blip2_lm::{DecoderLm, OptConfig, RandomWeights, Weights};
/// use blip2_lm::generate::{FinishReason, GenerationConfig, Generator};
///
/// # struct Letters;
/// # impl TokenDecoder for Letters {
/// #     fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
/// #         Ok(ids.iter().map(|&id| char::from(b'a' + (id % 26) as u8)).collect())
/// #     }
/// # }
/// # let config = OptConfig::default().with_vocab_size(100).with_hidden_size(32)
/// #     .with_word_embed_proj_dim(32).with_num_hidden_layers(1).with_num_attention_heads(4)
/// #     .with_ffn_dim(64);
/// # let (source, device) = (RandomWeights::new(0, 0.1), Device::flex());
/// # let model = DecoderLm::load(&config, &Weights::new(&source, &device))?;
/// # let decoder = Letters;
/// let prompt = vec![2, 17, 42];
/// let session = model.start(model.embed(&[prompt.clone()])?, &[vec![true; 3]], 5)?;
/// let five = GenerationConfig::default().with_max_new_tokens(5);
/// let generator = Generator::new(five)?.token_decoder(decoder); // a tokenizer, say
/// let mut stream = generator.stream(session, &prompt)?;
/// for piece in stream.by_ref() {
///     print!("{}", piece?);
/// }
/// assert_eq!(stream.tokens().len(), 5);
/// assert_eq!(stream.finish_reason(), Some(FinishReason::MaxTokens));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Stream<'a, S> {
    session: S,
    run: Run<'a>,
    walk: Walk,
    stage: Stage,
    scratch: Vec<f32>,
    generated: Vec<StreamToken>,
}

enum Stage {
    Prompt,
    /// The next token to feed.
    Token(u32),
    Finished(FinishReason),
    Failed,
}

impl<'a, S: DecodeSession> Stream<'a, S> {
    pub(super) fn new(session: S, run: Run<'a>, walk: Walk) -> Self {
        Self {
            session,
            run,
            walk,
            stage: Stage::Prompt,
            scratch: Vec::new(),
            generated: Vec::new(),
        }
    }

    /// Why the sequence ended; `None` while it runs, and after an error.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        match self.stage {
            Stage::Finished(reason) => Some(reason),
            Stage::Prompt | Stage::Token(_) | Stage::Failed => None,
        }
    }

    /// The tokens generated so far.
    pub fn tokens(&self) -> &[StreamToken] {
        &self.generated
    }

    /// Everything generated. A stream that has not ended counts as cancelled.
    pub fn into_generated(self) -> Generated {
        let reason = self.finish_reason().unwrap_or(FinishReason::Cancelled);
        self.walk.into_generated(reason)
    }

    /// One step; `None` if there is nothing more to bring.
    fn advance(&mut self) -> Result<Option<StreamPiece>, GenerateError> {
        let wanted = self.walk.wanted(&self.run);
        let scores = match self.stage {
            Stage::Finished(_) | Stage::Failed => return Ok(None),
            Stage::Prompt | Stage::Token(_) if self.run.cancel.is_cancelled() => {
                let text = self.walk.flush_text(&self.run)?;
                self.stage = Stage::Finished(self.run.cancel.stopped());
                return Ok((!text.is_empty()).then(|| StreamPiece::held(text)));
            }
            Stage::Prompt => ask::first(&mut self.session, &wanted)?,
            Stage::Token(token) => ask::next(&mut self.session, &[0], &[token], &wanted)?,
        };
        self.choose(scores).map(Some)
    }

    fn choose(&mut self, mut scores: Scores) -> Result<StreamPiece, GenerateError> {
        let (session, scratch) = (&mut self.session, &mut self.scratch);
        let (token, growth) = self
            .walk
            .advance(&self.run, session, &mut scores, 0, scratch)?;
        self.generated.push(token);
        let mut text = growth.text;
        self.stage = match growth.finish {
            // Fed by the next call, not by this one: its text is shown before the model runs again.
            None => Stage::Token(token.id),
            Some(reason) => {
                if reason != FinishReason::StopString {
                    text.push_str(&self.walk.flush_text(&self.run)?);
                }
                Stage::Finished(reason)
            }
        };
        Ok(StreamPiece {
            text,
            top: self.walk.top(),
            token: Some(token),
        })
    }
}

impl<S: DecodeSession> Iterator for Stream<'_, S> {
    type Item = Result<StreamPiece, GenerateError>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.advance();
        if piece.is_err() {
            self.stage = Stage::Failed;
        }
        piece.transpose()
    }
}

impl<S: DecodeSession> FusedIterator for Stream<'_, S> {}

impl<S> fmt::Debug for Stream<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("tokens", &self.generated)
            .finish_non_exhaustive()
    }
}
