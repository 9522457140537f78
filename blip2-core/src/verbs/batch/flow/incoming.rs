//! What comes into a flow, read ahead by a thread of its own.

use std::{
    panic,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, TryRecvError, sync_channel},
    },
    thread::{Builder, JoinHandle},
};

/// What an iterator gives, read ahead where there is a thread to read it.
pub(super) enum Incoming<T> {
    Ahead {
        read: Receiver<T>,
        reader: Option<JoinHandle<()>>,
    },
    /// Where no thread could be started.
    Here(Box<dyn Iterator<Item = T> + Send>),
    Over,
}

impl<T: Send + 'static> Incoming<T> {
    /// Reads up to `ahead` items before they are asked for.
    pub(super) fn of(items: impl Iterator<Item = T> + Send + 'static, ahead: usize) -> Self {
        let (found, read) = sync_channel(ahead);
        // Kept where it can be had back: what could not be spawned is dropped.
        let items: Arc<Mutex<Option<Box<dyn Iterator<Item = T> + Send>>>> =
            Arc::new(Mutex::new(Some(Box::new(items))));
        let of_thread = Arc::clone(&items);
        let take = |items: &Mutex<Option<_>>| match items.lock() {
            Ok(mut items) => items.take(),
            Err(_) => None,
        };
        let reader = Builder::new().name("blip2-reading".into()).spawn(move || {
            let items = take(&of_thread);
            for item in items.into_iter().flatten() {
                // Whoever wanted it has left.
                if found.send(item).is_err() {
                    return;
                }
            }
        });
        match reader {
            Ok(reader) => Self::Ahead {
                read,
                reader: Some(reader),
            },
            Err(_) => match take(&items) {
                Some(items) => Self::Here(items),
                None => Self::Over,
            },
        }
    }

    /// The next item; without `wait` only if it is there already.
    pub(super) fn next(&mut self, wait: bool) -> Option<T> {
        let next = match self {
            Self::Ahead { read, .. } if wait => read.recv().map_err(|_| TryRecvError::Disconnected),
            Self::Ahead { read, .. } => read.try_recv(),
            Self::Here(items) => items.next().ok_or(TryRecvError::Disconnected),
            Self::Over => Err(TryRecvError::Disconnected),
        };
        if matches!(next, Err(TryRecvError::Disconnected)) {
            self.end();
        }
        next.ok()
    }

    /// Whether all has come.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// A panic of the iterator is no end of it: it goes on here.
    fn end(&mut self) {
        if let Self::Ahead { reader, .. } = self
            && let Some(Err(panicked)) = reader.take().map(JoinHandle::join)
        {
            panic::resume_unwind(panicked);
        }
        *self = Self::Over;
    }
}
