//! Texts that end a sequence.

/// Cuts `text` where its first stop string begins; all of `text` if it holds none.
///
/// The first stop string is the one that is complete first, reading from the left; of two that
/// complete together, the longer. So the cut does not depend on how the text was tokenised.
///
/// ```
/// use blip2_lm::generate::cut_at_stop_string;
///
/// let stops = ["\n".to_owned(), "Question:".to_owned()];
/// assert_eq!(cut_at_stop_string(" two dogs Question: what", &stops), " two dogs ");
/// assert_eq!(cut_at_stop_string(" two dogs", &stops), " two dogs");
/// ```
pub fn cut_at_stop_string<'a>(text: &'a str, stop_strings: &[String]) -> &'a str {
    match first_stop(text, stop_strings) {
        Some(start) => &text[..start],
        None => text,
    }
}

/// Where the first stop string begins.
fn first_stop(text: &str, stop_strings: &[String]) -> Option<usize> {
    stop_strings
        .iter()
        .filter_map(|stop| text.find(stop.as_str()).map(|start| (start, stop.len())))
        .min_by_key(|&(start, len)| (start + len, start))
        .map(|(start, _)| start)
}

/// Watches text that arrives in pieces, and holds back what may become a stop string.
#[derive(Clone, Debug, Default)]
pub(super) struct StopWatch {
    held: String,
}

/// What a [`StopWatch`] lets out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Released {
    /// Text that is before any stop string for certain.
    pub(super) text: String,
    /// Whether a stop string came; the text before it is all in `text`.
    pub(super) stopped: bool,
}

impl StopWatch {
    pub(super) fn push(&mut self, piece: &str, stop_strings: &[String]) -> Released {
        self.held.push_str(piece);
        if let Some(start) = first_stop(&self.held, stop_strings) {
            let mut text = std::mem::take(&mut self.held);
            text.truncate(start);
            return Released {
                text,
                stopped: true,
            };
        }
        let keep = stop_strings
            .iter()
            .map(|stop| overlap(&self.held, stop))
            .max()
            .unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        Released {
            text: std::mem::replace(&mut self.held, rest),
            stopped: false,
        }
    }

    /// The text held back, when no more will come.
    pub(super) fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The length of the longest end of `text` that begins `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    stop.char_indices()
        .rev()
        .map(|(i, _)| i)
        .find(|&i| text.ends_with(&stop[..i]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(stops: &[&str]) -> Vec<String> {
        stops.iter().map(|&stop| stop.to_owned()).collect()
    }

    #[test]
    fn pieces_do_not_matter() {
        let cases = [
            ("one stop two", &["stop"][..], "one "),
            ("ststop", &["stop"], "st"),
            ("xabcd", &["abcd", "bc"], "xa"),
            ("xabc", &["bc", "abc"], "x"),
            ("aé漢b", &["漢"], "aé"),
            ("no", &["漢", "nope"], "no"),
            ("none", &[], "none"),
        ];
        for (text, list, expected) in cases {
            let list = stops(list);
            assert_eq!(cut_at_stop_string(text, &list), expected);
            let mut watch = StopWatch::default();
            let mut out = String::new();
            let mut stopped = false;
            for c in text.chars() {
                let released = watch.push(c.encode_utf8(&mut [0; 4]), &list);
                out += &released.text;
                stopped = released.stopped;
                if stopped {
                    break;
                }
            }
            out += &watch.flush();
            assert_eq!(out, expected, "{text:?} by characters");
            assert_eq!(stopped, expected != text);
        }
    }

    #[test]
    fn only_a_possible_beginning_is_held() {
        let list = stops(&["Question"]);
        let mut watch = StopWatch::default();
        assert_eq!(watch.push("a Que", &list).text, "a ");
        assert_eq!(watch.push("en", &list).text, "Queen");
        assert_eq!(watch.push("Q", &list).text, "");
        assert_eq!(watch.flush(), "Q");
    }
}
