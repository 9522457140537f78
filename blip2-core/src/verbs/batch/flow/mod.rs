//! Pictures from an iterator, answered as places become free.

mod incoming;
mod running;

use std::{fmt, sync::Arc};

use super::AnswerRequest;
use crate::{
    error::Blip2Error,
    verbs::{Answers, Describes, Options, Seen, Writer},
};
pub use running::Flowing;

/// How many answers grow together if nobody says otherwise.
const PLACES: usize = 8;

/// Answers or describes a stream of pictures, however long, with as many answers growing together as there
/// are places: one that ends gives its place to the next picture, so that no step waits for the longest
/// answer of a batch.
///
/// Pictures are read by a thread of their own, a few ahead. Each answer is what its picture gets alone,
/// sampled ones included, whatever runs beside it. What is wrong with one picture is its own result. Beam
/// searches of the same arguments run in one search of as many pictures as there are places.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// use blip2_core::{AnswerFlow, Blip2Error};
///
/// let blip = blip2.clone();
/// let pictures = ["red-triangle", "no-such-file", "blue-circle"].into_iter();
/// let asked = pictures.map(move |name| {
///     let image = blip.open(format!("../examples/images/{name}.png"))?;
///     Ok((image, "what color is the shape?".to_string()))
/// });
/// let mut answers = AnswerFlow::new(&blip2).in_order(true).answers::<_, Blip2Error>(asked);
/// assert_eq!(answers.next().map(|(n, answer)| (n, answer.unwrap().text)), Some((0, "red".into())));
/// assert!(answers.next().is_some_and(|(_, missing)| missing.is_err()));
/// assert_eq!(answers.next().map(|(n, answer)| (n, answer.unwrap().text)), Some((2, "blue".into())));
/// assert!(answers.next().is_none());
/// # Ok::<(), Blip2Error>(())
/// ```
pub struct AnswerFlow<P: Writer> {
    member: P,
    places: usize,
    in_order: bool,
    options: Arc<dyn Fn(usize) -> Options + Send + Sync>,
}

impl<P: Writer> AnswerFlow<P> {
    /// A flow through a model, with eight places.
    pub fn new(member: &P) -> Self {
        Self {
            member: member.clone(),
            places: PLACES,
            in_order: false,
            options: Arc::new(|_| Options::default()),
        }
    }

    /// How many answers grow together; at least one. Where the memory that the model may take is less than
    /// they need, fewer do.
    #[must_use]
    pub fn with_places(mut self, places: usize) -> Self {
        self.places = places.max(1);
        self
    }

    /// Whether results come in the order of the pictures, and those that are early wait. Default: they come
    /// as they end.
    #[must_use]
    pub fn in_order(mut self, in_order: bool) -> Self {
        self.in_order = in_order;
        self
    }

    /// The options of every answer. To cancel them ends the flow with what there is of each.
    #[must_use]
    pub fn with_options(self, options: Options) -> Self {
        self.with_options_of(move |_| options.clone())
    }

    /// The options of each answer, by the number of its picture, from 0.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// use blip2_core::{AnswerFlow, Blip2Error, GenerationConfig, Options};
    ///
    /// let seeded = |n| {
    ///     let sampled = GenerationConfig::default().with_do_sample(true).with_seed(n as u64);
    ///     Options::default().with_generation(sampled)
    /// };
    /// let twice = [image.clone(), image].map(|image| Ok::<_, Blip2Error>((image, None)));
    /// let flow = AnswerFlow::new(&blip2).with_options_of(seeded);
    /// assert_eq!(flow.captions(twice.into_iter()).count(), 2);
    /// # Ok::<(), Blip2Error>(())
    /// ```
    #[must_use]
    pub fn with_options_of(
        mut self,
        options: impl Fn(usize) -> Options + Send + Sync + 'static,
    ) -> Self {
        self.options = Arc::new(options);
        self
    }
}

/// What is asked about a picture.
enum Ask {
    Question(String),
    Prompt(String),
    Caption,
}

/// Makes a request of what is asked about a picture that was looked at.
type Request<P> = fn(&Seen<P>, &Ask, &Options) -> Result<AnswerRequest<P>, Blip2Error>;

impl<P: Answers> AnswerFlow<P> {
    /// Answers a question about each picture. What could not be read comes out at its place.
    pub fn answers<T: Send + 'static, E: Send + 'static>(
        self,
        asked: impl Iterator<Item = Result<(T, String), E>> + Send + 'static,
    ) -> Flowing<P, T, E> {
        let request: Request<P> = |seen, ask, options| match ask {
            Ask::Question(question) | Ask::Prompt(question) => seen.request(question, options),
            Ask::Caption => Err(Blip2Error::EmptyQuestion),
        };
        let asked = asked.map(|one| one.map(|(image, text)| (image, Ask::Question(text))));
        Flowing::start(self, request, asked)
    }
}

impl<P: Describes> AnswerFlow<P> {
    /// Describes each picture, after its prompt if it has one. What could not be read comes out at its
    /// place.
    pub fn captions<T: Send + 'static, E: Send + 'static>(
        self,
        pictures: impl Iterator<Item = Result<(T, Option<String>), E>> + Send + 'static,
    ) -> Flowing<P, T, E> {
        let request: Request<P> = |seen, ask, options| match ask {
            Ask::Question(prompt) | Ask::Prompt(prompt) => seen.request_prompt(prompt, options),
            Ask::Caption => seen.request_caption(options),
        };
        let pictures = pictures.map(|one| {
            one.map(|(image, prompt)| (image, prompt.map_or(Ask::Caption, Ask::Prompt)))
        });
        Flowing::start(self, request, pictures)
    }
}

impl<P: Writer> fmt::Debug for AnswerFlow<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerFlow")
            .field("places", &self.places)
            .field("in_order", &self.in_order)
            .finish_non_exhaustive()
    }
}
