//! One loader for the whole family: progress, cancellation, holes, and settings that a member does
//! not take.

use std::{
    cell::Cell,
    sync::{Arc, Mutex},
};

use blip2_core::{
    Blip2Error, Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, BlipRetrieval, Builder,
    CancelToken, CheckpointFolder, CheckpointWeights, Device, GenerationConfig, ImageEmbedder,
    LoadProgress, Member, Precision, PrecisionPlan, Preset, TextEmbedder, Weights,
    model::Blip2ForConditionalGeneration,
};
use blip2_io::IoError;
use blip2_kernels::{TensorRequest, WeightSource};
use blip2_testing::{copy, fixture, picture};
use burn::tensor::TensorData;

use crate::common;

/// What a load of this builder tells.
fn told<P: Member>(builder: Builder<P>) -> Vec<LoadProgress> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let loaded = builder.progress(move |progress| listener.lock().unwrap().push(progress));
    loaded.load().unwrap();
    told.lock().unwrap().clone()
}

fn check_told(told: &[LoadProgress], name: &str) {
    let (first, last) = (told.first().unwrap(), told.last().unwrap());
    assert_eq!((first.tensors_done, first.bytes_done), (0, 0), "{name}");
    assert_eq!(last.tensors_done, last.tensors, "{name}");
    assert_eq!(last.bytes_done, last.bytes, "{name}");
    assert_eq!(told.len(), last.tensors + 1, "{name}: once for each tensor");
    assert!(last.tensors > 20 && last.bytes > 1000, "{name}: {last}");
    let grows = |two: &[LoadProgress]| {
        two[0].tensors_done < two[1].tensors_done && two[0].bytes_done < two[1].bytes_done
    };
    assert!(told.windows(2).all(grows), "{name}");
    assert_eq!(last.fraction(), 1.0);
}

#[test]
fn every_member_tells_its_progress() {
    for name in ["blip2_opt", "blip2_t5", "blip2_t5_tied"] {
        check_told(&told(Blip2Pipeline::builder(fixture(name))), name);
        let narrow = Blip2Pipeline::builder(fixture(name)).precision(Precision::Int8);
        check_told(&told(narrow), name);
    }
    let itr = fixture("blip2_itr");
    check_told(&told(Blip2Retrieval::builder(&itr)), "retrieval");
    check_told(&told(ImageEmbedder::builder(&itr)), "images");
    check_told(&told(TextEmbedder::builder(&itr)), "texts");
    check_told(&told(BlipAnswerer::builder(fixture("blip1_vqa"))), "vqa");
    check_told(
        &told(BlipCaptioner::builder(fixture("blip1_caption"))),
        "caption",
    );
    check_told(&told(BlipRetrieval::builder(fixture("blip1_itr"))), "itr");
}

#[test]
fn the_bytes_are_those_of_the_file() {
    let folder = CheckpointFolder::open(fixture("blip2_opt")).unwrap();
    let size = folder.checkpoint().unwrap().size();
    let told = told(Blip2Pipeline::builder_from(folder));
    let bytes = told.last().unwrap().bytes;
    // What the model does not read (duplicates, buffers) is not counted.
    assert!(bytes <= size && bytes * 10 > size * 9, "{bytes} of {size}");
}

/// Cancels a load after n tensors.
fn cancelled_after<P: Member>(builder: Builder<P>, tensors: usize) -> Result<P, Blip2Error> {
    let cancel = CancelToken::new();
    let canceller = cancel.clone();
    let listener = move |progress: LoadProgress| {
        if progress.tensors_done == tensors {
            canceller.cancel();
        }
    };
    builder.progress(listener).cancel(cancel).load()
}

