//! The program speaks of its commands and options: no message and no help names an item of the
//! libraries.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use blip2_testing::fixture;

/// Words in capitals and small letters that are no Rust items of ours: the classes that a
/// `config.json` names, names of models, formats, units and other projects.
const KNOWN: [&str; 21] = [
    "MiB",
    "NumPy",
    "Blip2ForConditionalGeneration",
    "Blip2ForImageTextRetrieval",
    "BlipForConditionalGeneration",
    "BlipForImageTextRetrieval",
    "BlipForQuestionAnswering",
    "InstructBlipForConditionalGeneration",
    "InstructBlipVideoForConditionalGeneration",
    "CLIPVisionModel",
    "CLIPVisionModelWithProjection",
    "CLIPModel",
    "InstructBLIP",
    "LLaMA",
    "LoRA",
    "NaN",
    "OpenTelemetry",
    "PyTorch",
    "WebP",
    "WebPs",
    "GIFs",
];

/// Settings of the libraries that are options of the program.
const SETTINGS: [&str; 15] = [
    "memory_limit",
    "image_size",
    "interpolate_pos_encoding",
    "max_pixels",
    "max_alloc",
    "max_pixels_per_byte",
    "max_frames",
    "max_new_tokens",
    "num_beams",
    "do_sample",
    "top_p",
    "stop_strings",
    "no_repeat_ngram_size",
    "repetition_penalty",
    "query_with",
];

fn blip2(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(arguments)
        .env_remove("BLIP2_MODEL")
        .env_remove("BLIP2_RETRIEVAL_MODEL")
        .output()
        .unwrap()
}

/// The first word that only a reader of the libraries knows.
fn item_of_rust(text: &str) -> Option<String> {
    if let Some(place) = text.find("::") {
        return Some(text[place.saturating_sub(20)..].chars().take(40).collect());
    }
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let mut words = words.filter(|word| !KNOWN.contains(word));
    words
        .find(|word| is_camel_case(word) || SETTINGS.contains(word))
        .map(str::to_string)
}

/// A capital, then small letters or digits, then a capital again, with small letters in it.
fn is_camel_case(word: &str) -> bool {
    let mut letters = word.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_uppercase())
        && letters.next().is_some_and(|c| c.is_ascii_lowercase())
        && letters.any(|c| c.is_ascii_uppercase())
}

#[test]
fn a_rust_item_is_told_from_words() {
    for (text, is_item) in [
        ("open it with `BlipCaptioner`", true),
        ("raise ImageLimits", true),
        ("`Video::sample(4)`", true),
        ("or raise `memory_limit`", true),
        ("the checkpoint is a BlipForConditionalGeneration", false),
        ("BLIP-2, InstructBLIP and LLaMA; a WebP of 3 GB", false),
        ("Flan-T5 in bf16, --memory-limit", false),
    ] {
        assert_eq!(item_of_rust(text).is_some(), is_item, "{text}");
    }
}

