//! What the Q-Former does beside computing the right numbers.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::cell::Cell;

use blip2_kernels::{Precision, RandomWeights, TensorRequest, WeightSource, Weights};
use blip2_qformer::{Blip2QFormerConfig, Keep, QFormer, QFormerError, QFormerInput, QueryTokens};
use blip2_testing::difference;
use burn::tensor::{Bool, DType, Device, Distribution, Tensor, TensorData};
use common::{FIXTURES, Fixture};

/// The fixture whose every input there is: queries, text and picture, with both masks.
fn both() -> (Fixture, QFormer, QFormerInput) {
    let fixture = Fixture::open("every_third");
    let (model, queries) = fixture.model();
    let input = fixture.input("both", &queries);
    (fixture, model, input)
}

fn run(model: &QFormer, input: QFormerInput) -> Tensor<3> {
    model.forward(input).unwrap().last_hidden_state
}

fn small(use_qformer_text_input: bool) -> Blip2QFormerConfig {
    Blip2QFormerConfig::default()
        .with_hidden_size(12)
        .with_num_hidden_layers(3)
        .with_num_attention_heads(2)
        .with_intermediate_size(20)
        .with_encoder_hidden_size(8)
        .with_use_qformer_text_input(use_qformer_text_input)
}

fn small_model(config: &Blip2QFormerConfig, device: &Device) -> Result<QFormer, QFormerError> {
    QFormer::load(config, &Weights::new(&RandomWeights::new(1, 0.3), device))
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    for (name, cases) in FIXTURES {
        let fixture = Fixture::open(name);
        let (model, queries) = fixture.model();
        for case in cases {
            let input = fixture.input(case, &queries);
            let together = run(&model, input.clone());
            for row in 0..2 {
                let mut one = input.clone();
                one.query_embeds = one.query_embeds.map(|x| x.narrow(0, row, 1));
                one.text_embeds = one.text_embeds.map(|x| x.narrow(0, row, 1));
                one.attention_mask = one.attention_mask.map(|x| x.narrow(0, row, 1));
                one.encoder_hidden_states = one.encoder_hidden_states.map(|x| x.narrow(0, row, 1));
                one.encoder_attention_mask =
                    one.encoder_attention_mask.map(|x| x.narrow(0, row, 1));
                let alone = run(&model, one);
                let error = difference(together.clone().narrow(0, row, 1), alone);
                assert!(error <= 1e-5, "{name} {case} row {row}: {error}");
            }
        }
    }
}

#[test]
fn hidden_positions_have_no_influence() {
    let (_, model, input) = both();
    let expected = run(&model, input.clone());
    let disturb = |x: Tensor<3>, mask: Tensor<2, Bool>| {
        let hidden = mask.bool_not().unsqueeze_dim::<3>(2).expand(x.dims());
        assert!(hidden.clone().any().into_scalar::<bool>());
        x.mask_fill(hidden, 7.0)
    };

    let mut other = input.clone();
    let image_mask = input.encoder_attention_mask.clone().unwrap();
    other.encoder_hidden_states = Some(disturb(
        input.encoder_hidden_states.clone().unwrap(),
        image_mask,
    ));
    assert_eq!(difference(run(&model, other), expected.clone()), 0.0);

    let mut other = input.clone();
    let text = input.text_embeds.clone().unwrap();
    let queries = input.query_embeds.clone().unwrap().dims()[1];
    let mask = input.attention_mask.clone().unwrap();
    let counts = mask.clone().narrow(1, queries, text.dims()[1]);
    other.text_embeds = Some(disturb(text, counts));
    // The hidden positions' own outputs change; all the others must not.
    let counts = mask.unsqueeze_dim::<3>(2).expand(expected.dims());
    let changed = (run(&model, other) - expected.clone()).mask_fill(counts.bool_not(), 0.0);
    assert_eq!(blip2_testing::largest(changed), 0.0);

    // Without their masks the same positions count.
    let mut bare = input.clone();
    bare.encoder_attention_mask = None;
    assert!(difference(run(&model, bare), expected.clone()) > 1e-2);
    let mut bare = input;
    bare.attention_mask = None;
    assert!(difference(run(&model, bare), expected) > 1e-2);
}

