//! Processes that train together, as threads of one.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use blip2_train::{Group, TrainError};

/// What the threads bring to one call, and whether one of them is gone.
#[derive(Default)]
struct Round {
    number: usize,
    brought: Vec<Option<Vec<u8>>>,
    /// What they brought to the call before, for those who are late to see it.
    last: Vec<Vec<u8>>,
    gone: bool,
}

struct Meeting {
    round: Mutex<Round>,
    changed: Condvar,
}

impl Meeting {
    fn lock(&self) -> MutexGuard<'_, Round> {
        self.round
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// One of them.
pub(crate) struct Member {
    rank: usize,
    size: usize,
    meeting: Arc<Meeting>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.meeting.lock().gone = true;
        self.meeting.changed.notify_all();
    }
}

impl Group for Member {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), TrainError> {
        let own: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_ne_bytes())
            .collect();
        values.fill(0.0);
        for bytes in self.gather(&own)? {
            assert_eq!(bytes.len(), own.len());
            let (words, _) = bytes.as_chunks::<4>();
            for (sum, word) in values.iter_mut().zip(words) {
                *sum += f32::from_ne_bytes(*word);
            }
        }
        Ok(())
    }

    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, TrainError> {
        let mut round = self.meeting.lock();
        let number = round.number;
        round.brought[self.rank] = Some(own.to_vec());
        if round.brought.iter().all(Option::is_some) {
            let brought = round.brought.iter_mut().map(Option::take);
            round.last = brought.flatten().collect();
            round.number += 1;
            self.meeting.changed.notify_all();
            return Ok(round.last.clone());
        }
        while round.number == number {
            if round.gone {
                let reason = "one of them is gone".into();
                return Err(TrainError::Group { reason });
            }
            round = self.meeting.changed.wait(round).unwrap();
        }
        Ok(round.last.clone())
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), TrainError> {
        let first = self.gather(bytes)?.into_iter().next();
        *bytes = first.unwrap_or_default();
        Ok(())
    }
}

/// Runs something as each of `size` processes, and gives what each gave.
pub(crate) fn as_each<T: Send>(size: usize, run: impl Fn(&Member) -> T + Sync) -> Vec<T> {
    let round = Round {
        brought: vec![None; size],
        ..Round::default()
    };
    let meeting = Arc::new(Meeting {
        round: Mutex::new(round),
        changed: Condvar::new(),
    });
    thread::scope(|scope| {
        let threads: Vec<_> = (0..size)
            .map(|rank| {
                let member = Member {
                    rank,
                    size,
                    meeting: Arc::clone(&meeting),
                };
                let run = &run;
                scope.spawn(move || run(&member))
            })
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap());
        ended.collect()
    })
}
