//! A picture that was looked at.

use std::fmt;

use super::{
    Answer, AnswerStream, Answers, Describes, Options, Picture, Timings, Writer, alone,
    each::each,
    run::{or_stopped, stream_seen},
    stage::go_on,
};
use crate::error::Blip2Error;

/// A picture, or a video, that was encoded once and can be asked many times: neither the image
/// encoder nor the Q-Former runs again, as the answers' [`timings`](Answer::timings) show.
///
/// It is owned and holds a handle of its model, so that it can be kept, sent to another thread and
/// outlive the variable that made it.
///
/// With InstructBLIP the image encoder alone ran: the Q-Former reads the question, so it runs for
/// each. BLIP-1's text encoder reads each question too.
///
/// Made by `look` of [`Blip2Pipeline`](crate::Blip2Pipeline), [`BlipAnswerer`](crate::BlipAnswerer) and
/// [`BlipCaptioner`](crate::BlipCaptioner), and by [`Blip2Pipeline::recall`](crate::Blip2Pipeline::recall).
///
/// ```no_run
/// use blip2_core::{Blip2Pipeline, Seen};
///
/// let blip2 = Blip2Pipeline::from_pretrained("models/blip2-opt-2.7b")?;
/// let seen: Seen<Blip2Pipeline> = blip2.look(&image::open("beach.jpg")?)?;
/// drop(blip2); // the handle in `seen` is enough
/// let asked = std::thread::spawn(move || seen.ask("How many dogs are there?"));
/// # let _ = asked;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Seen<P: Writer> {
    member: P,
    looked: P::Looked,
    timings: Timings,
}

impl<P: Writer> Seen<P> {
    pub(crate) fn new(member: P, looked: P::Looked, timings: Timings) -> Self {
        Self {
            member,
            looked,
            timings,
        }
    }

    /// Looks at a picture.
    pub(crate) fn of(
        member: &P,
        picture: Picture<'_>,
        options: &Options,
    ) -> Result<Self, Blip2Error> {
        let options = options.begun();
        let looked = member.look_at(&[picture], options.cancel());
        let (looked, timings) = looked.map_err(Blip2Error::of_item)?;
        // Whoever gave up waiting is not handed what nobody will ask.
        go_on(options.cancel())?;
        Ok(Self::new(member.clone(), looked, timings))
    }

    /// Looks at pictures together.
    pub(crate) fn of_batch(
        member: &P,
        pictures: &[Picture<'_>],
        options: &Options,
    ) -> Result<Vec<Self>, Blip2Error> {
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let options = options.begun();
        let (looked, timings) = member.look_at(pictures, options.cancel())?;
        go_on(options.cancel())?;
        let each = 0..pictures.len();
        Ok(each
            .map(|index| Self::new(member.clone(), member.part(&looked, index), timings))
            .collect())
    }

    /// How long encoding took, of a batch the whole batch's; nothing of it is in the answers' timings.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// How many bytes of memory its features take, where it is kept: they are held in 32 bits.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// let seen = blip2.look(&image)?;
    /// assert_eq!(seen.size_in_bytes(), 4 * seen.features().map_or(0, |of| of.tensor().shape().num_elements()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn size_in_bytes(&self) -> usize {
        self.member.numbers(&self.looked) * size_of::<f32>()
    }

    /// The model that looked.
    pub fn member(&self) -> &P {
        &self.member
    }

    pub(crate) fn looked(&self) -> &P::Looked {
        &self.looked
    }

    /// Writes after prompts about the picture, together.
    pub(super) fn run(
        &self,
        prompts: &[P::Prompt],
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let options = options.begun();
        let prepared = self.member.prepare(prompts, &options)?;
        let looked = self.member.repeat(&self.looked, prompts.len());
        let written = self.member.write(&looked, prepared, Timings::default());
        or_stopped(written, prompts.len())
    }

    fn run_made<Q>(
        &self,
        texts: impl IntoIterator<Item = Q>,
        prompt: impl Fn(Q) -> Result<P::Prompt, Blip2Error>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let prompts = texts
            .into_iter()
            .enumerate()
            .map(|(index, text)| prompt(text).map_err(|error| Blip2Error::item(index, error)));
        self.run(&prompts.collect::<Result<Vec<_>, _>>()?, options)
    }

