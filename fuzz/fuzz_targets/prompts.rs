//! Prompts and templates: any text becomes ids and comes back as some text.
#![no_main]

use std::sync::LazyLock;

use blip2_core::Template;
use blip2_fuzz::{KINDS, in_memory, small_files};
use blip2_io::Tokenizer;
use libfuzzer_sys::fuzz_target;

static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let kinds = KINDS.iter().filter(|kind| **kind != "clip_vision");
    let folders = kinds.map(|kind| in_memory(&small_files(kind)));
    folders
        .map(|folder| folder.tokenizer().expect("a whole tokenizer"))
        .collect()
});

fuzz_target!(|text: (&str, &str)| {
    let (template, question) = text;
    let prompt = match template.parse::<Template>() {
        Ok(template) => template.render(question),
        Err(_) => question.to_string(),
    };
    for tokenizer in TOKENIZERS.iter() {
        let ids = tokenizer.encode(&prompt).expect("any text has ids");
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        let _ = tokenizer.decode(&ids, true).expect("ids have a text");
        let _ = tokenizer.encode_truncated(&prompt, 5);
        let _ = tokenizer.special_token_in(&prompt);
    }
});
