//! What `inspect` says of each member of the family.

use blip2_core::{Blip2Pipeline, Checkpoint, ModelKind, inspect::inspect, memory::Workload};
use blip2_testing::{copy, fixture};

#[test]
fn every_member_is_recognised_and_fits_its_checkpoint() {
    for (name, kind, parts) in [
        ("blip2_opt", ModelKind::Blip2, 4),
        ("blip2_itr", ModelKind::Blip2Retrieval, 6),
        ("blip2_itr_legacy", ModelKind::Blip2Retrieval, 6),
        ("blip1_caption", ModelKind::BlipCaption, 2),
        ("blip1_vqa", ModelKind::BlipAnswer, 3),
        ("blip1_itr", ModelKind::BlipRetrieval, 5),
        ("clip_vision", ModelKind::ClipVisionProjected, 2),
        ("clip_vision_plain", ModelKind::ClipVision, 1),
    ] {
        let found = inspect(fixture(name)).unwrap();
        assert_eq!((found.kind, found.parts.len()), (kind, parts), "{name}");
        assert!(found.report.is_complete(), "{name}: {}", found.report);
        assert!(found.report.unused.is_empty(), "{name}: {}", found.report);
        assert!(found.parts.iter().all(|part| part.parameters > 0));
        // Every number in the file belongs to a part.
        let checkpoint = Checkpoint::open(fixture(name)).unwrap();
        assert_eq!(found.parameters() * 4, checkpoint.size(), "{name}");
        let text = found.to_string();
        assert!(
            text.contains(kind.class()) && text.contains(&kind.describe()),
            "{text}"
        );
    }
}

/// With or without the feature that runs it.
#[test]
fn a_speech_model_is_counted_by_its_parts() {
    for name in ["granite_speech", "granite_speech_untied"] {
        let found = inspect(fixture(name)).unwrap();
        assert_eq!(found.kind, ModelKind::GraniteSpeech);
        assert_eq!(found.language_model, Some("granite"));
        assert_eq!(found.parts.len(), 3);
        assert!(found.parts.iter().all(|part| part.parameters > 0));
        assert!(found.is_complete(), "{name}: {:?}", found.obstacles);
        assert!(found.report.unused.is_empty(), "{name}: {}", found.report);
        // What the four batch norms count is no number of the model.
        let checkpoint = Checkpoint::open(fixture(name)).unwrap();
        assert_eq!(found.parameters() * 4 + 4 * 8, checkpoint.size(), "{name}");
        let runs = cfg!(feature = "speech");
        assert_eq!(found.peak_memory(&Workload::default()).is_empty(), !runs);
        assert_eq!(
            found.notes.iter().any(|note| note.contains("`speech`")),
            !runs
        );
        let text = found.to_string();
        assert!(
            text.contains("with granite") && text.contains("sound"),
            "{text}"
        );
    }
}

/// The halves of a retrieval model, in the folder of the whole.
#[test]
fn halves_are_recognised_by_their_class() {
    for (class, kind) in [
        ("Blip2TextModelWithProjection", ModelKind::Blip2Text),
        ("Blip2VisionModelWithProjection", ModelKind::Blip2Vision),
    ] {
        let folder = copy("blip2_itr");
        let path = folder.path().join("config.json");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, config.replace("Blip2ForImageTextRetrieval", class)).unwrap();
        let found = inspect(folder.path()).unwrap();
        assert_eq!(found.kind, kind);
        assert!(found.report.is_complete(), "{}", found.report);
        assert_eq!(found.language_model, None);
        assert!(
            found
                .report
                .unused
                .iter()
                .any(|name| name.contains("itm_head"))
        );
    }
}

/// A language model alone: `inspect` says what it is, and a pipeline refuses it by its name.
#[test]
fn a_language_model_alone_is_recognised_and_refused_as_a_pipeline() {
    const PREFIX: &str = "language_model.";
    for (name, kind) in [("blip2_opt", ModelKind::Opt), ("blip2_t5", ModelKind::T5)] {
        let whole = fixture(name);
        let folder = tempfile::tempdir().unwrap();
        let config = std::fs::read(whole.join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        let text = config["text_config"].to_string();
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let bytes = std::fs::read(whole.join("model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let own = tensors
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(PREFIX)?, tensor)));
        let weights = safetensors::serialize(own, None).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), weights).unwrap();

        let found = inspect(folder.path()).unwrap();
        assert_eq!((found.kind, found.parts.len()), (kind, 1));
        assert_eq!(found.language_model, Some(kind.model_type()));
        assert!(found.report.is_complete(), "{}", found.report);
        assert!(found.report.unused.is_empty(), "{}", found.report);
        let text = found.to_string();
        assert!(text.contains("can continue texts"), "{text}");
        let refused = Blip2Pipeline::from_pretrained(folder.path()).unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused.contains(kind.class()) && refused.contains("continue texts"),
            "{refused}"
        );
    }
}