#[test]
fn a_hidden_end_is_as_good_as_none() {
    let (_, model, input) = both();
    let row = |x: Tensor<3>| x.narrow(0, 1, 1);
    let image = row(input.encoder_hidden_states.unwrap());
    let queries = row(input.query_embeds.unwrap());
    let mask = input.encoder_attention_mask.unwrap().narrow(0, 1, 1);
    let kept = 3; // a third of the ten keys
    let masked = QFormerInput::new(queries.clone())
        .image(image.clone())
        .image_mask(mask);
    let cut = QFormerInput::new(queries).image(image.narrow(1, 0, kept));
    let error = difference(run(&model, masked), run(&model, cut));
    assert!(error <= 1e-6, "{error}");
}

#[test]
fn masks_that_hide_nothing_change_nothing() {
    let fixture = Fixture::open("blip2_opt");
    let (model, queries) = fixture.model();
    let bare = fixture.input("queries", &queries);
    let ones = |shape: [usize; 2]| Tensor::<2>::ones(shape, &fixture.device).greater_elem(0.0);
    let masked = bare.clone().mask(ones([2, 8])).image_mask(ones([2, 17]));
    assert_eq!(difference(run(&model, bare), run(&model, masked)), 0.0);
}

#[test]
fn nothing_is_kept_unless_asked_for() {
    let (_, model, input) = both();
    let bare = model.forward(input.clone()).unwrap();
    assert!(bare.hidden_states.is_empty());
    assert!(bare.attentions.is_empty() && bare.cross_attentions.is_empty());
    let kept = run(&model, input.keep(Keep::ALL));
    // Not the same operations: a map that is not asked for is never made.
    let error = difference(bare.last_hidden_state, kept);
    assert!(error <= 1e-5, "{error}");
}

#[test]
fn everything_is_held_in_f32() {
    let device = Device::flex();
    let image = Tensor::<3>::random([1, 5, 8], Distribution::Normal(0.0, 1.0), &device);
    let run = |precision, dtype| {
        let source = RandomWeights::new(1, 0.3);
        let weights = Weights::new(&source, &device).with_precision(precision);
        let queries = QueryTokens::load(4, 12, &weights);
        let model = QFormer::load(&small(false), &weights).unwrap();
        let input = QFormerInput::new(queries.expand(1)).image(image.clone().cast(dtype));
        run(&model, input)
    };
    let exact = run(Precision::F32, DType::F32);
    assert_eq!(
        difference(run(Precision::Bf16, DType::F32), exact.clone()),
        0.0
    );
    // Narrow pictures are widened, not refused.
    let error = difference(run(Precision::F32, DType::BF16), exact);
    assert!(error > 0.0 && error < 0.1, "{error}");
}

/// Counts the parameters that a model asks for.
struct Counted(RandomWeights, Cell<usize>);

