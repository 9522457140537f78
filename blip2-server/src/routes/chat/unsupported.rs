//! What OpenAI's and other servers' clients may ask for that is not done here.

use serde_json::Value;

use crate::{error::ApiError, http::fields::Fields};

/// Whether a value changes nothing.
type Harmless = fn(&Value) -> bool;

/// Keys that would change the answer, with what each may say without doing so.
const KEYS: [(&str, Harmless); 34] = [
    ("audio", is_empty),
    ("bad_words", is_empty),
    ("best_of", |value| is_number(value, 1.0)),
    ("chat_template", is_empty),
    ("continue_final_message", is_empty),
    ("do_sample", is_empty),
    ("early_stopping", is_empty),
    ("echo", is_empty),
    ("frequency_penalty", |value| is_number(value, 0.0)),
    ("function_call", is_no_call),
    ("functions", is_empty),
    ("guided_choice", is_empty),
    ("guided_decoding", is_empty),
    ("guided_grammar", is_empty),
    ("guided_json", is_empty),
    ("guided_regex", is_empty),
    ("ignore_eos", is_empty),
    ("logit_bias", is_empty),
    ("logits_processors", is_empty),
    ("max_length", is_empty),
    ("max_new_tokens", is_empty),
    ("min_tokens", |value| is_number(value, 0.0)),
    ("modalities", is_text_alone),
    ("no_repeat_ngram_size", |value| is_number(value, 0.0)),
    ("num_beams", |value| is_number(value, 1.0)),
    ("presence_penalty", |value| is_number(value, 0.0)),
    ("prompt_logprobs", is_empty),
    ("response_format", is_text_format),
    ("stop_token_ids", is_empty),
    ("structured_outputs", is_empty),
    ("tool_choice", is_no_call),
    ("tools", is_empty),
    ("typical_p", |value| is_number(value, 1.0)),
    ("use_beam_search", is_empty),
];

/// Refuses what would change the answer and is not done, rather than pass over it. Other keys that nobody here knows
/// say something of the request, not of the answer.
pub(super) fn check_rest(fields: &Fields) -> Result<(), ApiError> {
    let asked = fields.rest().find(|(key, value)| {
        let known = KEYS.iter().find(|(of, _)| of == key);
        known.is_some_and(|(_, is_harmless)| !value.is_null() && !is_harmless(value))
    });
    let Some((key, _)) = asked else {
        return Ok(());
    };
    let hint = match key {
        "max_new_tokens" | "max_length" => "write `max_tokens`",
        "num_beams" | "use_beam_search" => "write `beams`",
        "do_sample" => "write a `temperature`",
        _ => "leave it out",
    };
    let text = format!("`{key}` is not supported; {hint}");
    Err(ApiError::unable(text).with_param(key))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn is_number(value: &Value, neutral: f64) -> bool {
    value.as_f64() == Some(neutral)
}

/// Without tools there is nothing that could be called.
fn is_no_call(value: &Value) -> bool {
    matches!(value.as_str(), Some("none" | "auto"))
}

fn is_text_alone(value: &Value) -> bool {
    let list = value.as_array();
    list.is_some_and(|list| list.iter().all(|of| of == "text"))
}

fn is_text_format(value: &Value) -> bool {
    value.get("type").is_some_and(|of| of == "text")
}