/// Fails with these words, and names no item.
fn says(arguments: &[&str], said: &[&str]) {
    let output = blip2(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    for said in said {
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    // What is given is quoted, and is no word of the program.
    let own = arguments
        .iter()
        .fold(text.clone(), |text, argument| text.replace(*argument, "_"));
    let item = item_of_rust(&own);
    assert!(item.is_none(), "{arguments:?} names {item:?}: {text}");
}

fn model(name: &str) -> String {
    fixture(name).to_str().unwrap().to_string()
}

/// A picture in a folder that is gone with what is returned.
fn picture() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    image::RgbImage::from_pixel(64, 64, image::Rgb([255, 0, 0]))
        .save(&path)
        .unwrap();
    let path = path.to_str().unwrap().to_string();
    (folder, path)
}

#[test]
fn a_model_of_another_kind_is_sent_to_its_command() {
    let (folder, picture) = picture();
    let index = folder.path().join("a.idx");
    let index = index.to_str().unwrap();
    let answer = ["answer", &picture, "what?"];
    let caption = ["caption", &picture];
    let matching = ["match", &picture, "a dog"];
    let add = ["index", "add", index, &picture];
    for (command, name, said) in [
        (&answer[..], "blip1_caption", "use `blip2 caption`"),
        (&answer, "blip1_itr", "use `blip2 match`"),
        (&answer, "blip2_itr", "use `blip2 match` or `blip2 index`"),
        (&answer, "clip_vision", "no command runs it"),
        (&caption, "blip1_vqa", "use `blip2 answer`"),
        (&caption, "blip1_itr", "use `blip2 match`"),
        (&caption, "blip2_itr", "use `blip2 match` or `blip2 index`"),
        (
            &matching,
            "blip2_opt",
            "use `blip2 answer` or `blip2 caption`",
        ),
        (&matching, "blip1_vqa", "use `blip2 answer`"),
        (&matching, "blip1_caption", "use `blip2 caption`"),
        (&add, "blip1_itr", "use `blip2 match`"),
        (
            &add,
            "instructblip_t5",
            "use `blip2 answer` or `blip2 caption`",
        ),
    ] {
        let model = model(name);
        says(&[command, &["--model", &model]].concat(), &[said, &model]);
    }
}

#[test]
fn pictures_and_videos_are_refused_without_settings_of_a_library() {
    let (folder, picture) = picture();
    let path = |name: &str| folder.path().join(name);
    let large = large_picture(&path("large.png"));
    says(
        &["answer", &large, "what?"],
        &["over the limit", "make it smaller"],
    );
    let animated = animation(&path("moving.gif"));
    says(
        &["answer", &animated, "what?", "--frame", "9"],
        &["frames, and --frame asks for number 9"],
    );
    says(
        &["caption", &animated, "--frame", "9"],
        &["--frame asks for number 9"],
    );

    let video = model("instructblipvideo_t5");
    let what = ["what?", "--model", &video];
    says(
        &[&["answer", &picture][..], &what].concat(),
        &["animated GIF, PNG or WebP"],
    );
    says(
        &[&["answer", &animated][..], &what].concat(),
        &["frames where"],
    );
    let empty = path("empty");
    fs::create_dir(&empty).unwrap();
    says(
        &[&["answer", empty.to_str().unwrap()][..], &what].concat(),
        &["no picture"],
    );
    says(
        &["answer", empty.to_str().unwrap(), "what?"],
        &["single pictures"],
    );
}

/// A file that says that it is a picture of 60,000 by 60,000 pixels.
fn large_picture(path: &Path) -> String {
    let mut header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    header.extend(60_000u32.to_be_bytes());
    header.extend(60_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let checksum = crc32(&header[12..]);
    header.extend(checksum.to_be_bytes());
    header.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    fs::write(path, header).unwrap();
    path.to_str().unwrap().to_string()
}

/// The checksum of a chunk of a PNG.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// A GIF of two frames.
fn animation(path: &Path) -> String {
    let mut encoder = image::codecs::gif::GifEncoder::new(fs::File::create(path).unwrap());
    let frame = |level| {
        let pixel = image::Rgba([level, 0, 0, 255]);
        image::Frame::new(image::RgbaImage::from_pixel(32, 32, pixel))
    };
    encoder.encode_frames([frame(0), frame(255)]).unwrap();
    drop(encoder);
    path.to_str().unwrap().to_string()
}

#[test]
fn arguments_are_called_by_their_options() {
    let (_folder, picture) = picture();
    let answer = |more: &[&str], said: &[&str]| {
        says(&[&["answer", &picture, "what?"][..], more].concat(), said);
    };
    answer(&["--beams", "0"], &["--beams", "at least 1"]);
    answer(
        &["--num-return-sequences", "2"],
        &["--num-return-sequences", "--beams"],
    );
    answer(
        &["--max-new-tokens", "0"],
        &["--max-new-tokens", "at least 1"],
    );
    answer(
        &["--min-new-tokens", "30"],
        &["--min-new-tokens", "20 new tokens"],
    );
    answer(
        &["--sample", "--temperature", "0"],
        &["--temperature", "above 0"],
    );
    answer(&["--sample", "--top-p", "1.5"], &["--top-p", "at most 1"]);
    answer(
        &["--repetition-penalty", "0"],
        &["--repetition-penalty", "above 0"],
    );
    answer(&["--stop", ""], &["--stop", "empty text"]);
    answer(&["--memory-limit", "0.001"], &["raise --memory-limit"]);
    answer(&["--template", "no place"], &["--template", "exactly once"]);
    answer(&["--device", "abacus"], &["abacus"]);
    answer(&["--precision", "int3"], &["int3"]);
    answer(&["--one-of", "red,"], &["--one-of", "an answer is empty"]);
    says(&["answer", &picture, " "], &["`blip2 caption`", "--prompt"]);
    says(
        &["answer", &picture, "is </s> here?"],
        &["</s>", "--prompt"],
    );
    let blip1 = model("blip1_vqa");
    answer(
        &["--model", &blip1, "--memory-limit", "0.001"],
        &["raise --memory-limit"],
    );
    answer(&["--model", &blip1, "--template", "{}"], &["--template"]);
}

#[test]
fn a_conversion_asks_for_its_options() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let output = output.to_str().unwrap();
    let file = |name: &str| -> PathBuf { fixture("lavis").join(name) };
    let convert = |name: &str, arch: &str, said: &[&str]| {
        let file = file(name);
        let file = file.to_str().unwrap();
        says(&["convert", file, "--arch", arch, "-o", output], said);
    };
    convert("blip2_opt.pth", "blip2_opt", &["give --language-model"]);
    convert(
        "blip2_itr.pth",
        "blip2",
        &["give --tokenizer", "bert-base-uncased"],
    );
}

#[test]
fn help_is_in_the_programs_words_and_has_examples() {
    let commands = [
        "answer",
        "caption",
        "match",
        "index",
        "inspect",
        "pack",
        "merge",
        "convert",
        "verify",
        "train",
        "eval",
        "bench",
        "serve",
        "transcribe",
    ];
    let index = ["add", "remove", "list", "search"].map(|command| vec!["index", command]);
    let mut all: Vec<Vec<&str>> = commands.map(|command| vec![command]).to_vec();
    all.extend(index);
    all.push(Vec::new());
    for command in all {
        let output = blip2(&[command.as_slice(), &["--help"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains("Examples:"),
            "{text}"
        );
        let item = item_of_rust(&text);
        assert!(item.is_none(), "{command:?} names {item:?}: {text}");
        for word in ["so many", "likeliest", "vision tower", "look at"] {
            assert!(!text.contains(word), "{command:?} says {word:?}: {text}");
        }
    }
}
