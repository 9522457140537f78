//! The routes in OpenAI's shape.

use blip2_server::Settings;
use serde_json::{Value, json};

use crate::client::{Served, demo, image, picture, said};

fn ask(name: &str, text: &str) -> Value {
    json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": image(name)}},
        {"type": "text", "text": text},
    ]}])
}

#[test]
fn a_question_is_answered_in_openais_shape() {
    let served = Served::start(demo(), Settings::default().with_model_id("demo".into()));
    let body = json!({
        "model": "demo", "messages": ask("red-triangle", "what color is the shape?"),
        "logprobs": true, "max_tokens": 10,
    });
    let reply = served.post("/v1/chat/completions", &body).ok();
    assert_eq!(reply["object"], "chat.completion");
    assert_eq!(reply["model"], "demo");
    assert!(reply["id"].as_str().unwrap().starts_with("chatcmpl-"));
    let choice = &reply["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"], "red");
    assert_eq!(choice["finish_reason"], "stop");

    let blip2 = demo();
    let seen = blip2.decode(&picture("red-triangle")).unwrap();
    let answer = blip2.answer(&seen, "what color is the shape?").unwrap();
    // The token that ends the text is none of it.
    let content = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), answer.tokens.len() - 1);
    assert_eq!(content[0]["logprob"], said(answer.tokens[0].log_prob));
    let usage = &reply["usage"];
    assert_eq!(usage["completion_tokens"], answer.tokens.len());
    let prompt = "Question: what color is the shape? Answer:";
    let prompt = blip2.tokenizer().encode(prompt).unwrap().len() + 8;
    assert_eq!(usage["prompt_tokens"], prompt);
    assert_eq!(usage["total_tokens"], prompt + answer.tokens.len());
}

#[test]
fn the_likeliest_tokens_are_told_in_each_place() {
    let served = Served::start(demo(), Settings::default());
    let question = "what color is the shape?";
    let mut body = json!({
        "messages": ask("red-triangle", question), "logprobs": true, "top_logprobs": 4,
    });
    let whole = served.post("/v1/chat/completions", &body).ok();
    let content = whole["choices"][0]["logprobs"]["content"].clone();
    let blip2 = demo();
    let config = blip2_core::GenerationConfig::default().with_top_logprobs(4);
    let options = blip2_core::Options::default().with_generation(config);
    let seen = blip2.decode(&picture("red-triangle")).unwrap();
    let answer = blip2.answer_with(&seen, question, &options).unwrap();
    let top = content[0]["top_logprobs"].as_array().unwrap();
    assert_eq!(top.len(), 4);
    for (found, expected) in top.iter().zip(&answer.tokens[0].top) {
        assert_eq!(found["token"], expected.text);
        assert_eq!(found["logprob"], said(expected.log_prob));
        assert_eq!(found["bytes"], json!(expected.text.as_bytes()));
    }
    // Decoding is greedy: the first of them was chosen.
    assert_eq!(top[0]["token"], content[0]["token"]);
    assert_eq!(top[0]["logprob"], content[0]["logprob"]);

    body["stream"] = json!(true);
    let events = served.events("/v1/chat/completions", &body);
    let chunks = events.iter().filter(|(_, data)| data != "[DONE]");
    let chunks = chunks.map(|(_, data)| serde_json::from_str::<Value>(data).unwrap());
    let streamed = chunks.filter_map(|chunk| {
        let content = chunk["choices"][0]["logprobs"]["content"].as_array()?;
        Some(content.clone())
    });
    assert_eq!(Value::Array(streamed.flatten().collect()), content);

    body["top_logprobs"] = json!(0);
    body["logprobs"] = json!(false);
    body["stream"] = json!(false);
    served.post("/v1/chat/completions", &body).ok();
}

#[test]
fn a_stream_says_the_same_in_chunks() {
    let served = Served::start(demo(), Settings::default());
    let body = json!({
        "messages": ask("red-triangle", "what color is the shape?"), "stream": true,
        "logprobs": true, "stream_options": {"include_usage": true},
    });
    let mut events = served.events("/v1/chat/completions", &body);
    assert_eq!(events.pop().unwrap().1, "[DONE]");
    let chunks = events
        .iter()
        .map(|(_, data)| serde_json::from_str(data).unwrap());
    let mut chunks: Vec<Value> = chunks.collect();
    let usage = chunks.pop().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], 2);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let content = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
    assert_eq!(content.collect::<String>(), "red");
    let last = &chunks.last().unwrap()["choices"][0];
    assert_eq!(
        (&last["delta"], &last["finish_reason"]),
        (&json!({}), &json!("stop"))
    );
    let tokens = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array());
    let tokens: Vec<&Value> = tokens.flatten().collect();
    assert_eq!(tokens.len(), 1);
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], usage["id"]);
    }
}

