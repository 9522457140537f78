//! Conversations about a picture, as LLaVA and chat models are trained on.

use serde_json::{Map, Value};

use super::{
    fields::{Fields, get, text, unfit},
    quote::{found, quoted},
};

/// What conversations are called.
pub(super) const CONVERSATION: [&str; 4] = ["conversations", "conversation", "messages", "texts"];

/// Where a picture stands in a text; where it goes in a prompt is the model's business.
const PLACES: [&str; 3] = ["<image>", "<Image>", "<video>"];

const DUE: &str = "a list of turns, `{\"from\": \"human\", \"value\": \"…\"}` or \
                   `{\"role\": \"user\", \"content\": \"…\"}`,";

/// What is asked, and what is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    /// None where nothing but the picture is handed over.
    pub(super) question: Option<String>,
    pub(super) answer: String,
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Asks,
    Answers,
    /// Instructions for the whole conversation, which these models have no place for.
    Instructs,
}

/// The turns of a conversation, each a question with its answer; `None` for what is none, as a list of
/// texts. The error is a sentence.
pub(super) fn turns(key: &str, value: &Value) -> Result<Option<Vec<Turn>>, String> {
    let rows = match value {
        Value::Object(columns) => transposed(columns),
        Value::Array(all) if all.iter().all(Value::is_object) => Some(all.clone()),
        _ => None,
    };
    let Some(rows) = rows.filter(|rows| !rows.is_empty()) else {
        return Ok(None);
    };
    let mut found = Vec::new();
    let mut asked: Option<String> = None;
    for (place, row) in rows.iter().enumerate() {
        let key = format!("{key}[{place}]");
        let Value::Object(fields) = row else {
            return Err(unfit(&key, row, DUE));
        };
        for (who, said) in sayings(&key, fields)? {
            match (who, asked.take()) {
                (Who::Instructs, waiting) => asked = waiting,
                (Who::Asks, None) => asked = Some(said),
                (Who::Answers, Some(question)) => found.push(Turn {
                    question: Some(question).filter(|text| !text.is_empty()),
                    answer: said,
                }),
                (Who::Asks, Some(_)) => {
                    return Err(format!(
                        "{} asks, and so does the turn before it",
                        quoted(&key)
                    ));
                }
                (Who::Answers, None) => {
                    return Err(format!(
                        "{} answers, and nothing is asked before it",
                        quoted(&key)
                    ));
                }
            }
        }
    }
    match found.is_empty() {
        true => Err(format!("in its {} nothing is answered", quoted(key))),
        // A question that nobody answers stands last, if there is one.
        false => Ok(Some(found)),
    }
}

/// What an entry says: one thing, or, as The Cauldron has it, a question and its answer.
fn sayings(key: &str, fields: &Fields) -> Result<Vec<(Who, String)>, String> {
    if let (Some(user), Some(assistant)) = (get(fields, "user"), get(fields, "assistant")) {
        return Ok(vec![
            (Who::Asks, cleaned(&text(&format!("{key}.user"), user)?)),
            (
                Who::Answers,
                cleaned(&text(&format!("{key}.assistant"), assistant)?),
            ),
        ]);
    }
    let who = get(fields, "from").or_else(|| get(fields, "role"));
    let said = get(fields, "value").or_else(|| get(fields, "content"));
    let (Some(who), Some(said)) = (who, said) else {
        return Err(unfit(key, &Value::Object(fields.clone()), DUE));
    };
    let speaker = match who.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("human" | "user") => Who::Asks,
        Some("gpt" | "assistant" | "model" | "chatgpt") => Who::Answers,
        Some("system") => Who::Instructs,
        _ => {
            return Err(format!(
                "in {} speaks {}, where `human` or `gpt`, `user` or `assistant` would fit",
                quoted(key),
                found(who)
            ));
        }
    };
    Ok(vec![(speaker, cleaned(&content(key, said)?))])
}

