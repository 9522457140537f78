//! One pipeline for all tasks of an async server, with no more than the standard library: answers
//! are computed on threads of their own, and no executor's thread waits for them.
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
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread,
};

use blip2_core::{Blip2Pipeline, open_image};

/// What a server keeps; its clones share the pipeline.
#[derive(Clone)]
struct Server {
    blip2: Arc<Blip2Pipeline>,
}

impl Server {
    /// Answers a question about the picture in a file.
    async fn answer(self, picture: String, question: String) -> Result<String, String> {
        let compute = move || {
            let image = open_image(picture)?;
            self.blip2.answer(&image, &question)
        };
        let answer = off_thread(compute).await;
        answer
            .map(|answer| answer.text)
            .map_err(|error| error.to_string())
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
    let server = Server {
        blip2: Arc::new(Blip2Pipeline::from_pretrained(model)?),
    };

    // Two requests are computed at once; a third, for a file that is not there, fails alone.
    let ask = |picture: &str, question: &str| {
        spawn(server.clone().answer(picture.into(), question.into()))
    };
    let color = ask(&picture, "what color is the shape?");
    let shape = ask(&picture, "what shape is in the image?");
    let lost = ask("no-such-picture.png", "what is this?");
    println!("{}", block_on(color)?);
    println!("{}", block_on(shape)?);
    println!("{}", block_on(lost).err().unwrap_or_default());
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
        let computed = compute();
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
    shared: Arc<Mutex<(Option<T>, Option<Waker>)>>,
}

impl<T> Future for OffThread<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut shared = lock(&self.shared);
        match shared.0.take() {
            Some(computed) => Poll::Ready(computed),
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
