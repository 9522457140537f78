//! `blip2 match IMAGE TEXT…`: how well texts describe a picture.

use serde_json::json;

use crate::{Failure, args::match_texts::MatchArgs, family::Matcher, pictures};

pub(crate) fn run(args: &MatchArgs) -> Result<(), Failure> {
    let images = pictures::open(&args.image, args.picture, |note| note!("{note}"))?;
    let model = Matcher::open(&args.model)?;
    for (n, image) in images.iter().enumerate() {
        let scores = model.compare(image, &args.texts)?;
        for (text, (score, similarity)) in args.texts.iter().zip(scores) {
            let probability = score.probability;
            if args.json {
                let mut line = json!({
                    "text": text,
                    "match_probability": probability,
                    "match_logit": score.logit,
                    "similarity": similarity,
                });
                if images.len() > 1 {
                    line["frame"] = json!(n + 1);
                }
                say!("{line}");
            } else {
                let frame = match images.len() {
                    0 | 1 => String::new(),
                    _ => format!("frame {}  ", n + 1),
                };
                say!("{frame}match {probability:.4}  similarity {similarity:+.4}  {text}");
            }
        }
    }
    Ok(())
}