#[test]
fn a_cancelled_load_never_returns_a_model() {
    for tensors in [0, 1, 5, 30] {
        let result = cancelled_after(Blip2Pipeline::builder(fixture("blip2_opt")), tensors);
        assert!(matches!(result, Err(Blip2Error::Cancelled)), "{tensors}");
        let result = cancelled_after(BlipAnswerer::builder(fixture("blip1_vqa")), tensors);
        assert!(matches!(result, Err(Blip2Error::Cancelled)), "{tensors}");
        let result = cancelled_after(Blip2Retrieval::builder(fixture("blip2_itr")), tensors);
        assert!(matches!(result, Err(Blip2Error::Cancelled)), "{tensors}");
    }
    // Also where it was cancelled with the last tensor.
    let all = told(Blip2Pipeline::builder(fixture("blip2_opt")))
        .last()
        .unwrap()
        .tensors;
    let result = cancelled_after(Blip2Pipeline::builder(fixture("blip2_opt")), all);
    assert!(matches!(result, Err(Blip2Error::Cancelled)));
}

/// A source of one's own that stops after n tensors.
struct Stopping<'c> {
    source: CheckpointWeights<'c>,
    left: Cell<usize>,
}

impl WeightSource for Stopping<'_> {
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
        self.left.set(self.left.get().checked_sub(1)?);
        self.source.tensor(request)
    }

    fn contains(&self, name: &str) -> bool {
        self.source.contains(name)
    }
}

#[test]
fn a_model_with_holes_is_refused_whoever_gave_its_weights() {
    let folder = CheckpointFolder::open(fixture("blip2_opt")).unwrap();
    let (config, checkpoint) = (folder.config().unwrap(), folder.checkpoint().unwrap());
    let device = Device::flex();
    let load = |left: usize| {
        let source = Stopping {
            source: CheckpointWeights::new(&checkpoint),
            left: Cell::new(left),
        };
        let weights = Weights::new(&source, &device);
        Blip2ForConditionalGeneration::load(&config, &weights, Precision::F32)
    };
    let Err(Blip2Error::Holes { tensors }) = load(5) else {
        panic!("a model of five tensors was loaded");
    };
    assert!(tensors.len() > 50, "{tensors:?}");
    assert!(
        tensors
            .iter()
            .any(|name| name.starts_with("language_model"))
    );
    let text = Blip2Error::Holes { tensors }.to_string();
    assert!(text.contains("more") && text.len() < 1000, "{text}");

    let whole = load(usize::MAX).unwrap();
    let builder = Blip2Pipeline::builder_from(folder.clone());
    let blip2 = builder.model(whole).load().unwrap();
    let expected = common::pipeline("blip2_opt").caption(&picture(1)).unwrap();
    assert_eq!(
        blip2.caption(&picture(1)).unwrap().token_ids(),
        expected.token_ids()
    );
}

#[test]
fn missing_and_misshapen_tensors_are_all_listed_before_there_is_a_model() {
    let folder = copy("blip1_vqa");
    let path = folder.path().join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let layers = config["text_config"]["num_hidden_layers"].as_u64().unwrap();
    config["text_config"]["num_hidden_layers"] = (layers + 1).into();
    std::fs::write(&path, config.to_string()).unwrap();
    let error = BlipAnswerer::from_pretrained(folder.path()).unwrap_err();
    let Blip2Error::Io(IoError::Weights { report, .. }) = &error else {
        panic!("{error}");
    };
    assert!(report.missing.len() > 10, "{error}");
    // Those that are shown are not all.
    let (shown, more) = (error.to_string(), report.missing.len() - 10);
    assert_eq!(shown.matches("missing:").count(), 10, "{shown}");
    assert!(
        shown.contains(&format!("and {more} more missing")),
        "{shown}"
    );
}

/// Checks that a setting is refused by its name.
fn refused<P: Member + std::fmt::Debug>(builder: Builder<P>, setting: &str) {
    match builder.load() {
        Err(error @ Blip2Error::Setting { .. }) => {
            assert!(
                error.to_string().contains(&format!("`{setting}`")),
                "{error}"
            );
        }
        other => panic!("{setting}: {other:?}"),
    }
}

