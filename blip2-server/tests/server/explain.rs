//! `/explain`, against the explanations of the library.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use blip2_core::{
    Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, BlipRetrieval, Options, Video,
    explain::{ExplainOptions, Method},
    generate::GenerationConfig,
    image::{self, RgbImage},
    preprocessing::{DecodeOptions, decode_bytes},
};
use blip2_server::{Limits, Settings};
use serde_json::{Value, json};

use crate::client::{Served, demo, image, picture, said};

const COLOR: &str = "what color is the shape?";
const METHODS: [Method; 3] = [Method::Relevance, Method::Rollout, Method::Occlusion];

fn red() -> RgbImage {
    decode_bytes(&picture("red-triangle"), &DecodeOptions::default()).unwrap()
}

fn open(name: &str) -> String {
    format!("../fixtures/{name}")
}

/// A body about the red triangle.
fn about(what: Value) -> Value {
    let mut body = json!({"image": image("red-triangle")});
    let fields = body.as_object_mut().unwrap();
    fields.extend(what.as_object().unwrap().clone());
    body
}

/// Options by which fixtures of random numbers end soon.
fn short(method: Method) -> ExplainOptions {
    let config = GenerationConfig::default().with_max_new_tokens(2);
    ExplainOptions::default()
        .with_method(method)
        .with_options(Options::default().with_generation(config))
}

#[test]
fn what_is_said_is_what_the_library_says() {
    let served = Served::start(demo(), Settings::default());
    let blip2 = demo();
    for method in METHODS {
        let options = ExplainOptions::default().with_method(method);
        let expected = blip2.explain_answer(&red(), COLOR, &options).unwrap();
        let body = about(json!({"question": COLOR, "method": method}));
        assert_eq!(served.post("/explain", &body).ok(), said(&expected));
    }
    let options = ExplainOptions::default();
    let caption = blip2.explain_caption(&red(), &options).unwrap();
    let body = about(json!({"caption": true}));
    assert_eq!(served.post("/explain", &body).ok(), said(caption));
    let prompt = "Question: what is this? Answer:";
    let expected = blip2.explain_prompt(&red(), prompt, &options).unwrap();
    let body = about(json!({"prompt": prompt}));
    assert_eq!(served.post("/explain", &body).ok(), said(expected));

    let given = options.clone().with_text("blue");
    let expected = blip2.explain_answer(&red(), COLOR, &given).unwrap();
    let body = about(json!({"question": COLOR, "text": "blue"}));
    assert_eq!(served.post("/explain", &body).ok(), said(expected));

    // An answer is explained by what `/answer` says of it.
    let answer = served.post("/answer", &about(json!({"question": COLOR})));
    let tokens = answer.ok()["tokens"].clone();
    let body = about(json!({"question": COLOR, "tokens": [tokens[0]["id"]]}));
    let expected = blip2.explain_answer(&red(), COLOR, &options).unwrap();
    assert_eq!(served.post("/explain", &body).ok(), said(expected));
}

#[test]
fn a_form_brings_the_picture_and_takes_a_drawing() {
    let served = Served::start(demo(), Settings::default());
    let mut body = Vec::new();
    for (name, value) in [
        ("question", COLOR),
        ("tokens", "[358]"),
        ("method", "rollout"),
    ] {
        let part =
            format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.as_bytes());
    }
    body.extend(b"--xx\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\n");
    body.extend(picture("red-triangle"));
    body.extend(b"\r\n--xx--\r\n");
    let media = "multipart/form-data; boundary=xx";
    let options = ExplainOptions::default()
        .with_method(Method::Rollout)
        .with_tokens([358]);
    let why = demo().explain_answer(&red(), COLOR, &options).unwrap();
    let found = served.send("/explain", media, &body, &[]).ok();
    assert_eq!(found, said(&why));

    let accept = [("accept", "image/png")];
    let reply = served.send("/explain", media, &body, &accept);
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, "image/png")
    );
    assert_eq!(decoded(&reply.bytes), why.heat_map(&red()));
}

fn decoded(png: &[u8]) -> RgbImage {
    assert_eq!(image::guess_format(png).unwrap(), image::ImageFormat::Png);
    image::load_from_memory(png).unwrap().into_rgb8()
}

