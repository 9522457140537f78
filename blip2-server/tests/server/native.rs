//! The routes in the library's own terms.

use blip2_core::{GenerationConfig, Options, RankOptions};
use blip2_server::Settings;
use serde_json::{Value, json};

use crate::client::{Served, data_url, demo, image, picture, said};

const COLOR: &str = "what color is the shape?";

/// What a pipeline says, as the server writes it.
fn alone(name: &str, question: &str, options: &Options) -> Value {
    let blip2 = demo();
    let image = blip2.decode(&picture(name)).unwrap();
    let answer = blip2.answer_with(&image, question, options).unwrap();
    json!({
        "text": answer.text,
        "confidence": said(answer.confidence()),
        "finish_reason": answer.finish_reason,
        "tokens": said(&answer.tokens),
    })
}

#[test]
fn an_answer_is_the_pipelines_to_the_bit() {
    let served = Served::start(demo(), Settings::default());
    for name in ["red-triangle", "blue-circle", "teal-rectangle"] {
        for question in [COLOR, "what shape is in the image?", "is there a circle?"] {
            let body = json!({"image": image(name), "question": question});
            let expected = alone(name, question, &Options::default());
            assert_eq!(served.post("/answer", &body).ok(), expected);
            // From the cache, too.
            assert_eq!(served.post("/answer", &body).ok(), expected);
        }
    }
}

#[test]
fn a_form_brings_the_picture_as_a_file() {
    let served = Served::start(demo(), Settings::default());
    let mut body = Vec::new();
    for (name, value) in [("question", COLOR), ("max_tokens", "3")] {
        let part =
            format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.as_bytes());
    }
    body.extend(
        b"--xx\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n",
    );
    body.extend(picture("red-triangle"));
    body.extend(b"\r\n--xx--\r\n");
    let media = "multipart/form-data; boundary=xx";
    let answer = served.send("/answer", media, &body, &[]).ok();
    assert_eq!(answer["text"], "red");

    let cut = &body[..body.len() - 30];
    served.send("/answer", media, cut, &[]).error(400, "form");
}

#[test]
fn options_reach_the_model() {
    let served = Served::start(demo(), Settings::default());
    let body = json!({
        "image": image("red-triangle"), "question": COLOR,
        "temperature": 2.0, "seed": 7, "max_tokens": 6, "n": 3,
    });
    let config = GenerationConfig::default()
        .with_do_sample(true)
        .with_temperature(2.0)
        .with_top_k(0)
        .with_seed(7)
        .with_max_new_tokens(6)
        .with_num_return_sequences(3);
    let options = Options::default().with_generation(config);
    let blip2 = demo();
    let seen = blip2.decode(&picture("red-triangle")).unwrap();
    let expected = blip2.answer_with(&seen, COLOR, &options).unwrap();
    let answer = served.post("/answer", &body).ok();
    assert_eq!(answer["tokens"], said(&expected.tokens));
    let others = answer["alternatives"].as_array().unwrap();
    assert_eq!(others.len(), 2);
    for (other, expected) in others.iter().zip(&expected.alternatives) {
        assert_eq!(other["tokens"], said(&expected.tokens));
    }

    let body = json!({"image": image("red-triangle"), "question": COLOR, "beams": 3});
    let options = Options::default().with_generation(GenerationConfig::default().with_num_beams(3));
    let expected = alone("red-triangle", COLOR, &options);
    assert_eq!(served.post("/answer", &body).ok(), expected);
}

#[test]
fn a_text_streams_to_the_same_end() {
    let served = Served::start(demo(), Settings::default());
    for beams in [1, 2] {
        let body = json!({
            "image": image("red-triangle"), "question": COLOR, "stream": true, "beams": beams,
        });
        let events = served.events("/answer", &body);
        let (last, pieces) = events.split_last().unwrap();
        let text: String = pieces
            .iter()
            .map(|(name, data)| {
                assert_eq!(name, "piece");
                let piece: Value = serde_json::from_str(data).unwrap();
                piece["text"].as_str().unwrap().to_string()
            })
            .collect();
        assert_eq!((text.as_str(), last.0.as_str()), ("red", "answer"));
        let answer: Value = serde_json::from_str(&last.1).unwrap();
        let whole = json!({"image": image("red-triangle"), "question": COLOR, "beams": beams});
        assert_eq!(answer, served.post("/answer", &whole).ok());
    }
}

