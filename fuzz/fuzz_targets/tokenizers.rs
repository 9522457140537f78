//! Tokenizers of all forms: `tokenizer.json`, and as they were published before it.
#![no_main]

use blip2_fuzz::{chosen, in_memory, small_files};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let forms = [
        ("blip2_opt", "tokenizer.json"),
        ("blip2_t5", "tokenizer.json"),
        ("blip2_itr", "tokenizer.json"),
        ("instructblip_llama", "tokenizer.json"),
        ("blip2_t5", "spiece.model"),
        ("instructblip_llama", "tokenizer.model"),
        ("blip2_itr", "vocab.txt"),
        ("blip2_opt", "vocab.json"),
        ("blip2_opt", "tokenizer_config.json"),
    ];
    let Some(((kind, name), rest)) = chosen(bytes, &forms) else {
        return;
    };
    let mut files = small_files(kind);
    files.retain(|(file, _)| {
        file != name && (name.ends_with("r_config.json") || file != "tokenizer.json")
    });
    if name == "vocab.json" {
        // The vocabulary ends at a zero, which neither file may hold.
        let end = rest
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(rest.len());
        let (vocab, merges) = rest.split_at(end);
        files.push((name.into(), vocab.to_vec()));
        files.push((
            "merges.txt".into(),
            merges.get(1..).unwrap_or_default().to_vec(),
        ));
    } else {
        files.push((name.into(), rest.to_vec()));
    }
    let Ok(tokenizer) = in_memory(&files).tokenizer() else {
        return;
    };
    for text in [
        "a photo of",
        "",
        "\u{0}\u{fdfa} e\u{301} <image></s>\n\t  ",
        "中文 😀",
    ] {
        if let Ok(ids) = tokenizer.encode(text) {
            let _ = tokenizer.decode(&ids, true);
        }
    }
    let _ = tokenizer.decode(&[0, 1, u32::MAX], false);
    let _ = tokenizer.special_token_in("is </s> here?");
});
