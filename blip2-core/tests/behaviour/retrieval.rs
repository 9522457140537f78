//! The retrieval pipeline on small checkpoints: whatever their words mean, a batch gives what
//! singles give, and what makes no sense is refused.

use blip2_core::{
    Blip2Error, Blip2Pipeline, Blip2Retrieval, CompareOptions, Device, ImageEmbedder, TextEmbedder,
    config::ModelKind, model,
};
use blip2_testing::{copy, fixture, picture};

const FIXTURES: [&str; 2] = ["blip2_itr", "blip2_itr_legacy"];
const TEXTS: [&str; 3] = [
    "two dogs in the park",
    "a plate of food with vegetables on a table",
    "dog",
];

fn retrieval(name: &str) -> Blip2Retrieval {
    Blip2Retrieval::from_pretrained(fixture(name)).unwrap()
}

#[track_caller]
fn close(a: f32, b: f32) {
    assert!((a - b).abs() < 2e-6, "{a} {b}");
}

#[test]
fn a_batch_gives_what_singles_give() {
    for name in FIXTURES {
        let blip2 = retrieval(name);
        let pictures: Vec<_> = (0..3).map(picture).collect();
        let pairs = || pictures.iter().zip(TEXTS);
        let matches = blip2
            .match_batch(pairs(), &CompareOptions::default())
            .unwrap();
        let similar = blip2
            .similarity_batch(pairs(), &CompareOptions::default())
            .unwrap();
        let images = blip2
            .embed_image_batch(&pictures, &CompareOptions::default())
            .unwrap();
        let texts = blip2
            .embed_text_batch(TEXTS, &CompareOptions::default())
            .unwrap();
        for (n, (picture, text)) in pairs().enumerate() {
            let alone = blip2.match_probability(picture, text).unwrap();
            close(matches[n].probability, alone);
            close(similar[n], blip2.similarity(picture, text).unwrap());
            let image = blip2.embed_image(picture).unwrap();
            let text = blip2.embed_text(text).unwrap();
            close(similar[n], image.similarity(&text).unwrap());
            for (a, b) in images[n].vectors().zip(image.vectors()) {
                a.iter().zip(b).for_each(|(a, b)| close(*a, *b));
            }
            let pairs = texts[n].vector().iter().zip(text.vector());
            pairs.for_each(|(a, b)| close(*a, *b));
        }
        // Other inputs give other numbers.
        let [a, b, c] = matches.as_slice() else {
            panic!("{matches:?}")
        };
        assert!(a.logit != b.logit && b.logit != c.logit);
    }
}

#[test]
fn embeddings_are_unit_vectors_of_the_configured_shape() {
    let blip2 = retrieval("blip2_itr");
    let image = blip2.embed_image(&picture(0)).unwrap();
    assert_eq!(image.vectors().count(), 8);
    let text = blip2.embed_text(TEXTS[0]).unwrap();
    for vector in image.vectors().chain([text.vector()]) {
        assert_eq!(vector.len(), 16);
        close(vector.iter().map(|v| v * v).sum(), 1.0);
    }
    close(image.alike(&image).unwrap(), 1.0);
}

/// A picture that was encoded once gives what the picture itself gives, in short lists and long.
#[test]
fn encoded_pictures_match_as_pictures_do() {
    let blip2 = retrieval("blip2_itr");
    let pictures: Vec<_> = (0..21).map(picture).collect();
    let encoded = blip2
        .encode_batch(&pictures, &CompareOptions::default())
        .unwrap();
    let scores = blip2.match_encoded(&encoded, TEXTS[1]).unwrap();
    assert_eq!(scores.len(), pictures.len());
    for ((picture, encoded), score) in pictures.iter().zip(&encoded).zip(scores) {
        let alone = blip2.match_probability(picture, TEXTS[1]).unwrap();
        close(score.probability, alone);
        let embedding = blip2.embed_image(picture).unwrap();
        let text = blip2.embed_text(TEXTS[1]).unwrap();
        close(
            encoded.embedding.similarity(&text).unwrap(),
            embedding.similarity(&text).unwrap(),
        );
    }
}

