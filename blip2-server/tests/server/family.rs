//! Every member of the family that looks at pictures.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use blip2_core::{
    Blip2Pipeline, Blip2Retrieval, BlipAnswerer, BlipCaptioner, BlipRetrieval, CompareOptions,
    Video,
    image::{DynamicImage, Frame, RgbImage, codecs::gif::GifEncoder},
    video::VideoOptions,
};
use blip2_server::Settings;
use serde_json::{Value, json};

use crate::client::{self, Served, data_url, image, picture, said};

fn open(name: &str) -> String {
    format!("../fixtures/{name}")
}

fn decoded(name: &str) -> RgbImage {
    let options = blip2_core::preprocessing::DecodeOptions::default();
    blip2_core::preprocessing::decode_bytes(&picture(name), &options).unwrap()
}

#[test]
fn every_pipeline_answers_as_alone() {
    for name in [
        "blip2_opt",
        "blip2_t5",
        "instructblip_t5",
        "instructblip_llama",
    ] {
        let blip2 = Blip2Pipeline::from_pretrained(open(name)).unwrap();
        let served = Served::start(blip2.clone(), Settings::default());
        std::thread::scope(|scope| {
            for (picture, question) in [
                ("red-triangle", "what is it?"),
                ("red-triangle", "how many of them are there, and where?"),
                ("blue-circle", "what?"),
                ("blue-circle", "what is it?"),
            ] {
                let (served, blip2) = (&served, &blip2);
                scope.spawn(move || {
                    let body = json!({"image": image(picture), "question": question});
                    let expected = blip2.answer(&decoded(picture), question).unwrap();
                    for _ in 0..3 {
                        let answer = served.post("/answer", &body).ok();
                        assert_eq!(answer["tokens"], said(&expected.tokens), "{name}");
                    }
                });
            }
        });
    }
}

#[test]
fn blip1_answers_and_describes() {
    let blip = BlipAnswerer::from_pretrained(open("blip1_vqa")).unwrap();
    let served = Served::start(blip.clone(), Settings::default());
    let body = json!({"image": image("red-triangle"), "question": "what is it?"});
    let expected = blip
        .answer(&decoded("red-triangle"), "what is it?")
        .unwrap();
    assert_eq!(
        served.post("/answer", &body).ok()["tokens"],
        said(&expected.tokens)
    );
    served
        .post("/caption", &body)
        .error(400, "describes no pictures");
    let chat = |last: &str| {
        let picture = json!({"type": "image_url", "image_url": {"url": image("red-triangle")}});
        json!({"messages": [
            {"role": "user", "content": [picture]},
            {"role": "assistant", "content": "a triangle"},
            {"role": "user", "content": last},
        ]})
    };
    served
        .post("/v1/chat/completions", &chat("what?"))
        .error(400, "no earlier turns");

    let blip = BlipCaptioner::from_pretrained(open("blip1_caption")).unwrap();
    let served = Served::start(blip.clone(), Settings::default());
    let caption = served
        .post("/caption", &json!({"image": image("red-triangle")}))
        .ok();
    let expected = blip.caption(&decoded("red-triangle")).unwrap();
    assert_eq!(caption["tokens"], said(&expected.tokens));
    let led = json!({"image": image("red-triangle"), "prompt": "a picture of"});
    let expected = blip
        .prompt(&decoded("red-triangle"), "a picture of")
        .unwrap();
    assert_eq!(
        served.post("/caption", &led).ok()["tokens"],
        said(&expected.tokens)
    );
    served
        .post("/answer", &body)
        .error(400, "answers no questions");
}

/// Checks `/match` against what a model gives alone.
macro_rules! matches_as_alone {
    ($blip:expr) => {{
        let blip = $blip;
        let served = Served::start(blip.clone(), Settings::default());
        let texts = ["a red triangle", "a dog", "two circles"];
        let body = json!({"image": image("red-triangle"), "texts": texts});
        let matches = served.post("/match", &body).ok();
        let seen = decoded("red-triangle");
        let pairs = texts.map(|text| (&seen, text));
        let options = CompareOptions::default();
        let expected = blip.match_batch(pairs, &options).unwrap();
        let similar = blip.similarity_batch(pairs, &options).unwrap();
        for (place, (expected, similar)) in expected.iter().zip(similar).enumerate() {
            let found = &matches["matches"][place];
            assert_eq!(found["text"], texts[place]);
            assert_eq!(found["probability"], said(&expected.probability));
            assert_eq!(found["logit"], said(&expected.logit));
            assert_eq!(found["similarity"], said(&similar));
        }
        let none = json!({"image": image("red-triangle"), "texts": []});
        served.post("/match", &none).error(400, "no texts");
        let none = json!({"image": image("red-triangle"), "texts": [" "]});
        served.post("/match", &none).error(400, "empty");
        served.post("/answer", &body).error(400, "answers no questions");
        served
    }};
}

