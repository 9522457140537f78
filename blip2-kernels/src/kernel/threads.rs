//! Work that is shared out among the threads of the current `rayon` pool.

use rayon::prelude::*;

/// How many rows of a product a thread likes to have at a time.
const ROWS_A_THREAD: usize = 128;

/// How many rows keep the threads of the current pool busy. With more, what a layer's operations hand to
/// one another has left the caches before it is read again.
pub(crate) fn rows_at_once() -> usize {
    ROWS_A_THREAD * rayon::current_num_threads()
}

/// Does each of some things, side by side. A single thread does them itself, in order, without waking
/// another.
pub(crate) fn each<T: Send>(things: impl IntoIterator<Item = T>, run: impl Fn(T) + Send + Sync) {
    each_with(things, || (), |(), thing| run(thing));
}

/// The same with something that a thread uses again for one thing after another.
pub(crate) fn each_with<T: Send, S>(
    things: impl IntoIterator<Item = T>,
    scratch: impl Fn() -> S + Send + Sync,
    run: impl Fn(&mut S, T) + Send + Sync,
) {
    let mut things = things.into_iter();
    if rayon::current_num_threads() == 1 {
        let mut scratch = scratch();
        return things.for_each(|thing| run(&mut scratch, thing));
    }
    let Some(first) = things.next() else {
        return;
    };
    let mut all = vec![first];
    all.extend(things);
    match all.len() {
        1 => all.into_iter().for_each(|thing| run(&mut scratch(), thing)),
        _ => all.into_par_iter().for_each_init(scratch, run),
    }
}
