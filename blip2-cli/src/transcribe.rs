//! `blip2 transcribe SOUND…`: what is said in recordings, or answers about them.

use std::path::Path;

use blip2_core::{Answer, GenerationConfig, Options, Precision, speech::SpeechPipeline};
use serde_json::{Value, json};

use crate::{Failure, args::transcribe::TranscribeArgs, interrupt, model, records::Record};

pub(crate) fn run(args: &TranscribeArgs) -> Result<(), Failure> {
    let generation = GenerationConfig::default()
        .with_max_new_tokens(args.max_new_tokens)
        .with_num_beams(args.beams);
    // Refused before a model is loaded for minutes.
    generation.validate().map_err(Failure::refused)?;
    let stop = interrupt::watched("ending this recording", || {})?;
    let options = Options::default()
        .with_generation(generation)
        .with_cancel(stop.clone());
    let speech = open(args)?;
    let mut failed = 0;
    for (done, path) in args.sounds.iter().enumerate() {
        let found = hear(args, &speech, path, &options);
        if stop.is_cancelled() {
            return Err(Failure::Interrupted(format!(
                "interrupted: {done} of {} recordings are done",
                args.sounds.len()
            )));
        }
        match found {
            Ok(answer) => tell(args, path, &answer)?,
            Err(Failure::Work(error)) => {
                failed += 1;
                tell_fault(args, path, &error)?;
            }
            Err(other) => return Err(other),
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::Work(format!(
            "{failed} of {} recordings have no text",
            args.sounds.len()
        ))),
    }
}

fn open(args: &TranscribeArgs) -> Result<SpeechPipeline, Failure> {
    let builder = SpeechPipeline::builder(&args.model).speculative(args.speculative);
    let spinner = model::spinner("loading the model");
    let speech = args
        .memory
        .limit(model::told(builder, &spinner))
        .device(model::device(&args.device)?)
        .precision(args.device.precision.plan(Precision::AsStored))
        .load();
    spinner.finish_and_clear();
    speech.map_err(Failure::work)
}

/// What is written of one recording.
fn hear(
    args: &TranscribeArgs,
    speech: &SpeechPipeline,
    path: &Path,
    options: &Options,
) -> Result<Answer, Failure> {
    let sound = speech.open(path).map_err(Failure::work)?;
    let answer = match (&args.question, &args.prompt) {
        (Some(question), _) => speech.ask_with(&sound, question, options),
        (None, Some(prompt)) => speech.prompt_with(&sound, prompt, options),
        (None, None) => speech.transcribe_with(&sound, options),
    };
    answer.map_err(Failure::work)
}

fn tell(args: &TranscribeArgs, path: &Path, answer: &Answer) -> Result<(), Failure> {
    if args.json {
        let mut line = Record::new();
        line.insert("sound".into(), json!(path.display().to_string()));
        if let Value::Object(answer) = serde_json::to_value(answer).map_err(Failure::work)? {
            line.extend(answer);
        }
        say!("{}", Value::Object(line));
        return Ok(());
    }
    match args.sounds.len() {
        1 => say!("{answer}"),
        // A line for each recording, whatever its text.
        _ => say!(
            "{}\t{}",
            path.display(),
            answer.text.replace(['\r', '\n'], " ")
        ),
    }
    Ok(())
}

/// Tells of a recording that has no text; the others go on.
fn tell_fault(args: &TranscribeArgs, path: &Path, error: &str) -> Result<(), Failure> {
    if args.json {
        say!(
            "{}",
            json!({ "sound": path.display().to_string(), "error": error })
        );
    }
    let name = path.display().to_string();
    match error.contains(&name) {
        true => note!("{error}"),
        false => note!("{name}: {error}"),
    }
    Ok(())
}
