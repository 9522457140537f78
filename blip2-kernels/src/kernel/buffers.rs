//! Memory of a training step's results, which goes to the next step.
//!
//! A step makes and drops hundreds of megabytes. Where they go back to the system and are asked of it
//! again, each of their pages is cleared and mapped anew, which took an eighth of a small model's step.

use std::{
    collections::BTreeMap,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

/// While one of these exists, the memory of results whose gradients are recorded on `flex` is kept for
/// later results, instead of going back to the system; when the last is dropped, what is kept goes
/// back.
///
/// Never more is held than results have taken at once.
#[derive(Debug)]
pub struct Recycling(());

impl Recycling {
    /// Begins to keep memory.
    pub fn begin() -> Self {
        pool().users += 1;
        Self(())
    }

    /// Gives back to the system what is kept and in no use, whoever keeps it: after the last step of a training,
    /// nothing of the kind is wanted for a while.
    pub fn give_back() {
        let mut pool = pool();
        let kept = pool.forget();
        drop(pool);
        drop(kept);
    }
}

impl Clone for Recycling {
    fn clone(&self) -> Self {
        Self::begin()
    }
}

impl Drop for Recycling {
    fn drop(&mut self) {
        let mut pool = pool();
        pool.users -= 1;
        let kept = (pool.users == 0).then(|| pool.forget());
        drop(pool);
        drop(kept);
    }
}

/// Sizes are counts of numbers.
#[derive(Debug, Default)]
struct Pool {
    users: usize,
    /// What nobody uses, by size.
    free: BTreeMap<usize, Vec<Vec<f32>>>,
    /// All of that together.
    held: usize,
    in_use: usize,
    /// The most that was ever in use.
    peak: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    users: 0,
    free: BTreeMap::new(),
    held: 0,
    in_use: 0,
    peak: 0,
});

fn pool() -> MutexGuard<'static, Pool> {
    // Counts are as good as they were whoever panicked.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// All that is kept, for the caller to free once the pool is unlocked.
    fn forget(&mut self) -> BTreeMap<usize, Vec<Vec<f32>>> {
        (self.held, self.peak) = (0, self.in_use);
        std::mem::take(&mut self.free)
    }

    /// Kept numbers of that size, if there are any. What is kept and then too much is given back.
    fn take(&mut self, size: usize, too_much: &mut Vec<Vec<f32>>) -> Option<Vec<f32>> {
        let found = self.free.get_mut(&size).and_then(Vec::pop);
        self.in_use += size;
        if found.is_some() {
            self.held -= size;
        }
        self.peak = self.peak.max(self.in_use);
        while self.held + self.in_use > self.peak {
            let Some(mut largest) = self.free.last_entry() else {
                break;
            };
            match largest.get_mut().pop() {
                Some(values) => {
                    self.held -= values.len();
                    too_much.push(values);
                }
                None => {
                    largest.remove();
                }
            }
        }
        found
    }

    /// Keeps what is no longer used, unless there is too much of it.
    fn put(&mut self, values: Vec<f32>) -> Option<Vec<f32>> {
        let size = values.len();
        self.in_use -= size;
        if self.users == 0 || self.held + self.in_use + size > self.peak {
            return Some(values);
        }
        self.held += size;
        self.free.entry(size).or_default().push(values);
        None
    }
}

/// Fewer numbers than these are not worth a pool.
const SMALL: usize = 1 << 14;

/// The numbers in a line of the cache.
const LINE: usize = 16;

/// The size of the memory for `len` numbers: rounded up, so that a result of nearly the same size can
/// use it again, with room to begin at a line of the cache.
fn class(len: usize) -> usize {
    len.next_multiple_of(len.next_power_of_two() / 8) + LINE
}

/// Numbers in memory that may have been used before.
#[derive(Debug)]
pub(crate) struct Floats {
    values: Vec<f32>,
    /// Where those that count begin.
    start: usize,
    len: usize,
    pooled: bool,
}

