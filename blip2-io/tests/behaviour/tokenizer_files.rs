//! The files around a tokenizer, and tokenizers that cannot be used.

use blip2_io::{CheckpointFolder, IoError, Tokenizer};
use blip2_testing::{assert_says, folder, text};
use serde_json::{Value, json};

fn opt() -> String {
    text("tokenizers/opt_bpe/tokenizer.json")
}

fn open(files: &[(&str, String)]) -> Result<Tokenizer, IoError> {
    let folder = folder(files);
    CheckpointFolder::open(folder.path()).unwrap().tokenizer()
}

fn with(name: &'static str, content: Value) -> Result<Tokenizer, IoError> {
    open(&[("tokenizer.json", opt()), (name, content.to_string())])
}

#[test]
fn no_tokenizer() {
    assert_says(
        open(&[]),
        &[
            "tokenizer.json is missing",
            "copy it from the model's repository",
        ],
    );
}

#[test]
fn a_corrupt_tokenizer() {
    let cases = [
        ("", "the file is empty"),
        ("[]", "no JSON object"),
        ("{}", "it has no model"),
        (
            "{\"version\": \"1.0\", \"model\": 5}",
            "model: it has no vocab",
        ),
        (
            "{\"model\": { \"type\": \"WordLevel\", \"vocab\": {} }}",
            "not a tokenizer of `tokenizers`",
        ),
    ];
    for (text, says) in cases {
        let error = open(&[("tokenizer.json", text.into())]);
        assert_says(error, &["tokenizer.json: ", says]);
    }
    let half = opt()[..500].to_string();
    assert_says(open(&[("tokenizer.json", half)]), &["tokenizer.json"]);
}

#[test]
fn a_corrupt_config() {
    let files = [
        ("tokenizer.json", opt()),
        ("tokenizer_config.json", "{ \"pad_token\": ".into()),
    ];
    assert_says(open(&files), &["tokenizer_config.json", "line 1"]);
}

#[test]
fn an_unknown_padding_side() {
    assert_says(
        with("tokenizer_config.json", json!({ "padding_side": "top" })),
        &[
            "tokenizer_config.json: padding_side: `top` is unknown",
            "`left`",
        ],
    );
}

#[test]
fn a_vocabulary_beyond_the_models() {
    let tokenizer = open(&[("tokenizer.json", opt())]).unwrap();
    let size = tokenizer.vocab_size();
    tokenizer.check_fits(size).unwrap();
    tokenizer.check_fits(size + 100).unwrap();
    assert_says(
        tokenizer.check_fits(size - 1),
        &["428 tokens", "427 embeddings", "`<image>`"],
    );
}

#[test]
fn roles_are_read_from_either_file() {
    let token = json!({ "content": "</s>", "lstrip": false, "special": true });
    for (file, content) in [
        ("tokenizer_config.json", json!({ "eos_token": "</s>" })),
        ("tokenizer_config.json", json!({ "eos_token": token })),
        ("special_tokens_map.json", json!({ "eos_token": token })),
    ] {
        let tokenizer = with(file, content).unwrap();
        assert_eq!(tokenizer.eos_token_id(), Some(2));
        assert_eq!(tokenizer.pad_token_id(), None);
    }
}

/// In the order of their ids, whatever the order in the file.
#[test]
fn added_tokens_join_the_vocabulary() {
    let tokenizer = with("added_tokens.json", json!({ "<two>": 429, "<one>": 428 })).unwrap();
    assert_eq!(tokenizer.token_to_id("<one>"), Some(428));
    assert_eq!(tokenizer.token_to_id("<two>"), Some(429));
    assert_eq!(tokenizer.vocab_size(), 430);
    let ids = tokenizer.encode_with("<two><one>", false).unwrap();
    assert_eq!(ids, [429, 428]);
}

/// A token that no file calls special is text.
#[test]
fn added_tokens_are_special_if_a_file_says_so() {
    let added = ("added_tokens.json", json!({ "<new>": 428 }).to_string());
    let config = json!({ "extra_special_tokens": ["<new>"] }).to_string();
    let plain = open(&[("tokenizer.json", opt()), added.clone()]).unwrap();
    assert_eq!(plain.decode(&[428], true).unwrap(), "<new>");
    assert_eq!(plain.special_token_in("a <new> day"), None);
    let special = open(&[
        ("tokenizer.json", opt()),
        added,
        ("tokenizer_config.json", config),
    ])
    .unwrap();
    assert_eq!(special.decode(&[428], true).unwrap(), "");
    assert_eq!(
        special.special_token_in("a <new> day").as_deref(),
        Some("<new>")
    );
}

