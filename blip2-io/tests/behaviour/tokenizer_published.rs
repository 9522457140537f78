//! Tokenizers as they were published before `tokenizer.json`, against what `transformers` makes of the
//! same files.

use std::{fs, path::PathBuf};

use blip2_io::{CheckpointFolder, PaddingSide, Tokenizer};
use blip2_testing::{assert_says, fixture, folder};
use serde_json::json;

/// Every folder of fixtures.
fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(fixture("tokenizers_published")).unwrap();
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 9);
    cases
}

fn open(folder: &std::path::Path) -> Tokenizer {
    CheckpointFolder::open(folder).unwrap().tokenizer().unwrap()
}

/// Strings of words, of the alphabets that people write, of special tokens and of anything.
struct Strings(u64);

impl Strings {
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth's linear congruential generator; the upper bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one(&mut self) -> String {
        const WORDS: [&str; 22] = [
            "a",
            "photo",
            "of",
            " ",
            "  ",
            "dog",
            "Question:",
            "don't",
            "isn't",
            ".",
            "\n",
            "13",
            "▁",
            "<image>",
            "</s>",
            "<pad>",
            "[SEP]",
            "<extra_id_3>",
            "<sep>",
            "ﬁ…ß",
            "<0x41>",
            "\u{1}",
        ];
        const RANGES: [(u32, u32); 9] = [
            (0x20, 0x7f),
            (0x61, 0x7b),
            (0xa0, 0x180),
            (0x300, 0x330),
            (0x370, 0x450),
            (0x3040, 0x3100),
            (0x4e00, 0x4f00),
            (0xff01, 0xff5f),
            (0x1f300, 0x1f340),
        ];
        let mut text = String::new();
        for _ in 0..self.below(14) {
            match self.below(3) {
                0 => {
                    let (from, to) = RANGES[self.below(9) as usize];
                    let character = from + self.below(u64::from(to - from)) as u32;
                    text.extend(char::from_u32(character));
                }
                1 => text.push(' '),
                _ => text.push_str(WORDS[self.below(22) as usize]),
            }
        }
        text
    }
}

#[test]
fn ten_thousand_strings_have_the_ids_that_the_reference_gives_them() {
    for case in cases() {
        let (published, saved) = (open(&case), open(&case.join("saved")));
        assert_eq!(published.vocab_size(), saved.vocab_size(), "{case:?}");
        let roles = |tokenizer: &Tokenizer| {
            [
                tokenizer.bos_token_id(),
                tokenizer.eos_token_id(),
                tokenizer.pad_token_id(),
                tokenizer.unk_token_id(),
            ]
        };
        assert_eq!(roles(&published), roles(&saved), "{case:?}");
        assert_eq!(published.padding_side(), saved.padding_side(), "{case:?}");
        let mut strings = Strings(11);
        for _ in 0..10_000 {
            let text = strings.one();
            let ids = published.encode(&text).unwrap();
            assert_eq!(ids, saved.encode(&text).unwrap(), "{case:?} {text:?}");
            for skip in [true, false] {
                let decoded = published.decode(&ids, skip).unwrap();
                assert_eq!(
                    decoded,
                    saved.decode(&ids, skip).unwrap(),
                    "{case:?} {text:?}"
                );
            }
        }
    }
}

#[test]
fn a_llama_pads_before_its_text() {
    let llama = open(&fixture("tokenizers_published/llama"));
    assert_eq!(llama.padding_side(), PaddingSide::Left);
    assert_eq!(
        open(&fixture("tokenizers_published/t5")).padding_side(),
        PaddingSide::Right
    );
}

#[test]
fn tokenizer_json_counts_where_both_are_there() {
    let saved =
        fs::read_to_string(fixture("tokenizers_published/t5/saved/tokenizer.json")).unwrap();
    let vocab = fs::read_to_string(fixture("tokenizers_published/bert/vocab.txt")).unwrap();
    let both = folder(&[("tokenizer.json", saved), ("vocab.txt", vocab)]);
    assert_eq!(open(both.path()).encode("").unwrap(), [1]);
}

#[test]
fn what_is_wrong_with_an_older_file_is_said_with_its_name() {
    let cases = [
        (
            vec![
                ("vocab.json", "{\"a\": -1}".to_string()),
                ("merges.txt", String::new()),
            ],
            "vocab.json: a: ",
        ),
        (
            vec![
                ("vocab.json", "{\"a\": 0}".into()),
                ("merges.txt", "a".into()),
            ],
            "merges.txt: line 1 is no pair",
        ),
        (
            vec![
                ("vocab.json", "{\"a\": 0}".into()),
                ("merges.txt", "a a".into()),
            ],
            "merges.txt: the merge of `a` and `a`",
        ),
        (
            vec![
                ("vocab.json", "{\"a\": 4294967295}".into()),
                ("merges.txt", String::new()),
            ],
            "vocab.json: the id of `a`",
        ),
        (
            vec![("vocab.json", "{\"a\": 0}".into())],
            "vocab.json is there without merges.txt",
        ),
        (
            vec![("vocab.txt", "x".repeat(2000))],
            "vocab.txt: a token has 2000 bytes",
        ),
        (
            vec![("spiece.model", "not a model".into())],
            "spiece.model: it is cut short, or no SentencePiece model",
        ),
        (
            vec![("tokenizer.model", String::new())],
            "tokenizer.model: it holds no pieces",
        ),
    ];
    for (files, said) in cases {
        let folder = folder(&files);
        assert_says(
            CheckpointFolder::open(folder.path()).unwrap().tokenizer(),
            &[said],
        );
    }
    let spiece = fs::read(fixture("tokenizers_published/t5/spiece.model")).unwrap();
    let many = json!({ "extra_ids": 1_000_000_000_u64 })
        .to_string()
        .into_bytes();
    let folder = CheckpointFolder::in_memory(
        "t5",
        [("spiece.model", spiece), ("tokenizer_config.json", many)],
    );
    assert_says(folder.tokenizer(), &["extra_ids", "1000000000"]);
}
