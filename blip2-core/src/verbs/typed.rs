//! Answers of a type: yes or no, a number, one of a program's own values.

use blip2_lm::generate::FinishReason;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Answers, Options, Picture, Seen, alone,
    grammar::{Constraint, Grammar},
    run::run,
};
use crate::error::Blip2Error;

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
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// let typed = blip2.answer_as::<bool>(&image, "is there a triangle in the image?")?;
/// assert_eq!((typed.value, typed.answer.text.as_str()), (true, "yes"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Typed<T> {
    /// The value.
    pub value: T,
    /// The answer that it was read from. Its log-probabilities are the model's own, without the
    /// constraint: a small [`confidence`](Answer::confidence) says that the model would rather have
    /// answered something else.
    pub answer: Answer,
}

/// Answers many questions about pictures with values of a type.
pub(crate) fn answer_as_batch<
    'a,
    W: Answers,
    T: TypedAnswer,
    P: Into<Picture<'a>>,
    Q: AsRef<str>,
>(
    writer: &W,
    pairs: impl IntoIterator<Item = (P, Q)>,
    options: &Options,
) -> Result<Vec<Typed<T>>, Blip2Error> {
    let (pictures, questions): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let pictures: Vec<Picture<'a>> = pictures.into_iter().map(Into::into).collect();
    let (prompts, options) = constrained::<T, W>(writer, &questions, options)?;
    Typed::read(run(writer, &pictures, &prompts, &options)?)
}

/// Prompts, and options that hold their answers to the grammar of a type.
fn constrained<T: TypedAnswer, W: Answers>(
    writer: &W,
    questions: &[impl AsRef<str>],
    options: &Options,
) -> Result<(Vec<W::Prompt>, Options), Blip2Error> {
    let prompts = questions.iter().enumerate().map(|(index, question)| {
        let prompt = writer.question(question.as_ref(), options.template.as_ref());
        prompt.map_err(|error| Blip2Error::item(index, error))
    });
    let prompts: Vec<W::Prompt> = prompts.collect::<Result<_, _>>()?;
    let tokens = |prompt: &W::Prompt, text: &str| writer.continuation(prompt, text);
    let (digits, ends) = (|| writer.digits(), writer.end_tokens(options));
    let constraint = Constraint::new(&T::grammar(), &prompts, tokens, digits, ends)?;
    let options = constraint.hold(options, writer.generation(options));
    Ok((prompts, options))
}

impl<T: TypedAnswer> Typed<T> {
    /// The values of answers that were held to the type's grammar.
    fn read(answers: Vec<Answer>) -> Result<Vec<Self>, Blip2Error> {
        let typed =
            answers
                .into_iter()
                .enumerate()
                .map(|(index, answer)| match T::parse(&answer.text) {
                    Some(value) => Ok(Self { value, answer }),
                    None => Err(Blip2Error::item(index, unread::<T>(answer))),
                });
        typed.collect()
    }
}

/// Why an answer has no value.
fn unread<T>(answer: Answer) -> Blip2Error {
    let (text, reason) = (answer.text, answer.finish_reason);
    match reason {
        FinishReason::Eos | FinishReason::StopString => Blip2Error::Unparsed {
            text,
            wanted: std::any::type_name::<T>(),
        },
        reason => Blip2Error::Unfinished { text, reason },
    }
}

impl<P: Answers> Seen<P> {
    /// Answers a question about the picture with a value of a type, as `answer_as` of the model.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// # let seen = blip2.look(&image)?;
    /// assert!(seen.ask_as::<bool>("is there a triangle in the image?")?.value);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As `answer_as_batch` of the model.
    pub fn ask_as<T: TypedAnswer>(&self, question: &str) -> Result<Typed<T>, Blip2Error> {
        self.ask_as_with(question, &Options::default())
    }

    /// [`ask_as`](Self::ask_as) with options.
    ///
    /// # Errors
    ///
    /// As `answer_as_batch` of the model.
    pub fn ask_as_with<T: TypedAnswer>(
        &self,
        question: &str,
        options: &Options,
    ) -> Result<Typed<T>, Blip2Error> {
        alone(self.ask_as_batch([question], options))
    }

    /// Answers many questions about the picture with values of a type.
    ///
    /// # Errors
    ///
    /// As `answer_as_batch` of the model.
    pub fn ask_as_batch<T: TypedAnswer, Q: AsRef<str>>(
        &self,
        questions: impl IntoIterator<Item = Q>,
        options: &Options,
    ) -> Result<Vec<Typed<T>>, Blip2Error> {
        let questions: Vec<Q> = questions.into_iter().collect();
        let (prompts, options) = constrained::<T, P>(self.member(), &questions, options)?;
        Typed::read(self.run(&prompts, &options)?)
    }
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
