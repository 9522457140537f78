//! Answers of a type: yes or no, a number, one of a program's own values.

use super::{
    Answer, Blip2Pipeline, Looked, Options, Picture, Prompt, Seen, Timings,
    grammar::{Constraint, Grammar},
};
use crate::Blip2Error;

/// A type whose values a model can be made to answer with.
///
/// Of its own accord a model may ramble. For a typed answer each token is chosen among those that
/// can still lead to a text of the [`grammar`](Self::grammar), and the answer may end only where it
/// is one: the model decides which, and always answers.
///
/// ```
/// use blip2_core::{Grammar, TypedAnswer};
///
/// enum Weather { Sunny, Rainy }
///
/// impl TypedAnswer for Weather {
///     fn grammar() -> Grammar {
///         Grammar::one_of(["sunny", "rainy", "raining"])
///     }
///
///     fn parse(text: &str) -> Option<Self> {
///         match text {
///             "sunny" => Some(Self::Sunny),
///             "rainy" | "raining" => Some(Self::Rainy),
///             _ => None,
///         }
///     }
/// }
/// ```
pub trait TypedAnswer: Sized {
    /// All texts that are answers.
    fn grammar() -> Grammar;

    /// The value that a text of the grammar stands for.
    fn parse(text: &str) -> Option<Self>;
}

/// Yes or no, with a capital letter or without.
impl TypedAnswer for bool {
    fn grammar() -> Grammar {
        Grammar::one_of(["yes", "no", "Yes", "No"])
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "yes" | "Yes" => Some(true),
            "no" | "No" => Some(false),
            _ => None,
        }
    }
}

/// The words that numbers are answered with, from zero.
const WORDS: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
];

macro_rules! numbers {
    ($($type:ty)*) => {$(
        /// Digits, or a word from zero to twelve.
        impl TypedAnswer for $type {
            fn grammar() -> Grammar {
                Grammar::one_of(WORDS).or_number_up_to(u64::from(<$type>::MAX))
            }

            fn parse(text: &str) -> Option<Self> {
                match WORDS.iter().position(|word| *word == text) {
                    Some(number) => number.try_into().ok(),
                    None => text.parse().ok(),
                }
            }
        }
    )*};
}
numbers!(u8 u16 u32 u64);

/// A typed answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Typed<T> {
    /// The value.
    pub value: T,
    /// The answer that it was read from. Its log-probabilities are the model's own, without the
    /// constraint: a small [`confidence`](Answer::confidence) says that the model would rather have
    /// answered something else.
    pub answer: Answer,
}