#[test]
fn retrieval_models_match() {
    matches_as_alone!(Blip2Retrieval::from_pretrained(open("blip2_itr")).unwrap());
    matches_as_alone!(BlipRetrieval::from_pretrained(open("blip1_itr")).unwrap());
}

#[test]
fn pictures_and_texts_are_embedded() {
    let blip2 = Blip2Retrieval::from_pretrained(open("blip2_itr")).unwrap();
    let served = Served::start(blip2.clone(), Settings::default());
    let body = json!({"input": ["a dog", image("red-triangle"), {"text": "a cat"}, {"image": image("blue-circle")}]});
    let reply = served.post("/v1/embeddings", &body).ok();
    let data = reply["data"].as_array().unwrap();
    let dog = blip2.embed_text("a dog").unwrap();
    assert_eq!(data[0]["embedding"], said(dog.vector()));
    let triangle = blip2.embed_image(&decoded("red-triangle")).unwrap();
    assert_eq!(data[1]["embedding"], said(triangle.values()));
    assert_eq!(data[1]["vectors"], triangle.vectors().len());
    assert_eq!(
        data[2]["embedding"],
        said(blip2.embed_text("a cat").unwrap().vector())
    );
    assert_eq!(data[3]["index"], 3);
    assert!(reply["usage"]["prompt_tokens"].as_u64().unwrap() > 0);

    let body = json!({"input": "a dog", "encoding_format": "base64"});
    let reply = served.post("/v1/embeddings", &body).ok();
    let Value::String(text) = &reply["data"][0]["embedding"] else {
        panic!("{reply}");
    };
    let bytes = BASE64_STANDARD.decode(text).unwrap();
    let (numbers, _) = bytes.as_chunks::<4>();
    let numbers: Vec<f32> = numbers
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    assert_eq!(numbers, dog.vector());
    let many = vec![image("red-triangle"); 33];
    served
        .post("/v1/embeddings", &json!({"input": many}))
        .error(400, "allows 32");
    served
        .post("/v1/embeddings", &json!({"input": []}))
        .error(400, "nothing to embed");
    served
        .post("/v1/embeddings", &json!({"input": "x", "dimensions": 8}))
        .error(400, "dimensions");
}

/// A moving picture of these pictures.
fn animation(names: &[&str]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = GifEncoder::new(&mut file);
    for name in names {
        let frame = DynamicImage::from(decoded(name)).into_rgba8();
        encoder.encode_frame(Frame::new(frame)).unwrap();
    }
    drop(encoder);
    file
}

#[test]
fn videos_come_as_frames_or_as_an_animation() {
    let names = [
        "red-triangle",
        "blue-circle",
        "red-circle",
        "teal-rectangle",
        "black-triangle",
    ];
    for name in ["instructblipvideo_t5", "instructblipvideo_llama"] {
        let blip2 = Blip2Pipeline::from_pretrained(open(name)).unwrap();
        let served = Served::start(blip2.clone(), Settings::default());
        let frames = Video::new(names.map(decoded).into()).unwrap();
        let frames = blip2.answer(&frames.sample(4).unwrap(), "what?").unwrap();
        let gif = animation(&names);
        let moving = Video::decode(&[&gif], 4, &VideoOptions::default()).unwrap();
        let moving = blip2.answer(&moving, "what?").unwrap();
        for (image, expected) in [
            (json!(names.map(image)), &frames),
            (json!(data_url(&gif)), &moving),
        ] {
            let body = json!({"image": image, "question": "what?"});
            for _ in 0..2 {
                let found = served.post("/answer", &body).ok();
                assert_eq!(found["tokens"], said(&expected.tokens), "{name}");
            }
        }
        let parts =
            names.map(|name| json!({"type": "image_url", "image_url": {"url": image(name)}}));
        let mut parts = Vec::from(parts);
        parts.push(json!({"type": "text", "text": "what?"}));
        let chat = json!({"messages": [{"role": "user", "content": parts}]});
        let reply = served.post("/v1/chat/completions", &chat).ok();
        assert_eq!(reply["choices"][0]["message"]["content"], frames.text);

        for (image, says) in [
            (json!(image("red-triangle")), "no animated GIF"),
            (json!(vec![image("red-triangle"); 3]), "3 frames where 4"),
            (json!(vec![image("red-triangle"); 65]), "allows 64"),
            (json!([]), "no picture"),
        ] {
            let body = json!({"image": image, "question": "what?"});
            served.post("/answer", &body).error(400, says);
        }
    }
    let served = Served::start(client::demo(), Settings::default());
    let body = json!({"image": [image("red-triangle"), image("red-circle")], "question": "what?"});
    served.post("/answer", &body).error(400, "several pictures");
}
