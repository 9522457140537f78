//! The names of tensors, which come from a file and are printed.

/// What is wrong with one of these names, if something is: a line break in a name would forge a line of
/// whatever lists it, and an escape code is an order to the terminal.
pub(crate) fn fault<'n>(names: impl IntoIterator<Item = &'n String>) -> Option<String> {
    let bad = names
        .into_iter()
        .find(|name| name.contains(char::is_control))?;
    let shown: String = bad.escape_debug().take(100).collect();
    Some(format!(
        "the name of a tensor holds control characters: \"{shown}\""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_break_a_line_is_told_escaped() {
        let names = ["a.weight".to_string(), "é 中".to_string()];
        assert_eq!(fault(&names), None);
        let names = ["b\nmissing: c\u{1b}[2J".to_string()];
        let said = fault(&names).unwrap_or_default();
        assert!(said.ends_with("\"b\\nmissing: c\\u{1b}[2J\""), "{said}");
    }
}