impl Blip2Pipeline {
    /// Answers a question about a picture with a value of a type.
    ///
    /// ```no_run
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("models/blip2-flan-t5-xl")?;
    /// # let image = blip2_core::image::open("beach.jpg")?;
    /// if blip2.answer_as::<bool>(&image, "Is there a dog?")?.value {
    ///     let dogs = blip2.answer_as::<u32>(&image, "How many dogs are there?")?.value;
    ///     println!("{dogs} dogs");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn answer_as<'a, T: TypedAnswer>(
        &self,
        image: impl Into<Picture<'a>>,
        question: &str,
    ) -> Result<Typed<T>, Blip2Error> {
        self.answer_as_with(image, question, &Options::default())
    }

    /// [`answer_as`](Self::answer_as) with options, as [`answer_batch_as`](Self::answer_batch_as)
    /// uses them.
    ///
    /// # Errors
    ///
    /// As [`answer_batch_as`](Self::answer_batch_as).
    pub fn answer_as_with<'a, T: TypedAnswer>(
        &self,
        image: impl Into<Picture<'a>>,
        question: &str,
        options: &Options,
    ) -> Result<Typed<T>, Blip2Error> {
        one(self.answer_batch_as([(image, question)], options)?)
    }

    /// Answers many questions about pictures with values of a type. The type's grammar takes the
    /// place of a constraint in the options and decides how long an answer may be.
    ///
    /// # Errors
    ///
    /// As [`answer_batch`](Self::answer_batch), and [`Blip2Error::Unfinished`] if an answer was
    /// cancelled before it had a value.
    pub fn answer_batch_as<'a, T: TypedAnswer, P: Into<Picture<'a>>, Q: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, Q)>,
        options: &Options,
    ) -> Result<Vec<Typed<T>>, Blip2Error> {
        let (pictures, questions): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let pictures: Vec<Picture<'a>> = pictures.into_iter().map(Into::into).collect();
        let (prompts, options) = self.constrained::<T>(&questions, options)?;
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let (looked, timings) = self.encode(&pictures)?;
        self.typed(&looked, &prompts, &options, timings)
    }

    /// Prompts, and options that hold their answers to the grammar of a type.
    fn constrained<T: TypedAnswer>(
        &self,
        questions: &[impl AsRef<str>],
        options: &Options,
    ) -> Result<(Vec<Prompt>, Options), Blip2Error> {
        let rendered = questions.iter().map(|question| {
            let template = options.template.as_ref();
            self.prompts.rendered(question.as_ref(), template)
        });
        let texts: Vec<String> = rendered.collect::<Result<_, _>>()?;
        let prompts = texts.iter().map(|text| self.prompts.raw(text));
        let prompts = prompts.collect::<Result<_, _>>()?;
        let ends = self.end_tokens(options);
        let tokens = |prompt: &String, text: &str| self.prompts.continuation(prompt, text);
        let digits = || self.prompts.digits();
        let constraint = Constraint::new(&T::grammar(), &texts, tokens, digits, ends)?;
        let options = constraint.hold(options, self.generation(options));
        Ok((prompts, options))
    }

    fn typed<T: TypedAnswer>(
        &self,
        looked: &Looked,
        prompts: &[Prompt],
        options: &Options,
        timings: Timings,
    ) -> Result<Vec<Typed<T>>, Blip2Error> {
        let prepared = self.prepare(prompts, options)?;
        Typed::read(self.generate(looked, prepared, timings)?)
    }
}

impl<T: TypedAnswer> Typed<T> {
    /// The values of answers that were held to the type's grammar.
    pub(crate) fn read(answers: Vec<Answer>) -> Result<Vec<Self>, Blip2Error> {
        let typed = answers
            .into_iter()
            .map(|answer| match T::parse(&answer.text) {
                Some(value) => Ok(Self { value, answer }),
                None => Err(Blip2Error::Unfinished { text: answer.text }),
            });
        typed.collect()
    }
}

impl Seen<'_> {
    /// Answers a question about the picture with a value of a type: see
    /// [`Blip2Pipeline::answer_as`].
    ///
    /// # Errors
    ///
    /// As [`Blip2Pipeline::answer`].
    pub fn ask_as<T: TypedAnswer>(&self, question: &str) -> Result<Typed<T>, Blip2Error> {
        one(self.ask_batch_as([question], &Options::default())?)
    }

    /// Answers many questions about the picture with values of a type.
    ///
    /// # Errors
    ///
    /// As [`Blip2Pipeline::answer_batch_as`].
    pub fn ask_batch_as<T: TypedAnswer, Q: AsRef<str>>(
        &self,
        questions: impl IntoIterator<Item = Q>,
        options: &Options,
    ) -> Result<Vec<Typed<T>>, Blip2Error> {
        let questions: Vec<Q> = questions.into_iter().collect();
        let pipeline = self.pipeline();
        let (prompts, options) = pipeline.constrained::<T>(&questions, options)?;
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let looked = self.looked().repeat(prompts.len());
        pipeline.typed(&looked, &prompts, &options, Timings::default())
    }
}

fn one<T>(typed: Vec<Typed<T>>) -> Result<Typed<T>, Blip2Error> {
    typed.into_iter().next().ok_or_else(|| Blip2Error::Rows {
        reason: "no answer".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_a_grammar_has_a_value() {
        for (text, value) in [("yes", true), ("Yes", true), ("no", false), ("No", false)] {
            assert_eq!(bool::parse(text), Some(value));
        }
        assert_eq!(bool::parse("maybe"), None);
        for (text, value) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("twelve", Some(12)),
            ("256", None),
        ] {
            assert_eq!(u8::parse(text), value);
        }
        assert_eq!(u64::parse("18446744073709551615"), Some(u64::MAX));
    }
}
