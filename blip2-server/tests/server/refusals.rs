//! What is refused, and in which words.

use blip2_core::{Blip2Retrieval, BlipCaptioner};
use blip2_server::Settings;
use serde_json::{Value, json};

use crate::client::{Served, data_url, demo, image, picture};

const COLOR: &str = "what color is the shape?";
const MEDIA: &str = "multipart/form-data; boundary=xx";

/// A form of the red triangle and these parts, each with its head.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, value) in parts {
        body.extend(format!("--xx\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend(*value);
        body.extend(b"\r\n");
    }
    body.extend(b"--xx--\r\n");
    body
}

fn chat(question: &str) -> Value {
    json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": image("red-triangle")}},
        {"type": "text", "text": question},
    ]}])
}

/// Checks that a refusal says this of this part, and nothing of how the server is made.
fn refused(served: &Served, path: &str, body: &Value, says: &str, param: Value) {
    let error = served.post(path, body).error(400, says);
    assert_eq!(error["param"], param, "{error}");
    let text = error["message"].as_str().unwrap();
    for inner in [
        "struct",
        "enum",
        "usize",
        "variant",
        "row 0",
        "do_sample",
        "num_return",
    ] {
        assert!(!text.contains(inner), "{text}");
    }
}

#[test]
fn errors_name_the_key_at_fault_in_the_words_of_requests() {
    let served = Served::start(demo(), Settings::default());
    let with = |key: &str, value: Value| {
        let mut body = json!({"image": image("red-triangle"), "question": COLOR});
        body[key] = value;
        body
    };
    for (key, value, says, param) in [
        (
            "max_tokens",
            json!(-1),
            "must be a whole number",
            "max_tokens",
        ),
        ("max_tokens", json!(0), "must be 1 or above", "max_tokens"),
        ("n", json!(0), "must be 1 or above", "n"),
        (
            "temperature",
            json!(-1),
            "`temperature` is -1.0",
            "temperature",
        ),
        (
            "temperature",
            json!(1e308),
            "`temperature` is 1e308,",
            "temperature",
        ),
        ("top_p", json!(0), "above 0 and at most 1", "top_p"),
        ("top_p", json!(7), "above 0 and at most 1", "top_p"),
        ("top_k", json!(5), "give a `temperature`", "top_k"),
        (
            "max_new_tokens",
            json!(1),
            "did you mean `max_tokens`?",
            "max_new_tokens",
        ),
        ("num_beams", json!(1), "did you mean `beams`?", "num_beams"),
        ("stop", json!(5), "a text or a list of texts", "stop"),
        ("stream", json!("yes"), "true or false", "stream"),
        ("question", json!(" "), "the question is empty", "question"),
        (
            "question",
            json!("what </s>?"),
            "special token `</s>`",
            "question",
        ),
        (
            "question",
            json!("x ".repeat(300)),
            "shorten it",
            "question",
        ),
        (
            "question",
            json!("x".repeat(20_000)),
            "allows 16384",
            "question",
        ),
        ("image", json!(5), "a data: URL or a list of them", "image"),
        ("image", json!(data_url(b"text")), "not a picture", "image"),
    ] {
        refused(&served, "/answer", &with(key, value), says, json!(param));
    }
    let mut several = with("beams", json!(3));
    several["n"] = json!(4);
    refused(
        &served,
        "/answer",
        &several,
        "3 beams give no more than 3 texts",
        json!("n"),
    );
    several["temperature"] = json!(1);
    refused(
        &served,
        "/answer",
        &several,
        "3 beams give no more than 3 texts",
        json!("n"),
    );
    refused(
        &served,
        "/answer",
        &json!([]),
        "must be an object, not a list",
        Value::Null,
    );
    let long = json!({"image": image("red-triangle"), "question": COLOR,
        "candidates": ["red", "a".repeat(300)]});
    refused(
        &served,
        "/rank",
        &long,
        "a candidate has",
        json!("candidates"),
    );
}

#[test]
fn errors_of_a_conversation_name_its_keys() {
    let served = Served::start(demo(), Settings::default());
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    for (body, says, param) in [
        (
            json!({"messages": [["user", "x"]]}),
            "must be an object, not a list",
            "messages[0]",
        ),
        (
            user(json!(5)),
            "a text or a list of parts, not 5",
            "messages[0].content",
        ),
        (
            user(json!([{"type": "input_audio", "input_audio": {}}])),
            "one of text, image_url",
            "messages[0].content[0].type",
        ),
        (
            user(json!([{"type": "image_url", "image_url": "data:x"}])),
            "must be an object",
            "messages[0].content[0].image_url",
        ),
        (
            user(json!([{"type": "image_url", "image_url": {"url": data_url(b"text")}}])),
            "not a picture",
            "messages",
        ),
        (
            json!({"messages": chat("what </s>?")}),
            "special token",
            "messages",
        ),
        (
            json!({"messages": chat(&"x ".repeat(300))}),
            "shorten it",
            "messages",
        ),
        (
            json!({"messages": chat(COLOR), "max_completion_tokens": 0}),
            "must be 1 or above",
            "max_completion_tokens",
        ),
    ] {
        refused(&served, "/v1/chat/completions", &body, says, json!(param));
    }
    let empty = json!({"messages": chat(COLOR).as_array().unwrap().iter().cloned()
        .chain(std::iter::repeat_n(json!({"role": "assistant"}), 40_000))
        .chain(chat(COLOR).as_array().unwrap().iter().cloned()).collect::<Vec<_>>()});
    refused(
        &served,
        "/v1/chat/completions",
        &empty,
        "65536 values",
        Value::Null,
    );
}