#[test]
fn drawings_are_the_librarys() {
    let served = Served::start(demo(), Settings::default());
    let why = demo().explain_caption(&red(), &ExplainOptions::default());
    let why = why.unwrap();
    for (drawn, expected) in [
        ("heat_map", why.heat_map(&red())),
        ("strip", why.strip(&red())),
    ] {
        let body = about(json!({"caption": true, "picture": drawn}));
        let mut reply = served.post("/explain", &body).ok();
        let url = reply.as_object_mut().unwrap().remove("picture").unwrap();
        let base64 = url.as_str().unwrap().strip_prefix("data:image/png;base64,");
        let png = BASE64_STANDARD.decode(base64.unwrap()).unwrap();
        assert_eq!(decoded(&png), expected, "{drawn}");
        assert_eq!(reply, said(&why));
    }
}

#[test]
fn every_pipeline_explains() {
    for name in [
        "blip2_opt",
        "blip2_t5",
        "instructblip_t5",
        "instructblip_llama",
    ] {
        let blip2 = Blip2Pipeline::from_pretrained(open(name)).unwrap();
        let served = Served::start(blip2.clone(), Settings::default());
        for method in METHODS {
            let what = json!({"question": "what?", "method": method, "max_tokens": 2});
            let expected = blip2.explain_answer(&red(), "what?", &short(method));
            let found = served.post("/explain", &about(what)).ok();
            assert_eq!(found, said(expected.unwrap()), "{name}");
            let what = json!({"caption": true, "method": method, "max_tokens": 2});
            let expected = blip2.explain_caption(&red(), &short(method)).unwrap();
            let found = served.post("/explain", &about(what)).ok();
            assert_eq!(found, said(expected), "{name}");
        }
    }
}

#[test]
fn each_frame_of_a_video_is_explained() {
    for name in ["instructblipvideo_t5", "instructblipvideo_llama"] {
        let blip2 = Blip2Pipeline::from_pretrained(open(name)).unwrap();
        let served = Served::start(blip2.clone(), Settings::default());
        let names = [
            "red-triangle",
            "blue-circle",
            "red-circle",
            "teal-rectangle",
        ];
        let decode = |name| decode_bytes(&picture(name), &DecodeOptions::default()).unwrap();
        let video = Video::new(names.map(decode).into()).unwrap();
        for method in METHODS {
            let body = json!({
                "image": names.map(image), "question": "what?", "method": method, "max_tokens": 2,
            });
            let expected = blip2
                .explain_answer(&video, "what?", &short(method))
                .unwrap();
            let found = served.post("/explain", &body).ok();
            assert_eq!(
                (found["frames"].as_u64(), &found),
                (Some(4), &said(expected))
            );
        }
    }
}

#[test]
fn blip1_explains_what_it_does() {
    let blip = BlipAnswerer::from_pretrained(open("blip1_vqa")).unwrap();
    let served = Served::start(blip.clone(), Settings::default());
    for method in METHODS {
        let what = json!({"question": "what?", "method": method, "max_tokens": 2});
        let expected = blip
            .explain_answer(&red(), "what?", &short(method))
            .unwrap();
        assert_eq!(served.post("/explain", &about(what)).ok(), said(expected));
    }
    let caption = about(json!({"caption": true}));
    served.post("/explain", &caption).error(400, "describes no");

    let blip = BlipCaptioner::from_pretrained(open("blip1_caption")).unwrap();
    let served = Served::start(blip.clone(), Settings::default());
    for method in METHODS {
        let what = json!({"caption": true, "method": method, "max_tokens": 2});
        let expected = blip.explain_caption(&red(), &short(method)).unwrap();
        assert_eq!(served.post("/explain", &about(what)).ok(), said(expected));
        let what = json!({"prompt": "a picture of", "method": method, "max_tokens": 2});
        let expected = blip.explain_prompt(&red(), "a picture of", &short(method));
        assert_eq!(
            served.post("/explain", &about(what)).ok(),
            said(expected.unwrap())
        );
    }
    let question = about(json!({"question": COLOR}));
    served.post("/explain", &question).error(400, "answers no");
}

