//! How many tokens a request's texts may have.

use super::job::{About, Ask, Job, Work};
use crate::{error::ApiError, model::Model};

/// The job, if none of its texts has more tokens than `most`. It is for T5 that this is counted: it has no context
/// of its own that would be too short, and reads a prompt in one stage, which nothing interrupts and whose time and
/// memory grow with the square of its length.
pub(super) fn short_enough(job: Job, model: &Model, most: usize) -> Option<Job> {
    let names = job.names;
    let (text, texts): (Option<&str>, &[String]) = match &job.work {
        Work::Write(write) => (asked(&write.ask), &[]),
        Work::Rank(rank) => (Some(&rank.question), &rank.candidates),
        Work::Explain(explain) => match &explain.about {
            About::Text(ask) => (asked(ask), &[]),
            About::Match(_) | About::Similarity(_) => (None, &[]),
        },
        // Those read as many as they have positions, and refuse or leave out the rest.
        Work::Match(_) | Work::EmbedImage(_) | Work::EmbedText(_) => (None, &[]),
    };
    // What cannot be encoded is refused when it is read.
    let tokens = |text: &str| model.tokenizer().encode(text).map_or(0, |ids| ids.len());
    let too_long = |text: &str| Some(tokens(text)).filter(|tokens| *tokens > most);
    let fault = match text.and_then(too_long) {
        Some(tokens) => Some(names.too_many_tokens(tokens, most)),
        None => {
            let found = texts.iter().enumerate();
            let mut found = found.filter_map(|(at, text)| Some((at, too_long(text)?)));
            let found = found.next();
            found.map(|(at, tokens)| names.part_of_too_many_tokens(at, tokens, most))
        }
    };
    match fault {
        None => Some(job),
        Some(fault) => {
            job.fail(ApiError::too_long(fault));
            None
        }
    }
}

/// The text of what is asked.
fn asked(ask: &Ask) -> Option<&str> {
    match ask {
        Ask::Question(text) | Ask::Prompt(text) => Some(text),
        Ask::Caption => None,
    }
}
