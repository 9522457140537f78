//! Shows an answer while it grows.
//!
//! ```sh
//! cargo run --release --example stream
//! ```

#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    io::{Write, stdout},
};

use blip2_core::{Blip2Pipeline, open_image};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env!("CARGO_MANIFEST_DIR");
    let blip2 = Blip2Pipeline::from_pretrained(format!("{folder}/models/easy-vqa-opt"))?;
    let image = open_image(format!("{folder}/images/blue-circle.png"))?;

    let mut stream = blip2.stream(&image, "Question: what color is the shape? Answer:")?;
    for piece in stream.by_ref() {
        print!("{}", piece?);
        stdout().flush()?;
    }
    println!("  (ended by {:?})", stream.finish_reason());
    Ok(())
}