/// A text, or the texts among parts of several kinds.
fn content(key: &str, said: &Value) -> Result<String, String> {
    let Value::Array(parts) = said else {
        return text(key, said);
    };
    let own = |part: &Value| match part {
        Value::String(own) => Some(own.clone()),
        Value::Object(fields) => get(fields, "text")?.as_str().map(Into::into),
        _ => None,
    };
    let texts: Vec<String> = parts.iter().filter_map(own).collect();
    Ok(texts.join("\n"))
}

/// A text without the places of pictures.
fn cleaned(said: &str) -> String {
    let mut own = said.to_string();
    for place in PLACES {
        own = own.replace(place, "");
    }
    own.trim().into()
}

/// Objects of an object of lists, as `datasets` writes a sequence of objects.
fn transposed(columns: &Map<String, Value>) -> Option<Vec<Value>> {
    let lists: Option<Vec<(&String, &Vec<Value>)>> = columns
        .iter()
        .map(|(key, value)| Some((key, value.as_array()?)))
        .collect();
    let lists = lists?;
    let count = lists.first()?.1.len();
    if lists.iter().any(|(_, own)| own.len() != count) {
        return None;
    }
    let row = |place: usize| {
        let own = lists
            .iter()
            .filter_map(|(key, list)| Some(((*key).clone(), list.get(place)?.clone())));
        Value::Object(own.collect())
    };
    Some((0..count).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Option<Vec<Turn>>, String> {
        turns("conversations", &value)
    }

    fn turn(question: Option<&str>, answer: &str) -> Turn {
        Turn {
            question: question.map(Into::into),
            answer: answer.into(),
        }
    }

    #[test]
    fn each_question_goes_with_its_answer() {
        for value in [
            json!([
                {"from": "system", "value": "Be short."},
                {"from": "human", "value": "<image>\nHow many dogs?"}, {"from": "gpt", "value": "2"},
                {"from": "human", "value": "Of what color?"}, {"from": "gpt", "value": "brown"},
                {"from": "human", "value": "And cats?"},
            ]),
            json!([
                {"role": "user", "content": [{"type": "image", "text": null}, {"type": "text", "text": "How many dogs?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "2"}]},
                {"role": "user", "content": "Of what color?"}, {"role": "assistant", "content": "brown"},
            ]),
            json!([
                {"user": "How many dogs?", "assistant": "2", "source": "s"},
                {"user": "Of what color?", "assistant": "brown", "source": "s"},
            ]),
            json!({"from": ["human", "gpt", "human", "gpt"],
                   "value": ["How many dogs?", "2", "Of what color?", "brown"]}),
        ] {
            let found = read(value.clone()).unwrap().unwrap();
            let due = [
                turn(Some("How many dogs?"), "2"),
                turn(Some("Of what color?"), "brown"),
            ];
            assert_eq!(found, due, "{value}");
        }
        let alone =
            json!([{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "A dog."}]);
        assert_eq!(read(alone).unwrap().unwrap(), [turn(None, "A dog.")]);
        assert_eq!(read(json!(["a dog"])).unwrap(), None);
    }

    #[test]
    fn what_is_no_conversation_is_told() {
        for (value, said) in [
            (
                json!([{"from": "gpt", "value": "2"}]),
                "`conversations[0]` answers, and nothing is asked before it",
            ),
            (
                json!([{"from": "human", "value": "a"}, {"from": "human", "value": "b"}]),
                "`conversations[1]` asks, and so does the turn before it",
            ),
            (
                json!([{"from": "human", "value": "a"}]),
                "in its `conversations` nothing is answered",
            ),
            (
                json!([{"from": "tool", "value": "a"}]),
                "in `conversations[0]` speaks the text `tool`, where `human` or `gpt`",
            ),
            (
                json!([{"speaker": "a"}]),
                "`conversations[0]` is an object with the keys `speaker`, where a list of turns",
            ),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(said), "{value}: {error}");
        }
    }
}
