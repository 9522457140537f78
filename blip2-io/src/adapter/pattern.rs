//! Names as PEFT matches them, with regular expressions of Python.

use fancy_regex::{Regex, RegexBuilder};

/// Steps that an expression with look-around may take on one name: names are short, and an expression
/// that needs more was made to hang.
const STEPS: usize = 100_000;
/// The most bytes of an expression.
const LONGEST: usize = 1024;
/// The most bytes that each part of an expression between two look-arounds is compiled to: a count in
/// an expression is a copy for each time.
const MAX_COMPILED: usize = 1 << 17;
/// The most expressions of an adapter; a model has some hundred layers.
pub(super) const MOST: usize = 2048;

/// A regular expression for the names of layers, as PEFT has them.
///
/// ```
/// use blip2_io::LayerPattern;
///
/// let layer = "language_model.model.decoder.layers.2.self_attn.q_proj";
/// assert!(LayerPattern::end("q_proj")?.matches(layer)); // as keys of `rank_pattern`
/// assert!(LayerPattern::whole(r".*\.layers\.[02]\..*(q|v)_proj")?.matches(layer)); // as `target_modules`
/// assert!(!LayerPattern::whole("q_proj")?.matches(layer));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone)]
pub struct LayerPattern(Regex);

impl LayerPattern {
    /// An expression that matches the end of a name, from a dot on, as the keys of `rank_pattern` and
    /// `alpha_pattern` do.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in the engine's words, or that it is too long.
    pub fn end(key: &str) -> Result<Self, String> {
        // `get_pattern_key` of PEFT, word for word.
        Self::new(key, &format!(r"^(?:.*\.)?(?:{key})$"))
    }

    /// An expression that matches a whole name, as a `target_modules` that is a text does.
    ///
    /// # Errors
    ///
    /// As [`end`](Self::end).
    pub fn whole(expression: &str) -> Result<Self, String> {
        Self::new(expression, &format!("^(?:{expression})$"))
    }

    fn new(key: &str, whole: &str) -> Result<Self, String> {
        if key.len() > LONGEST {
            let length = key.len();
            return Err(format!(
                "it has {length} bytes, over the limit of {LONGEST}"
            ));
        }
        let regex = RegexBuilder::new(whole)
            .backtrack_limit(STEPS)
            .delegate_size_limit(MAX_COMPILED)
            .build();
        regex.map(Self).map_err(|error| error.to_string())
    }

    /// Whether a layer is meant.
    pub fn matches(&self, layer: &str) -> bool {
        // What takes too many steps matches nothing.
        self.0.is_match(layer).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_ends_of_names_from_a_dot_on() {
        let matches = |key: &str, layer: &str| LayerPattern::end(key).unwrap().matches(layer);
        let layer = "language_model.model.decoder.layers.2.self_attn.q_proj";
        for key in [
            "q_proj",
            "self_attn.q_proj",
            r".*layers\.2\..*q_proj",
            "^language_model.*q_proj",
            "(?!v_proj)[a-z]_proj",
        ] {
            assert!(matches(key, layer), "{key}");
        }
        for key in ["proj", "layers.2", "^model.*q_proj", "(?!q_)[a-z]_proj", ""] {
            assert!(!matches(key, layer), "{key}");
        }
        assert!(LayerPattern::end("(").is_err());
    }

    #[test]
    fn an_expression_made_to_hang_ends() {
        let name = format!("{}!", "a".repeat(60));
        assert!(!LayerPattern::end(r"(a+)+(?=b)").unwrap().matches(&name));
    }

    #[test]
    fn an_expression_made_to_fill_the_memory_is_refused() {
        for key in [r"\w{500}".into(), "x".repeat(2000)] {
            assert!(LayerPattern::end(&key).is_err(), "{key}");
        }
        assert!(LayerPattern::end(r"(?:\w+\.)*\d+\.[^.]+_proj").is_ok());
    }
}
