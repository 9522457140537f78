//! Stages with their times, which a call that is stopped does not begin.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use blip2_lm::{
    LmError,
    generate::{
        CancelToken, DecodeSession, Drafts, FinishReason, Generator, JoinSession, Logits, Scores,
    },
};
use burn::tensor::Device;

use super::Timings;
use crate::error::Blip2Error;

/// Refuses to go on with a call that was stopped.
pub(crate) fn go_on(cancel: &CancelToken) -> Result<(), Blip2Error> {
    match cancel.reason() {
        None => Ok(()),
        Some(FinishReason::Deadline) => Err(Blip2Error::Deadline),
        Some(_) => Err(Blip2Error::Cancelled),
    }
}

/// Runs a stage inside a span and takes its time, the device's work included; not of a call that
/// was stopped.
pub(crate) fn stage<T>(
    device: &Device,
    cancel: &CancelToken,
    name: &'static str,
    time: &mut Option<Duration>,
    run: impl FnOnce() -> Result<T, Blip2Error>,
) -> Result<T, Blip2Error> {
    go_on(cancel)?;
    let _span = tracing::info_span!("stage", name).entered();
    let start = Instant::now();
    let result = run()?;
    // A GPU computes asynchronously; without this its time would count for a later stage.
    // Should it fail, the next read of a result reports that.
    let _ = device.sync();
    *time = Some(start.elapsed());
    Ok(result)
}

/// A decode that is ready to run.
pub struct Started {
    pub(crate) session: Timed,
    pub(crate) histories: Vec<Vec<u32>>,
    pub(crate) generator: Generator<'static>,
}

/// A session of any model.
trait AnySession: DecodeSession<Error = LmError> + Any + Send {
    /// See [`JoinSession::join`].
    fn join_any(&mut self, other: Box<dyn AnySession>) -> Result<(), LmError>;
}

impl<S: JoinSession<Error = LmError> + Send + 'static> AnySession for S {
    fn join_any(&mut self, other: Box<dyn AnySession>) -> Result<(), LmError> {
        let other: Box<dyn Any> = other;
        match other.downcast::<S>() {
            Ok(other) => self.join(*other),
            Err(_) => Err(LmError::OtherModel),
        }
    }
}

/// A session that takes the time of its prefill and of its later steps. It holds its model, so that
/// what it runs in can be kept and sent.
pub(crate) struct Timed {
    session: Box<dyn AnySession>,
    drafts: Option<Drafts>,
    pub(super) prefill: Duration,
    pub(super) decode: Duration,
}

impl Timed {
    /// `before` is the time that preparing the prompt took already.
    pub(crate) fn new(
        session: impl JoinSession<Error = LmError> + Send + 'static,
        before: Duration,
    ) -> Self {
        Self {
            session: Box::new(session),
            drafts: None,
            prefill: before,
            decode: Duration::ZERO,
        }
    }
}

impl Timed {
    /// With what is counted of a session that is written ahead of.
    pub(crate) fn counting(self, drafts: Drafts) -> Self {
        Self {
            drafts: Some(drafts),
            ..self
        }
    }

    /// Adds what it took to a call's timings.
    pub(super) fn note(&self, timings: &mut Timings) {
        timings.prefill = Some(self.prefill);
        timings.decode = Some(self.decode);
        timings.drafted = self.drafts.as_ref().map(Drafts::drafted);
        timings.accepted = self.drafts.as_ref().map(Drafts::accepted);
    }
}

impl DecodeSession for Timed {
    type Error = LmError;

    fn vocab_size(&self) -> usize {
        self.session.vocab_size()
    }

    fn rows(&self) -> usize {
        self.session.rows()
    }

    fn prefill(&mut self) -> Result<Logits, LmError> {
        let _span = tracing::info_span!("stage", name = "prefill").entered();
        let start = Instant::now();
        let logits = self.session.prefill();
        self.prefill += start.elapsed();
        logits
    }

    fn step(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Logits, LmError> {
        let _span = tracing::info_span!("stage", name = "decode").entered();
        let start = Instant::now();
        let logits = self.session.step(parents, tokens);
        self.decode += start.elapsed();
        logits
    }

    fn prefill_greedy(&mut self, forbidden: &[u32]) -> Result<Scores, LmError> {
        let _span = tracing::info_span!("stage", name = "prefill").entered();
        let start = Instant::now();
        let scores = self.session.prefill_greedy(forbidden);
        self.prefill += start.elapsed();
        scores
    }

    fn step_greedy(
        &mut self,
        parents: &[usize],
        tokens: &[u32],
        forbidden: &[u32],
    ) -> Result<Scores, LmError> {
        let _span = tracing::info_span!("stage", name = "decode").entered();
        let start = Instant::now();
        let scores = self.session.step_greedy(parents, tokens, forbidden);
        self.decode += start.elapsed();
        scores
    }

    fn prefill_top(&mut self, k: usize) -> Result<Scores, LmError> {
        let _span = tracing::info_span!("stage", name = "prefill").entered();
        let start = Instant::now();
        let scores = self.session.prefill_top(k);
        self.prefill += start.elapsed();
        scores
    }

    fn step_top(&mut self, parents: &[usize], tokens: &[u32], k: usize) -> Result<Scores, LmError> {
        let _span = tracing::info_span!("stage", name = "decode").entered();
        let start = Instant::now();
        let scores = self.session.step_top(parents, tokens, k);
        self.decode += start.elapsed();
        scores
    }

    fn all_logits(&mut self) -> Result<Option<Logits>, LmError> {
        let start = Instant::now();
        let logits = self.session.all_logits();
        self.decode += start.elapsed();
        logits
    }

    fn remaining_positions(&self) -> Option<usize> {
        self.session.remaining_positions()
    }
}

/// The times go on as this session's.
impl JoinSession for Timed {
    fn join(&mut self, other: Self) -> Result<(), LmError> {
        self.session.join_any(other.session)
    }
}
