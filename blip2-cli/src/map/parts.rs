//! Parts on their way to the disk, written by a thread of its own.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{Scope, ScopedJoinHandle},
};

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use blip2_io::tables::{TableError, TableFormat, TableWriter};

use crate::Failure;

/// How many batches wait to be written.
const WAITING: usize = 2;

enum Message {
    Begin(PathBuf),
    Batch(RecordBatch),
    End,
}

/// The way to the thread that writes.
pub(super) struct Parts<'s> {
    send: SyncSender<Message>,
    writer: ScopedJoinHandle<'s, Result<(), TableError>>,
}

impl<'s> Parts<'s> {
    pub(super) fn begin(scope: &'s Scope<'s, '_>, format: TableFormat, schema: &'s Schema) -> Self {
        let (send, receive) = sync_channel(WAITING);
        let writer = scope.spawn(move || write(&receive, format, schema));
        Self { send, writer }
    }

    /// Begins a part. One that is not ended leaves nothing.
    pub(super) fn part(&self, path: PathBuf) -> bool {
        self.send.send(Message::Begin(path)).is_ok()
    }

    /// Writes rows of the part. Whether someone still writes; if not, [`finish`](Self::finish) says why.
    pub(super) fn write(&self, batch: RecordBatch) -> bool {
        self.send.send(Message::Batch(batch)).is_ok()
    }

    /// Gives the part its name.
    pub(super) fn end(&self) -> bool {
        self.send.send(Message::End).is_ok()
    }

    /// Waits until all is written.
    pub(super) fn finish(self) -> Result<(), Failure> {
        drop(self.send);
        match self.writer.join() {
            Ok(done) => done.map_err(Failure::work),
            Err(_) => Err(Failure::Work("the thread that writes failed".into())),
        }
    }
}

fn write(
    receive: &Receiver<Message>,
    format: TableFormat,
    schema: &Schema,
) -> Result<(), TableError> {
    let mut part = None;
    for message in receive {
        match message {
            Message::Begin(path) => part = Some(TableWriter::create(path, format, schema)?),
            Message::Batch(batch) => {
                if let Some(part) = &mut part {
                    part.write(&batch)?;
                }
            }
            Message::End => {
                if let Some(part) = part.take() {
                    part.finish()?;
                }
            }
        }
    }
    Ok(())
}
