//! Puts pictures into an index, saves it, opens it again and searches it by a text and by a picture.
//!
//! ```sh
//! cargo run --release --example photo_search -- models/blip2-itm-vit-g photos "a dog on the beach"
//! cargo run --release --example photo_search
//! ```
//!
//! Without arguments it takes the pictures of `images` and a small model of random weights, whose
//! answers mean nothing; they only show that it runs.

#![allow(clippy::print_stdout)]

use std::{error::Error, fs, path::PathBuf};

use blip2_core::{Blip2Retrieval, PhotoIndex, photo_index::SearchOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, photos, text) = match arguments.as_slice() {
        [model, photos, text] => (model.as_str(), photos.as_str(), text.as_str()),
        _ => (
            concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/blip2_itr"),
            concat!(env!("CARGO_MANIFEST_DIR"), "/images"),
            "a red circle",
        ),
    };
    let mut photos: Vec<PathBuf> = fs::read_dir(photos)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    photos.retain(|path| {
        path.extension()
            .is_some_and(|end| end == "png" || end == "jpg")
    });
    photos.sort();

    let blip2 = Blip2Retrieval::from_pretrained(model)?;
    let mut index = PhotoIndex::new(&blip2);
    for path in &photos {
        index.add(&blip2, path.to_string_lossy(), &blip2.open(path)?)?;
    }
    let file = std::env::temp_dir().join(format!("photos-{}.idx", std::process::id()));
    index.save(&file)?;

    let index = PhotoIndex::open(&file)?;
    println!("{} pictures; \"{text}\":", index.len());
    let best = SearchOptions::default().with_limit(5);
    for hit in index.search(&blip2, text, &best)? {
        let sure = 100.0 * hit.probability.unwrap_or_default();
        println!("{:+8.3}  {sure:3.0} % a match  {}", hit.score, hit.name);
    }
    if let Some(first) = photos.first() {
        println!("most like {}:", first.display());
        for hit in index.search_by_picture(&blip2, &blip2.open(first)?, 3)? {
            println!("{:+8.3}  {}", hit.score, hit.name);
        }
    }
    fs::remove_file(file)?;
    Ok(())
}
