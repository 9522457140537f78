//! Requests that wait, and how they become batches.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use blip2_core::CancelToken;

/// What waits in a queue.
pub(super) trait Waits {
    /// What tells that nobody waits for it any more.
    fn cancel(&self) -> &CancelToken;
    /// Whom it asks: what asks others never runs with it.
    fn model(&self) -> usize;
    /// Whether it may join a batch that runs.
    fn joins(&self) -> bool;
}

/// A queue of bounded length, taken from in batches.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    limit: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// Requests that are on their way here: read, but not in the queue yet.
    coming: usize,
    /// How many ran together in the last batch.
    last: usize,
    running: Vec<Running>,
    closed: bool,
}

/// A batch that runs.
struct Running {
    worker: usize,
    /// Whom it asks.
    model: usize,
    /// When it began, or others joined it.
    since: Instant,
    /// Whether it has room for others, which it takes in before its next step.
    open: bool,
}

/// How long a batch runs alone: one that is done by then lets those that came meanwhile run as one batch, which
/// is worth more than that they join it one by one, or run beside it; beyond that nobody waits for it.
const ALONE: Duration = Duration::from_millis(100);

/// Why something was not taken into a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no room.
    Full,
    /// Nothing is taken any more.
    Closed,
}

impl<T: Waits> Queue<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                coming: 0,
                last: 0,
                running: Vec::new(),
                closed: false,
            }),
            changed: Condvar::new(),
            limit,
        }
    }

    /// Takes one more. Those whose clients have left make room.
    pub(super) fn push(&self, item: T) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        // Nobody waits for these any more, and they hold their pictures.
        state.waiting.retain(|item| !item.cancel().is_cancelled());
        if state.waiting.len() >= self.limit {
            return Err(Refused::Full);
        }
        state.waiting.push_back(item);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Says that one more is on its way, or (`-1`) is not any more.
    pub(super) fn coming(&self, by: isize) {
        let mut state = self.lock();
        state.coming = state.coming.saturating_add_signed(by);
        drop(state);
        self.changed.notify_all();
    }

    /// The next batch for a worker, which has done its last one, of at most `size` that ask the same model;
    /// `None` once the queue is closed and empty. The first waits at most `wait` for company, and only while
    /// there is reason to expect some: others are on their way, or came with the last batch and are likely to
    /// come again.
    pub(super) fn pop(&self, worker: usize, size: usize, wait: Duration) -> Option<Vec<T>> {
        let mut state = self.lock();
        state.running.retain(|running| running.worker != worker);
        self.changed.notify_all();
        loop {
            while state.waiting.is_empty() {
                if state.closed {
                    return None;
                }
                state = wait_for(&self.changed, state);
            }
            let Some(model) = state.next() else {
                state = wait_for(&self.changed, state);
                continue;
            };
            let running = state
                .running
                .iter()
                .filter(|running| running.model == model);
            let newest = running.map(|running| running.since.elapsed()).min();
            let left = newest.map_or(Duration::ZERO, |since| ALONE.saturating_sub(since));
            if !left.is_zero() && !state.closed {
                let waited = self.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let end = Instant::now() + wait;
            while state.asking(model) < size && !state.closed {
                let waiting = state.asking(model);
                let expected = state.coming > 0 || waiting < state.last;
                let left = end.saturating_duration_since(Instant::now());
                if !expected || left.is_zero() || waiting == 0 {
                    break;
                }
                let waited = self.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let batch = state.take(model, size);
            // Another worker may have taken all of them.
            if !batch.is_empty() {
                state.last = batch.len();
                state.running.push(Running {
                    worker,
                    model,
                    since: Instant::now(),
                    open: false,
                });
                return Some(batch);
            }
        }
    }

    /// What joins a worker's batch that has this number of free places: what waits before anything that may not
    /// join, or asks another model, so that such a one does not wait for ever.
    pub(super) fn join(&self, worker: usize, free: usize) -> Vec<T> {
        let mut state = self.lock();
        let State {
            waiting, running, ..
        } = &mut *state;
        let own = running.iter_mut().find(|running| running.worker == worker);
        let Some(own) = own else {
            return Vec::new();
        };
        let opened = (free > 0) != own.open;
        own.open = free > 0;
        let mut joining = Vec::new();
        if own.since.elapsed() >= ALONE {
            let model = own.model;
            let may = |item: &&T| item.joins() && item.model() == model;
            let first = waiting.iter().take_while(may).count();
            joining.extend(waiting.drain(..first.min(free)));
        }
        if !joining.is_empty() {
            own.since = Instant::now();
        }
        drop(state);
        if opened {
            self.changed.notify_all();
        }
        joining
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Takes nothing more; what waits is still given out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Everything that waits.
    pub(super) fn drain(&self) -> Vec<T> {
        self.lock().waiting.drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A thread that panicked left whole requests behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Waits> State<T> {
    /// The model that the next batch asks. What may join a batch that has room is left to that: weights are
    /// read once for all of it.
    fn next(&self) -> Option<usize> {
        let is_left = |item: &&T| {
            let has_room = |running: &Running| running.open && running.model == item.model();
            item.joins() && !self.closed && self.running.iter().any(has_room)
        };
        let mut waiting = self.waiting.iter();
        waiting.find(|item| !is_left(item)).map(T::model)
    }

    /// How many wait for a model.
    fn asking(&self, model: usize) -> usize {
        let waiting = self.waiting.iter();
        waiting.filter(|item| item.model() == model).count()
    }

    /// Takes the first `size` that ask a model.
    fn take(&mut self, model: usize, size: usize) -> Vec<T> {
        let mut taken = Vec::new();
        for item in std::mem::take(&mut self.waiting) {
            match item.model() == model && taken.len() < size {
                true => taken.push(item),
                false => self.waiting.push_back(item),
            }
        }
        taken
    }
}

fn wait_for<'a, T>(changed: &Condvar, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
    changed.wait(state).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    struct Item(u32, CancelToken);

    impl Waits for Item {
        fn cancel(&self) -> &CancelToken {
            &self.1
        }

        /// Those from a hundred on ask another.
        fn model(&self) -> usize {
            usize::from(self.0 >= 100)
        }

        /// Odd ones may not.
        fn joins(&self) -> bool {
            self.0.is_multiple_of(2)
        }
    }

    fn item(number: u32) -> Item {
        Item(number, CancelToken::new())
    }

    fn numbers(batch: Option<Vec<Item>>) -> Vec<u32> {
        batch.unwrap().iter().map(|item| item.0).collect()
    }

    #[test]
    fn batches_are_bounded_and_in_order() {
        let queue = Queue::new(10);
        for n in 0..5 {
            queue.push(item(n)).unwrap();
        }
        assert_eq!(numbers(queue.pop(0, 3, Duration::ZERO)), [0, 1, 2]);
        assert_eq!(numbers(queue.pop(0, 3, Duration::ZERO)), [3, 4]);
    }

    #[test]
    fn a_full_queue_refuses_until_a_client_leaves() {
        let queue = Queue::new(2);
        let (first, second) = (item(0), item(1));
        let leaves = first.1.clone();
        queue.push(first).unwrap();
        queue.push(second).unwrap();
        assert_eq!(queue.push(item(2)), Err(Refused::Full));
        leaves.cancel();
        queue.push(item(3)).unwrap();
        assert_eq!(numbers(queue.pop(0, 9, Duration::ZERO)), [1, 3]);
    }

    #[test]
    fn one_that_is_alone_does_not_wait_and_one_that_expects_company_does() {
        let queue = Arc::new(Queue::new(9));
        queue.push(item(0)).unwrap();
        let long = Duration::from_secs(20);
        let begun = Instant::now();
        assert_eq!(numbers(queue.pop(0, 9, long)), [0]);
        assert!(begun.elapsed() < long);

        queue.push(item(1)).unwrap();
        queue.coming(1);
        let late = Arc::clone(&queue);
        let comes = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            late.push(item(2)).unwrap();
            late.coming(-1);
        });
        let mut all = numbers(queue.pop(0, 2, long));
        comes.join().unwrap();
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    }

    #[test]
    fn a_second_worker_helps_where_the_first_takes_long() {
        let queue = Queue::new(9);
        queue.push(item(0)).unwrap();
        assert_eq!(numbers(queue.pop(0, 9, Duration::ZERO)), [0]);
        queue.push(item(1)).unwrap();
        queue.push(item(2)).unwrap();
        let begun = Instant::now();
        assert_eq!(numbers(queue.pop(1, 9, Duration::ZERO)), [1, 2]);
        assert!(
            begun.elapsed() >= ALONE / 2,
            "it did not wait for the first"
        );
        // One that has done its batch takes the next at once.
        queue.push(item(3)).unwrap();
        queue
            .state
            .lock()
            .unwrap()
            .running
            .retain(|running| running.worker == 0);
        let begun = Instant::now();
        assert_eq!(numbers(queue.pop(0, 9, Duration::ZERO)), [3]);
        assert!(begun.elapsed() < ALONE);
    }

    #[test]
    fn what_may_joins_a_batch_that_has_room_and_the_rest_goes_to_another_worker() {
        let queue = Queue::new(9);
        queue.push(item(0)).unwrap();
        assert_eq!(numbers(queue.pop(0, 9, Duration::ZERO)), [0]);
        for n in [2, 4, 5, 6] {
            queue.push(item(n)).unwrap();
        }
        // It begins alone.
        assert!(queue.join(0, 3).is_empty());
        thread::sleep(ALONE);
        assert_eq!(numbers(Some(queue.join(0, 1))), [2]);
        thread::sleep(ALONE);
        // What stands behind one that may not join waits with it.
        assert_eq!(numbers(Some(queue.join(0, 3))), [4]);
        assert!(queue.join(0, 3).is_empty());
        assert_eq!(numbers(queue.pop(1, 9, Duration::ZERO)), [5, 6]);
        assert!(queue.join(2, 3).is_empty(), "nothing of theirs runs");
    }

    #[test]
    fn a_second_worker_leaves_to_the_first_what_that_has_room_for() {
        let queue = Arc::new(Queue::new(9));
        queue.push(item(0)).unwrap();
        assert_eq!(numbers(queue.pop(0, 9, Duration::ZERO)), [0]);
        assert!(queue.join(0, 1).is_empty());
        queue.push(item(2)).unwrap();
        let second = Arc::clone(&queue);
        let taken = thread::spawn(move || numbers(second.pop(1, 9, Duration::ZERO)));
        thread::sleep(2 * ALONE);
        assert!(!taken.is_finished());
        assert_eq!(numbers(Some(queue.join(0, 1))), [2]);
        // Without room it takes nothing more.
        queue.push(item(4)).unwrap();
        assert!(queue.join(0, 0).is_empty());
        assert_eq!(taken.join().unwrap(), [4]);
    }

    #[test]
    fn what_asks_another_model_runs_apart_and_is_not_held_up() {
        let queue = Queue::new(9);
        for n in [0, 100, 2, 102] {
            queue.push(item(n)).unwrap();
        }
        assert_eq!(numbers(queue.pop(0, 9, Duration::ZERO)), [0, 2]);
        // It does not wait for the batch of the other.
        let begun = Instant::now();
        assert_eq!(numbers(queue.pop(1, 9, Duration::ZERO)), [100, 102]);
        assert!(begun.elapsed() < ALONE);
        for n in [104, 4, 106] {
            queue.push(item(n)).unwrap();
        }
        thread::sleep(ALONE);
        // Each has room for its own alone, in the order of the queue.
        assert!(queue.join(0, 3).is_empty());
        assert_eq!(numbers(Some(queue.join(1, 3))), [104]);
        assert_eq!(numbers(Some(queue.join(0, 3))), [4]);
        // A third worker takes what has no batch to join.
        queue.push(item(101)).unwrap();
        assert_eq!(numbers(queue.pop(2, 9, Duration::ZERO)), [106, 101]);
    }

    #[test]
    fn a_closed_queue_gives_out_what_waits_and_ends() {
        let queue = Queue::new(9);
        queue.push(item(0)).unwrap();
        queue.close();
        assert_eq!(queue.push(item(1)), Err(Refused::Closed));
        assert_eq!(numbers(queue.pop(0, 9, Duration::ZERO)), [0]);
        assert!(queue.pop(0, 9, Duration::ZERO).is_none());
    }
}
