//! Every switch of the configurations against `transformers`, on small random models: hidden
//! states, attention maps, logits, greedy and beam search, with padding in all places.

use blip2_io::CheckpointWeights;
use blip2_kernels::{TensorRequest, WeightSource, Weights};
use blip2_lm::{GenerationConfig, Generator, Keep, LanguageModel};
use blip2_testing::{assert_close, floats};
use burn::tensor::{DType, Tensor, TensorData};

use crate::models_support::{Fixture, share};

const OPT: [&str; 5] = [
    "opt_post_norm",
    "opt_post_norm_plain",
    "opt_pre_norm_plain",
    "opt_untied",
    "opt_no_final_norm",
];
const T5: [&str; 4] = [
    "t5_tied",
    "t5_untied",
    "t5_untied_scaled",
    "t5_tied_unscaled",
];
const LLAMA: [&str; 10] = [
    "llama_plain",
    "llama_grouped_biased",
    "llama_tied_wide_heads",
    "llama_linear",
    "llama_llama3",
    "llama_yarn",
    "llama_yarn_exact",
    "llama_longrope",
    "llama_dynamic",
    "llama_proportional",
];
const TOLERANCE: f32 = 1e-4;

fn check_series<const D: usize>(
    fixture: &Fixture,
    key: &str,
    found: Vec<Tensor<D>>,
    mask: Option<&[Vec<bool>]>,
) -> f32 {
    let goldens = fixture.series(key);
    assert_eq!(found.len(), goldens.len(), "{key}");
    let mut worst = 0f32;
    for (n, (found, golden)) in found.into_iter().zip(goldens).enumerate() {
        let share = share(found, golden, TOLERANCE, mask);
        assert!(share <= 1.0, "{key}.{n}: {share} of the tolerance");
        worst = worst.max(share);
    }
    worst
}

#[test]
fn opt_equals_transformers() {
    for name in OPT {
        let fixture = Fixture::open(name);
        let LanguageModel::Decoder(model) = fixture.model() else {
            panic!("{name}")
        };
        let mask = fixture.mask();
        let embeds = model.embed(&fixture.ids("input_ids")).unwrap();
        let output = model.forward(embeds, &mask, Keep::ALL).unwrap();
        // A row that begins with padding has positions that see nothing; they compute nothing
        // that counts.
        let visible = Some(mask.as_slice());
        let hidden = check_series(&fixture, "hidden", output.hidden_states, visible);
        let maps = check_series(&fixture, "attention", output.attentions, visible);
        let logits = share(output.logits, fixture.golden("logits"), TOLERANCE, visible);
        assert!(logits <= 1.0, "{name}: {logits}");
        eprintln!(
            "{name}: hidden {hidden:.3}, maps {maps:.3}, logits {logits:.3} of the tolerance"
        );
    }
}

#[test]
fn llama_equals_transformers() {
    for name in LLAMA {
        let fixture = Fixture::open(name);
        let LanguageModel::Decoder(model) = fixture.model() else {
            panic!("{name}")
        };
        let mask = fixture.mask();
        let embeds = model.embed(&fixture.ids("input_ids")).unwrap();
        let output = model.forward(embeds.clone(), &mask, Keep::ALL).unwrap();
        let visible = Some(mask.as_slice());
        let hidden = check_series(&fixture, "hidden", output.hidden_states, visible);
        let maps = check_series(&fixture, "attention", output.attentions, visible);
        let logits = share(output.logits, fixture.golden("logits"), TOLERANCE, visible);
        let counted = model
            .forward_without_position_ids(embeds, &mask, Keep::NOTHING)
            .unwrap();
        let golden = fixture.golden("logits_counting_padding");
        let counted = share(counted.logits, golden, TOLERANCE, visible);
        assert!(
            logits <= 1.0 && counted <= 1.0,
            "{name}: {logits} {counted}"
        );
        eprintln!(
            "{name}: hidden {hidden:.3}, maps {maps:.3}, logits {logits:.3}, {counted:.3} of the \
             tolerance"
        );
    }
}