#[test]
fn nothing_in_nothing_out() {
    let blip2 = retrieval("blip2_itr");
    let none: [(&image::RgbImage, &str); 0] = [];
    assert!(
        blip2
            .match_batch(none, &CompareOptions::default())
            .unwrap()
            .is_empty()
    );
    assert!(
        blip2
            .similarity_batch(none, &CompareOptions::default())
            .unwrap()
            .is_empty()
    );
    let none: [&str; 0] = [];
    assert!(
        blip2
            .embed_text_batch(none, &CompareOptions::default())
            .unwrap()
            .is_empty()
    );
    let none: [&image::RgbImage; 0] = [];
    assert!(
        blip2
            .embed_image_batch(none, &CompareOptions::default())
            .unwrap()
            .is_empty()
    );
    assert!(
        blip2
            .encode_batch(none, &CompareOptions::default())
            .unwrap()
            .is_empty()
    );
    assert!(blip2.match_encoded([], "dog").unwrap().is_empty());
}

#[test]
fn texts_that_make_no_sense_are_refused() {
    let blip2 = retrieval("blip2_itr");
    let image = picture(0);
    for empty in ["", "  \n"] {
        let error = blip2.match_probability(&image, empty).unwrap_err();
        assert!(matches!(error, Blip2Error::EmptyText), "{error}");
    }
    for special in ["a dog [SEP] a cat", "<image> a dog"] {
        let error = blip2.embed_text(special).unwrap_err();
        let Blip2Error::SpecialTokenInText { token } = &error else {
            panic!("{error}")
        };
        assert!(special.contains(token.as_str()));
    }
    // 40 positions; each `dog` is one token, and two special tokens stand around.
    let fits = vec!["dog"; 38].join(" ");
    blip2.match_probability(&image, &fits).unwrap();
    blip2.embed_text(&fits).unwrap();
    let long = vec!["dog"; 39].join(" ");
    for error in [
        blip2.match_probability(&image, &long).unwrap_err(),
        blip2.similarity(&image, &long).unwrap_err(),
        blip2
            .embed_text_batch(["dog", &long], &CompareOptions::default())
            .unwrap_err(),
    ] {
        let error = error.to_string();
        for part in ["41 tokens", "40 positions", "shorten"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

/// Each half gives what the whole gives, from the whole's folder and from one of its own.
#[test]
fn halves_give_what_the_whole_gives() {
    let blip2 = retrieval("blip2_itr");
    let (image, text) = (picture(4), TEXTS[1]);
    for class in [
        "Blip2ForImageTextRetrieval",
        "Blip2TextModelWithProjection",
        "Blip2VisionModelWithProjection",
    ] {
        let folder = copy("blip2_itr");
        let path = folder.path().join("config.json");
        let config = std::fs::read_to_string(&path).unwrap();
        let config = config.replace("Blip2ForImageTextRetrieval", class);
        std::fs::write(&path, config).unwrap();
        match TextEmbedder::from_pretrained(folder.path()) {
            Ok(texts) => {
                let whole = blip2.embed_text(text).unwrap();
                assert_eq!(texts.embed_text(text).unwrap(), whole);
                assert!(texts.embed_text("").is_err());
                let none: [&str; 0] = [];
                assert!(
                    texts
                        .embed_text_batch(none, &CompareOptions::default())
                        .unwrap()
                        .is_empty()
                );
            }
            Err(error) => {
                let error = error.to_string();
                assert!(
                    class.contains("Vision") && error.contains("`ImageEmbedder`"),
                    "{error}"
                );
            }
        }
        match ImageEmbedder::from_pretrained(folder.path()) {
            Ok(images) => {
                let whole = blip2.embed_image(&image).unwrap();
                assert_eq!(images.embed_image(&image).unwrap(), whole);
                let none: [&image::RgbImage; 0] = [];
                assert!(
                    images
                        .embed_image_batch(none, &CompareOptions::default())
                        .unwrap()
                        .is_empty()
                );
            }
            Err(error) => {
                let error = error.to_string();
                assert!(
                    class.contains("Text") && error.contains("`TextEmbedder`"),
                    "{error}"
                );
            }
        }
        let whole = Blip2Retrieval::from_pretrained(folder.path());
        assert_eq!(whole.is_ok(), class == "Blip2ForImageTextRetrieval");
    }
}

#[test]
fn each_door_opens_its_own_folders_only() {
    let error = Blip2Pipeline::from_pretrained(fixture("blip2_itr")).unwrap_err();
    let error = error.to_string();
    for part in [
        "blip2_itr",
        "Blip2ForImageTextRetrieval",
        "match pictures with texts",
        "`Blip2Retrieval`",
    ] {
        assert!(error.contains(part), "{error}");
    }
    for name in ["blip2_opt", "clip_vision"] {
        let error = Blip2Retrieval::from_pretrained(fixture(name)).unwrap_err();
        assert!(matches!(error, Blip2Error::WrongModel { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("not a Blip2ForImageTextRetrieval"),
            "{error}"
        );
    }
}

#[test]
fn every_fault_of_a_checkpoint_is_named() {
    let folder = copy("blip2_itr");
    let edit = |from: &str, to: &str| {
        let path = folder.path().join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    edit(
        "\"use_qformer_text_input\": true",
        "\"use_qformer_text_input\": false",
    );
    let error = Blip2Retrieval::from_pretrained(folder.path()).unwrap_err();
    assert!(
        error.to_string().contains("use_qformer_text_input"),
        "{error}"
    );
    edit(
        "\"use_qformer_text_input\": false",
        "\"use_qformer_text_input\": true",
    );
    edit(
        "\"image_text_hidden_size\": 16",
        "\"image_text_hidden_size\": 0",
    );
    let error = Blip2Retrieval::from_pretrained(folder.path()).unwrap_err();
    assert!(
        error.to_string().contains("image_text_hidden_size = 0"),
        "{error}"
    );
    edit(
        "\"image_text_hidden_size\": 0",
        "\"image_text_hidden_size\": 20",
    );
    let error = Blip2Retrieval::from_pretrained(folder.path()).unwrap_err();
    let error = error.to_string();
    for part in [
        "4 misshapen",
        "text_projection.weight",
        "vision_projection.bias",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

/// The rows of a model and the ids that the reference's processor makes go together or are refused.
#[test]
fn placeholders_are_counted() {
    let blip2 = retrieval("blip2_itr");
    let rows = |placeholders: usize| {
        let ids = [vec![248; placeholders], vec![2, 30, 31, 3]].concat();
        let mask = vec![true; ids.len()];
        model::PromptRows::new(vec![ids], vec![mask]).unwrap()
    };
    let texts = blip2.model().without_placeholders(&rows(8)).unwrap();
    assert_eq!(texts.ids(), [[2, 30, 31, 3]]);
    for wrong in [0, 7, 9] {
        let error = blip2
            .model()
            .without_placeholders(&rows(wrong))
            .unwrap_err();
        assert!(matches!(error, Blip2Error::Placeholders { .. }), "{error}");
    }
    let legacy = retrieval("blip2_itr_legacy");
    let kept = legacy.model().without_placeholders(&rows(0)).unwrap();
    assert_eq!(kept, rows(0));
}

#[test]
fn ids_beyond_the_vocabulary_and_lists_that_do_not_pair_are_refused() {
    let blip2 = retrieval("blip2_itr");
    let rows = |ids: Vec<Vec<u32>>| {
        let mask = ids.iter().map(|row| vec![true; row.len()]).collect();
        model::PromptRows::new(ids, mask).unwrap()
    };
    let error = blip2
        .model()
        .encode_texts(&rows(vec![vec![2, 250]]))
        .unwrap_err();
    assert!(error.to_string().contains("250"), "{error}");
    let pixels = burn_zeros();
    let images = blip2.model().encode_images(pixels).unwrap();
    let error = blip2
        .model()
        .fuse(&images, &rows(vec![vec![2], vec![3]]))
        .unwrap_err();
    assert!(
        error.to_string().contains("1 pictures for 2 texts"),
        "{error}"
    );
}

fn burn_zeros() -> burn::tensor::Tensor<4> {
    burn::tensor::Tensor::zeros([1, 3, 32, 32], &Device::flex())
}

#[test]
fn the_fingerprint_follows_every_weight() {
    let folder = copy("blip2_itr");
    let before = retrieval("blip2_itr");
    assert_eq!(before.fingerprint(), retrieval("blip2_itr").fingerprint());
    assert_ne!(
        before.fingerprint(),
        retrieval("blip2_itr_legacy").fingerprint()
    );
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let changed = Blip2Retrieval::from_pretrained(folder.path()).unwrap();
    assert_ne!(before.fingerprint(), changed.fingerprint());
}

#[test]
fn one_pipeline_serves_many_threads() {
    let blip2 = retrieval("blip2_itr");
    let expected = blip2.match_probability(&picture(3), TEXTS[0]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let found = blip2.match_probability(&picture(3), TEXTS[0]).unwrap();
                assert_eq!(found, expected);
            });
        }
    });
}

#[test]
fn kinds_are_told_by_the_configuration() {
    for (name, kind) in [
        ("blip2_itr", ModelKind::Blip2Retrieval),
        ("blip2_t5", ModelKind::Blip2),
        ("clip_vision_plain", ModelKind::ClipVision),
        ("clip_vision", ModelKind::ClipVisionProjected),
    ] {
        let folder = blip2_core::CheckpointFolder::open(fixture(name)).unwrap();
        assert_eq!(folder.kind().unwrap(), kind, "{name}");
    }
}