    fn run_each<Q>(
        &self,
        texts: impl IntoIterator<Item = Q>,
        prompt: impl Fn(Q) -> Result<P::Prompt, Blip2Error>,
        options: &Options,
    ) -> Vec<Result<Answer, Blip2Error>> {
        let options = options.begun();
        let prompts = texts.into_iter().map(prompt).collect();
        each(prompts, |_, prompts| self.run(prompts, &options))
    }
}

impl<P: Answers> Seen<P> {
    /// Answers a question about the picture.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// # let seen = blip2.look(&image)?;
    /// assert_eq!(seen.ask("what color is the shape?")?.text, "red");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As `answer` of the model.
    pub fn ask(&self, question: &str) -> Result<Answer, Blip2Error> {
        self.ask_with(question, &Options::default())
    }

    /// [`ask`](Self::ask) with options.
    ///
    /// # Errors
    ///
    /// As `answer_with` of the model.
    pub fn ask_with(&self, question: &str, options: &Options) -> Result<Answer, Blip2Error> {
        alone(self.ask_batch([question], options))
    }

    /// Answers many questions about the picture together.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// # let seen = blip2.look(&image)?;
    /// use blip2_core::Options;
    ///
    /// let questions = ["what color is the shape?", "what shape is in the image?"];
    /// let answers = seen.ask_batch(questions, &Options::default())?;
    /// assert_eq!(answers[1].text, "triangle");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As `answer_batch` of the model.
    pub fn ask_batch<Q: AsRef<str>>(
        &self,
        questions: impl IntoIterator<Item = Q>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        let template = options.template.as_ref();
        let prompt = |question: Q| self.member.question(question.as_ref(), template);
        self.run_made(questions, prompt, options)
    }

    /// [`ask_batch`](Self::ask_batch) with a result for each question.
    pub fn ask_each<Q: AsRef<str>>(
        &self,
        questions: impl IntoIterator<Item = Q>,
        options: &Options,
    ) -> Vec<Result<Answer, Blip2Error>> {
        let template = options.template.as_ref();
        let prompt = |question: Q| self.member.question(question.as_ref(), template);
        self.run_each(questions, prompt, options)
    }

    /// Answers a question about the picture piece by piece, as the text grows.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// # let seen = blip2.look(&image)?;
    /// for piece in seen.ask_stream("what color is the shape?")? {
    ///     print!("{}", piece?);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As `stream_answer` of the model.
    pub fn ask_stream(&self, question: &str) -> Result<AnswerStream, Blip2Error> {
        self.ask_stream_with(question, &Options::default())
    }

    /// [`ask_stream`](Self::ask_stream) with options; more than one beam cannot be streamed.
    ///
    /// # Errors
    ///
    /// As `stream_answer_with` of the model.
    pub fn ask_stream_with(
        &self,
        question: &str,
        options: &Options,
    ) -> Result<AnswerStream, Blip2Error> {
        let prompt = self.member.question(question, options.template.as_ref())?;
        stream_seen(&self.member, &self.looked, prompt, options)
    }
}

impl<P: Describes> Seen<P> {
    /// Describes the picture.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// # let seen = blip2.look(&image)?;
    /// println!("{}", seen.caption()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As `caption` of the model.
    pub fn caption(&self) -> Result<Answer, Blip2Error> {
        self.caption_with(&Options::default())
    }

    /// [`caption`](Self::caption) with options.
    ///
    /// # Errors
    ///
    /// As `caption_with` of the model.
    pub fn caption_with(&self, options: &Options) -> Result<Answer, Blip2Error> {
        alone(self.run_made([()], |()| self.member.caption_prompt(), options))
    }

    /// Describes the picture piece by piece, as the text grows.
    ///
    /// # Errors
    ///
    /// As `stream_caption` of the model.
    pub fn caption_stream(&self) -> Result<AnswerStream, Blip2Error> {
        self.caption_stream_with(&Options::default())
    }

    /// [`caption_stream`](Self::caption_stream) with options; more than one beam cannot be streamed.
    ///
    /// # Errors
    ///
    /// As `stream_caption_with` of the model.
    pub fn caption_stream_with(&self, options: &Options) -> Result<AnswerStream, Blip2Error> {
        let prompt = self.member.caption_prompt()?;
        stream_seen(&self.member, &self.looked, prompt, options)
    }

    /// Continues a raw prompt about the picture.
    ///
    /// # Errors
    ///
    /// As `prompt` of the model.
    pub fn prompt(&self, prompt: &str) -> Result<Answer, Blip2Error> {
        self.prompt_with(prompt, &Options::default())
    }