#[test]
fn t5_equals_transformers() {
    for name in T5 {
        let fixture = Fixture::open(name);
        let LanguageModel::T5(model) = fixture.model() else {
            panic!("{name}")
        };
        let embeds = model.embed(&fixture.ids("input_ids")).unwrap();
        let answers = fixture.ids("decoder_input_ids");
        let output = model.forward(embeds, &fixture.mask(), &answers, Keep::ALL);
        let output = output.unwrap();
        let encoder = output.encoder;
        let worst = [
            check_series(&fixture, "encoder_hidden", encoder.hidden_states, None),
            check_series(&fixture, "encoder_attention", encoder.attentions, None),
            check_series(
                &fixture,
                "decoder_hidden",
                output.decoder_hidden_states,
                None,
            ),
            check_series(
                &fixture,
                "decoder_attention",
                output.decoder_attentions,
                None,
            ),
            check_series(&fixture, "cross_attention", output.cross_attentions, None),
        ];
        let worst = worst.into_iter().fold(0.0, f32::max);
        let logits = share(output.logits, fixture.golden("logits"), TOLERANCE, None);
        assert!(logits <= 1.0, "{name}: {logits}");
        eprintln!("{name}: layers {worst:.3}, logits {logits:.3} of the tolerance");
    }
}

#[test]
fn greedy_and_beam_search_equal_transformers() {
    for name in OPT.into_iter().chain(T5).chain(LLAMA) {
        let fixture = Fixture::open(name);
        let model = fixture.model();
        let ids = fixture.ids("input_ids");
        let histories = fixture.histories(&ids);
        for (search, num_beams) in [("greedy", 1), ("beam", 3)] {
            let config = GenerationConfig::default()
                .with_max_new_tokens(6)
                .with_num_beams(num_beams);
            let embeds = model.embed(&ids).unwrap();
            let mut session = fixture.start(&model, embeds, &fixture.mask(), 6);
            let results = Generator::new(config)
                .unwrap()
                .generate(&mut session, &histories)
                .unwrap();
            let sequences = fixture.ids(&format!("{search}.sequences"));
            for ((result, history), expected) in results.iter().zip(&histories).zip(&sequences) {
                let found = [history.as_slice(), &result[0].tokens].concat();
                assert_eq!(&found, expected, "{name} {search}");
            }
            if num_beams > 1 {
                let scores: Vec<f32> = results.iter().map(|row| row[0].score.unwrap()).collect();
                assert_close(name, &scores, &fixture.golden("beam.scores").values, 1e-3);
            }
        }
    }
}

#[test]
fn only_what_is_asked_for_is_kept() {
    let fixture = Fixture::open("t5_tied");
    let LanguageModel::T5(model) = fixture.model() else {
        panic!()
    };
    let embeds = model.embed(&fixture.ids("input_ids")).unwrap();
    let answers = fixture.ids("decoder_input_ids");
    for keep in [Keep::HIDDEN_STATES, Keep::ATTENTIONS, Keep::NOTHING] {
        let output = model
            .forward(embeds.clone(), &fixture.mask(), &answers, keep)
            .unwrap();
        let (states, maps) = (keep.hidden_states, keep.attentions);
        assert_eq!(!output.encoder.hidden_states.is_empty(), states);
        assert_eq!(!output.decoder_hidden_states.is_empty(), states);
        assert_eq!(!output.encoder.attentions.is_empty(), maps);
        assert_eq!(!output.decoder_attentions.is_empty(), maps);
        assert_eq!(!output.cross_attentions.is_empty(), maps);
    }
}

/// A checkpoint that stores one of its tensors under another name.
struct Renamed<'a> {
    source: CheckpointWeights<'a>,
    stored: &'a str,
    name: &'a str,
}

