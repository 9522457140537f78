//! Arguments that the environment gives.

use std::{env, ffi::OsStr};

use clap::Command;

/// Takes an empty variable for none, as programs do: it is how a shell unsets one for a single command.
pub(crate) fn without_empty(command: Command) -> Command {
    command
        .mut_args(|argument| match argument.get_env().is_some_and(is_empty) {
            true => argument.env(None::<&'static str>),
            false => argument,
        })
        .mut_subcommands(without_empty)
}

fn is_empty(name: &OsStr) -> bool {
    env::var_os(name).is_some_and(|value| value.is_empty())
}