#[test]
fn what_would_change_an_answer_is_done_or_refused_and_the_rest_passed_over() {
    let served = Served::start(demo(), Settings::default());
    let with = |key: &str, value: Value| {
        let mut body = json!({"messages": chat(COLOR)});
        body[key] = value;
        body
    };
    let path = "/v1/chat/completions";
    for (key, value) in [
        ("modalities", json!(["text", "audio"])),
        ("tool_choice", json!("required")),
        ("guided_json", json!({"type": "object"})),
        ("best_of", json!(3)),
        ("num_beams", json!(3)),
        ("max_new_tokens", json!(3)),
        ("ignore_eos", json!(true)),
        ("min_tokens", json!(3)),
    ] {
        refused(
            &served,
            path,
            &with(key, value),
            "is not supported",
            json!(key),
        );
    }
    for (key, value) in [
        ("modalities", json!(["text"])),
        ("tool_choice", json!("auto")),
        ("user", json!("somebody")),
        ("store", json!(false)),
        ("top_p", json!(1)),
        ("seed", json!(3)),
        ("top_k", json!(-1)),
        ("min_p", json!(0)),
        ("presence_penalty", json!(0)),
        ("beams", json!(2)),
        ("stop", Value::Null),
    ] {
        let reply = served.post(path, &with(key, value)).ok();
        assert_eq!(reply["choices"][0]["message"]["content"], "red", "{key}");
    }
    // What the engine can, it does: a penalty changes a token's probability.
    let mut body = with("repetition_penalty", json!(1.9));
    body["logprobs"] = json!(true);
    refused(
        &served,
        path,
        &with("top_p", json!(-1)),
        "at most 1",
        json!("top_p"),
    );
    let mut sampled = with("top_k", json!(1));
    sampled["temperature"] = json!(50.0);
    sampled["max_tokens"] = json!(1);
    let reply = served.post(path, &sampled).ok();
    assert_eq!(reply["choices"][0]["message"]["content"], "red");
}

#[test]
fn a_stream_that_cannot_begin_is_refused_as_what_is_no_stream() {
    let served = Served::start(demo(), Settings::default());
    let broken = data_url(b"hello");
    for (path, body, param) in [
        (
            "/answer",
            json!({"image": image("red-triangle"), "question": "what </s>?"}),
            "question",
        ),
        (
            "/answer",
            json!({"image": broken, "question": COLOR}),
            "image",
        ),
        ("/caption", json!({"image": broken}), "image"),
        (
            "/v1/chat/completions",
            json!({"messages": chat("what </s>?")}),
            "messages",
        ),
        (
            "/v1/chat/completions",
            json!({"messages": chat(&"x ".repeat(300))}),
            "messages",
        ),
    ] {
        let mut body = body;
        body["stream"] = json!(true);
        let reply = served.post(path, &body);
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.error(400, "")["param"], param, "{path}");
    }
    let body = json!({"image": image("red-triangle"), "question": COLOR, "stream": null});
    assert_eq!(served.post("/answer", &body).ok()["text"], "red");
}

#[test]
fn forms_bring_each_field_once_and_their_picture_as_a_file() {
    let served = Served::start(demo(), Settings::default());
    let red = picture("red-triangle");
    let question = ("name=\"question\"", COLOR.as_bytes());
    let send = |parts: &[(&str, &[u8])]| served.send("/answer", MEDIA, &form(parts), &[]);
    // Without a file's name, but with a picture's media type.
    let named = ("name=\"image\"\r\nContent-Type: image/png", red.as_slice());
    assert_eq!(send(&[question, named]).ok()["text"], "red");
    let file = ("name=\"image\"; filename=\"a.png\"", red.as_slice());
    let other = ("name=\"file\"; filename=\"a.png\"", red.as_slice());
    for (parts, says, param) in [
        (vec![question, question, file], "comes twice", "question"),
        (vec![question, other], "sent as a file `image`", "file"),
        (
            vec![question, ("name=\"image\"", red.as_slice())],
            "sent as a file `image`",
            "image",
        ),
        (
            vec![question, file, ("name=\"max_new_tokens\"", b"1")],
            "`max_tokens`",
            "max_new_tokens",
        ),
        (
            vec![question, file, ("name=\"max_tokens\"", b"few")],
            "whole number",
            "max_tokens",
        ),
    ] {
        let error = send(&parts).error(400, says);
        assert_eq!(error["param"], param);
    }
}