#[test]
fn earlier_turns_are_part_of_the_prompt() {
    let served = Served::start(demo(), Settings::default());
    let mut messages = ask("red-triangle", "what shape is in the image?");
    messages.as_array_mut().unwrap().extend([
        json!({"role": "assistant", "content": "triangle"}),
        json!({"role": "user", "content": "what color is the shape?"}),
    ]);
    let reply = served
        .post("/v1/chat/completions", &json!({"messages": messages}))
        .ok();
    let blip2 = demo();
    let seen = blip2.decode(&picture("red-triangle")).unwrap();
    let prompt = "Question: what shape is in the image? Answer: triangle. \
                  Question: what color is the shape? Answer:";
    let expected = blip2.prompt(&seen, prompt).unwrap();
    assert_eq!(reply["choices"][0]["message"]["content"], expected.text);
}

#[test]
fn without_a_word_the_picture_is_described() {
    let served = Served::start(demo(), Settings::default());
    let messages = json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": image("red-triangle")}},
    ]}]);
    let reply = served
        .post("/v1/chat/completions", &json!({"messages": messages}))
        .ok();
    let blip2 = demo();
    let seen = blip2.decode(&picture("red-triangle")).unwrap();
    let expected = blip2.caption(&seen).unwrap().text;
    assert_eq!(reply["choices"][0]["message"]["content"], expected);
}

#[test]
fn several_texts_stop_strings_and_lengths() {
    let served = Served::start(demo(), Settings::default());
    let question = "what color is the shape?";
    let body = json!({
        "messages": ask("red-triangle", question), "n": 3, "temperature": 3.0, "seed": -5,
        "max_tokens": 4,
    });
    let first = served.post("/v1/chat/completions", &body).ok();
    let again = served.post("/v1/chat/completions", &body).ok();
    assert_eq!(first["choices"].as_array().unwrap().len(), 3);
    assert_eq!(first["choices"], again["choices"]);

    let body = json!({"messages": ask("red-triangle", question), "stop": "e"});
    let choice = &served.post("/v1/chat/completions", &body).ok()["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("r"), &json!("stop"))
    );
    let body = json!({"messages": ask("red-triangle", question), "max_completion_tokens": 1});
    let choice = &served.post("/v1/chat/completions", &body).ok()["choices"][0];
    assert_eq!(choice["finish_reason"], "length");
}

#[test]
fn what_is_not_done_is_refused_rather_than_passed_over() {
    let served = Served::start(demo(), Settings::default());
    let with = |name: &str, value: Value| {
        let mut body = json!({"messages": ask("red-triangle", "what?")});
        body[name] = value;
        served.post("/v1/chat/completions", &body)
    };
    for (name, value) in [
        ("top_logprobs", json!(3)),
        ("top_logprobs", json!(21)),
        ("presence_penalty", json!(0.5)),
        ("tools", json!([{"type": "function"}])),
        ("response_format", json!({"type": "json_object"})),
        ("logit_bias", json!({"5": 1})),
    ] {
        let error = with(name, value).error(400, name);
        assert_eq!(error["param"], name);
    }
    let error = with("model", json!("gpt-4o")).error(404, "gpt-4o");
    assert_eq!(error["code"], "model_not_found");
    with("tools", json!([])).ok();
    with("response_format", json!({"type": "text"})).ok();
    with("messages", json!([{"role": "user", "content": "hi"}])).error(400, "no picture");
    let error = with("messages", json!([{"role": "robot", "content": "hi"}])).error(400, "robot");
    assert_eq!(error["param"], "messages[0].role");
}

#[test]
fn models_and_the_description_are_listed() {
    let served = Served::start(demo(), Settings::default().with_model_id("demo".into()));
    let models = served.get("/v1/models").ok();
    assert_eq!(models["data"][0]["id"], "demo");
    assert_eq!(
        models["data"][0]["abilities"],
        json!(["answer", "rank", "caption", "explain"])
    );
    assert_eq!(served.get("/v1/models/demo").ok(), models["data"][0]);
    served
        .get("/v1/models/other")
        .error(404, "no model `other`");
    let api = served.get("/openapi.json").ok();
    for path in [
        "/v1/chat/completions",
        "/v1/embeddings",
        "/v1/models",
        "/answer",
        "/caption",
        "/rank",
        "/match",
        "/explain",
        "/health",
        "/ready",
        "/metrics",
    ] {
        assert!(api["paths"][path].is_object(), "{path}");
    }
    // Whatever is referred to is there.
    let text = api.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(api["components"]["schemas"][name].is_object(), "{name}");
    }
}
