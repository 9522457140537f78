//! Looks at a picture once and asks several questions about it.
//!
//! ```sh
//! cargo run --release --example ask
//! cargo run --release --example ask -- models/blip2-opt-2.7b beach.jpg "how many dogs are there?"
//! ```

#![allow(clippy::print_stdout)]

use std::error::Error;

use blip2_core::{Blip2Pipeline, open_image};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, picture, questions) = match arguments.as_slice() {
        [model, picture, questions @ ..] => (model.as_str(), picture.as_str(), questions.to_vec()),
        _ => (
            concat!(env!("CARGO_MANIFEST_DIR"), "/models/easy-vqa-opt"),
            concat!(env!("CARGO_MANIFEST_DIR"), "/images/red-triangle.png"),
            [
                "what color is the shape?",
                "what shape is in the image?",
                "is there a circle?",
            ]
            .map(String::from)
            .to_vec(),
        ),
    };
    let blip2 = Blip2Pipeline::from_pretrained(model)?;
    let image = open_image(picture)?;

    let seen = blip2.look(&image)?;
    println!("looking took {:?}", seen.timings().total());
    for question in &questions {
        let answer = seen.ask(question)?;
        println!(
            "{question} {answer}  ({:.0} % sure, in {:?})",
            100.0 * answer.confidence(),
            answer.timings.total()
        );
    }
    Ok(())
}
