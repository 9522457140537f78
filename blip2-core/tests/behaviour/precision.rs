//! The parts of a model in precisions of their own.

use blip2_core::{Answer, Blip2Pipeline, Precision, PrecisionPlan};
use blip2_testing::{fixture, picture};

const F32: Precision = Precision::F32;
const BF16: Precision = Precision::Bf16;

/// What a pipeline sees in a picture, and what it says of it.
fn run(name: &str, plan: impl Into<PrecisionPlan>) -> (Vec<f32>, Answer, String) {
    let blip2 = Blip2Pipeline::builder(fixture(name))
        .precision(plan)
        .load()
        .unwrap();
    let image = picture(0);
    let seen = blip2.look(&image).unwrap();
    let features = seen
        .features()
        .unwrap()
        .tensor()
        .into_data()
        .try_to_vec()
        .unwrap();
    let answer = seen.ask("how many cats?").unwrap();
    (features, answer, blip2.fingerprint().to_string())
}

#[test]
fn each_part_is_held_in_its_own_precision() {
    for name in ["blip2_opt", "blip2_t5"] {
        let (features, answer, fingerprint) = run(name, F32);
        let (narrow_features, ..) = run(name, BF16);
        assert_ne!(features, narrow_features, "{name}: bf16 rounds the tower");

        let only_text = PrecisionPlan::default()
            .with_vision(F32)
            .with_language_model(BF16);
        let (same, other, same_fingerprint) = run(name, only_text);
        assert_eq!(features, same, "{name}: the tower stayed as it was");
        assert_ne!(
            answer.log_probs(),
            other.log_probs(),
            "{name}: the text did not"
        );
        assert_eq!(
            fingerprint, same_fingerprint,
            "{name}: pictures are exchangeable"
        );

        let only_vision = PrecisionPlan::default()
            .with_vision(BF16)
            .with_language_model(F32);
        let (rounded, _, other_fingerprint) = run(name, only_vision);
        assert_eq!(narrow_features, rounded, "{name}");
        assert_ne!(fingerprint, other_fingerprint, "{name}");
    }
}
