//! Every stage of the encoder equals the reference's, within the tolerance of [`Fixture::compare`].

mod common;

use blip2_audio::{ConformerOptions, Precision};
use common::{FIXTURES, Fixture};

#[test]
fn every_stage() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let encoder = fixture.encoder(Precision::F32);
        let options = ConformerOptions::default().with_hidden_states(true);
        let output = encoder.forward(fixture.input_features(), &options).unwrap();

        assert_eq!(output.hidden_states.len(), fixture.config.num_layers + 1);
        fixture.compare("encoder.input_linear", output.hidden_states[0].clone());
        fixture.compare("encoder.last_hidden_state", output.last_hidden_state);
        for (n, hidden) in output.hidden_states.into_iter().enumerate() {
            fixture.compare(&format!("encoder.hidden.{n}"), hidden);
        }
    }
}

#[test]
fn nothing_kept_has_the_same_numbers() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let encoder = fixture.encoder(Precision::F32);
        let features = fixture.input_features();
        let output = encoder.forward(features, &ConformerOptions::default());
        let output = output.unwrap();
        assert!(output.hidden_states.is_empty());
        fixture.compare("encoder.last_hidden_state", output.last_hidden_state);
    }
}
