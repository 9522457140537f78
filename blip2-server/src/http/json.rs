//! A body's JSON, read within limits.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::ApiError;

/// The most values of a body, lists and objects among them. Each takes memory, and time, however few bytes it is
/// written in, and no request has a use for as many.
const VALUES: usize = 1 << 16;

/// The value that a body is.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut left = VALUES;
    let value = Tree(&mut left).deserialize(&mut json);
    let value =
        value.map_err(|error| ApiError::invalid(format!("the body cannot be read: {error}")))?;
    let rest = json.end();
    rest.map_err(|_| ApiError::invalid("the body goes on after its JSON"))?;
    Ok(value)
}

/// Reads a value, where this number may come yet.
struct Tree<'l>(&'l mut usize);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        *self.0 = self.0.checked_sub(1).ok_or_else(|| {
            D::Error::custom(format_args!(
                "it holds more than {VALUES} values, which is the limit"
            ))
        })?;
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(Tree(&mut *self.0))? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = pairs.next_key::<String>()? {
            // Of two, whoever checks a request before it comes here might have seen the other.
            if map.contains_key(&key) {
                let text = format_args!("the key `{key}` comes twice");
                return Err(A::Error::custom(text));
            }
            let value = pairs.next_value_seed(Tree(&mut *self.0))?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().message().into()
    }

    #[test]
    fn json_is_read_as_it_is() {
        let text = r#"{"a": [1, -2, 0.5, "x\n", true, null], "b": {"c": {}}}"#;
        let expected = json!({"a": [1, -2, 0.5, "x\n", true, null], "b": {"c": {}}});
        assert_eq!(parse(text.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn what_is_none_comes_twice_or_is_too_much_is_refused() {
        assert!(told("{").contains("EOF"));
        assert!(told("{} {}").contains("goes on"));
        assert!(told(r#"{"a": 1, "b": {"a": 2, "a": 3}}"#).contains("`a` comes twice"));
        let many = format!("[{}0]", "0,".repeat(VALUES));
        assert!(told(&many).contains("65536 values"));
    }
}
