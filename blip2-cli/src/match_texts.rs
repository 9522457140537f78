//! `blip2 match IMAGE TEXT…`: how well texts describe a picture.

use blip2_core::open_image;
use serde_json::json;

use crate::{Failure, args::MatchArgs, model};

pub(crate) fn run(args: &MatchArgs) -> Result<(), Failure> {
    let image = open_image(&args.image).map_err(Failure::work)?;
    let blip2 = model::open_retrieval(&args.model)?;
    // Encoded once for all texts.
    let photo = blip2.encode(&image).map_err(Failure::work)?;
    for text in &args.texts {
        let scores = blip2.match_encoded([&photo], text).map_err(Failure::work)?;
        let embedding = blip2.embed_text(text).map_err(Failure::work)?;
        let similarity = photo.embedding.similarity(&embedding);
        let similarity = similarity.map_err(Failure::work)?;
        for score in scores {
            let probability = score.probability;
            if args.json {
                let line = json!({
                    "text": text,
                    "match_probability": probability,
                    "match_logit": score.logit,
                    "similarity": similarity,
                });
                println!("{line}");
            } else {
                println!("match {probability:.4}  similarity {similarity:+.4}  {text}");
            }
        }
    }
    Ok(())
}
