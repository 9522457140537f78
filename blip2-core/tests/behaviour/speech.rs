//! Granite Speech as users of the pipeline see it: from WAV files to answers.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use blip2_core::{
    Answer, Blip2Error, Blip2Pipeline, Builder, CancelToken, Checkpoint, ErrorKind, FinishReason,
    GenerationConfig, ModelKind, Options, Precision, SpeechPipeline,
    inspect::inspect,
    memory::{Fit, Workload},
    opened_with, pack,
    sound::{SoundError, Waveform},
};
use blip2_testing::{assert_close, assert_says, copy, fixture, floats, json};
use serde_json::Value;

const FIXTURES: [&str; 3] = [
    "granite_speech",
    "granite_speech_untied",
    "granite_speech_lora",
];
const QUESTION: &str = "what is said?";

fn pipeline(name: &str) -> SpeechPipeline {
    SpeechPipeline::from_pretrained(fixture(name)).unwrap()
}

fn sound(name: &str) -> Waveform {
    Waveform::open(fixture("granite_speech").join(name)).unwrap()
}

fn chirp() -> Waveform {
    sound("chirp_1300ms.wav")
}

fn noise() -> Waveform {
    sound("noise_713ms.wav")
}

fn short(new_tokens: usize) -> Options {
    Options::default().with_generation(GenerationConfig::default().with_max_new_tokens(new_tokens))
}

fn ids(answers: &[Answer]) -> Vec<Vec<u32>> {
    answers.iter().map(Answer::token_ids).collect()
}

#[test]
fn handles_and_what_they_hand_out_are_owned() {
    fn stored<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    stored::<SpeechPipeline>();
    sent::<Builder<SpeechPipeline>>();
    let speech = pipeline("granite_speech_lora");
    let expected = speech.ask_with(&noise(), QUESTION, &short(4)).unwrap();
    let stream = speech.stream_answer_with(&noise(), QUESTION, &short(4));
    let stream = stream.unwrap();
    drop(speech);
    let text: String = thread::spawn(move || stream.map(Result::unwrap).collect())
        .join()
        .unwrap();
    assert_eq!(text, expected.text);
}

/// From the file on: mel features, every stage, and every generation case of a single sound.
#[test]
fn answers_about_a_file_equal_transformers() {
    let mut compared = 0;
    for name in FIXTURES {
        let (speech, golden) = (pipeline(name), json(&format!("{name}/golden.json")));
        let tensors = blip2_testing::Goldens::open(fixture(name).join("golden.safetensors"));
        let features = speech.input_features(&noise()).unwrap();
        let expected = tensors.get("single.input_features");
        assert_eq!(features.dims().to_vec(), expected.shape);
        assert_close(name, &floats(features), &expected.values, 2e-4);

        let prompt: Vec<String> = serde_json::from_value(golden["prompts"].clone()).unwrap();
        let input: Vec<Vec<u32>> =
            serde_json::from_value(golden["input_ids_single"].clone()).unwrap();
        for (case, golden) in golden["gen_single"].as_object().unwrap() {
            if !golden.is_object() || golden["f64_agrees"] == false {
                continue;
            }
            let mut config: GenerationConfig =
                serde_json::from_value(golden["kwargs"].clone()).unwrap();
            // The reference's own number, which does not follow the recording.
            if config.max_length.is_none() {
                config.max_new_tokens.get_or_insert(20);
            }
            let options = Options::default().with_generation(config);
            let answer = speech.prompt_with(&noise(), &prompt[1], &options).unwrap();
            let sequences: Vec<Vec<u32>> =
                serde_json::from_value(golden["sequences"].clone()).unwrap();
            let found = std::iter::once(&answer).chain(&answer.alternatives);
            let found: Vec<_> = found.map(Answer::token_ids).collect();
            assert_eq!(found.len(), sequences.len(), "{name} {case}");
            for (found, expected) in found.iter().zip(&sequences) {
                let expected = &expected[input[0].len()..];
                // What the reference pads a finished sequence with is no answer.
                let (own, padding) = expected.split_at(found.len());
                let pad = speech.config().text_config.pad_token_id().unwrap();
                assert_eq!(own, found, "{name} {case}");
                assert!(padding.iter().all(|id| *id == pad), "{name} {case}");
            }
            compared += 1;
        }
    }
    assert!(compared > 75, "{compared}");
}

