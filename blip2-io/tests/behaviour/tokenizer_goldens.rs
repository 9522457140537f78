//! Tokenizers of every kind against what `transformers` makes of the same texts and ids.

use blip2_io::{CheckpointFolder, PaddingSide, Tokenizer};
use blip2_testing::{folder, text};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Golden {
    encode: Vec<Encoding>,
    #[serde(default)]
    random_decode: Vec<Decoding>,
    batch_longest: Option<Batch>,
    batch_max6_trunc: Option<Batch>,
    vocab_size: Option<usize>,
    special: Option<Special>,
    padding_side: Option<String>,
}

#[derive(Deserialize)]
struct Encoding {
    text: String,
    ids: Vec<u32>,
    ids_no_special: Vec<u32>,
    tokens: Option<Vec<String>>,
    decode: Option<String>,
    decode_skip: String,
    decode_skip_clean: Option<String>,
}

#[derive(Deserialize)]
struct Decoding {
    ids: Vec<u32>,
    decode: String,
    decode_skip: String,
}

#[derive(Deserialize)]
struct Batch {
    input_ids: Vec<Vec<u32>>,
    attention_mask: Vec<Vec<u8>>,
}

#[derive(Deserialize)]
struct Special {
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    unk: Option<u32>,
}

/// The tokenizer of a fixture; `clean_up` asks for English spacing, as a call may in the
/// reference.
fn load(name: &str, clean_up: bool) -> Tokenizer {
    let file = |file: &str| text(&format!("tokenizers/{name}/{file}"));
    let mut config: Value = serde_json::from_str(&file("tokenizer_config.json")).unwrap();
    if clean_up {
        config["clean_up_tokenization_spaces"] = true.into();
    }
    let folder = folder(&[
        ("tokenizer.json", file("tokenizer.json")),
        ("tokenizer_config.json", config.to_string()),
    ]);
    let folder = CheckpointFolder::open(folder.path()).unwrap();
    folder.tokenizer().unwrap()
}

fn check(name: &str) {
    let tokenizer = load(name, false);
    let cleaning = load(name, true);
    let golden = text(&format!("tokenizers/{name}/golden.json"));
    let golden: Golden = serde_json::from_str(&golden).unwrap();
    assert!(golden.encode.len() >= 20);

    for case in &golden.encode {
        let text = &case.text;
        assert_eq!(tokenizer.encode(text).unwrap(), case.ids, "{text:?}");
        let bare = tokenizer.encode_with(text, false).unwrap();
        assert_eq!(bare, case.ids_no_special, "{text:?}");
        let skipped = tokenizer.decode(&case.ids, true).unwrap();
        assert_eq!(skipped, case.decode_skip, "{text:?}");
        if let Some(whole) = &case.decode {
            assert_eq!(&tokenizer.decode(&case.ids, false).unwrap(), whole);
        }
        if let Some(clean) = &case.decode_skip_clean {
            assert_eq!(&cleaning.decode(&case.ids, true).unwrap(), clean);
        }
        if let Some(tokens) = &case.tokens {
            for (id, token) in case.ids.iter().zip(tokens) {
                assert_eq!(tokenizer.id_to_token(*id).as_ref(), Some(token));
                assert_eq!(tokenizer.token_to_id(token), Some(*id));
            }
        }
    }
    for case in &golden.random_decode {
        assert_eq!(tokenizer.decode(&case.ids, false).unwrap(), case.decode);
        assert_eq!(tokenizer.decode(&case.ids, true).unwrap(), case.decode_skip);
    }

    let texts = ["a photo", golden.encode[1].text.as_str(), "x"];
    for (batch, length) in [
        (golden.batch_longest, None),
        (golden.batch_max6_trunc, Some(6)),
    ] {
        let Some(expected) = batch else { continue };
        let batch = tokenizer.encode_batch(&texts, length).unwrap();
        assert_eq!(batch.input_ids, expected.input_ids);
        let mask: Vec<Vec<bool>> = expected
            .attention_mask
            .iter()
            .map(|row| row.iter().map(|&on| on == 1).collect())
            .collect();
        assert_eq!(batch.attention_mask, mask);
    }
    if let Some(size) = golden.vocab_size {
        assert_eq!(tokenizer.vocab_size(), size);
    }
    if let Some(special) = golden.special {
        assert_eq!(tokenizer.bos_token_id(), special.bos);
        assert_eq!(tokenizer.eos_token_id(), special.eos);
        assert_eq!(tokenizer.pad_token_id(), special.pad);
        assert_eq!(tokenizer.unk_token_id(), special.unk);
    }
    if let Some(side) = golden.padding_side {
        let expected = match side.as_str() {
            "left" => PaddingSide::Left,
            _ => PaddingSide::Right,
        };
        assert_eq!(tokenizer.padding_side(), expected);
    }
}

#[test]
fn opts_bytes() {
    check("opt_bpe");
}

#[test]
fn t5s_unigrams() {
    check("t5_unigram");
}

#[test]
fn berts_word_pieces() {
    check("bert_wordpiece");
}

#[test]
fn llamas_bytes() {
    check("llama_bpe");
}

#[test]
fn gpt2s_own_vocabulary() {
    check("gpt2_bpe");
}
