//! Asks a question about a recording, or has it written down.
//!
//! ```sh
//! cargo run --release --example hear
//! cargo run --release --example hear -- models/granite-speech-3.3-2b meeting.wav
//! cargo run --release --example hear -- models/granite-speech-3.3-2b meeting.wav "translate the speech to French"
//! ```
//!
//! Without a model of its own it runs a small random one, whose words mean nothing.

#![allow(clippy::print_stdout)]

use std::{error::Error, io::Write};

use blip2_core::{Options, SpeechPipeline, speech::TRANSCRIBE};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, sound, question) = match arguments.as_slice() {
        [model, sound] => (model.as_str(), sound.as_str(), TRANSCRIBE),
        [model, sound, question, ..] => (model.as_str(), sound.as_str(), question.as_str()),
        _ => (
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../fixtures/granite_speech_lora"
            ),
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../fixtures/granite_speech_lora/chirp_1300ms.wav"
            ),
            TRANSCRIBE,
        ),
    };
    let speech = SpeechPipeline::from_pretrained(model)?;
    let sound = speech.open(sound)?;

    println!("{question}");
    let mut answer = speech.stream_answer_with(&sound, question, &Options::default())?;
    for piece in answer.by_ref() {
        print!("{}", piece?);
        std::io::stdout().flush()?;
    }
    println!("\n(hearing took {:?})", answer.timings().total());
    Ok(())
}
