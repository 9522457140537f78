//! `blip2 transcribe SOUND…`: what is said in recordings, or answers about them.

use std::path::Path;

use blip2_core::{
    Answer, Blip2Error, FinishReason, GenerationConfig, Options, Precision,
    speech::{SpeechPipeline, TRANSCRIBE},
};
use serde_json::{Value, json};

use crate::{Failure, args::transcribe::TranscribeArgs, interrupt, model, records::Record};

pub(crate) fn run(args: &TranscribeArgs) -> Result<(), Failure> {
    let generation = sensible(args)?;
    let stop = interrupt::watched("ending this recording", || {})?;
    let options = Options::default()
        .with_generation(generation)
        .with_cancel(stop.clone());
    let speech = open(args)?;
    check(args, &speech, &options)?;
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
            Ok(answer) => {
                tell(args, path, &answer)?;
                tell_cut(args, path, &answer);
            }
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

/// How texts are written. What makes no sense is refused before a model is loaded for minutes.
fn sensible(args: &TranscribeArgs) -> Result<GenerationConfig, Failure> {
    let is_empty = |question: &String| question.trim().is_empty();
    if args.question.as_ref().is_some_and(is_empty) {
        let text = "--question is empty; ask something, or leave it out to have the recordings written down";
        return Err(Failure::usage(text));
    }
    let generation = GenerationConfig::default()
        .with_max_new_tokens(args.max_new_tokens)
        .with_num_beams(args.beams);
    generation.validate().map_err(Failure::refused)?;
    Ok(generation)
}

/// Refuses what no recording can be asked once, and not again with each of them.
fn check(args: &TranscribeArgs, speech: &SpeechPipeline, options: &Options) -> Result<(), Failure> {
    let checked = match (&args.question, &args.prompt) {
        (Some(question), _) => speech.check_question(question, options),
        (None, Some(prompt)) => speech.check_prompt(prompt),
        (None, None) => speech.check_question(TRANSCRIBE, options),
    };
    checked.map_err(|error| match error {
        Blip2Error::SpecialToken { .. } | Blip2Error::SoundPlaces { .. } => Failure::refused(error),
        // The folder is at fault, and not the command line.
        other => Failure::work(other),
    })
}

fn open(args: &TranscribeArgs) -> Result<SpeechPipeline, Failure> {
    args.adapter.note_other_base(&args.model)?;
    let builder = SpeechPipeline::builder(&args.model).speculative(args.speculative);
    let builder = args.adapter.on(builder)?;
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
        _ => say!("{}\t{}", name(path), on_one_line(&answer.text)),
    }
    Ok(())
}

/// A file's name in a line of columns: what would break the line, or the columns, is escaped.
fn name(path: &Path) -> String {
    let name = path.display().to_string();
    match name.contains(char::is_control) {
        true => name.escape_debug().to_string(),
        false => name,
    }
}

/// A text without what would break its line.
fn on_one_line(text: &str) -> String {
    let breaks = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
    text.replace(breaks, " ")
}

/// Tells of a text that did not come to its end: it looks whole.
fn tell_cut(args: &TranscribeArgs, path: &Path, answer: &Answer) {
    let why = match answer.finish_reason {
        FinishReason::ContextFull => {
            "the model's context is full; cut the recording into parts".to_string()
        }
        FinishReason::MaxTokens => {
            let tokens = answer.tokens.len();
            match args.max_new_tokens {
                Some(_) => {
                    format!("--max-new-tokens allows {tokens} tokens; raise it, or leave it out")
                }
                None => format!(
                    "there are {tokens} tokens, more than are said in so long a recording: see whether \
                     the text repeats itself, or give --max-new-tokens"
                ),
            }
        }
        _ => return,
    };
    note!("{}: the text is cut: {why}", name(path));
}

/// Tells of a recording that has no text; the others go on.
fn tell_fault(args: &TranscribeArgs, path: &Path, error: &str) -> Result<(), Failure> {
    if args.json {
        say!(
            "{}",
            json!({ "sound": path.display().to_string(), "error": error })
        );
    }
    let shown = path.display().to_string();
    match error.contains(&shown) {
        true => note!("{}", error.replace(&shown, &name(path))),
        false => note!("{}: {error}", name(path)),
    }
    Ok(())
}