/// Checks `/explain` of comparisons against what a model gives alone.
macro_rules! explains_comparisons {
    ($blip:expr) => {{
        let blip = $blip;
        let served = Served::start(blip.clone(), Settings::default());
        for method in METHODS {
            let options = ExplainOptions::default().with_method(method);
            let text = "a red triangle";
            let expected = blip.explain_match(&red(), text, &options).unwrap();
            let body = about(json!({"match": text, "method": method}));
            assert_eq!(served.post("/explain", &body).ok(), said(expected));
            let expected = blip.explain_similarity(&red(), text, &options).unwrap();
            let body = about(json!({"similarity": text, "method": method}));
            assert_eq!(served.post("/explain", &body).ok(), said(expected));
        }
        let question = about(json!({"question": COLOR}));
        served.post("/explain", &question).error(400, "answers no");
        served.post("/explain", &about(json!({"match": " "}))).error(400, "empty");
    }};
}

#[test]
fn retrieval_models_explain_comparisons() {
    explains_comparisons!(Blip2Retrieval::from_pretrained(open("blip2_itr")).unwrap());
    explains_comparisons!(BlipRetrieval::from_pretrained(open("blip1_itr")).unwrap());
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let served = Served::start(demo(), Settings::default());
    let many = vec![5; 257];
    for (what, says) in [
        (json!({}), "by one of question"),
        (
            json!({"question": COLOR, "caption": true}),
            "by one of question",
        ),
        (json!({"match": "x"}), "compares no pictures"),
        (json!({"question": " "}), "question is empty"),
        (json!({"question": COLOR, "text": " "}), "text is empty"),
        (
            json!({"question": COLOR, "text": "</s>"}),
            "special token `</s>`",
        ),
        (
            json!({"question": COLOR, "text": "red", "tokens": [358]}),
            "give one of them",
        ),
        (json!({"question": COLOR, "tokens": []}), "text is empty"),
        (
            json!({"question": COLOR, "tokens": [4_000_000_000u32]}),
            "4000000000",
        ),
        (
            json!({"question": COLOR, "tokens": [4_000_000_000u32, 358]}),
            "4000000000",
        ),
        (json!({"question": COLOR, "tokens": [-1]}), "-1"),
        (
            json!({"question": COLOR, "tokens": many}),
            "there are 257 tokens",
        ),
        (
            json!({"question": COLOR, "text": "red ".repeat(400)}),
            "tokens in `text`",
        ),
        // More than the model has positions for.
        (json!({"question": COLOR, "tokens": vec![358; 200]}), "128"),
        (
            json!({"question": COLOR, "tokens": vec![358; 65], "picture": "strip"}),
            "allows 64",
        ),
        (json!({"question": COLOR, "method": "guess"}), "guess"),
        (json!({"question": COLOR, "picture": "oil"}), "oil"),
    ] {
        served.post("/explain", &about(what)).error(400, says);
    }
    let none = json!({"question": COLOR});
    served.post("/explain", &none).error(400, "no picture");
    let text = json!({"question": COLOR, "image": "data:;base64,aGk="});
    let error = served.post("/explain", &text).error(400, "not a picture");
    assert_eq!(error["param"], "image");
    served
        .post("/answer", &about(json!({"question": COLOR})))
        .ok();
}

#[test]
fn an_explanation_has_the_time_of_a_request() {
    let limits = Limits::default().with_time(Duration::from_millis(60));
    let served = Served::start(demo(), Settings::default().with_limits(limits));
    let body = about(json!({"caption": true, "method": "occlusion"}));
    served.post("/explain", &body).error(504, "longer than");
}

#[test]
fn explanations_wait_for_one_another_and_hold_up_no_answers() {
    let served = Served::start(demo(), Settings::default());
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let body = about(json!({"caption": true, "method": "occlusion"}));
                served.post("/explain", &body).ok();
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        thread::sleep(Duration::from_millis(30));
        let body = about(json!({"question": COLOR}));
        assert_eq!(served.post("/answer", &body).ok()["text"], "red");
        assert!(done.load(Ordering::Relaxed) < 4);
    });
    assert_eq!(done.load(Ordering::Relaxed), 4);
}
