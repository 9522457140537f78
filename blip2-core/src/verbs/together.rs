//! Pictures that were looked at, scored together: each with a question and texts of its own.

use super::{Answers, Describes, RankOptions, Ranked, Seen, each::each};
use crate::{error::Blip2Error, text::check_candidates};

/// A picture with a prompt about it, and texts that may follow.
struct Row<'s, P: Answers> {
    seen: &'s Seen<P>,
    prompt: P::Prompt,
    texts: &'s [&'s str],
    tokens: Vec<Vec<u32>>,
}

impl<'s, P: Answers> Row<'s, P> {
    fn new(
        seen: &'s Seen<P>,
        prompt: P::Prompt,
        texts: &'s [&'s str],
        options: &RankOptions,
    ) -> Result<Self, Blip2Error> {
        let writer = seen.member();
        check_candidates(texts, writer.tokenizer())?;
        let end = options.end(&writer.end_tokens(&super::Options::default()));
        let tokens = texts.iter().map(|text| {
            let mut ids = writer.continuation(&prompt, text)?;
            ids.extend(end);
            Ok(ids)
        });
        Ok(Self {
            tokens: tokens.collect::<Result<_, Blip2Error>>()?,
            seen,
            prompt,
            texts,
        })
    }
}

/// Scores what stands in rows, those with as many texts together.
fn score<P: Answers>(
    rows: Vec<Result<Row<'_, P>, Blip2Error>>,
    options: &RankOptions,
) -> Vec<Result<Vec<Ranked>, Blip2Error>> {
    let cancel = options.begun();
    let run = |rows: &[Row<'_, P>]| -> Result<Vec<Vec<Ranked>>, Blip2Error> {
        let Some(first) = rows.first() else {
            return Ok(Vec::new());
        };
        if rows.iter().any(|row| row.texts.len() != first.texts.len()) {
            // Named as nobody's fault: each then runs alone.
            let reason = "rows of unlike numbers of texts".into();
            return Err(Blip2Error::Rows { reason });
        }
        let writer = first.seen.member();
        let looked: Vec<&P::Looked> = rows.iter().map(|row| row.seen.looked()).collect();
        let prompts: Vec<P::Prompt> = rows.iter().map(|row| row.prompt.clone()).collect();
        let tokens: Vec<Vec<Vec<u32>>> = rows.iter().map(|row| row.tokens.clone()).collect();
        let scored = writer.score(&writer.join(&looked)?, &prompts, &tokens, &cancel)?;
        let scored = rows.iter().zip(scored);
        Ok(scored
            .map(|(row, logprobs)| options.rank(row.texts, logprobs))
            .collect())
    };
    each(rows, |_, rows| run(rows))
}

impl<P: Answers> Seen<P> {
    /// Ranks answers to questions about pictures that were looked at by one model, with a result for each
    /// row: a picture, its question, and the answers that are given for it.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// # let other = blip2.open("../examples/images/blue-circle.png")?;
    /// use blip2_core::{Options, RankOptions, Seen};
    ///
    /// let seen = blip2.look_batch([&image, &other], &Options::default())?;
    /// let colors = ["blue", "red"].as_slice();
    /// let rows = seen.iter().map(|seen| (seen, "what color is the shape?", colors));
    /// let ranked = Seen::rank_each(rows, &RankOptions::default());
    /// let best = ranked.into_iter().map(|ranked| Ok(ranked?[0].text.clone()));
    /// let best: Vec<String> = best.collect::<Result<_, blip2_core::Blip2Error>>()?;
    /// assert_eq!(best, ["red", "blue"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rank_each<'s>(
        rows: impl IntoIterator<Item = (&'s Self, &'s str, &'s [&'s str])>,
        options: &RankOptions,
    ) -> Vec<Result<Vec<Ranked>, Blip2Error>> {
        let rows = rows.into_iter().map(|(seen, question, texts)| {
            let prompt = seen.member().question(question, options.template())?;
            Row::new(seen, prompt, texts, options)
        });
        score(rows.collect(), options)
    }
}

impl<P: Answers + Describes> Seen<P> {
    /// Scores texts as captions of pictures that were looked at by one model, as
    /// [`rank_each`](Self::rank_each) does answers.
    ///
    /// ```
    /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
    /// # let image = blip2.open("../examples/images/red-triangle.png")?;
    /// use blip2_core::{RankOptions, Seen};
    ///
    /// let seen = blip2.look(&image)?;
    /// let rows = [(&seen, ["a red triangle"].as_slice())];
    /// let scored = Seen::rank_captions_each(rows, &RankOptions::default());
    /// assert!(scored[0].as_ref().is_ok_and(|ranked| ranked[0].score < 0.0)); // a log-probability
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rank_captions_each<'s>(
        rows: impl IntoIterator<Item = (&'s Self, &'s [&'s str])>,
        options: &RankOptions,
    ) -> Vec<Result<Vec<Ranked>, Blip2Error>> {
        let rows = rows.into_iter().map(|(seen, texts)| {
            let prompt = seen.member().caption_prompt()?;
            Row::new(seen, prompt, texts, options)
        });
        score(rows.collect(), options)
    }
}
