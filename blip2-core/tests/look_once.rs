//! A picture that was looked at is not encoded again. Alone in its file: it counts the spans of the
//! whole process.

#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use blip2_core::Blip2Pipeline;
use blip2_testing::{fixture, picture};

/// Counts the stages that run, by the spans they open.
struct Stages(Arc<AtomicUsize>);

impl tracing::Subscriber for Stages {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span()
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        struct IsImage(bool);
        impl tracing::field::Visit for IsImage {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                let value = format!("{value:?}");
                self.0 |= value.contains("vision") || value.contains("qformer");
            }
        }
        let mut image = IsImage(false);
        span.record(&mut image);
        if image.0 {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_second_question_runs_neither_vision_nor_qformer() {
    let stages = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Stages(stages.clone()));
    for name in ["blip2_opt", "blip2_t5"] {
        stages.store(0, Ordering::Relaxed);
        let blip2 = Blip2Pipeline::from_pretrained(fixture(name)).unwrap();
        let image = picture(1);
        let seen = blip2.look(&image).unwrap();
        assert_eq!(
            stages.load(Ordering::Relaxed),
            2,
            "the picture is encoded once"
        );
        assert!(seen.timings().vision.is_some() && seen.timings().qformer.is_some());

        let first = seen.ask("how many cats?").unwrap();
        let second = seen.ask("what is this?").unwrap();
        assert_eq!(stages.load(Ordering::Relaxed), 2, "asking encodes nothing");
        for answer in [&first, &second] {
            assert_eq!(answer.timings.preprocess, None);
            assert_eq!(answer.timings.vision, None);
            assert_eq!(answer.timings.qformer, None);
            assert!(answer.timings.prefill.is_some() && answer.timings.decode.is_some());
        }
        let direct = blip2.answer(&image, "how many cats?").unwrap();
        assert_eq!(direct.token_ids(), first.token_ids());
        assert!(direct.timings.vision.is_some() && direct.timings.preprocess.is_some());
    }
}
