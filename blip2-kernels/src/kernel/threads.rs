//! Work that is shared out among the threads of the current `rayon` pool.

use std::{
    hint,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

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
        _ => share_out(all, scratch, run),
    }
}

/// Each thread takes one thing after another until none is left.
///
/// Who is done first waits awake for the others, a moment: a decoder shares out hundreds of products for a
/// token, and a thread that went to sleep at the end of each would be woken as often, which on virtual
/// machines takes longer than the wait.
fn share_out<T: Send, S>(
    things: Vec<T>,
    scratch: impl Fn() -> S + Send + Sync,
    run: impl Fn(&mut S, T) + Send + Sync,
) {
    const MOMENT: Duration = Duration::from_micros(200);
    let threads = rayon::current_num_threads().min(things.len());
    let left = AtomicUsize::new(things.len());
    let things = Mutex::new(things.into_iter());
    let work = || {
        let mut scratch = scratch();
        loop {
            let next = things.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(thing) = next else { return };
            run(&mut scratch, thing);
            left.fetch_sub(1, Ordering::Release);
        }
    };
    rayon::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| work());
        }
        work();
        let start = Instant::now();
        while left.load(Ordering::Acquire) > 0 && start.elapsed() < MOMENT {
            hint::spin_loop();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_done_once_and_scratch_is_a_threads_own() {
        for count in [0, 1, 2, 100] {
            let mut done = vec![0; count];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
            let scratches = AtomicUsize::new(0);
            pool.unwrap().install(|| {
                let scratch = || scratches.fetch_add(1, Ordering::Relaxed);
                each_with(done.iter_mut(), scratch, |_, done| *done += 1);
            });
            assert_eq!(done, vec![1; count]);
            assert!(scratches.into_inner() <= 3);
        }
    }

    #[test]
    fn a_panic_of_one_thing_is_the_callers() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let run = || {
            each(0..50, |n| assert!(n != 25, "that one"));
        };
        let run = std::panic::AssertUnwindSafe(run);
        let found = pool.unwrap().install(|| std::panic::catch_unwind(run));
        assert!(found.is_err());
    }
}