#[test]
fn each_verb_has_its_forms() {
    let speech = pipeline("granite_speech_lora");
    let (chirp, noise) = (chirp(), noise());
    let options = short(6);
    let transcript = speech.transcribe_with(&chirp, &options).unwrap();
    let asked = blip2_core::speech::TRANSCRIBE;
    let same = speech.ask_with(&chirp, asked, &options).unwrap();
    assert_eq!(transcript.token_ids(), same.token_ids());
    assert_eq!(transcript.tokens.len(), 6);
    assert_eq!(transcript.finish_reason, FinishReason::MaxTokens);
    let timings = transcript.timings;
    assert!(timings.preprocess.is_some() && timings.audio.is_some() && timings.qformer.is_some());
    assert!(timings.vision.is_none() && timings.total() >= timings.audio.unwrap());

    // The template, written out.
    let raw = format!("USER: <|audio|>{QUESTION}\n ASSISTANT:");
    let answer = speech.ask_with(&noise, QUESTION, &options).unwrap();
    let prompt = speech.prompt_with(&noise, &raw, &options).unwrap();
    assert_eq!(answer.token_ids(), prompt.token_ids());
    assert_eq!(
        speech.template().unwrap().to_string(),
        "USER: <|audio|>{}\n ASSISTANT:"
    );

    let whole = |stream: blip2_core::AnswerStream| stream.map(Result::unwrap).collect::<String>();
    let stream = speech.stream_answer_with(&noise, QUESTION, &options);
    assert_eq!(whole(stream.unwrap()), answer.text);
    let stream = speech.stream_with(&noise, &raw, &options).unwrap();
    assert!(stream.timings().audio.is_some());
    assert_eq!(whole(stream), answer.text);
    let stream = speech.stream_transcription_with(&chirp, &options);
    assert_eq!(whole(stream.unwrap()), transcript.text);
}

#[test]
fn a_batch_equals_the_sounds_alone() {
    for name in FIXTURES {
        let speech = pipeline(name);
        let (chirp, noise) = (chirp(), noise());
        for beams in [1, 3] {
            let generation = GenerationConfig::default()
                .with_max_new_tokens(8)
                .with_num_beams(beams);
            let options = Options::default().with_generation(generation);
            let pairs = [(&chirp, "who is it?"), (&noise, QUESTION), (&chirp, "why?")];
            let together = speech.ask_batch(pairs, &options).unwrap();
            let alone =
                pairs.map(|(sound, question)| speech.ask_with(sound, question, &options).unwrap());
            assert_eq!(ids(&together), ids(&alone), "{name}");
            let both = speech.transcribe_batch([&chirp, &noise], &options).unwrap();
            let one = speech.transcribe_with(&noise, &options).unwrap();
            assert_eq!(both[1].token_ids(), one.token_ids());
        }
        let none: [(&Waveform, &str); 0] = [];
        assert!(speech.ask_batch(none, &short(2)).unwrap().is_empty());
    }
}

