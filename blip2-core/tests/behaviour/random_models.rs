//! Pipelines of random weights.

use blip2_core::{
    Blip2Config, Blip2Pipeline, GenerationConfig, Options, Precision, TextConfig,
    config::{Blip2QFormerConfig, Blip2VisionConfig, OptConfig, T5Config},
};
use blip2_testing::picture;

/// A small model of either family.
fn config(text_config: TextConfig) -> Blip2Config {
    Blip2Config::default()
        .with_vision_config(
            Blip2VisionConfig::default()
                .with_hidden_size(48)
                .with_intermediate_size(96)
                .with_num_hidden_layers(3)
                .with_num_attention_heads(4)
                .with_image_size(28),
        )
        .with_qformer_config(
            Blip2QFormerConfig::default()
                .with_hidden_size(32)
                .with_intermediate_size(64)
                .with_num_hidden_layers(2)
                .with_num_attention_heads(4)
                .with_encoder_hidden_size(48),
        )
        .with_text_config(text_config)
        .with_num_query_tokens(4)
        .with_image_token_index(Some(250))
}

fn opt() -> Blip2Config {
    config(TextConfig::Opt(
        OptConfig::default()
            .with_vocab_size(300)
            .with_hidden_size(40)
            .with_word_embed_proj_dim(40)
            .with_num_hidden_layers(3)
            .with_num_attention_heads(4)
            .with_ffn_dim(80),
    ))
}

fn t5() -> Blip2Config {
    config(TextConfig::T5(
        T5Config::default()
            .with_vocab_size(300)
            .with_d_model(40)
            .with_d_kv(8)
            .with_d_ff(80)
            .with_num_layers(2)
            .with_num_decoder_layers(3)
            .with_num_heads(5)
            .with_is_gated_act(true)
            .with_scale_decoder_outputs(false),
    ))
}

fn eight_tokens() -> Options {
    Options::default().with_generation(
        GenerationConfig::default()
            .with_min_new_tokens(8)
            .with_max_new_tokens(8),
    )
}

#[test]
fn a_seed_makes_the_same_model_every_time() {
    for config in [opt(), t5()] {
        let load = |seed, precision: Precision| {
            Blip2Pipeline::builder_random(config.clone(), seed)
                .precision(precision)
                .load()
                .unwrap()
        };
        let tokens = |blip2: &Blip2Pipeline| {
            let answer = blip2.answer_with(&picture(0), "what is it?", &eight_tokens());
            answer.unwrap().token_ids()
        };
        let (first, second) = (load(1, Precision::F32), load(1, Precision::F32));
        assert_eq!(tokens(&first), tokens(&second));
        assert_eq!(tokens(&first).len(), 8);
        assert_eq!(first.fingerprint(), second.fingerprint());

        let encoded = first.look(&picture(0)).unwrap().encoded().unwrap();
        assert!(second.recall(&encoded).is_ok());
        for other in [load(2, Precision::F32), load(1, Precision::Bf16)] {
            assert_ne!(first.fingerprint(), other.fingerprint());
            assert!(other.recall(&encoded).is_err());
        }
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let mut config = opt();
    config.vision_config.num_attention_heads = 5;
    let error = Blip2Pipeline::builder_random(config, 0).load().unwrap_err();
    assert!(error.to_string().contains("hidden_size"), "{error}");
}

#[test]
fn prompts_may_be_token_ids() {
    for config in [opt(), t5()] {
        let image_token = config.image_token_index;
        let blip2 = Blip2Pipeline::builder_random(config, 1).load().unwrap();
        let image = picture(0);
        // The tokens of bytes stand where the special ones leave room, ASCII first.
        let ids = |text: &[u32]| blip2.prompt_ids_batch([(&image, text)], &eight_tokens());
        let answer = ids(&[40, 41, 42, 43]).unwrap();
        assert_eq!(answer[0].tokens.len(), 8);
        assert_eq!(
            ids(&[40, 41, 42, 43]).unwrap()[0].token_ids(),
            answer[0].token_ids()
        );

        let error = ids(&[40, image_token.unwrap()]).unwrap_err().to_string();
        assert!(error.contains("placeholder"), "{error}");
        let error = ids(&[40, 300]).unwrap_err().to_string();
        assert!(error.contains("300"), "{error}");
    }
}

#[test]
fn pictures_may_be_seen_larger() {
    let load = |side| {
        let builder = Blip2Pipeline::builder_random(opt(), 1);
        match side {
            Some(side) => builder.image_size(side),
            None => builder,
        }
        .load()
    };
    let seen = |side| {
        let blip2 = load(side).unwrap();
        let features = blip2
            .look(&picture(0))
            .unwrap()
            .features()
            .unwrap()
            .tensor();
        features.into_data().try_to_vec::<f32>().unwrap()
    };
    assert_eq!(seen(None), seen(Some(28)), "its own size changes nothing");
    let larger = seen(Some(70));
    assert_eq!(larger.len(), seen(None).len());
    assert_ne!(larger, seen(None));

    assert!(load(Some(0)).is_err());
    let error = load(Some(5)).unwrap().look(&picture(0)).unwrap_err();
    assert!(error.to_string().contains("patch"), "{error}");
}
