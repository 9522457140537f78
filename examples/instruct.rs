//! Gives an InstructBLIP instructions about a picture, or its version for videos about a video.
//!
//! ```sh
//! cargo run --release --example instruct -- models/instructblip-vicuna-7b beach.jpg \
//!     "What is unusual about this image?" "Describe the image in detail."
//! cargo run --release --example instruct -- models/instructblipvideo frames/ "What happens?"
//! ```

#![allow(clippy::print_stdout)]

use std::error::Error;

use blip2_core::{Blip2Pipeline, GenerationConfig, Options, Seen};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, path, instructions @ ..] = arguments.as_slice() else {
        return Err("give a checkpoint folder, a picture or video, and instructions".into());
    };
    let blip2 = Blip2Pipeline::from_pretrained(model)?;
    let seen: Seen<_> = if blip2.model().num_frames() > 1 {
        blip2.look(&blip2.open_video(path)?)?
    } else {
        blip2.look(&blip2.open(path)?)?
    };
    // The published model card's settings: long answers without repetitions.
    let options = Options::default().with_generation(
        GenerationConfig::default()
            .with_num_beams(5)
            .with_max_new_tokens(256)
            .with_repetition_penalty(1.5),
    );
    for instruction in instructions {
        println!("{instruction}\n  {}", seen.ask_with(instruction, &options)?);
    }
    Ok(())
}