#[test]
fn what_was_heard_once_is_asked_many_times() {
    for name in FIXTURES {
        let (speech, noise, options) = (pipeline(name), noise(), short(6));
        let heard = speech.hear(&noise).unwrap();
        assert_eq!(
            heard.size_in_bytes(),
            4 * heard.features().tensor().shape().num_elements()
        );
        let alone = speech.ask_with(&noise, QUESTION, &options).unwrap();
        assert!(alone.timings.audio.is_some() && heard.timings().audio.is_some());
        let stream = speech
            .stream_answer_with(&noise, QUESTION, &options)
            .unwrap();
        let streamed: String = stream.map(Result::unwrap).collect();
        drop(speech);

        let asked = heard.ask_with(QUESTION, &options).unwrap();
        assert_eq!(asked.token_ids(), alone.token_ids(), "{name}");
        assert!(asked.timings.audio.is_none() && asked.timings.prefill.is_some());
        let stream = heard.ask_stream_with(QUESTION, &options).unwrap();
        let text: String = stream.map(Result::unwrap).collect();
        assert_eq!(text, streamed, "{name}");

        let (member, questions) = (heard.member(), [QUESTION, "who is it?"]);
        let together = heard.ask_batch(questions, &options).unwrap();
        let each = questions.map(|question| member.ask_with(&noise, question, &options).unwrap());
        assert_eq!(ids(&together), ids(&each), "{name}");
        let written = heard.transcribe_with(&options).unwrap();
        let alone = member.transcribe_with(&noise, &options).unwrap();
        assert_eq!(written.token_ids(), alone.token_ids(), "{name}");
        let prompt = "USER: <|audio|> what is said? ASSISTANT:";
        let prompted = heard.prompt_with(prompt, &options).unwrap();
        let alone = member.prompt_with(&noise, prompt, &options).unwrap();
        assert_eq!(prompted.token_ids(), alone.token_ids(), "{name}");
    }
    let heard = pipeline("granite_speech").hear(&noise()).unwrap();
    let nowhere = heard.prompt("USER: what is said?").unwrap_err();
    assert!(matches!(nowhere, Blip2Error::SoundPlaces { found: 0, .. }));
    assert_says(heard.ask_batch([QUESTION, ""], &short(2)), &["item 1"]);
}

/// Text runs without the adapter and sound with it, in whatever order they come.
#[test]
fn the_adapter_is_switched_by_what_is_asked() {
    let speech = pipeline("granite_speech_lora");
    let base = pipeline("granite_speech");
    assert_eq!(speech.active_adapter(), Some("default"));
    assert_eq!(base.active_adapter(), None);
    let (sound, options) = (noise(), short(8));
    let heard = || speech.ask_with(&sound, QUESTION, &options).unwrap();
    let wrote = || {
        speech
            .continue_text_with("a photo of two", &options)
            .unwrap()
    };
    let (first, text) = (heard(), wrote());
    assert_eq!(first.token_ids(), heard().token_ids());
    assert_eq!(text.token_ids(), wrote().token_ids());
    let plain = speech.without_adapter();
    let unheard = plain.ask_with(&sound, QUESTION, &options).unwrap();
    assert_ne!(first.log_probs(), unheard.log_probs());
    let same = plain
        .continue_text_with("a photo of two", &options)
        .unwrap();
    assert_eq!(text.log_probs(), same.log_probs());
    assert!(text.timings.audio.is_none() && text.timings.prefill.is_some());
}

#[test]
fn sound_at_another_rate_is_resampled() {
    let speech = pipeline("granite_speech");
    let samples = noise().resampled(44_100).unwrap();
    let heard = speech.ask_with(&samples, QUESTION, &short(4)).unwrap();
    assert_eq!(heard.tokens.len(), 4);
    let features = speech.input_features(&samples).unwrap();
    assert_eq!(
        features.dims(),
        speech.input_features(&noise()).unwrap().dims()
    );
    let bytes = fs::read(fixture("granite_speech").join("noise_713ms.wav")).unwrap();
    assert_eq!(speech.decode(&bytes).unwrap(), noise());
    assert_says(speech.decode(b"no sound"), &["WAV"]);
    assert_says(speech.open("nowhere.wav"), &["nowhere.wav"]);
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let speech = pipeline("granite_speech");
    let sound = noise();
    let error = speech.ask(&sound, "  ").unwrap_err();
    assert!(matches!(error, Blip2Error::EmptyQuestion));
    let error = speech.ask(&sound, "<|audio|> what?").unwrap_err();
    assert!(matches!(error, Blip2Error::SpecialToken { .. }), "{error}");
    for (prompt, count) in [("what?", "0 times"), ("<|audio|><|audio|>", "2 times")] {
        let error = speech.prompt(&sound, prompt).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
        assert_says(Err::<(), _>(error), &[count, "`<|audio|>`", "exactly once"]);
    }
    assert_says(
        speech.continue_text("USER: <|audio|> what?"),
        &["`<|audio|>` 1 times", "leave it out"],
    );
    let brief = Waveform::new(vec![0.1; 200], 16_000).unwrap();
    let error = speech.ask(&brief, QUESTION).unwrap_err();
    assert!(
        matches!(
            error,
            Blip2Error::Sound(SoundError::TooShort { found: 200, .. })
        ),
        "{error}"
    );
    let pairs = [(&sound, QUESTION), (&brief, QUESTION)];
    let error = speech.ask_batch(pairs, &short(2)).unwrap_err();
    assert!(
        matches!(error, Blip2Error::Item { index: 1, .. }),
        "{error}"
    );
    let template = Options::default().with_template("Q: {} A:".parse().unwrap());
    assert_says(speech.ask_with(&sound, QUESTION, &template), &["<|audio|>"]);
}

