//! Which members of the family can do what is asked.

use super::verbs::Verbs;
use crate::{Failure, args::map::MapArgs, embed::features::Member};

/// Refuses what the model cannot do.
pub(super) fn check(member: &Member, verbs: &Verbs, args: &MapArgs) -> Result<(), Failure> {
    let compares = matches!(member, Member::Retrieval(_) | Member::BlipRetrieval(_));
    let answers = matches!(member, Member::Blip2(_) | Member::Answerer(_));
    let describes = matches!(member, Member::Blip2(_) | Member::Captioner(_));
    let asks =
        verbs.answer || verbs.rank.is_some() || (verbs.score.is_some() && verbs.question.is_some());
    let refused = if verbs.matched.is_some() && !compares {
        Some(
            "--match compares texts with pictures, which this model does not: give --model a \
              retrieval checkpoint, such as blip2-itm-vit-g",
        )
    } else if compares && verbs.writes() {
        Some(
            "the model compares pictures with texts and writes none: give --match or --embed, or \
              another --model",
        )
    } else if verbs.caption.is_some() && !describes {
        Some("the model answers questions and describes nothing: give --answer, or another --model")
    } else if asks && !answers {
        Some(
            "the model describes pictures and answers no questions: give --caption, or another --model",
        )
    } else if verbs.score.is_some()
        && verbs.question.is_none()
        && !matches!(member, Member::Blip2(_))
    {
        Some("--score of captions is for BLIP-2; give a --question")
    } else if args.template.is_some() && !matches!(member, Member::Blip2(_)) {
        Some("BLIP-1 reads questions as they are and has no use for a --template")
    } else {
        None
    };
    match refused {
        Some(text) => Err(Failure::usage(text)),
        None => Ok(()),
    }
}