    /// [`prompt`](Self::prompt) with options.
    ///
    /// # Errors
    ///
    /// As `prompt_with` of the model.
    pub fn prompt_with(&self, prompt: &str, options: &Options) -> Result<Answer, Blip2Error> {
        alone(self.prompt_batch([prompt], options))
    }

    /// Continues many raw prompts about the picture together.
    ///
    /// # Errors
    ///
    /// As `prompt_batch` of the model.
    pub fn prompt_batch<Q: AsRef<str>>(
        &self,
        prompts: impl IntoIterator<Item = Q>,
        options: &Options,
    ) -> Result<Vec<Answer>, Blip2Error> {
        self.run_made(
            prompts,
            |prompt: Q| self.member.raw(prompt.as_ref()),
            options,
        )
    }

    /// [`prompt_batch`](Self::prompt_batch) with a result for each prompt.
    pub fn prompt_each<Q: AsRef<str>>(
        &self,
        prompts: impl IntoIterator<Item = Q>,
        options: &Options,
    ) -> Vec<Result<Answer, Blip2Error>> {
        self.run_each(
            prompts,
            |prompt: Q| self.member.raw(prompt.as_ref()),
            options,
        )
    }

    /// Continues a raw prompt about the picture piece by piece, as the text grows.
    ///
    /// # Errors
    ///
    /// As `stream` of the model.
    pub fn stream(&self, prompt: &str) -> Result<AnswerStream, Blip2Error> {
        self.stream_with(prompt, &Options::default())
    }

    /// [`stream`](Self::stream) with options; more than one beam cannot be streamed.
    ///
    /// # Errors
    ///
    /// As `stream_with` of the model.
    pub fn stream_with(&self, prompt: &str, options: &Options) -> Result<AnswerStream, Blip2Error> {
        let prompt = self.member.raw(prompt)?;
        stream_seen(&self.member, &self.looked, prompt, options)
    }
}

impl<P: Writer> fmt::Debug for Seen<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen")
            .field("by", &P::NAME)
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}

/// Gives a member that writes `look`.
macro_rules! looking {
    ($member:ident, $folder:literal) => {
        impl $member {
            /// Encodes a picture or video, to be asked many questions without being encoded again.
            /// Where the model reads the question together with the picture (InstructBLIP, BLIP-1),
            /// that is the image encoder's part.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// let seen = blip.look(&image)?;
            /// assert!(seen.timings().vision.is_some()); // of what follows, nothing encodes the picture again
            /// println!("{seen:?}");
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// Whatever goes wrong with the picture.
            pub fn look<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
            ) -> Result<crate::verbs::Seen<Self>, crate::error::Blip2Error> {
                self.look_with(image, &crate::verbs::Options::default())
            }

            /// [`look`](Self::look) with options, of which a way to cancel and a deadline matter.
            ///
            /// # Errors
            ///
            /// As [`look`](Self::look); [`Cancelled`](crate::Blip2Error::Cancelled) and
            /// [`Deadline`](crate::Blip2Error::Deadline) of a call that was stopped.
            pub fn look_with<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                options: &crate::verbs::Options,
            ) -> Result<crate::verbs::Seen<Self>, crate::error::Blip2Error> {
                crate::verbs::Seen::of(self, image.into(), options)
            }

            /// Encodes many pictures together, each to be asked by itself. Each is what
            /// [`look`](Self::look) gives alone.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// use blip2_core::Options;
            ///
            /// let other = blip.open("../examples/images/blue-circle.png")?;
            /// let seen = blip.look_batch([&image, &other], &Options::default())?;
            /// assert_eq!(seen.len(), 2);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As [`look_with`](Self::look_with); the first fault fails the batch, and
            /// [`Item`](crate::Blip2Error::Item) says whose it is.
            pub fn look_batch<'a, P: Into<crate::picture::Picture<'a>>>(
                &self,
                images: impl IntoIterator<Item = P>,
                options: &crate::verbs::Options,
            ) -> Result<Vec<crate::verbs::Seen<Self>>, crate::error::Blip2Error> {
                let pictures: Vec<_> = images.into_iter().map(Into::into).collect();
                crate::verbs::Seen::of_batch(self, &pictures, options)
            }
        }
    };
}
pub(crate) use looking;
