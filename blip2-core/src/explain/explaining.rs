//! The verbs.

use blip2_lm::generate::FinishReason;

use super::{
    ExplainOptions, ExplainedToken, Explanation, Method,
    find::find,
    options::Given,
    scene::Prepared,
    traces::{Comparison, TracesComparison, TracesText},
};
use crate::{
    error::Blip2Error,
    picture::Picture,
    verbs::{go_on, run_made, tokens},
};

/// Explains what is written, or given, after a prompt.
pub(super) fn explain<M: TracesText>(
    member: &M,
    picture: Picture<'_>,
    prompt: &M::Prompt,
    options: &ExplainOptions,
) -> Result<Explanation, Blip2Error> {
    let call = options.call.begun();
    let cancel = call.cancel();
    go_on(cancel)?;
    let (ids, text) = match &options.given {
        Given::Written => {
            let pairs = [(picture, ())];
            let answers = run_made(member, pairs, |()| Ok(prompt.clone()), &call);
            let answers = answers.map_err(Blip2Error::of_item)?;
            go_on(cancel)?;
            let answer = answers.into_iter().next().ok_or_else(nothing)?;
            let mut ids = answer.token_ids();
            // Of an answer that says nothing, why it ends.
            if answer.finish_reason == FinishReason::Eos && ids.len() > 1 {
                ids.pop();
            }
            (ids, answer.text)
        }
        Given::Text(text) => (given(member, prompt, text)?, text.trim().to_string()),
        Given::Tokens(ids) => {
            let text = member.tokenizer().decode(ids, true)?.trim().to_string();
            (ids.clone(), text)
        }
    };
    if ids.is_empty() {
        return Err(Blip2Error::EmptyText);
    }
    member.check_memory(&picture, prompt, ids.len(), options.method)?;
    let prepared = member.prepare_picture(picture)?;
    let forward = |pixels, keep| member.trace(pixels, prompt, &ids, keep);
    let (maps, log_probs) = find(&prepared.scene(&forward, cancel), options.method)?;
    let tokens = tokens(&ids, &log_probs, member.tokenizer()).into_iter();
    let tokens = tokens.zip(&maps).map(|(token, map)| ExplainedToken {
        id: token.id,
        text: token.text,
        log_prob: token.log_prob,
        values: map.clone(),
    });
    let tokens = tokens.collect();
    Ok(explanation(options.method, text, &prepared, &maps, tokens))
}

/// The tokens of a text that is given.
fn given<M: TracesText>(
    member: &M,
    prompt: &M::Prompt,
    text: &str,
) -> Result<Vec<u32>, Blip2Error> {
    if text.trim().is_empty() {
        return Err(Blip2Error::EmptyText);
    }
    if let Some(token) = member.tokenizer().special_token_in(text) {
        return Err(Blip2Error::SpecialTokenInText { token });
    }
    member.given(prompt, text)
}

/// Explains a comparison.
pub(super) fn compare<M: TracesComparison>(
    member: &M,
    picture: Picture<'_>,
    text: &str,
    comparison: Comparison,
    options: &ExplainOptions,
) -> Result<Explanation, Blip2Error> {
    let call = options.call.begun();
    let cancel = call.cancel();
    go_on(cancel)?;
    let rows = member.rows(&[text]).map_err(Blip2Error::of_item)?;
    let prepared = member.prepare_picture(picture)?;
    let forward = |pixels, keep| member.trace(pixels, &rows, comparison, keep);
    let (maps, _) = find(&prepared.scene(&forward, cancel), options.method)?;
    let (method, text) = (options.method, text.to_string());
    Ok(explanation(method, text, &prepared, &maps, Vec::new()))
}

fn explanation(
    method: Method,
    text: String,
    prepared: &Prepared,
    maps: &[Vec<f32>],
    tokens: Vec<ExplainedToken>,
) -> Explanation {
    let count = match method {
        // Log-probabilities add up.
        Method::Occlusion => 1.0,
        _ => maps.len().max(1) as f32,
    };
    let mut values = vec![0.0; maps.first().map_or(0, Vec::len)];
    for map in maps {
        for (sum, value) in values.iter_mut().zip(map) {
            *sum += value / count;
        }
    }
    let [frames, ..] = prepared.pixels.dims();
    Explanation {
        method,
        text,
        grid: prepared.grid,
        frames,
        region: prepared.region,
        values,
        tokens,
    }
}

fn nothing() -> Blip2Error {
    Blip2Error::Rows {
        reason: "there is no answer".into(),
    }
}

