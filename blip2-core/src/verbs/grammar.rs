//! What a typed answer may be, and the constraint that holds a decoder to it.

use blip2_lm::generate::{GenerationConfig, NextTokens, Position, TokenConstraint};

use super::Options;
use crate::{error::Blip2Error, text::DigitToken};

/// The texts that are answers of a type: some words, and numbers.
///
/// ```
/// use blip2_core::Grammar;
///
/// let how_many = Grammar::one_of(["none", "many"]).or_number_up_to(20);
/// assert_ne!(how_many, Grammar::number_up_to(20));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grammar {
    texts: Vec<String>,
    largest: Option<u64>,
}

impl Grammar {
    /// One of these texts.
    pub fn one_of<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self {
            texts: texts.into_iter().map(Into::into).collect(),
            largest: None,
        }
    }

    /// A number in decimal digits, up to `largest`.
    pub fn number_up_to(largest: u64) -> Self {
        Self::one_of::<String>([]).or_number_up_to(largest)
    }

    /// Also a number in decimal digits, up to `largest`.
    #[must_use]
    pub fn or_number_up_to(mut self, largest: u64) -> Self {
        self.largest = Some(largest);
        self
    }
}

/// Lets through what can still become a text of a grammar.
pub(crate) struct Constraint {
    /// For each prompt, the tokens of each text.
    paths: Vec<Vec<Vec<u32>>>,
    numbers: Option<Numbers>,
    ends: Vec<u32>,
}

struct Numbers {
    tokens: Vec<DigitToken>,
    largest: u64,
}

impl Constraint {
    /// For `prompts`: `tokens` are those of a text as it follows a prompt, `digits` the vocabulary's
    /// and `ends` the tokens that end an answer.
    pub(crate) fn new<'d, P>(
        grammar: &Grammar,
        prompts: &[P],
        tokens: impl Fn(&P, &str) -> Result<Vec<u32>, Blip2Error>,
        digits: impl FnOnce() -> &'d [DigitToken],
        ends: Vec<u32>,
    ) -> Result<Self, Blip2Error> {
        let fault = |reason: &str| {
            let reason = reason.to_string();
            Err(Blip2Error::Candidates { reason })
        };
        if grammar.texts.iter().any(|text| text.trim().is_empty()) {
            return fault("a grammar's text is empty");
        }
        let digits = match grammar.largest {
            Some(_) => digits().to_vec(),
            None => Vec::new(),
        };
        if grammar.texts.is_empty() && digits.is_empty() {
            return fault("the grammar has no text that the tokenizer can write");
        }
        let paths = prompts.iter().map(|prompt| {
            let path = |text: &String| tokens(prompt, text);
            grammar.texts.iter().map(path).collect()
        });
        Ok(Self {
            paths: paths.collect::<Result<_, _>>()?,
            numbers: grammar.largest.map(|largest| Numbers {
                tokens: digits,
                largest,
            }),
            ends,
        })
    }

    /// The most tokens that an answer takes, its end included.
    fn longest(&self) -> usize {
        let path = self.paths.iter().flatten().map(Vec::len).max().unwrap_or(0);
        let digits = self.numbers.as_ref().map_or(0, Numbers::most_digits);
        path.max(digits) + 1
    }

    /// Options that hold answers to this: of the arguments `generation` those that say how long an
    /// answer may be give way.
    pub(crate) fn hold(self, options: &Options, mut generation: GenerationConfig) -> Options {
        generation.max_new_tokens = Some(self.longest());
        generation.max_length = None;
        generation.min_new_tokens = None;
        generation.min_length = 0;
        options
            .clone()
            .with_generation(generation)
            .with_constraint(self)
    }
}

impl TokenConstraint for Constraint {
    fn next_tokens(&self, at: Position<'_>, _scores: &mut [f32]) -> NextTokens {
        let so_far = at.generated();
        let (mut allowed, mut complete) = (Vec::new(), false);
        for path in self.paths.get(at.row()).into_iter().flatten() {
            match path.strip_prefix(so_far) {
                Some([next, ..]) => allowed.push(*next),
                Some([]) => complete = true,
                None => {}
            }
        }
        if let Some(numbers) = &self.numbers {
            complete |= numbers.next(so_far, &mut allowed);
        }
        if complete {
            allowed.extend(&self.ends);
        }
        allowed.sort_unstable();
        allowed.dedup();
        NextTokens::Only(allowed)
    }
}

impl Numbers {
    fn most_digits(&self) -> usize {
        self.largest.to_string().len()
    }

    /// Adds the tokens that can follow; says whether there is a number already.
    fn next(&self, so_far: &[u32], allowed: &mut Vec<u32>) -> bool {
        let mut number = String::new();
        for id in so_far {
            match self.tokens.iter().find(|token| token.id == *id) {
                Some(token) => number.push_str(&token.digits),
                None => return false,
            }
        }
        for token in &self.tokens {
            if !number.is_empty() && !token.continues {
                continue;
            }
            let longer = format!("{number}{}", token.digits);
            let fits = longer.parse().is_ok_and(|value: u64| value <= self.largest);
            if fits && longer.len() <= self.most_digits() {
                allowed.push(token.id);
            }
        }
        !number.is_empty()
    }
}