impl Floats {
    /// Numbers of any value, to be written over.
    pub(crate) fn any(len: usize) -> Self {
        if len >= SMALL {
            let mut pool = pool();
            if pool.users > 0 {
                let (size, mut too_much) = (class(len), Vec::new());
                let found = pool.take(size, &mut too_much);
                drop(pool);
                drop(too_much);
                let values = found.unwrap_or_else(|| vec![0.0; size]);
                return Self {
                    start: values.as_ptr().align_offset(4 * LINE).min(LINE),
                    values,
                    len,
                    pooled: true,
                };
            }
        }
        vec![0.0; len].into()
    }

    /// As the memory of a tensor.
    pub(crate) fn into_bytes(self) -> Bytes {
        let size = size_of_val(&*self);
        // SAFETY: the controller's memory is so large, and all of it numbers.
        #[allow(unsafe_code)]
        unsafe {
            Bytes::from_controller(Box::new(Controller(self)), size)
        }
    }
}

impl From<Vec<f32>> for Floats {
    fn from(values: Vec<f32>) -> Self {
        Self {
            len: values.len(),
            start: 0,
            values,
            pooled: false,
        }
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..self.start + self.len]
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..self.start + self.len]
    }
}

impl Drop for Floats {
    fn drop(&mut self) {
        if self.pooled {
            let values = std::mem::take(&mut self.values);
            let too_much = pool().put(values);
            drop(too_much);
        }
    }
}

/// Numbers that a tensor of Burn holds.
struct Controller(Floats);

#[allow(unsafe_code)]
impl AllocationController for Controller {
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(
        &mut self,
        _: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let values = &mut *self.0;
        let size = size_of_val(values);
        // SAFETY: a number is four bytes, and the caller writes none that is not initialised.
        Ok(unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let values = &*self.0;
        // SAFETY: a number is four bytes.
        Ok(unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_is_held_than_was_used_at_once() {
        let mut pool = Pool {
            users: 1,
            ..Pool::default()
        };
        let mut gone = Vec::new();
        let mut take = |pool: &mut Pool, size| {
            let found = pool.take(size, &mut gone);
            found.unwrap_or_else(|| vec![0.0; size])
        };
        let (a, b) = (take(&mut pool, 100), take(&mut pool, 50));
        let first = a.as_ptr();
        assert!(pool.put(a).is_none() && pool.put(b).is_none());
        assert_eq!((pool.in_use, pool.held, pool.peak), (0, 150, 150));
        let a = take(&mut pool, 100);
        assert_eq!(a.as_ptr(), first, "the same memory");
        // Another size takes the place of what is kept.
        let c = take(&mut pool, 40);
        assert_eq!((pool.in_use, pool.held, pool.peak), (140, 0, 150));
        pool.users = 0;
        assert!(pool.put(a).is_some() && pool.put(c).is_some());
        assert_eq!((pool.in_use, pool.held), (0, 0));
        assert_eq!(gone.len(), 1);
        // What is given back is not kept for anybody, and what is in use may come back.
        pool.users = 1;
        for size in [100, 50] {
            assert!(pool.take(size, &mut gone).is_none());
        }
        assert!(pool.put(vec![0.0; 100]).is_none());
        let kept = pool.forget();
        assert_eq!(kept.values().map(Vec::len).sum::<usize>(), 1);
        assert_eq!((pool.in_use, pool.held, pool.peak), (50, 0, 50));
        assert!(pool.put(vec![0.0; 50]).is_none());
        assert_eq!((pool.in_use, pool.held, pool.peak), (0, 50, 50));
    }

    #[test]
    fn tensors_hold_pooled_numbers() {
        let recycling = Recycling::begin();
        let mut values = Floats::any(SMALL + 1);
        values.fill(2.5);
        let mut bytes = values.into_bytes();
        assert_eq!(bytes.len(), 4 * (SMALL + 1));
        assert_eq!(bytes[..4], 2.5f32.to_le_bytes());
        bytes[..4].copy_from_slice(&1f32.to_le_bytes());
        let copy = bytes.clone();
        drop(bytes);
        assert_eq!(
            copy[..8],
            [1f32.to_le_bytes(), 2.5f32.to_le_bytes()].concat()
        );
        drop(recycling);
    }
}
