//! Numbers read to the bit that was written.
//!
//! The plain reader of JSON may miss a number's last bit, and a table that is written again would differ
//! from that of a training which was not interrupted. The standard library's reader of numbers does not.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A number, or its digits as a text.
struct Exact(f64);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;

        impl Visitor<'_> for Digits {
            type Value = Exact;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Exact, E> {
                Ok(Exact(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Exact, E> {
                Ok(Exact(number as f64))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Exact, E> {
                Ok(Exact(number as f64))
            }

            fn visit_str<E: Error>(self, digits: &str) -> Result<Exact, E> {
                let number = digits.parse();
                number
                    .map(Exact)
                    .map_err(|_| E::custom(format!("{digits:?} is no number")))
            }
        }

        deserializer.deserialize_any(Digits)
    }
}

pub(super) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Exact::deserialize(deserializer).map(|exact| exact.0)
}

pub(super) fn perhaps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let exact = Option::<Exact>::deserialize(deserializer)?;
    Ok(exact.map(|exact| exact.0))
}

pub(super) fn by_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, f64>, D::Error> {
    let exact = BTreeMap::<String, Exact>::deserialize(deserializer)?;
    Ok(exact
        .into_iter()
        .map(|(name, exact)| (name, exact.0))
        .collect())
}

/// JSON with its fractions as texts of their digits, which the functions of this module read exactly.
pub(super) fn with_digits(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let end = match from.starts_with('"') {
            true => text_end(from),
            false => from.find(|c: char| !is_of_number(c)).unwrap_or(from.len()),
        };
        let (token, after) = from.split_at(end);
        let is_fraction = !token.starts_with('"') && token.contains(['.', 'e', 'E']);
        match is_fraction {
            true => out.extend(["\"", token, "\""]),
            false => out.push_str(token),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-')
}

/// Where a text that begins with its quotation mark ends.
fn text_end(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, Deserialize)]
    struct Row {
        step: usize,
        #[serde(deserialize_with = "one")]
        loss: f64,
        #[serde(deserialize_with = "by_name")]
        parts: BTreeMap<String, f64>,
        #[serde(default, deserialize_with = "perhaps")]
        beside: Option<f64>,
    }

    #[test]
    fn numbers_are_read_to_the_bit() {
        let mut random = 7u64;
        for step in 0..2000 {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let loss =
                (random >> 11) as f64 / (1u64 << 53) as f64 * 10f64.powi(step as i32 % 30 - 20);
            let row = Row {
                step,
                loss,
                parts: BTreeMap::from([("a \"1.5\" \\".into(), -loss), ("b".into(), 3.0)]),
                beside: (step % 2 == 0).then_some(1.0 / loss),
            };
            let text = serde_json::to_string(&row).unwrap();
            let read: Row = serde_json::from_str(&with_digits(&text)).unwrap();
            assert_eq!(read, row);
            // As other programs write them.
            assert_eq!(serde_json::from_str::<Row>(&text).unwrap().step, step);
        }
    }

    #[test]
    fn what_is_no_json_stays_what_it_is() {
        for text in ["", "\"", "\"\\", "1.", "{\"a\": 1.5e", "\u{e9}\"\u{e9}"] {
            let _ = with_digits(text);
        }
        assert_eq!(
            with_digits("[1, -2.5, \"1.5\", null]"),
            "[1, \"-2.5\", \"1.5\", null]"
        );
    }
}
