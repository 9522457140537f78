//! Memory for inputs, which one product after another uses: clearing some megabytes for each, before any
//! thread can begin, took a thirtieth of an encoder's time.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::kernel::isa::{tile_kind::Aligned, unit::Line};

/// What nobody uses.
static SPARE: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

fn spare() -> MutexGuard<'static, Vec<Vec<Line>>> {
    // Memory is as good as it was whoever panicked.
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines of any content, to be written over.
pub(super) struct Lines {
    all: Vec<Line>,
    len: usize,
}

impl Lines {
    pub(super) fn any(len: usize) -> Self {
        let mut all = spare().pop().unwrap_or_default();
        if all.len() < len {
            all.resize(len, Aligned([0; 64]));
        }
        Self { all, len }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        /// As much is kept as a picture of the published models needs, for a few threads.
        const MOST: usize = 4 << 20;
        const COUNT: usize = 4;
        let mut spare = spare();
        if size_of_val(self.all.as_slice()) <= MOST && spare.len() < COUNT {
            spare.push(std::mem::take(&mut self.all));
        }
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        &self.all[..self.len]
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [Line] {
        &mut self.all[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_many_as_were_asked_for() {
        for len in [0, 100, 7, 300] {
            let mut lines = Lines::any(len);
            assert_eq!(lines.len(), len);
            lines.fill(Aligned([1; 64]));
        }
    }
}
