//! What the verbs ask of a member that writes about pictures.

use std::{fmt, sync::Arc};

use blip2_io::Tokenizer;
use blip2_lm::generate::{CancelToken, GenerationConfig, TokenDecoder};

use super::{Answer, Options, Picture, Started, Timings};
use crate::{
    error::Blip2Error,
    load::Load,
    text::{DigitToken, Template},
};

/// A member that writes about pictures, by the steps of the data's journey.
#[doc(hidden)]
pub trait Writer: Load {
    /// A prompt that was read.
    type Prompt: Clone + Send;
    /// What is kept of pictures that were looked at.
    type Looked: Clone + Send + fmt::Debug + 'static;
    /// Prompts that are laid out and known to be possible.
    type Prepared: Send;

    fn tokenizer(&self) -> &Tokenizer;

    /// Checks that prompts can be generated after, before any picture is encoded.
    fn prepare(
        &self,
        prompts: &[Self::Prompt],
        options: &Options,
    ) -> Result<Self::Prepared, Blip2Error>;

    /// Encodes pictures as far as that can be done without a prompt.
    fn look_at(
        &self,
        pictures: &[Picture<'_>],
        cancel: &CancelToken,
    ) -> Result<(Self::Looked, Timings), Blip2Error>;

    /// The only picture, `count` times.
    fn repeat(&self, looked: &Self::Looked, count: usize) -> Self::Looked;

    /// One of some pictures.
    fn part(&self, looked: &Self::Looked, index: usize) -> Self::Looked;

    /// Pictures that were looked at one by one, together.
    fn join(&self, looked: &[&Self::Looked]) -> Result<Self::Looked, Blip2Error>;

    /// How many numbers are kept of pictures.
    fn numbers(&self, looked: &Self::Looked) -> usize;

    /// Makes text of tokens.
    fn decoder(&self) -> Arc<dyn TokenDecoder>;

    /// Writes after prompts, one for each picture, to the end.
    fn write(
        &self,
        looked: &Self::Looked,
        prepared: Self::Prepared,
        timings: Timings,
    ) -> Result<Vec<Answer>, Blip2Error>;

    /// Starts to write after a single prompt about a single picture.
    fn start_one(
        &self,
        looked: &Self::Looked,
        prepared: Self::Prepared,
        timings: &mut Timings,
    ) -> Result<Started, Blip2Error>;

    /// Starts to write after prompts, one for each picture, in as many sessions as they need: each with
    /// the places of its prompts.
    fn start_many(
        &self,
        looked: &Self::Looked,
        prepared: Self::Prepared,
        timings: &mut Timings,
    ) -> Result<Vec<(Vec<usize>, Started)>, Blip2Error>;

    /// The arguments of a call: its own or the usual ones, with the checkpoint's end tokens where
    /// they name none.
    fn generation(&self, options: &Options) -> GenerationConfig {
        options.generation_over(&self.loaded().generation)
    }

    /// The tokens that end an answer.
    fn end_tokens(&self, options: &Options) -> Vec<u32> {
        self.generation(options).eos_token_id
    }
}

/// A member that answers questions: [`Blip2Pipeline`](crate::Blip2Pipeline) or
/// [`BlipAnswerer`](crate::BlipAnswerer).
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// use blip2_core::{Answers, Blip2Error, Seen};
///
/// /// The colour of what any of them has looked at.
/// fn color<P: Answers>(seen: &Seen<P>) -> Result<String, Blip2Error> {
///     Ok(seen.ask("what color is the shape?")?.text)
/// }
///
/// assert_eq!(color(&blip2.look(&image)?)?, "red");
/// # Ok::<(), Blip2Error>(())
/// ```
pub trait Answers: Writer {
    /// A question in its template.
    #[doc(hidden)]
    fn question(
        &self,
        question: &str,
        template: Option<&Template>,
    ) -> Result<Self::Prompt, Blip2Error>;

    /// The tokens of an answer as they follow a prompt, without an end token.
    #[doc(hidden)]
    fn continuation(&self, prompt: &Self::Prompt, answer: &str) -> Result<Vec<u32>, Blip2Error>;

    /// The vocabulary's tokens of digits alone.
    #[doc(hidden)]
    fn digits(&self) -> &[DigitToken];

    /// The log-probabilities of the tokens of continuations of each prompt, `[prompt][continuation]`.
    #[doc(hidden)]
    fn score(
        &self,
        looked: &Self::Looked,
        prompts: &[Self::Prompt],
        tokens: &[Vec<Vec<u32>>],
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Vec<f32>>>, Blip2Error>;
}

/// A member that describes pictures: [`Blip2Pipeline`](crate::Blip2Pipeline) or
/// [`BlipCaptioner`](crate::BlipCaptioner).
///
/// ```
/// # let blip = blip2_core::BlipCaptioner::from_pretrained("../fixtures/blip1_caption")?;
/// # let image = blip.open("../examples/images/red-triangle.png")?;
/// use blip2_core::{Blip2Error, Describes, Seen};
///
/// /// A caption of its own making, and one that goes on with these words.
/// fn captions<P: Describes>(seen: &Seen<P>, words: &str) -> Result<[String; 2], Blip2Error> {
///     Ok([seen.caption()?.text, seen.prompt(words)?.text])
/// }
///
/// let [free, led] = captions(&blip.look(&image)?, "a picture of")?;
/// println!("{free}; a picture of {led}");
/// # Ok::<(), Blip2Error>(())
/// ```
pub trait Describes: Writer {
    /// A prompt as it is.
    #[doc(hidden)]
    fn raw(&self, prompt: &str) -> Result<Self::Prompt, Blip2Error>;

    /// What a caption continues.
    #[doc(hidden)]
    fn caption_prompt(&self) -> Result<Self::Prompt, Blip2Error>;
}
