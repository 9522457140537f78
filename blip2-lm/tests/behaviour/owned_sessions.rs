//! Sessions and streams that own what they run on, as a server stores them.

use std::{fmt::Debug, ops::Deref, sync::Arc, thread};

use blip2_io::config::{OptConfig, T5Config, TextConfig};
use blip2_kernels::{RandomWeights, Weights};
use blip2_lm::{
    DecodeSession, GenerationConfig, Generator, LanguageModel, LmError, Session,
    blip_text::BlipTextLmHeadModel,
    generate::{
        BoxError, CancelToken, FinishReason, NextTokens, Position, Stream, TokenConstraint,
        TokenDecoder,
    },
};
use burn::tensor::Device;

/// A pipeline's cheap handle: it leads to the model among other things.
#[derive(Clone)]
struct Handle(Arc<(String, LanguageModel)>);

impl Deref for Handle {
    type Target = LanguageModel;

    fn deref(&self) -> &LanguageModel {
        &self.0.1
    }
}

struct Numbers;

impl TokenDecoder for Numbers {
    fn decode(&self, ids: &[u32]) -> Result<String, BoxError> {
        Ok(ids.iter().map(|id| format!(" {id}")).collect())
    }
}

struct Even;

impl TokenConstraint for Even {
    fn next_tokens(&self, _: Position<'_>, _: &mut [f32]) -> NextTokens {
        NextTokens::Only((0..100).step_by(2).collect())
    }
}

/// What a server may store and send to another thread.
fn assert_owned<T: Send + 'static>() {}

#[test]
fn owned_decodes_are_send_and_static() {
    assert_owned::<Session<Arc<LanguageModel>>>();
    assert_owned::<Session<Handle>>();
    assert_owned::<Session<Arc<BlipTextLmHeadModel>>>();
    assert_owned::<Generator<'static>>();
    assert_owned::<Stream<'static, Session<Arc<LanguageModel>>>>();
    assert_owned::<Stream<'static, Session<Handle>>>();
    assert_owned::<Stream<'static, Session<Arc<BlipTextLmHeadModel>>>>();
}

fn opt() -> TextConfig {
    TextConfig::Opt(
        OptConfig::default()
            .with_vocab_size(100)
            .with_hidden_size(32)
            .with_word_embed_proj_dim(32)
            .with_num_hidden_layers(2)
            .with_num_attention_heads(4)
            .with_ffn_dim(64),
    )
}

fn t5() -> TextConfig {
    TextConfig::T5(
        T5Config::default()
            .with_vocab_size(100)
            .with_d_model(32)
            .with_d_kv(8)
            .with_num_heads(4)
            .with_d_ff(64)
            .with_num_layers(2)
            .with_num_decoder_layers(2),
    )
}

fn model(config: &TextConfig) -> LanguageModel {
    let (source, device) = (RandomWeights::new(3, 0.5), Device::flex());
    LanguageModel::load(config, &Weights::new(&source, &device)).unwrap()
}

const PROMPT: [u32; 3] = [2, 17, 42];

fn start(model: &LanguageModel) -> Session<&LanguageModel> {
    let embeds = model.embed(&[PROMPT.to_vec()]).unwrap();
    model.start(embeds, &[vec![true; 3]], Some(0), 6).unwrap()
}

fn generator() -> Generator<'static> {
    let config = GenerationConfig::default().with_max_new_tokens(6);
    let decoder: Arc<dyn TokenDecoder> = Arc::new(Numbers);
    let constraint: Arc<dyn TokenConstraint> = Arc::new(Even);
    Generator::new(config)
        .unwrap()
        .token_decoder(decoder)
        .constraint(constraint)
}

fn text<S: DecodeSession<Error: Debug>>(session: S) -> String {
    let stream = generator().stream(session, &PROMPT).unwrap();
    stream.map(|piece| piece.unwrap().text).collect()
}

#[test]
fn an_owned_stream_runs_in_another_thread_and_says_the_same() {
    for config in [opt(), t5()] {
        let handle = Handle(Arc::new(("some model".into(), model(&config))));
        let expected = text(start(&handle));
        assert_eq!(expected.split_whitespace().count(), 6);
        let session = start(&handle).held_by(handle.clone()).unwrap();
        drop(handle); // the session keeps the model alive
        assert_eq!(
            thread::spawn(move || text(session)).join().unwrap(),
            expected
        );
    }
}

#[test]
fn a_decode_goes_on_where_it_was_when_it_changes_hands() {
    let model = Arc::new(model(&opt()));
    let mut expected = start(&model);
    let mut session = start(&model);
    assert_eq!(session.prefill().unwrap(), expected.prefill().unwrap());
    let mut session = session.held_by(Arc::clone(&model)).unwrap();
    assert_eq!(
        session.step(&[0], &[5]).unwrap(),
        expected.step(&[0], &[5]).unwrap()
    );
}

#[test]
fn an_owned_stream_is_cancelled_from_elsewhere() {
    let model = Arc::new(model(&opt()));
    let cancel = CancelToken::new();
    let session = start(&model).held_by(Arc::clone(&model)).unwrap();
    let generator = generator().cancel_token(cancel.clone());
    let mut stream = generator.stream(session, &PROMPT).unwrap();
    drop(generator);
    stream.next().unwrap().unwrap();
    cancel.cancel();
    assert!(stream.next().is_none());
    assert_eq!(stream.finish_reason(), Some(FinishReason::Cancelled));
}

#[test]
fn another_model_is_refused() {
    let (own, other) = (Arc::new(model(&opt())), Arc::new(model(&opt())));
    let error = start(&own).held_by(other).unwrap_err();
    assert!(matches!(error, LmError::OtherModel), "{error}");
}