/// Gives a member that answers questions its explanations.
macro_rules! explaining_answers {
    ($member:ident, $folder:literal) => {
        impl $member {
            /// Tells how much each patch of a picture carried the answer to a question: the one that
            /// the model gives, or one that the options give.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// use blip2_core::explain::ExplainOptions;
            ///
            /// let options = ExplainOptions::default();
            /// let why = blip.explain_answer(&image, "what color is the shape?", &options)?;
            /// assert_eq!(why.values.len(), why.grid[0] * why.grid[1]);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As `answer_with`; for a given text that is empty or spells out a special token; and
            /// [`Cancelled`](crate::Blip2Error::Cancelled) or [`Deadline`](crate::Blip2Error::Deadline) of a
            /// call that was stopped.
            pub fn explain_answer<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                question: &str,
                options: &crate::explain::ExplainOptions,
            ) -> Result<crate::explain::Explanation, crate::error::Blip2Error> {
                let template = options.call.template.as_ref();
                let prompt = crate::verbs::Answers::question(self, question, template)?;
                crate::explain::explaining::explain(self, image.into(), &prompt, options)
            }
        }
    };
}
pub(super) use explaining_answers;

/// Gives a member that describes pictures its explanations.
macro_rules! explaining_captions {
    ($member:ident, $folder:literal) => {
        impl $member {
            /// Tells how much each patch of a picture carried its caption: the one that the model
            /// gives, or one that the options give.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// use blip2_core::explain::ExplainOptions;
            ///
            /// let options = ExplainOptions::default().with_text("a red triangle");
            /// let why = blip.explain_caption(&image, &options)?;
            /// assert!(why.tokens.len() >= 3); // a map for each
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As `caption_with`; for a given text that is empty or spells out a special token; and
            /// [`Cancelled`](crate::Blip2Error::Cancelled) or [`Deadline`](crate::Blip2Error::Deadline) of a
            /// call that was stopped.
            pub fn explain_caption<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                options: &crate::explain::ExplainOptions,
            ) -> Result<crate::explain::Explanation, crate::error::Blip2Error> {
                let prompt = crate::verbs::Describes::caption_prompt(self)?;
                crate::explain::explaining::explain(self, image.into(), &prompt, options)
            }

            /// As [`explain_caption`](Self::explain_caption), of what continues a raw prompt.
            ///
            /// # Errors
            ///
            /// As `prompt_with`, and as [`explain_caption`](Self::explain_caption).
            pub fn explain_prompt<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                prompt: &str,
                options: &crate::explain::ExplainOptions,
            ) -> Result<crate::explain::Explanation, crate::error::Blip2Error> {
                let prompt = crate::verbs::Describes::raw(self, prompt)?;
                crate::explain::explaining::explain(self, image.into(), &prompt, options)
            }
        }
    };
}
pub(super) use explaining_captions;

/// Gives a member that compares pictures with texts its explanations.
macro_rules! explaining_comparisons {
    ($member:ident, $folder:literal) => {
        impl $member {
            /// Tells how much each patch of a picture speaks for its match with a text.
            ///
            /// ```
            #[doc = concat!("# let blip = blip2_core::", stringify!($member), "::from_pretrained(\"", $folder, "\")?;")]
            /// # let image = blip.open("../examples/images/red-triangle.png")?;
            /// use blip2_core::explain::ExplainOptions;
            ///
            /// let why = blip.explain_match(&image, "a red triangle", &ExplainOptions::default())?;
            /// assert_eq!(why.values.len(), why.grid[0] * why.grid[1]);
            /// assert!(why.tokens.is_empty()); // nothing was written
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// As `match_probability_with`.
            pub fn explain_match<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                text: &str,
                options: &crate::explain::ExplainOptions,
            ) -> Result<crate::explain::Explanation, crate::error::Blip2Error> {
                use crate::explain::traces::Comparison;
                let how = Comparison::Match;
                crate::explain::explaining::compare(self, image.into(), text, how, options)
            }

            /// Tells how much each patch of a picture speaks for its similarity to a text.
            ///
            /// # Errors
            ///
            /// As `similarity_with`.
            pub fn explain_similarity<'a>(
                &self,
                image: impl Into<crate::picture::Picture<'a>>,
                text: &str,
                options: &crate::explain::ExplainOptions,
            ) -> Result<crate::explain::Explanation, crate::error::Blip2Error> {
                use crate::explain::traces::Comparison;
                let how = Comparison::Similarity;
                crate::explain::explaining::compare(self, image.into(), text, how, options)
            }
        }
    };
}
pub(super) use explaining_comparisons;