impl WeightSource for Renamed<'_> {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        assert_ne!(request.name, self.stored);
        let renamed = request.name == self.name;
        let name = if renamed { self.stored } else { request.name };
        self.source.tensor(&TensorRequest { name, ..*request })
    }

    fn contains(&self, name: &str) -> bool {
        name == self.name || name != self.stored && self.source.contains(name)
    }
}

#[test]
fn tied_tables_are_found_under_any_of_their_names() {
    let cases: [(&str, &str, &[&str]); 3] = [
        (
            "t5_tied",
            "shared.weight",
            &[
                "encoder.embed_tokens.weight",
                "decoder.embed_tokens.weight",
                "lm_head.weight",
            ],
        ),
        (
            "opt_post_norm",
            "model.decoder.embed_tokens.weight",
            &["lm_head.weight"],
        ),
        (
            "llama_tied_wide_heads",
            "model.embed_tokens.weight",
            &["lm_head.weight"],
        ),
    ];
    for (fixture, stored, names) in cases {
        let fixture = Fixture::open(fixture);
        let ids = fixture.ids("input_ids");
        let expected = logits_of(&fixture, &fixture.model(), &ids);
        for name in names {
            let checkpoint = fixture.checkpoint();
            let source = Renamed {
                source: CheckpointWeights::new(&checkpoint),
                stored,
                name,
            };
            let weights = Weights::new(&source, &fixture.device);
            let model = LanguageModel::load(&fixture.config, &weights).unwrap();
            assert_eq!(source.source.finish(&[]).unwrap().unused, [""; 0]);
            assert_eq!(logits_of(&fixture, &model, &ids), expected, "{name}");
        }
    }
}

/// A checkpoint whose matrices and tables are stored in 16 bits, or were once and are now widened.
struct Rounded<'a>(CheckpointWeights<'a>, DType);

impl WeightSource for Rounded<'_> {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        let data = self.0.tensor(request)?;
        Some(if request.role.follows_precision() {
            data.convert_dtype(DType::BF16).convert_dtype(self.1)
        } else {
            data
        })
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

#[test]
fn narrow_weights_make_nothing_else_narrow() {
    for name in [
        "opt_post_norm",
        "opt_untied",
        "t5_tied",
        "t5_untied",
        "llama_plain",
    ] {
        let fixture = Fixture::open(name);
        let checkpoint = fixture.checkpoint();
        let source = Rounded(CheckpointWeights::new(&checkpoint), DType::F32);
        let weights = Weights::new(&source, &fixture.device);
        let rounded = LanguageModel::load(&fixture.config, &weights).unwrap();
        let source = Rounded(CheckpointWeights::new(&checkpoint), DType::BF16);
        let weights = Weights::new(&source, &fixture.device);
        let narrow = LanguageModel::load(&fixture.config, &weights).unwrap();
        let ids = fixture.ids("input_ids");
        let found = logits_of(&fixture, &narrow, &ids);
        let expected = logits_of(&fixture, &rounded, &ids);
        assert_close(name, &found, &expected, 1e-4); // the same products, summed in another order
        assert_ne!(found, logits_of(&fixture, &fixture.model(), &ids));
    }
}

/// The logits of the goldens' texts.
fn logits_of(fixture: &Fixture, model: &LanguageModel, ids: &[Vec<u32>]) -> Vec<f32> {
    let embeds = model.embed(ids).unwrap();
    match model {
        LanguageModel::Decoder(model) => {
            let output = model
                .forward(embeds, &fixture.mask(), Keep::NOTHING)
                .unwrap();
            floats(output.logits)
        }
        LanguageModel::T5(model) => {
            let answers = fixture.ids("decoder_input_ids");
            let output = model.forward(embeds, &fixture.mask(), &answers, Keep::NOTHING);
            floats(output.unwrap().logits)
        }
        _ => unreachable!(),
    }
}
