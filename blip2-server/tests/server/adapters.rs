//! Adapters of one model, each a model of its own to those who ask.

use std::thread;

use blip2_core::{Blip2Pipeline, Blip2Retrieval};
use blip2_server::{Batching, Settings};
use blip2_testing::fixture;
use serde_json::{Value, json};

use crate::client::{Served, image, picture};

const NAMES: [&str; 3] = ["opt_list", "opt_saved", "opt_dora"];
const QUESTION: &str = "what color is the shape?";

fn adapted() -> Blip2Pipeline {
    let builder = Blip2Pipeline::builder(fixture("blip2_opt"));
    let with = |builder: blip2_core::Builder<Blip2Pipeline>, name: &&str| {
        builder.named_adapter(*name, fixture("peft").join(name))
    };
    NAMES.iter().fold(builder, with).load().unwrap()
}

fn settings() -> Settings {
    Settings::default().with_model_id("base".into())
}

/// The ids of what the pipeline answers by itself.
fn alone(blip2: &Blip2Pipeline, name: &str) -> Vec<u32> {
    let picture = blip2.decode(&picture(name)).unwrap();
    let answer = blip2.answer(&picture, QUESTION).unwrap();
    answer.tokens.iter().map(|token| token.id).collect()
}

fn ids(reply: &Value) -> Vec<u32> {
    let tokens = reply["tokens"].as_array().unwrap().iter();
    tokens
        .map(|token| token["id"].as_u64().unwrap() as u32)
        .collect()
}

#[test]
fn each_adapter_is_a_model_that_requests_name() {
    let blip2 = adapted();
    let served = Served::start(blip2.clone(), settings());
    let models = served.get("/v1/models").ok();
    let ids_of = |key: &str| -> Vec<Value> {
        let models = models["data"].as_array().unwrap().iter();
        models.map(|model| model[key].clone()).collect()
    };
    let names = ["base", "base:opt_list", "base:opt_saved", "base:opt_dora"];
    assert_eq!(ids_of("id"), names);
    assert_eq!(ids_of("parent")[..2], [Value::Null, json!("base")]);
    let one = served.get("/v1/models/base:opt_saved").ok();
    assert_eq!(one["parent"], "base");
    served.get("/v1/models/base:cats").error(404, "base:cats");

    for name in ["", "opt_list", "opt_saved", "opt_dora"] {
        let (id, own) = match name {
            "" => ("base".to_string(), blip2.clone()),
            name => (format!("base:{name}"), blip2.with_adapter(name).unwrap()),
        };
        let body = json!({"model": id, "image": image("red-triangle"), "question": QUESTION});
        let answer = served.post("/answer", &body).ok();
        assert_eq!(ids(&answer), alone(&own, "red-triangle"), "{id}");
        let body = json!({"model": id, "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": image("red-triangle")}},
            {"type": "text", "text": QUESTION},
        ]}]});
        let chat = served.post("/v1/chat/completions", &body).ok();
        assert_eq!(chat["model"], id);
        assert_eq!(chat["choices"][0]["message"]["content"], answer["text"]);
        let candidates = json!(["red", "blue"]);
        let body = json!({"model": id, "image": image("red-triangle"), "question": QUESTION,
            "candidates": candidates});
        let ranked = served.post("/rank", &body).ok();
        let picture = own.decode(&picture("red-triangle")).unwrap();
        let due = own.rank(&picture, QUESTION, &["red", "blue"]).unwrap();
        let score = ranked["ranked"][0]["score"].as_f64().unwrap() as f32;
        assert_eq!(score, due[0].score, "{id}");
    }
    for route in ["/answer", "/caption", "/explain"] {
        let mut body = json!({"model": "base:cats", "image": image("red-triangle")});
        if route != "/caption" {
            body["question"] = json!(QUESTION);
        }
        served.post(route, &body).error(404, "base:cats");
    }
}

#[test]
fn requests_of_several_adapters_at_once_never_run_together() {
    let blip2 = adapted();
    let batching = Batching::default().with_size(8);
    let served = Served::start(blip2.clone(), settings().with_batching(batching));
    thread::scope(|scope| {
        for turn in 0..6 {
            for name in NAMES {
                let (served, own) = (&served, blip2.with_adapter(name).unwrap());
                scope.spawn(move || {
                    let shown = ["red-triangle", "blue-circle"][turn % 2];
                    let body = json!({"model": format!("base:{name}"), "image": image(shown),
                        "question": QUESTION});
                    let answer = served.post("/answer", &body).ok();
                    assert_eq!(ids(&answer), alone(&own, shown), "{name}");
                });
            }
        }
    });
}

#[test]
fn an_adapter_without_a_name_is_the_model_itself() {
    let builder = Blip2Retrieval::builder(fixture("blip2_itr"));
    let builder = builder.adapter(fixture("peft/itr"));
    let blip2 = builder
        .named_adapter("other", fixture("peft/itr"))
        .load()
        .unwrap();
    let served = Served::start(blip2, settings());
    let models = served.get("/v1/models").ok();
    let models: Vec<_> = models["data"].as_array().unwrap().iter().collect();
    assert_eq!(models.len(), 2);
    let embed = |model: &str| {
        let body = json!({"model": model, "input": "a red triangle"});
        let reply = served.post("/v1/embeddings", &body).ok();
        assert_eq!(reply["model"], model);
        reply["data"].clone()
    };
    assert_eq!(embed("base"), embed("base:other"));
}
