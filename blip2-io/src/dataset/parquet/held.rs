//! Pictures of the row groups that were read last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::ArrayRef;

/// The most bytes of pictures that are held. A row group that has more is read row by row.
pub(super) const MOST: u64 = 512 << 20;

/// A row group: the number of its file and its own.
type Key = (usize, usize);

/// The pictures of a row group, once they are read.
type Room = Arc<Mutex<Option<ArrayRef>>>;

/// Pictures of the row groups that were read last: rows that are used near one another lie near one
/// another, and what holds them is unpacked once for all.
#[derive(Debug, Default)]
pub(in crate::dataset) struct Held {
    /// The one that was used last stands last.
    groups: Mutex<Vec<(Key, u64, Room)>>,
}

impl Held {
    /// The pictures of a row group of `bytes` bytes, read by `read` if they are not held. Whoever wants a
    /// group that is being read waits for it.
    pub(super) fn group<E>(
        &self,
        key: Key,
        bytes: u64,
        read: impl FnOnce() -> Result<ArrayRef, E>,
    ) -> Result<ArrayRef, E> {
        let room = self.room(key, bytes);
        let mut held = locked(&room);
        if let Some(pictures) = held.as_ref() {
            return Ok(Arc::clone(pictures));
        }
        let pictures = read()?;
        *held = Some(Arc::clone(&pictures));
        Ok(pictures)
    }

    fn room(&self, key: Key, bytes: u64) -> Room {
        let mut groups = locked(&self.groups);
        let found = groups.iter().position(|(own, ..)| *own == key);
        let group = match found {
            Some(place) => groups.remove(place),
            None => (key, bytes, Room::default()),
        };
        let room = Arc::clone(&group.2);
        groups.push(group);
        let mut total: u64 = groups.iter().map(|(_, bytes, _)| bytes).sum();
        while total > MOST && groups.len() > 1 {
            total -= groups.remove(0).1;
        }
        room
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A reader that panicked left what it had read, or nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_is_held_within_the_limit() {
        let held = Held::default();
        let read = |group: usize, bytes: u64| {
            let mut was_read = false;
            let pictures = held.group((0, group), bytes, || {
                was_read = true;
                Ok::<ArrayRef, ()>(Arc::new(arrow_array::NullArray::new(group)))
            });
            assert_eq!(pictures.unwrap().len(), group);
            was_read
        };
        let half = MOST / 2;
        assert!(read(0, half) && read(1, half));
        assert!(!read(0, half));
        // The third takes the place of the one that was not used for longest.
        assert!(read(2, half));
        assert!(!read(0, half));
        assert!(read(1, half));
    }
}
