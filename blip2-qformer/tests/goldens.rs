//! Every stage of the Q-Former equals the reference's, within the tolerance of
//! [`Fixture::compare`].

mod common;

use blip2_qformer::Keep;
use common::{FIXTURES, Fixture};

#[test]
fn every_stage() {
    for (name, cases) in FIXTURES {
        let fixture = Fixture::open(name);
        let (model, queries) = fixture.model();
        for case in cases {
            let input = fixture.input(case, &queries).keep(Keep::ALL);
            let output = model.forward(input).unwrap();
            fixture.compare(case, "last_hidden_state", output.last_hidden_state);

            let layers = fixture.config.num_hidden_layers;
            assert_eq!(output.hidden_states.len(), layers + 1);
            for (n, hidden) in output.hidden_states.into_iter().enumerate() {
                fixture.compare(case, &format!("hidden.{n}"), hidden);
            }

            // The reference lists cross-attention's maps by themselves and among the others too.
            assert_eq!(output.attentions.len(), layers);
            assert_eq!(output.cross_attentions.len(), layers);
            let (mut maps, mut crosses) = (0, 0);
            let pairs = output.attentions.into_iter().zip(output.cross_attentions);
            for (layer, (own, cross)) in pairs.enumerate() {
                fixture.compare(case, &format!("self_attn.{maps}"), own);
                maps += 1;
                let due = fixture.config.has_cross_attention(layer) && *case != "text";
                assert_eq!(cross.is_some(), due, "{name} {case} layer {layer}");
                if let Some(cross) = cross {
                    fixture.compare(case, &format!("self_attn.{maps}"), cross.clone());
                    fixture.compare(case, &format!("cross_attn.{crosses}"), cross);
                    (maps, crosses) = (maps + 1, crosses + 1);
                }
            }
            let more = [format!("self_attn.{maps}"), format!("cross_attn.{crosses}")];
            assert!(
                more.iter()
                    .all(|name| fixture.golden::<4>(case, name).is_none())
            );
        }
    }
}