#[test]
fn embeddings_say_what_an_item_is() {
    let blip2 = Blip2Retrieval::from_pretrained("../fixtures/blip2_itr").unwrap();
    let served = Served::start(blip2, Settings::default());
    let red = image("red-triangle");
    let path = "/v1/embeddings";
    for (input, says, param) in [
        (
            json!({"image": red, "text": "x"}),
            "either `text` or `image`",
            "input",
        ),
        (json!(["x", {}]), "either `text` or `image`", "input[1]"),
        (
            json!([{"text": "x", "txt": "y"}]),
            "did you mean `text`?",
            "input[0].txt",
        ),
        (
            json!([1, 2, 3]),
            "check_embedding_ctx_length=False",
            "input",
        ),
        (
            json!([[1, 2, 3]]),
            "check_embedding_ctx_length=False",
            "input",
        ),
        (json!("https://example.org/x.png"), "is a URL", "input"),
        (
            json!(["x", "data:text/plain;base64,aGk="]),
            "is a URL",
            "input[1]",
        ),
        (
            json!(["x", data_url(b"hello")]),
            "not a picture",
            "input[1]",
        ),
        (json!(data_url(b"hello")), "not a picture", "input"),
        (
            json!([red, "x", " "]),
            "`input[2]`: the text is empty",
            "input[2]",
        ),
        (json!(true), "must be a text", "input"),
    ] {
        refused(&served, path, &json!({"input": input}), says, json!(param));
    }
    let body = json!({"input": "x", "encoding_format": null, "user": "me", "dimensions": null});
    served.post(path, &body).ok();
    let texts = json!({"image": red, "texts": ["a", " "]});
    refused(
        &served,
        "/match",
        &texts,
        "`texts[1]`: the text is empty",
        json!("texts[1]"),
    );
    let messages = json!([{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]);
    served
        .post("/v1/chat/completions", &json!({"messages": messages}))
        .error(400, "writes no texts");
}

#[test]
fn base64_is_read_as_programs_write_it() {
    let served = Served::start(demo(), Settings::default());
    let whole = image("red-triangle");
    let (head, data) = whole.split_once(',').unwrap();
    let lines: Vec<&str> = data
        .as_bytes()
        .chunks(76)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    for data in [
        lines.join("\r\n"),
        data.replace('+', "-").replace('/', "_"),
        data.replace('+', "%2B")
            .replace('/', "%2f")
            .replace('=', "%3D"),
    ] {
        let body = json!({"image": format!("{head},{data}"), "question": COLOR});
        assert_eq!(served.post("/answer", &body).ok()["text"], "red");
    }
}

#[test]
fn models_are_found_by_names_with_slashes() {
    let settings = Settings::default().with_model_id("Salesforce/blip2-opt-2.7b".into());
    let served = Served::start(demo(), settings);
    for path in [
        "/v1/models/Salesforce/blip2-opt-2.7b",
        "/v1/models/Salesforce%2Fblip2-opt-2.7b",
    ] {
        assert_eq!(served.get(path).ok()["id"], "Salesforce/blip2-opt-2.7b");
    }
    served.get("/v1/models/%ff").error(400, "no UTF-8");
    served
        .get("/v1/models/other/one")
        .error(404, "no model `other/one`");
    let api = served.get("/openapi.json").ok();
    assert!(api["paths"]["/v1/models/{model}"].is_object());
    let answer = &api["paths"]["/answer"]["post"];
    assert_eq!(answer["security"], json!([{"key": []}, {}]));
    assert_eq!(
        api["components"]["securitySchemes"]["key"]["scheme"],
        "bearer"
    );
    assert!(api["paths"]["/health"]["get"]["security"].is_null());
    let form = answer["requestBody"]["content"]["multipart/form-data"].to_string();
    assert!(form.contains("binary"), "{form}");
}

#[test]
fn a_captions_prompt_is_counted_as_the_model_reads_it() {
    let blip = BlipCaptioner::from_pretrained("../fixtures/blip1_caption").unwrap();
    let ids = blip.tokenizer().encode("a picture of").unwrap().len();
    let served = Served::start(blip, Settings::default());
    let body = json!({"messages": chat("a picture of"), "max_tokens": 2});
    let reply = served.post("/v1/chat/completions", &body).ok();
    assert_eq!(reply["usage"]["prompt_tokens"], ids - 1);
}
