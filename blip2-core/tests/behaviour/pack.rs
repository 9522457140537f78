//! Checkpoints packed into one file.

use std::fs;

use blip2_core::{
    Answer, Blip2Error, Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, BlipRetrieval,
    ImageEmbedder, Precision, pack,
};
use blip2_io::{CheckpointFolder, IoError};
use blip2_testing::{copy, fixture, picture, publish_as_before};

fn answer(pipeline: &Blip2Pipeline) -> Answer {
    pipeline.answer(&picture(0), "how many cats?").unwrap()
}

#[test]
fn a_packed_file_answers_as_the_folder_does_in_that_precision() {
    let out = tempfile::tempdir().unwrap();
    for name in ["blip2_opt", "blip2_t5"] {
        for precision in [
            Precision::AsStored,
            Precision::Bf16,
            Precision::Int8,
            Precision::Int4,
        ] {
            let file = out.path().join(format!("{name}.{precision}.safetensors"));
            let bytes = pack(fixture(name), precision, &file).unwrap();
            assert_eq!(bytes, fs::metadata(&file).unwrap().len());
            let packed = Blip2Pipeline::from_pretrained(&file).unwrap();
            let folder = Blip2Pipeline::builder(fixture(name)).precision(precision);
            let (found, expected) = (answer(&packed), answer(&folder.load().unwrap()));
            assert_eq!(
                found.token_ids(),
                expected.token_ids(),
                "{name} {precision}"
            );
            assert_eq!(
                found.log_probs(),
                expected.log_probs(),
                "{name} {precision}"
            );
            assert!(packed.load_report().unused.is_empty(), "{name} {precision}");
        }
    }
    let left: Vec<_> = fs::read_dir(out.path()).unwrap().collect();
    assert_eq!(left.len(), 8, "no partial files are left");
}

/// Packs a fixture and compares what its file says with what its folder says.
macro_rules! says_the_same {
    ($name:literal, $member:ident, $precision:expr, |$model:ident| $said:expr) => {{
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join("packed.safetensors");
        pack(fixture($name), $precision, &file).unwrap();
        let $model = $member::from_pretrained(&file).unwrap();
        let found = $said;
        let $model = $member::builder(fixture($name)).precision($precision);
        let $model = $model.load().unwrap();
        assert_eq!(found, $said, "{} {}", $name, $precision);
    }};
}

#[test]
fn every_member_is_packed() {
    let image = &picture(0);
    for precision in [Precision::AsStored, Precision::Bf16, Precision::Int8] {
        says_the_same!("blip1_vqa", BlipAnswerer, precision, |model| {
            let answer = model.answer(image, "how many cats?").unwrap();
            (answer.token_ids().to_vec(), answer.log_probs().to_vec())
        });
        says_the_same!("blip1_caption", BlipCaptioner, precision, |model| {
            let caption = model.caption(image).unwrap();
            (caption.token_ids().to_vec(), caption.log_probs().to_vec())
        });
        says_the_same!("blip1_itr", BlipRetrieval, precision, |model| {
            let chance = model.match_probability(image, "two cats").unwrap();
            (chance, model.embed_image(image).unwrap())
        });
        says_the_same!("blip2_itr", Blip2Retrieval, precision, |model| {
            let chance = model.match_probability(image, "two cats").unwrap();
            (chance, model.embed_image(image).unwrap())
        });
        says_the_same!("blip2_itr", ImageEmbedder, precision, |model| {
            model.embed_image(image).unwrap()
        });
    }
}

#[test]
fn a_tokenizer_of_older_files_is_packed_as_tokenizer_json() {
    let folder = copy("blip2_opt");
    publish_as_before(folder.path());
    let file = folder.path().join("packed.safetensors");
    pack(folder.path(), Precision::AsStored, &file).unwrap();
    let packed = Blip2Pipeline::from_pretrained(&file).unwrap();
    let whole = Blip2Pipeline::from_pretrained(fixture("blip2_opt")).unwrap();
    assert_eq!(answer(&packed).token_ids(), answer(&whole).token_ids());
}

#[test]
fn a_packed_file_can_be_held_in_another_precision() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("packed.safetensors");
    pack(fixture("blip2_opt"), Precision::F32, &file).unwrap();
    let narrow = Blip2Pipeline::builder(&file).precision(Precision::Int8);
    let folder = Blip2Pipeline::builder(fixture("blip2_opt")).precision(Precision::Int8);
    assert_eq!(
        answer(&narrow.load().unwrap()).log_probs(),
        answer(&folder.load().unwrap()).log_probs()
    );
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("packed.safetensors");
    pack(fixture("blip2_opt"), Precision::Int8, &file).unwrap();
    let whole = fs::read(&file).unwrap();
    for len in (0..whole.len()).step_by(whole.len() / 37) {
        fs::write(&file, &whole[..len]).unwrap();
        let error = Blip2Pipeline::from_pretrained(&file).unwrap_err();
        assert!(error.to_string().contains("packed.safetensors"), "{error}");
    }
}

#[test]
fn matrices_of_the_wrong_size_are_refused_by_name() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("packed.safetensors");
    pack(fixture("blip2_opt"), Precision::Int8, &file).unwrap();
    let whole = fs::read(&file).unwrap();
    // The list of matrices is text inside of text: of the same length, so that no offset moves.
    let (from, to) = (br#"\"format\":\"int8\""#, br#"\"format\":\"int4\""#);
    let at = whole
        .windows(from.len())
        .position(|part| part == from)
        .unwrap();
    let mut wrong = whole.clone();
    wrong[at..at + to.len()].copy_from_slice(to);
    fs::write(&file, &wrong).unwrap();
    let error = Blip2Pipeline::from_pretrained(&file)
        .unwrap_err()
        .to_string();
    assert!(error.contains("int4 matrix of"), "{error}");
}

#[test]
fn weights_alone_are_no_packed_file() {
    let weights = fixture("blip2_opt").join("model.safetensors");
    let error = CheckpointFolder::open(&weights).unwrap_err();
    assert!(matches!(error, IoError::NotPacked { .. }), "{error}");
}

#[test]
fn an_incomplete_checkpoint_is_not_packed() {
    let folder = copy("blip2_opt");
    let config = folder.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"ffn_dim\": ", "\"ffn_dim\": 1")).unwrap();
    let file = folder.path().join("packed.safetensors");
    let error = pack(folder.path(), Precision::Int8, &file).unwrap_err();
    let Blip2Error::Io(IoError::Weights { report, .. }) = &error else {
        panic!("{error}");
    };
    assert!(!report.misshapen.is_empty());
    assert!(!file.exists());
}

#[cfg(unix)]
#[test]
fn a_name_that_is_no_text_is_written_and_opened() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let out = tempfile::tempdir().unwrap();
    let file = out.path().join(OsStr::from_bytes(b"pack\xff.safetensors"));
    pack(fixture("blip2_opt"), Precision::Int8, &file).unwrap();
    let pipeline = Blip2Pipeline::from_pretrained(&file).unwrap();
    assert!(!answer(&pipeline).log_probs().is_empty());
}
