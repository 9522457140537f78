//! What is asked of each row: the same of all, or what a column says.

use arrow_array::RecordBatch;
use blip2_io::tables::{Table, TableError, TextColumn, TextLists};
use serde_json::Value;

use crate::{Failure, candidates::Candidates};

/// What stands before a text that is one word.
const TEXT: &str = "text:";

/// A text for each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Column(String),
    Text(String),
}

impl Asked {
    /// A column of the table, if there is one of that name; else a text. A single word is more likely a
    /// column that there is not, unless it is marked as a text.
    pub(super) fn of(option: &str, given: &str, table: &Table) -> Result<Self, Failure> {
        match table.field(given) {
            Ok(field) if TextColumn::is_one(field.data_type()) => Ok(Self::Column(given.into())),
            Ok(field) => {
                let reason = format!("holds {}, where {option} needs texts", field.data_type());
                Err(Failure::work(table.column(given, reason)))
            }
            Err(missing) => Self::text(given).ok_or_else(|| no_column(&missing, given)),
        }
    }

    fn text(given: &str) -> Option<Self> {
        if let Some(text) = given.strip_prefix(TEXT) {
            return Some(Self::Text(text.into()));
        }
        let is_text = given
            .trim()
            .contains(|char: char| !char.is_alphanumeric() && !"_-.".contains(char));
        is_text.then(|| Self::Text(given.to_string()))
    }

    /// The column, if it is one.
    pub(super) fn column(&self) -> Option<&str> {
        match self {
            Self::Column(name) => Some(name),
            Self::Text(_) => None,
        }
    }

    /// The texts of a batch.
    pub(super) fn texts<'b>(&'b self, batch: &'b RecordBatch) -> Texts<'b> {
        match self {
            Self::Text(text) => Texts::Same(text),
            Self::Column(name) => Texts::Column {
                name,
                texts: batch
                    .column_by_name(name)
                    .and_then(|column| TextColumn::of(column.as_ref())),
            },
        }
    }
}

/// The texts of a batch's rows.
pub(super) enum Texts<'b> {
    Same(&'b str),
    Column {
        name: &'b str,
        texts: Option<TextColumn<'b>>,
    },
}

impl<'b> Texts<'b> {
    /// A row's text, or why there is none.
    pub(super) fn get(&self, row: usize) -> Result<&'b str, String> {
        match self {
            Self::Same(text) => Ok(text),
            Self::Column { name, texts } => {
                let text = texts.as_ref().and_then(|texts| texts.get(row));
                text.ok_or_else(|| format!("there is no text in the column `{name}`"))
            }
        }
    }
}

/// Given answers for each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// A column of lists, or of texts with commas.
    Column(String),
    Same(Vec<String>),
}

impl Given {
    pub(super) fn of(given: &str, table: &Table) -> Result<Self, Failure> {
        match table.field(given) {
            Ok(field)
                if TextColumn::is_one(field.data_type())
                    || TextLists::is_one(field.data_type()) =>
            {
                Ok(Self::Column(given.into()))
            }
            Ok(field) => {
                let reason = format!(
                    "holds {}, where --rank needs texts or lists of them",
                    field.data_type()
                );
                Err(Failure::work(table.column(given, reason)))
            }
            Err(missing) => {
                let text = match given.strip_prefix(TEXT) {
                    Some(text) => text,
                    None if given.contains(',') => given,
                    None => return Err(no_column(&missing, given)),
                };
                let texts = answers(text);
                let texts = texts.map_err(|reason| Failure::usage(format!("--rank {reason}")));
                texts.map(Self::Same)
            }
        }
    }

    /// The column, if it is one.
    pub(super) fn column(&self) -> Option<&str> {
        match self {
            Self::Column(name) => Some(name),
            Self::Same(_) => None,
        }
    }

    /// The answers given for a row, or why there are none.
    pub(super) fn get(&self, batch: &RecordBatch, row: usize) -> Result<Vec<String>, String> {
        let name = match self {
            Self::Same(texts) => return Ok(texts.clone()),
            Self::Column(name) => name,
        };
        let none = || format!("there are no answers in the column `{name}`");
        let column = batch.column_by_name(name).ok_or_else(none)?;
        if let Some(lists) = TextLists::of(column.as_ref()) {
            let texts = lists.get(row).ok_or_else(none)?;
            return Ok(texts.into_iter().map(str::to_string).collect());
        }
        let text = TextColumn::of(column.as_ref()).and_then(|texts| texts.get(row));
        let found = answers(text.ok_or_else(none)?);
        found.map_err(|reason| format!("the column `{name}` {reason}"))
    }
}

/// The answers in a text: those of a JSON list, or what stands between commas.
fn answers(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    if !(text.starts_with('[') && text.ends_with(']')) {
        let parsed: Result<Candidates, _> = text.parse();
        return Ok(parsed.map_or(Vec::new(), |Candidates(texts)| texts));
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(text) else {
        return Err(
            "holds a list that is not JSON's, as Python writes it, perhaps; write [\"red\", \"blue\"], \
             or red, blue"
                .into(),
        );
    };
    let values = values.into_iter().filter(|value| !value.is_null());
    let texts = values.map(|value| match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err("holds a list of more than texts".to_string()),
    });
    texts.collect()
}

/// What is said of a word that is no column.
fn no_column(missing: &TableError, given: &str) -> Failure {
    Failure::Work(format!(
        "{missing}; give {TEXT}{given} if that is the text itself"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_no_text_and_a_question_is() {
        for word in ["question", "qestion_en", "data.question", "captio-n"] {
            assert_eq!(Asked::text(word), None, "{word}");
        }
        for text in ["what is this?", "dogs?", "how many", "日本 語"] {
            assert_eq!(Asked::text(text), Some(Asked::Text(text.into())));
        }
        assert_eq!(Asked::text("text:yes"), Some(Asked::Text("yes".into())));
    }

    #[test]
    fn a_json_list_is_a_list_and_a_list_of_python_s_is_refused() {
        for text in [
            r#"["red", "light blue"]"#,
            "red, light blue",
            r#" ["red","light blue",null] "#,
        ] {
            assert_eq!(answers(text).unwrap(), ["red", "light blue"], "{text}");
        }
        assert_eq!(answers("[1, 2.5]").unwrap(), ["1", "2.5"]);
        for text in ["['red', 'blue']", "['red' 'blue']", "[red]"] {
            assert!(answers(text).unwrap_err().contains("Python"), "{text}");
        }
        assert!(answers("[[1]]").is_err());
        assert_eq!(answers("[a] b, c").unwrap(), ["[a] b", "c"]);
    }
}
