//! `blip2`: ask questions about pictures, caption folders of them, search them, inspect, verify,
//! measure and train checkpoints.
//!
//! The answer goes to standard output, everything else to standard error. The exit code is 0 when
//! the work is done or whoever reads its output has gone, 1 when it failed, 2 for a command line that
//! makes no sense, and 130 when it was interrupted.

#[macro_use]
mod out;

mod adapters;
mod answer;
mod apart;
mod args;
mod asked;
mod bench;
mod candidates;
mod caption;
mod convert;
mod demo;
#[cfg(feature = "hub")]
mod download;
mod embed;
mod examples;
mod explain;
mod family;
mod find;
mod index;
mod inspect;
mod interrupt;
#[cfg(feature = "tables")]
mod map;
mod match_texts;
mod merge;
mod model;
mod models;
mod pack;
mod pictures;
mod prompts;
mod records;
#[cfg(feature = "serve")]
mod serve;
mod sheet;
mod shell;
mod shown;
mod source;
mod train;
#[cfg(feature = "speech")]
mod transcribe;
mod verify;
mod words;

use std::{error::Error, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command, environment};

/// Why the program ends without having done its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The work failed; exit code 1.
    Work(String),
    /// The command line makes no sense; exit code 2.
    Usage(String),
    /// Nobody reads the output any more; exit code 0, since whoever read it has had enough.
    Closed,
    /// The person who began it ended it; exit code 130.
    Interrupted(String),
}

impl Failure {
    /// A failure of the work, with all its causes.
    pub(crate) fn work(error: impl Error + 'static) -> Self {
        Self::Work(words::words(&error))
    }

    /// A command line that the library refuses.
    pub(crate) fn refused(error: impl Error + 'static) -> Self {
        Self::Usage(words::words(&error))
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }
}

fn main() -> ExitCode {
    interrupt::spare_writes();
    let given = environment::without_empty(Cli::command()).get_matches();
    let mut command = match Cli::from_arg_matches(&given) {
        Ok(program) => program.command,
        Err(error) => error.exit(),
    };
    let done = find::all(&mut command).and_then(|()| run(command));
    // What is held back may fail as well, on a full disk.
    match done.and_then(|()| out::flush()) {
        Ok(()) | Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Work(message)) => {
            note!("error: {message}");
            ExitCode::from(1)
        }
        Err(Failure::Interrupted(message)) => {
            note!("{message}");
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(Failure::Usage(message)) => {
            note!("error: {message}\n\nFor more information, try '--help'.");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Answer(args) => answer::run(&args),
        Command::Caption(args) => caption::run(&args),
        #[cfg(feature = "speech")]
        Command::Transcribe(args) => transcribe::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Embed(args) => embed::run(&args),
        #[cfg(feature = "tables")]
        Command::Map(args) => map::run(&args),
        Command::Match(args) => match_texts::run(&args),
        Command::Index(args) => index::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => train::eval(&args),
        Command::Bench(args) => bench::run(&args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args),
        #[cfg(feature = "hub")]
        Command::Download(args) => download::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    }
}
