//! How long an exact search among vectors in a mapped file takes, a round for each line of standard
//! input: so another program takes turns with it (`peers/search.py`).
//!
//! ```sh
//! yes | head -20 | cargo run --release -p blip2-benches --example vector_search -- photos.npy 10
//! ```

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a benchmark that cannot run should say so loudly

use std::{
    env,
    io::{self, Write},
    time::Instant,
};

use blip2_io::vectors::Vectors;

fn main() {
    let mut arguments = env::args().skip(1);
    let (path, count) = (arguments.next().unwrap(), arguments.next().unwrap());
    let vectors = Vectors::open(path).unwrap();
    // The first vector looks for itself and for what is like it.
    let query = vectors.picture(0).unwrap();
    for _ in io::stdin().lines() {
        let begun = Instant::now();
        let found = vectors.nearest(&query, count.parse().unwrap()).unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        let rows: Vec<usize> = found.iter().map(|found| found.row).collect();
        println!(
            "{}",
            serde_json::json!({ "seconds": seconds, "rows": rows })
        );
        io::stdout().flush().unwrap();
    }
}
