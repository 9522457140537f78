//! Interrupts: a long work ends after the part that is being done, and loses nothing.

use std::process;

use blip2_core::CancelToken;

use crate::Failure;

/// What a shell makes of an interrupt.
pub(crate) const EXIT_CODE: u8 = 130;

/// Has a write fail that makes a file larger than this process may (`ulimit -f`), as on a full disk, where
/// the system would else end the program in its midst.
#[cfg(unix)]
pub(crate) fn spare_writes() {
    use std::sync::{Arc, atomic::AtomicBool};
    // Nobody looks at it: that there is a handler is all that counts. Without one the program works too.
    let _ = signal_hook::flag::register(
        signal_hook::consts::SIGXFSZ,
        Arc::new(AtomicBool::new(false)),
    );
}

/// Elsewhere there is no such limit.
#[cfg(not(unix))]
pub(crate) fn spare_writes() {}

/// A token that an interrupt, or a request to terminate, cancels; `told` says then when the work ends. A
/// second one ends the program at once, after `give_back` has put the terminal in order.
pub(crate) fn watched(told: &'static str, give_back: fn()) -> Result<CancelToken, Failure> {
    let token = CancelToken::new();
    let own = token.clone();
    on_interrupt(move || {
        if own.is_cancelled() {
            give_back();
            process::exit(i32::from(EXIT_CODE));
        }
        own.cancel();
        note!("{told}; once more ends at once");
    })?;
    Ok(token)
}

/// Has a thread of its own wait for signals: what a signal's handler itself may do is next to nothing.
#[cfg(unix)]
fn on_interrupt(mut act: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
        iterator::Signals,
    };
    // The last is what `mpirun` hands on to its processes, and queues send before a job's time is over.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1]).map_err(Failure::work)?;
    std::thread::spawn(move || signals.forever().for_each(|_| act()));
    Ok(())
}

#[cfg(windows)]
fn on_interrupt(act: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    ctrlc::set_handler(act).map_err(Failure::work)
}

/// Elsewhere an interrupt ends the program as ever: the last state is what there is.
#[cfg(not(any(unix, windows)))]
fn on_interrupt(_: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    Ok(())
}