#[test]
fn captions_with_and_without_a_prompt() {
    let served = Served::start(demo(), Settings::default());
    let blip2 = demo();
    let seen = blip2.decode(&picture("blue-circle")).unwrap();
    let caption = served
        .post("/caption", &json!({"image": image("blue-circle")}))
        .ok();
    assert_eq!(
        caption["tokens"],
        said(&blip2.caption(&seen).unwrap().tokens)
    );
    let body = json!({"image": image("blue-circle"), "prompt": "Question: what is this? Answer:"});
    let led = served.post("/caption", &body).ok();
    let expected = blip2
        .prompt(&seen, "Question: what is this? Answer:")
        .unwrap();
    assert_eq!(led["tokens"], said(&expected.tokens));
}

#[test]
fn candidates_are_ranked_as_the_pipeline_ranks_them() {
    let served = Served::start(demo(), Settings::default());
    let candidates = ["blue", "red", "teal", "a red triangle"];
    let blip2 = demo();
    let seen = blip2.decode(&picture("red-triangle")).unwrap();
    for length_normalized in [false, true] {
        let body = json!({
            "image": image("red-triangle"), "question": COLOR, "candidates": candidates,
            "length_normalized": length_normalized,
        });
        let ranked = served.post("/rank", &body).ok();
        let options = RankOptions::default().with_length_normalized(length_normalized);
        let expected = blip2
            .rank_with(&seen, COLOR, &candidates, &options)
            .unwrap();
        for (place, expected) in expected.iter().enumerate() {
            let found = &ranked["ranked"][place];
            assert_eq!(found["text"], expected.text);
            assert_eq!(found["score"], said(expected.score));
            assert_eq!(found["share"], said(expected.share));
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name() {
    let served = Served::start(demo(), Settings::default());
    let red = image("red-triangle");
    for (path, body, status, says) in [
        (
            "/answer",
            json!({"image": red}),
            400,
            "`question` is missing",
        ),
        (
            "/answer",
            json!({"question": COLOR}),
            400,
            "there is no picture",
        ),
        (
            "/answer",
            json!({"image": red, "question": "  "}),
            400,
            "the question is empty",
        ),
        (
            "/answer",
            json!({"image": red, "question": "what </s>?"}),
            400,
            "special token `</s>`",
        ),
        (
            "/answer",
            json!({"image": "/etc/passwd", "question": COLOR}),
            400,
            "file names are not",
        ),
        (
            "/answer",
            json!({"image": "http://h/x.png", "question": COLOR}),
            400,
            "fetches no URLs",
        ),
        (
            "/answer",
            json!({"image": data_url(b"text"), "question": COLOR}),
            400,
            "not a picture",
        ),
        (
            "/answer",
            json!({"image": data_url(b""), "question": COLOR}),
            400,
            "empty",
        ),
        (
            "/answer",
            json!({"image": red, "question": COLOR, "n": 99}),
            400,
            "`n` is 99",
        ),
        (
            "/rank",
            json!({"image": red, "question": COLOR, "candidates": []}),
            400,
            "candidate",
        ),
        (
            "/match",
            json!({"image": red, "texts": ["x"]}),
            400,
            "compares no pictures",
        ),
        (
            "/v1/embeddings",
            json!({"input": "x"}),
            400,
            "embeds nothing",
        ),
    ] {
        served.post(path, &body).error(status, says);
    }
    let media = "application/json";
    served.send("/answer", media, b"{", &[]).error(400, "EOF");
    served
        .send("/answer", media, b"{} {}", &[])
        .error(400, "goes on after its JSON");
    served
        .send("/answer", "text/plain", b"x", &[])
        .error(415, "application/json");
    served.get("/answer").error(405, "another method");
    served.get("/nowhere").error(404, "nothing here");
}