/// The context of the fixtures is 160 tokens: two for each window of ten frames of 20 ms.
#[test]
fn what_the_context_has_no_room_for_is_refused_before_it_is_computed() {
    let speech = pipeline("granite_speech");
    let long = Waveform::new(vec![0.1; 16_000 * 20], 16_000).unwrap();
    let error = speech.transcribe(&long).unwrap_err();
    let Blip2Error::ContextTooLong { tokens, context } = error else {
        panic!("{error}")
    };
    assert!(tokens > 200 && context == 160);
    let pairs = [(&noise(), QUESTION), (&long, QUESTION)];
    let error = speech.ask_batch(pairs, &short(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(
        matches!(error, Blip2Error::Item { index: 1, .. }),
        "{error}"
    );
    let words = "a photo of two ".repeat(100);
    let error = speech.continue_text(&words).unwrap_err();
    assert!(
        matches!(error, Blip2Error::ContextTooLong { .. }),
        "{error}"
    );
    // What fits is written until the context is full.
    let full = speech.transcribe(&chirp()).unwrap();
    assert!(matches!(
        full.finish_reason,
        FinishReason::ContextFull | FinishReason::Eos
    ));
}

#[test]
fn memory_is_predicted_and_limited() {
    let speech = pipeline("granite_speech_lora");
    let peak = |frames| {
        let work = Workload::default().with_sound_frames(frames);
        speech.memory().predict(&work).peak()
    };
    assert!(peak(50) <= peak(500) && peak(500) < peak(50_000));
    let weights = Checkpoint::open(fixture("granite_speech_lora"))
        .unwrap()
        .size();
    assert!(speech.memory().weights(None) >= weights - 64);
    let builder = SpeechPipeline::builder(fixture("granite_speech"));
    match builder.clone().memory_limit(1 << 20).load() {
        Err(Blip2Error::Memory(error)) => assert!(error.predicted > error.allowed),
        other => panic!("{other:?}"),
    }
    let limited = builder.memory_limit(peak(500)).load().unwrap();
    assert!(limited.transcribe_with(&noise(), &short(2)).is_ok());
    let hour = Workload::default().with_sound_frames(180_000);
    assert!(matches!(
        limited.check_memory(&hour),
        Err(Blip2Error::Memory(_))
    ));
}

#[test]
fn a_call_can_be_stopped() {
    let speech = pipeline("granite_speech");
    let cancel = CancelToken::new();
    let options = short(8).with_cancel(cancel.clone());
    cancel.cancel();
    let answer = speech.ask_with(&noise(), QUESTION, &options).unwrap();
    assert_eq!(answer.finish_reason, FinishReason::Cancelled);
    let answer = speech.continue_text_with("a", &options).unwrap();
    assert_eq!(answer.finish_reason, FinishReason::Cancelled);
    let stopped = speech.hear_with(&noise(), &options);
    assert!(matches!(stopped, Err(Blip2Error::Cancelled)));
    let options = short(8).with_timeout(Duration::ZERO);
    let heard = speech.hear(&noise()).unwrap();
    let answer = heard.ask_with(QUESTION, &options).unwrap();
    assert_eq!(answer.finish_reason, FinishReason::Deadline);
    let stream = speech.stream_answer_with(&noise(), QUESTION, &options);
    assert_eq!(
        stream.unwrap().finish_reason(),
        Some(FinishReason::Deadline)
    );
}

#[test]
fn narrower_weights_and_drafts_answer_too() {
    let folder = fixture("granite_speech_lora");
    for precision in [Precision::Bf16, Precision::Int8] {
        let speech = SpeechPipeline::builder(&folder).precision(precision).load();
        let answer = speech.unwrap().ask_with(&noise(), QUESTION, &short(4));
        assert_eq!(answer.unwrap().tokens.len(), 4, "{precision}");
    }
    let drafted = SpeechPipeline::builder(&folder)
        .speculative(true)
        .load()
        .unwrap();
    let answer = drafted.ask_with(&noise(), QUESTION, &short(8)).unwrap();
    let plain = pipeline("granite_speech_lora").ask_with(&noise(), QUESTION, &short(8));
    assert_eq!(answer.token_ids(), plain.unwrap().token_ids());
    assert!(answer.timings.drafted > Some(0));
    let text = drafted
        .continue_text_with("a photo of two", &short(4))
        .unwrap();
    assert!(text.timings.drafted > Some(0));
}

#[test]
fn an_adapter_that_is_missing_is_told_and_one_can_be_given() {
    let folder = copy("granite_speech_lora");
    let adapter = tempfile::tempdir().unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::rename(folder.path().join(name), adapter.path().join(name)).unwrap();
    }
    let load = || SpeechPipeline::builder(folder.path());
    let error = load().load().unwrap_err();
    assert!(matches!(error, Blip2Error::Incomplete { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Checkpoint);
    assert_says(
        Err::<(), _>(error),
        &["adapter_config.json", "`has_lora_adapter`"],
    );
    let given = load().adapter(adapter.path()).load().unwrap();
    let own = pipeline("granite_speech_lora");
    let answers = [&given, &own].map(|speech| speech.ask_with(&noise(), QUESTION, &short(6)));
    let [given, own] = answers.map(|answer| answer.unwrap().log_probs());
    assert_eq!(given, own);
    let found = inspect(folder.path()).unwrap();
    assert!(!found.is_complete() && found.report.is_complete());
}

#[test]
fn a_processor_that_does_not_fit_its_encoder_is_refused() {
    for (key, value, named) in [
        (
            "n_mels",
            20,
            "n_mels = 20: config.json has encoder_config.input_dim = 32",
        ),
        ("projector_window_size", 15, "window_size = 10"),
        ("projector_downsample_rate", 2, "downsample_rate = 5"),
    ] {
        let folder = copy("granite_speech");
        let path = folder.path().join("preprocessor_config.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        match key {
            "n_mels" => config["melspec_kwargs"][key] = value.into(),
            _ => config[key] = value.into(),
        }
        fs::write(&path, config.to_string()).unwrap();
        let error = SpeechPipeline::from_pretrained(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        let file = path.display().to_string();
        assert_says(Err::<(), _>(error), &[&file, named]);
    }
}

/// A chat template is not run, but shows how roles are marked.
/// In one file: weights, tokenizer, processor, and the adapter that is beside them.
#[test]
fn a_packed_file_answers_as_the_folder_does_in_that_precision() {
    let out = tempfile::tempdir().unwrap();
    for name in FIXTURES {
        for precision in [Precision::AsStored, Precision::Bf16, Precision::Int8] {
            let file = out.path().join(format!("{name}.{precision}.safetensors"));
            let bytes = pack(fixture(name), precision, &file).unwrap();
            assert_eq!(bytes, fs::metadata(&file).unwrap().len());
            let packed = SpeechPipeline::from_pretrained(&file).unwrap();
            let folder = SpeechPipeline::builder(fixture(name)).precision(precision);
            let folder = folder.load().unwrap();
            assert_eq!(packed.active_adapter(), folder.active_adapter());
            assert!(packed.load_report().unused.is_empty(), "{name} {precision}");
            for (packed, folder) in [
                (packed.clone(), folder.clone()),
                (packed.without_adapter(), folder.without_adapter()),
            ] {
                let answer = |speech: &SpeechPipeline| {
                    let answer = speech.ask_with(&chirp(), QUESTION, &short(6)).unwrap();
                    (answer.token_ids(), answer.log_probs())
                };
                assert_eq!(answer(&packed), answer(&folder), "{name} {precision}");
            }
        }
    }
    // A packed file is packed again, whatever its adapter was published as.
    let narrow = out.path().join("again.safetensors");
    let wide = out.path().join("granite_speech_lora.f32.safetensors");
    pack(fixture("granite_speech_lora"), Precision::F32, &wide).unwrap();
    pack(&wide, Precision::Int8, &narrow).unwrap();
    let first = out.path().join(format!(
        "granite_speech_lora.{}.safetensors",
        Precision::Int8
    ));
    assert_eq!(fs::read(narrow).unwrap(), fs::read(first).unwrap());
}

#[test]
fn an_adapter_that_is_spoilt_is_not_packed() {
    let folder = copy("granite_speech_lora");
    let path = folder.path().join("adapter_model.safetensors");
    fs::write(&path, b"no tensors").unwrap();
    let packed = folder.path().join("packed.safetensors");
    let result = pack(folder.path(), Precision::F32, &packed);
    assert_says(result, &["adapter_model.safetensors"]);
    assert!(!packed.exists());
}

#[test]
fn the_prompt_follows_the_chat_template() {
    let folder = copy("granite_speech");
    let template = "{{ '<|start_of_role|>' + role + '<|end_of_role|>' }}";
    fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    let speech = SpeechPipeline::from_pretrained(folder.path()).unwrap();
    let found = speech.template().unwrap().to_string();
    assert!(found.starts_with("<|start_of_role|>user<|end_of_role|><|audio|>{}"));
    let own = "Q: <|audio|> {}";
    let speech = SpeechPipeline::builder(folder.path()).template(own.parse().unwrap());
    let speech = speech.load().unwrap();
    assert_eq!(speech.template().unwrap().to_string(), own);
    let brought = r#"{ "answer_template": "<|audio|>{} A:" }"#;
    fs::write(folder.path().join("blip2.json"), brought).unwrap();
    let speech = SpeechPipeline::from_pretrained(folder.path()).unwrap();
    assert_eq!(speech.template().unwrap().to_string(), "<|audio|>{} A:");
}

/// What a folder of the fixtures loads as with a chat template in one of the files that may hold it.
fn with_chat_template(file: &str, template: &str) -> (tempfile::TempDir, SpeechPipeline) {
    let folder = copy("granite_speech");
    let path = folder.path().join(file);
    match file.ends_with(".jinja") {
        true => fs::write(path, template).unwrap(),
        false => {
            let mut config: Value = fs::read(&path)
                .map_or(Value::Object(Default::default()), |bytes| {
                    serde_json::from_slice(&bytes).unwrap()
                });
            config["chat_template"] = template.into();
            fs::write(path, config.to_string()).unwrap();
        }
    }
    let speech = SpeechPipeline::from_pretrained(folder.path()).unwrap();
    (folder, speech)
}

const CHAT_FILES: [&str; 4] = [
    "chat_template.jinja",
    "tokenizer_config.json",
    "processor_config.json",
    "chat_template.json",
];

#[test]
fn a_question_is_not_put_into_a_chat_template_that_is_not_known() {
    let other = [
        "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}",
        "{{ 'Human: ' + m.content + ' Bot:' }}",
        "<|start_of_role|>{{ m.content }}",
    ];
    for (template, file) in other
        .iter()
        .flat_map(|text| CHAT_FILES.map(|file| (text, file)))
    {
        let (_folder, speech) = with_chat_template(file, template);
        assert!(speech.template().is_none());
        for refused in [
            speech.ask(&noise(), QUESTION).map(drop),
            speech.transcribe(&noise()).map(drop),
            speech.check_question(QUESTION, &Options::default()),
        ] {
            let error = refused.unwrap_err();
            let inner = match error {
                Blip2Error::Item { source, .. } => *source,
                other => other,
            };
            assert!(matches!(inner, Blip2Error::ChatTemplate { .. }), "{inner}");
            assert_eq!(inner.kind(), ErrorKind::Checkpoint);
            assert_says(Err::<(), _>(inner), &["template", "`prompt`"]);
        }
        let raw = format!("USER: <|audio|>{QUESTION}\n ASSISTANT:");
        let prompted = speech.prompt_with(&noise(), &raw, &short(4)).unwrap();
        let given = short(4).with_template("USER: <|audio|>{}\n ASSISTANT:".parse().unwrap());
        let asked = speech.ask_with(&noise(), QUESTION, &given).unwrap();
        assert_eq!(asked.token_ids(), prompted.token_ids());
    }
}

#[test]
fn known_chat_templates_are_known_wherever_they_are() {
    let words = "{{ 'USER: ' if m.role == 'user' else 'ASSISTANT: ' }}{{ m.content }}";
    let roles = "{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content }}";
    for (template, begins) in [
        (words, "USER: <|audio|>{}"),
        (roles, "<|start_of_role|>user"),
        ("", "USER: <|audio|>{}"),
    ] {
        for file in CHAT_FILES {
            let (_folder, speech) = with_chat_template(file, template);
            let found = speech.template().unwrap().to_string();
            assert!(found.starts_with(begins), "{file}: {found}");
        }
    }
}

#[test]
fn a_question_and_a_prompt_are_checked_without_a_sound() {
    let (speech, options) = (pipeline("granite_speech"), Options::default());
    assert!(speech.check_question(QUESTION, &options).is_ok());
    assert!(speech.check_prompt("<|audio|> it is").is_ok());
    let empty = speech.check_question(" ", &options);
    assert!(matches!(empty, Err(Blip2Error::EmptyQuestion)));
    for prompt in ["", "what?", "<|audio|><|audio|>"] {
        let nowhere = speech.check_prompt(prompt);
        assert!(matches!(nowhere, Err(Blip2Error::SoundPlaces { .. })));
    }
}

/// A folder of the fixture whose context holds this many tokens.
fn with_context(tokens: usize) -> (tempfile::TempDir, SpeechPipeline) {
    let folder = copy("granite_speech");
    edit(folder.path(), "config.json", |config| {
        config["text_config"]["max_position_embeddings"] = tokens.into();
    });
    // Nothing ends the text, so that its length is what it may have.
    edit(folder.path(), "generation_config.json", |config| {
        config["eos_token_id"] = 1_000_000.into();
    });
    let speech = SpeechPipeline::from_pretrained(folder.path()).unwrap();
    (folder, speech)
}

fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
}

/// Two vectors for each window of ten frames of 20 ms: ten a second.
#[test]
fn the_length_of_a_text_follows_the_recording() {
    let (_folder, speech) = with_context(700);
    let noisy = |seconds: usize| {
        let samples = noise().into_samples();
        let samples = samples.iter().copied().cycle().take(16_000 * seconds);
        Waveform::new(samples.collect(), 16_000).unwrap()
    };
    let length = |answer: Answer| (answer.tokens.len(), answer.finish_reason);
    let brief = speech.transcribe(&noise()).unwrap();
    assert_eq!(length(brief), (200, FinishReason::MaxTokens));
    let long = noisy(25);
    let written = speech.transcribe(&long).unwrap();
    assert_eq!(length(written), (250, FinishReason::MaxTokens));
    let heard = speech.hear(&long).unwrap().transcribe().unwrap();
    assert_eq!(length(heard), (250, FinishReason::MaxTokens));
    // Arguments without a number leave it as it is, and a number is kept.
    let no_number = Options::default().with_generation(GenerationConfig::default());
    let written = speech.transcribe_with(&long, &no_number).unwrap();
    assert_eq!(length(written), (250, FinishReason::MaxTokens));
    let written = speech.transcribe_with(&long, &short(7)).unwrap();
    assert_eq!(length(written), (7, FinishReason::MaxTokens));
    // What the context leaves is less than the recording's own number.
    let (tokens, reason) = length(speech.transcribe(&noisy(50)).unwrap());
    assert_eq!(reason, FinishReason::ContextFull);
    assert!((100..200).contains(&tokens), "{tokens}");
    let error = speech.transcribe(&noisy(80)).unwrap_err();
    assert!(matches!(error, Blip2Error::ContextTooLong { .. }));
    assert_says(Err::<(), _>(error), &["cut a long recording into parts"]);
}

/// More than three hours at a rate of which resampling makes 16,000 samples for each.
#[test]
fn what_is_too_long_is_refused_before_it_is_resampled() {
    let speech = pipeline("granite_speech");
    let long = Waveform::new(vec![0.1; 12_000], 1).unwrap();
    let ten = Workload::default().with_sound_frames(500);
    let limit = speech.memory().predict(&ten).peak();
    let limited = SpeechPipeline::builder(fixture("granite_speech")).memory_limit(limit);
    let limited = limited.load().unwrap();
    let begun = Instant::now();
    let error = speech.transcribe(&long).unwrap_err();
    assert!(matches!(error, Blip2Error::ContextTooLong { .. }));
    let refused = limited.hear(&long);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let error = match refused {
        Err(Blip2Error::Memory(error)) => error,
        other => panic!("{other:?}"),
    };
    let shorter = error.fits.iter().find_map(|fit| match fit {
        Fit::SoundFrames(frames) => Some(*frames),
        _ => None,
    });
    assert!(
        shorter.is_some_and(|frames| (500..600_000).contains(&frames)),
        "{error}"
    );
    assert!(error.to_string().contains("a recording of "), "{error}");
    let nothing = SpeechPipeline::builder(fixture("granite_speech")).memory_limit(1 << 20);
    assert_says(nothing.load(), &["smaller model or shorter recording"]);
}

#[test]
fn a_damaged_width_is_refused_by_its_key() {
    for (part, key) in [
        ("projector_config", "hidden_size"),
        ("text_config", "hidden_size"),
    ] {
        let folder = copy("granite_speech");
        edit(folder.path(), "config.json", |config| {
            config[part][key] = 1_000_000.into();
        });
        let said = format!("config.json: {part}.{key} = 1000000: the weights have");
        assert_says(SpeechPipeline::from_pretrained(folder.path()), &[&said]);
    }
}

#[test]
fn an_audio_token_that_the_tokenizer_contradicts_is_refused_by_both_keys() {
    let wrong_id = copy("granite_speech");
    edit(wrong_id.path(), "config.json", |config| {
        config["audio_token_index"] = 5.into();
    });
    let wrong_text = copy("granite_speech");
    edit(wrong_text.path(), "processor_config.json", |config| {
        config["audio_token"] = "nonsense".into();
    });
    for folder in [wrong_id, wrong_text] {
        let error = SpeechPipeline::from_pretrained(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let said = ["config.json: audio_token_index = ", "audio_token is `"];
        assert_says(Err::<(), _>(error), &said);
    }
}

#[test]
fn faults_of_the_configuration_have_their_own_names() {
    for (part, key, said) in [
        (
            "projector_config",
            "num_hidden_layers",
            "projector_config.num_hidden_layers = 0",
        ),
        ("", "downsample_rate", "config.json: downsample_rate = 0"),
    ] {
        let folder = copy("granite_speech");
        edit(folder.path(), "config.json", |config| match part {
            "" => config[key] = 0.into(),
            part => config[part][key] = 0.into(),
        });
        assert_says(SpeechPipeline::from_pretrained(folder.path()), &[said]);
    }
}

#[test]
fn an_inspection_tells_of_the_adapter_beside_the_model() {
    let found = inspect(fixture("granite_speech_lora")).unwrap();
    assert!(found.adapter.is_some_and(|bytes| bytes > 0));
    assert!(found.to_string().contains("adapter"), "{found}");
    assert_eq!(inspect(fixture("granite_speech")).unwrap().adapter, None);
}

#[test]
fn other_doors_name_this_one() {
    let folder = fixture("granite_speech");
    assert_eq!(opened_with(ModelKind::GraniteSpeech), "SpeechPipeline");
    let error = Blip2Pipeline::from_pretrained(&folder).unwrap_err();
    assert!(matches!(error, Blip2Error::WrongModel { .. }));
    assert_says(Err::<(), _>(error), &["`SpeechPipeline`", "sound"]);
    let other = SpeechPipeline::from_pretrained(fixture("blip2_opt")).unwrap_err();
    assert_says(Err::<(), _>(other), &["`Blip2Pipeline`"]);
    let pictures = SpeechPipeline::builder(&folder).image_size(64).load();
    assert!(matches!(pictures, Err(Blip2Error::Setting { .. })));
}
