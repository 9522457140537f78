//! `blip2 match IMAGE TEXT…`: how well texts describe a picture.

use serde_json::json;

use crate::{Failure, args::MatchArgs, family::Matcher, pictures::open_one};

pub(crate) fn run(args: &MatchArgs) -> Result<(), Failure> {
    let image = open_one(&args.image, |note| note!("{note}"))?;
    let scores = Matcher::open(&args.model)?.compare(&image, &args.texts)?;
    for (text, (score, similarity)) in args.texts.iter().zip(scores) {
        let probability = score.probability;
        if args.json {
            let line = json!({
                "text": text,
                "match_probability": probability,
                "match_logit": score.logit,
                "similarity": similarity,
            });
            say!("{line}");
        } else {
            say!("match {probability:.4}  similarity {similarity:+.4}  {text}");
        }
    }
    Ok(())
}