impl WeightSource for Counted {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        let count = request.shape.iter().product::<usize>();
        self.1.set(self.1.get() + count);
        self.0.tensor(request)
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

#[test]
fn the_text_branch_exists_only_if_configured() {
    let params = |text| {
        let source = Counted(RandomWeights::new(1, 0.3), Cell::new(0));
        let device = Device::flex();
        QFormer::load(&small(text), &Weights::new(&source, &device)).unwrap();
        source.1.get()
    };
    let branch = (12 * 20 + 20) + (20 * 12 + 12) + 2 * 12;
    assert_eq!(params(true) - params(false), 3 * branch);
}

#[test]
fn inputs_that_do_not_go_together_are_refused() {
    let device = Device::flex();
    let zeros = |shape| Tensor::<3>::zeros(shape, &device);
    let mask = |shape| Tensor::<2>::zeros(shape, &device).greater_elem(0.5);
    let [plain, model] = [false, true].map(|text| small_model(&small(text), &device).unwrap());
    let source = RandomWeights::new(1, 0.3);
    let tokens = QueryTokens::load(4, 12, &Weights::new(&source, &device));
    let queries = || QFormerInput::new(tokens.expand(2));
    let whole = || queries().image(zeros([2, 6, 8]));
    assert!(model.forward(whole().text(zeros([2, 3, 12]))).is_ok());

    for (input, message) in [
        (QFormerInput::default(), "there is nothing to read"),
        (queries(), "no encoder_hidden_states were given"),
        (
            QFormerInput::new(zeros([2, 4, 13])).text(zeros([2, 3, 12])),
            "query_embeds has the shape [2, 4, 13] where [2, seq, 12], without zeros, is due",
        ),
        (
            QFormerInput::new(tokens.expand(0)),
            "query_embeds has the shape [0, 4, 12]",
        ),
        (
            whole().text(zeros([1, 3, 12])),
            "text_embeds has the shape [1, 3, 12]",
        ),
        (
            queries().image(zeros([2, 6, 9])),
            "encoder_hidden_states has the shape [2, 6, 9] where [2, seq, 8]",
        ),
        (
            queries().image(zeros([1, 6, 8])),
            "encoder_hidden_states has the shape [1, 6, 8]",
        ),
        (
            whole().mask(mask([2, 5])),
            "attention_mask has the shape [2, 5] where [2, 4] is due",
        ),
        (
            whole().image_mask(mask([2, 7])),
            "encoder_attention_mask has the shape [2, 7] where [2, 6] is due",
        ),
        (
            queries().image_mask(mask([2, 6])),
            "no encoder_hidden_states were given",
        ),
    ] {
        let error = model.forward(input).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    for input in [
        whole().text(zeros([2, 3, 12])),
        QFormerInput::text_only(zeros([2, 3, 12])),
    ] {
        let error = plain.forward(input).unwrap_err();
        assert!(matches!(error, QFormerError::NoTextBranch), "{error}");
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let device = Device::flex();
    let mut config = small(false);
    config.position_embedding_type = "relative_key".into();
    let error = small_model(&config, &device).unwrap_err().to_string();
    assert!(
        error.contains("position_embedding_type = relative_key"),
        "{error}"
    );

    let mut config = small(false);
    config.num_attention_heads = 5;
    let error = small_model(&config, &device).unwrap_err().to_string();
    assert!(error.contains("hidden_size = 12"), "{error}");

    let mut config = small(false);
    config.cross_attention_frequency = 0;
    let error = small_model(&config, &device).unwrap_err().to_string();
    assert!(error.contains("cross_attention_frequency = 0"), "{error}");
}

#[test]
fn rows_that_share_a_picture_see_what_they_would_see_of_their_own() {
    let device = Device::flex();
    let model = small_model(&small(false), &device).unwrap();
    let random = |shape| Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let (queries, images) = (random([4, 5, 12]), random([2, 7, 8]));
    let pictures = [1, 0, 1, 1];
    let own = pictures.map(|picture| images.clone().narrow(0, picture, 1));
    let own = QFormerInput::new(queries.clone()).image(Tensor::cat(own.to_vec(), 0));
    let shared = QFormerInput::new(queries.clone()).images(images.clone(), &pictures);
    assert_eq!(
        run(&model, own).into_data(),
        run(&model, shared).into_data(),
        "to the bit"
    );

    for wrong in [vec![0, 1], vec![0, 1, 2, 0]] {
        let input = QFormerInput::new(queries.clone()).images(images.clone(), &wrong);
        let error = model.forward(input).unwrap_err();
        let named = matches!(&error, QFormerError::Pictures { pictures, held: 2, rows: 4 } if *pictures == wrong);
        assert!(named, "{error}");
    }
}
