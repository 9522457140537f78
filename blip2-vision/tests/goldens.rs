//! Every stage of the tower equals the reference's, within the tolerance of [`Fixture::compare`].

mod common;

use blip2_vision::{Keep, VisionOptions};
use common::{FIXTURES, Fixture};

#[test]
fn every_stage() {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let model = fixture.model();
        let options = VisionOptions::default().with_keep(Keep::ALL);
        let output = model.forward(fixture.pixel_values(), &options).unwrap();
        let pooled = model.pool(output.last_hidden_state.clone());

        let layers = fixture.config.num_hidden_layers;
        assert_eq!(output.hidden_states.len(), layers + 1);
        assert_eq!(output.attentions.len(), layers);
        assert!(fixture.compare("last_hidden_state", output.last_hidden_state));
        let mut compared = usize::from(fixture.compare("pooler_output", pooled));
        for (n, hidden) in output.hidden_states.into_iter().enumerate() {
            compared += usize::from(fixture.compare(&format!("hidden.{n}"), hidden));
        }
        for (n, map) in output.attentions.into_iter().enumerate() {
            compared += usize::from(fixture.compare(&format!("attentions.{n}"), map));
        }
        // What the fixtures hold besides the last hidden state.
        let expected = match name {
            "blip2_itr" => 0,
            "blip2_opt" | "blip2_t5" => 1 + layers + 1,
            _ => 1 + layers + 1 + layers,
        };
        assert_eq!(compared, expected, "{name}");
    }
}

#[test]
fn pictures_of_other_sizes() {
    let options = VisionOptions::default().with_interpolate_pos_encoding(true);
    let mut compared = 0;
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let model = fixture.model();
        for n in 0.. {
            let Some(pixel_values) = fixture.golden(&format!("interp.{n}.pixel_values")) else {
                break;
            };
            // The second pass finds the positions kept.
            for _ in 0..2 {
                let output = model.forward(pixel_values.clone(), &options).unwrap();
                let name = format!("interp.{n}.last_hidden_state");
                assert!(fixture.compare(&name, output.last_hidden_state));
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 1 + 1 + 5 + 3);
}