#[test]
fn settings_that_a_member_does_not_take_are_refused_by_name() {
    let template = || "{}".parse().unwrap();
    let itr = || Blip2Retrieval::builder(fixture("blip2_itr"));
    refused(itr().template(template()), "template");
    refused(itr().generation(GenerationConfig::default()), "generation");
    refused(itr().image_size(64), "image_size");
    refused(itr().memory_limit(1 << 40), "memory_limit");
    let both = |vision, language_model| {
        PrecisionPlan::default()
            .with_vision(vision)
            .with_language_model(language_model)
    };
    refused(
        itr().precision(both(Precision::F32, Precision::Int8)),
        "precision",
    );
    assert!(itr().precision(Precision::Int8).load().is_ok());
    assert!(
        itr()
            .precision(both(Precision::Int4, Precision::AsStored))
            .load()
            .is_ok()
    );

    let texts = || TextEmbedder::builder(fixture("blip2_itr"));
    refused(texts().decode_options(Default::default()), "decode_options");
    refused(texts().precision(Precision::Bf16), "precision");
    assert!(texts().precision(Precision::F32).load().is_ok());
    let images = ImageEmbedder::builder(fixture("blip2_itr"));
    refused(images.template(template()), "template");

    let blip1 = || BlipAnswerer::builder(fixture("blip1_vqa"));
    refused(blip1().template(template()), "template");
    let itr = BlipRetrieval::builder(fixture("blip1_itr"));
    refused(itr.generation(GenerationConfig::default()), "generation");
}

#[test]
fn blip1_looks_at_pictures_of_another_size() {
    let usual = BlipCaptioner::from_pretrained(fixture("blip1_caption")).unwrap();
    let side = usual.config().vision_config.image_size as u32;
    let same = BlipCaptioner::builder(fixture("blip1_caption")).image_size(side);
    let image = picture(2);
    let expected = usual.caption(&image).unwrap();
    assert_eq!(
        same.load().unwrap().caption(&image).unwrap().token_ids(),
        expected.token_ids()
    );
    let larger = BlipCaptioner::builder(fixture("blip1_caption")).image_size(2 * side);
    let larger = larger.load().unwrap().caption(&image).unwrap();
    assert_ne!(larger.log_probs(), expected.log_probs());
}

#[test]
fn whatever_is_printed_for_debugging_is_short() {
    fn short(what: &str, value: &dyn std::fmt::Debug) {
        for text in [format!("{value:?}"), format!("{value:#?}")] {
            assert!(text.len() < 2000, "{what}: {} characters", text.len());
        }
    }
    let read = |name: &str| std::fs::read(fixture("blip2_opt").join(name)).unwrap();
    let names = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "preprocessor_config.json",
        "processor_config.json",
    ];
    let files = names
        .into_iter()
        .filter(|name| fixture("blip2_opt").join(name).exists());
    let files: Vec<_> = files.map(|name| (name, read(name))).collect();
    let folder = CheckpointFolder::in_memory("carried", files);
    short("folder", &folder);
    short("checkpoint", &folder.checkpoint().unwrap());
    short("builder", &Blip2Pipeline::builder_from(folder.clone()));
    short(
        "builder of random weights",
        &Blip2Pipeline::builder_random(Preset::Blip2Opt2_7b, 0),
    );
    let blip2 = Blip2Pipeline::builder_from(folder).load().unwrap();
    short("pipeline", &blip2);
    short("model", blip2.model());
    short("memory", blip2.memory());
    let seen = blip2.look(&picture(0)).unwrap();
    short("seen", &seen);
    short("encoded", &seen.encoded().unwrap());
    short("stream", &seen.ask_stream("what?").unwrap());
    let itr = Blip2Retrieval::from_pretrained(fixture("blip2_itr")).unwrap();
    short("retrieval", &itr);
    short("model of retrieval", itr.model());
    short("encoded photo", &itr.encode(&picture(0)).unwrap());
    short(
        "texts",
        &TextEmbedder::from_pretrained(fixture("blip2_itr")).unwrap(),
    );
    short(
        "images",
        &ImageEmbedder::from_pretrained(fixture("blip2_itr")).unwrap(),
    );
    let blip1 = BlipAnswerer::from_pretrained(fixture("blip1_vqa")).unwrap();
    short("answerer", &blip1);
    short("its builder", &BlipAnswerer::builder(fixture("blip1_vqa")));
}
