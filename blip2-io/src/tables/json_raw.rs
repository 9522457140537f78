//! Values of a JSON object as they are written: what a number loses when it is read is still there.

use std::collections::HashMap;

/// The values of an object's keys, without white space between their parts; the last of a key that comes twice.
/// The text is JSON that was read before.
pub(super) fn raw_values(text: &[u8]) -> HashMap<String, String> {
    let mut values = HashMap::new();
    let mut scan = Scan { text, at: 0 };
    scan.skip(b"{");
    while let Some(key) = scan.value() {
        scan.skip(b":");
        let Some(value) = scan.value() else { break };
        scan.skip(b",");
        if let Ok(key) = serde_json::from_str(&key) {
            values.insert(key, value);
        }
    }
    values
}

struct Scan<'t> {
    text: &'t [u8],
    at: usize,
}

impl Scan<'_> {
    /// Passes over white space, and a sign.
    fn skip(&mut self, sign: &[u8]) {
        while let Some(byte) = self.text.get(self.at) {
            if !(byte.is_ascii_whitespace() || sign.contains(byte)) {
                break;
            }
            self.at += 1;
        }
    }

    /// The next value, up to what ends it; `None` at the object's end.
    fn value(&mut self) -> Option<String> {
        self.skip(b"");
        let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
        let mut value = Vec::new();
        while let Some(&byte) = self.text.get(self.at) {
            if in_text {
                in_text = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
            } else {
                match byte {
                    b'"' => in_text = true,
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' | b',' | b':' if depth == 0 => break,
                    b']' | b'}' => depth -= 1,
                    byte if byte.is_ascii_whitespace() => {
                        self.at += 1;
                        continue;
                    }
                    _ => {}
                }
            }
            value.push(byte);
            self.at += 1;
        }
        let value = String::from_utf8(value).ok()?;
        (!value.is_empty()).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_they_are_written() {
        let text = br#" { "a" : 18446744073709551616 ,"b":[1, {"c" : "x, \"y\" }"} ],"d":"\u00e9\\", "a":1.50, "e": null}"#;
        let found = raw_values(text);
        for (key, value) in [
            ("a", "1.50"),
            ("b", r#"[1,{"c":"x, \"y\" }"}]"#),
            ("d", r#""\u00e9\\""#),
            ("e", "null"),
        ] {
            assert_eq!(found.get(key).map(String::as_str), Some(value));
        }
        assert!(raw_values(b"{}").is_empty());
        assert!(raw_values(b"").is_empty());
    }
}
