//! One pipeline for all tasks of an async server, with no more than the standard library: answers
//! are computed on threads of their own, and no executor's thread waits for them; a stream is begun
//! by one task and read by another; the call of a client that left is stopped.
//!
//! ```sh
//! cargo run --release --example async_server
//! cargo run --release --example async_server -- models/blip2-opt-2.7b beach.jpg
//! ```
//!
//! With tokio, `tokio::task::spawn_blocking` does what [`off_thread`] does here.

#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    future::Future,
    panic::{self, AssertUnwindSafe},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
};

use blip2_core::{AnswerStream, Blip2Error, Blip2Pipeline, CancelToken, FinishReason, Options};

/// What a server keeps. Its clones share the model: a pipeline is a handle.
#[derive(Clone)]
struct Server {
    blip2: Blip2Pipeline,
    /// How calls ended.
    log: mpsc::Sender<FinishReason>,
}

impl Server {
    /// Answers a question about the picture in a file, as long as someone waits for it.
    async fn answer(self, picture: String, question: String) -> Result<String, Blip2Error> {
        let client = Client::default();
        let options = Options::default().with_cancel(client.0.clone());
        let answer = off_thread(move || {
            let image = self.blip2.open(picture)?;
            let answer = self.blip2.answer_with(&image, &question, &options)?;
            let _ = self.log.send(answer.finish_reason);
            Ok(answer.text)
        });
        answer.await
    }

    /// Begins to answer a question. The stream is owned: it can be stored, and read by any task.
    async fn stream(self, picture: String, question: String) -> Result<AnswerStream, Blip2Error> {
        let stream = off_thread(move || {
            let image = self.blip2.open(picture)?;
            self.blip2.stream_answer(&image, &question)
        });
        stream.await
    }
}

/// A client who waits. When its task is dropped, since the connection closed, the call is cancelled:
/// the model stops before its next stage or token.
#[derive(Default)]
struct Client(CancelToken);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Sends an answer to a client, piece by piece. The model runs no further than the client reads, and
/// not at all once the stream is dropped.
async fn send(mut stream: AnswerStream) -> Result<(), Blip2Error> {
    loop {
        // The stream goes to a thread that may be blocked, and comes back with a piece.
        let (piece, back) = off_thread(move || (stream.next(), stream)).await;
        let Some(piece) = piece else {
            println!();
            return Ok(());
        };
        print!("{}", piece?);
        stream = back;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, picture) = match arguments.as_slice() {
        [model, picture] => (model.clone(), picture.clone()),
        _ => (
            concat!(env!("CARGO_MANIFEST_DIR"), "/models/easy-vqa-opt").into(),
            concat!(env!("CARGO_MANIFEST_DIR"), "/images/red-triangle.png").into(),
        ),
    };
    let (log, ended) = mpsc::channel();
    let blip2 = Blip2Pipeline::from_pretrained(model)?;
    let server = Server { blip2, log };

    // Two requests are computed at once; a third, for a file that is not there, fails alone.
    let ask = |picture: &str, question: &str| {
        spawn(server.clone().answer(picture.into(), question.into()))
    };
    let color = ask(&picture, "what color is the shape?");
    let shape = ask(&picture, "what shape is in the image?");
    let lost = ask("no-such-picture.png", "what is this?");
    println!("{}", block_on(color)?);
    println!("{}", block_on(shape)?);
    if let Err(error) = block_on(lost) {
        println!("{error}");
    }

    // A stream is begun by one task and read by another.
    let question = "what shape is in the image?".to_string();
    let begun = spawn(server.clone().stream(picture.clone(), question.clone()));
    let stream = block_on(begun)?;
    block_on(spawn(send(stream)))?;

    // A client asks, and leaves.
    let mut request = Box::pin(server.answer(picture, question));
    let mut context = Context::from_waker(Waker::noop());
    let waits = request.as_mut().poll(&mut context).is_pending();
    drop(request);
    println!(
        "it waited: {waits}; calls ended by {:?}",
        Vec::from_iter(ended)
    );
    Ok(())
}

/// Runs a task on an executor; this one has a thread for each.
fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> OffThread<T> {
    off_thread(|| block_on(task))
}

/// Computes on a thread of its own.
fn off_thread<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> OffThread<T> {
    let shared = Arc::new(Mutex::new((None, None)));
    let result = OffThread {
        shared: shared.clone(),
    };
    thread::spawn(move || {
        // Who waits is told of a panic, too.
        let computed = panic::catch_unwind(AssertUnwindSafe(compute));
        let mut shared = lock(&shared);
        shared.0 = Some(computed);
        if let Some(waker) = shared.1.take() {
            waker.wake();
        }
    });
    result
}

/// What a thread is computing, and who waits for it.
struct OffThread<T> {
    shared: Arc<Mutex<Waiting<T>>>,
}

type Waiting<T> = (Option<thread::Result<T>>, Option<Waker>);

impl<T> Future for OffThread<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut shared = lock(&self.shared);
        match shared.0.take() {
            Some(Ok(computed)) => Poll::Ready(computed),
            Some(Err(panic)) => panic::resume_unwind(panic),
            None => {
                shared.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