/// The ids are those of `transformers` 5.23 for these files.
#[test]
fn special_tokens_are_split_where_the_configuration_says_so() {
    let with = |split: Value| {
        let mut config: Value =
            serde_json::from_str(&text("blip2_opt/tokenizer_config.json")).unwrap();
        config["split_special_tokens"] = split;
        let tokenizer = text("blip2_opt/tokenizer.json");
        open(&[
            ("tokenizer.json", tokenizer),
            ("tokenizer_config.json", config.to_string()),
        ])
    };
    let written = "what </s> is<image>";
    let whole = with(json!(false)).unwrap();
    assert_eq!(
        whole.encode(written).unwrap(),
        [2, 90, 329, 224, 2, 283, 427]
    );
    assert_eq!(whole.special_token_in(written).as_deref(), Some("</s>"));
    let split = with(json!(true)).unwrap();
    let ids = [2, 90, 329, 224, 31, 18, 86, 33, 283, 31, 76, 271, 298, 33];
    assert_eq!(split.encode(written).unwrap(), ids);
    assert_eq!(split.special_token_in(written), None);
    assert_says(
        with(json!("true")),
        &["split_special_tokens", "true or false"],
    );
}

/// As in a published folder, whose `added_tokens.json` repeats the placeholder that
/// `tokenizer.json` already has as a special token.
#[test]
fn the_tokenizers_own_tokens_keep_their_flags() {
    let tokenizer = with("added_tokens.json", json!({ "<image>": 427 })).unwrap();
    assert_eq!(tokenizer.vocab_size(), 428);
    assert_eq!(tokenizer.decode(&[427], true).unwrap(), "");
}

#[test]
fn tokens_of_the_config_join_too() {
    let token = |content: &str| {
        json!({ "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    let config = json!({
        "added_tokens_decoder": { "429": token("<b>"), "428": token("<a>") },
        "pad_token": "<a>",
        "extra_special_tokens": ["<c>"]
    });
    let tokenizer = with("tokenizer_config.json", config).unwrap();
    assert_eq!(tokenizer.pad_token_id(), Some(428));
    assert_eq!(tokenizer.token_to_id("<b>"), Some(429));
    assert_eq!(tokenizer.token_to_id("<c>"), Some(430));
}

#[test]
fn an_added_token_with_anothers_id() {
    assert_says(
        with("added_tokens.json", json!({ "<new>": 7 })),
        &["added_tokens.json", "`<new>` should have the id 7", "428"],
    );
}

#[test]
fn the_length_that_a_model_was_made_for() {
    let length = |value: Value| {
        let config = json!({ "model_max_length": value });
        with("tokenizer_config.json", config)
            .unwrap()
            .model_max_length()
    };
    assert_eq!(length(json!(512)), Some(512));
    assert_eq!(length(json!(null)), None);
    let files = [
        ("tokenizer.json", opt()),
        (
            "tokenizer_config.json",
            text("tokenizers/opt_bpe/tokenizer_config.json"),
        ),
    ];
    assert_eq!(open(&files).unwrap().model_max_length(), None);
}

/// The reference strips spaces before punctuation behind word pieces and unigrams if the config
/// says so, and behind byte-level tokens only if told twice.
#[test]
fn spaces_before_punctuation() {
    let key = "clean_up_tokenization_spaces";
    let twice = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";
    let text = "well , it is n't so .";
    let decode = |config: Value| {
        let tokenizer = with("tokenizer_config.json", config).unwrap();
        let ids = tokenizer.encode_with(text, false).unwrap();
        tokenizer.decode(&ids, true).unwrap()
    };
    assert_eq!(decode(json!({})), text);
    assert_eq!(decode(json!({ key: true })), text);
    assert_eq!(
        decode(json!({ key: true, twice: true })),
        "well, it isn't so."
    );
}

#[test]
fn a_batch_that_cannot_be_padded() {
    let tokenizer = open(&[("tokenizer.json", opt())]).unwrap();
    assert!(tokenizer.encode_batch(&["x", "x"], None).is_ok());
    assert_says(
        tokenizer.encode_batch(&["x", "a longer one"], None),
        &["no pad_token"],
    );
    assert_eq!(
        tokenizer.encode_batch(&[], None).unwrap(),
        Default::default()
    );
}

#[test]
fn no_room_for_the_special_tokens() {
    let tokenizer = open(&[("tokenizer.json", opt())]).unwrap();
    assert_eq!(tokenizer.encode_truncated("a photo", 1).unwrap(), [2]);
    assert_says(
        tokenizer.encode_truncated("a photo", 0),
        &["max_length = 0 leaves no room for 1 special"],
    );
}

/// Ids that no token has are passed over, as in the reference.
#[test]
fn ids_beyond_the_vocabulary() {
    let tokenizer = open(&[("tokenizer.json", opt())]).unwrap();
    assert_eq!(tokenizer.id_to_token(100_000), None);
    let ids = tokenizer.encode_with("a photo", false).unwrap();
    let with_unknown = [&ids[..1], &[100_000], &ids[1..]].concat();
    assert_eq!(tokenizer.decode(&with_unknown, true).unwrap(), "a photo");
}
