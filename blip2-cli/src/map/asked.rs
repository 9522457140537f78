//! What is asked of each row: the same of all, or what a column says.

use arrow_array::RecordBatch;
use blip2_io::tables::{Table, TextColumn, TextLists};

use crate::{Failure, candidates::Candidates};

/// A text for each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Column(String),
    Text(String),
}

impl Asked {
    /// A column of the table, if there is one of that name; else a text. A single word is more likely a
    /// column that there is not.
    pub(super) fn of(option: &str, given: &str, table: &Table) -> Result<Self, Failure> {
        match table.field(given) {
            Ok(field) if TextColumn::is_one(field.data_type()) => Ok(Self::Column(given.into())),
            Ok(field) => {
                let reason = format!("holds {}, where {option} needs texts", field.data_type());
                Err(Failure::work(table.column(given, reason)))
            }
            Err(missing) => Self::text(given).ok_or_else(|| Failure::work(missing)),
        }
    }

    fn text(given: &str) -> Option<Self> {
        let is_text = given
            .trim()
            .contains(|char: char| !char.is_alphanumeric() && !"_-.".contains(char));
        is_text.then(|| Self::Text(given.to_string()))
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
            Err(missing) => match given.contains(',') {
                true => Ok(Self::Same(split(given))),
                false => Err(Failure::work(missing)),
            },
        }
    }

    /// The answers given for a row, or why there are none.
    pub(super) fn get(&self, batch: &RecordBatch, row: usize) -> Result<Vec<String>, String> {
        match self {
            Self::Same(texts) => Ok(texts.clone()),
            Self::Column(name) => {
                let column = batch.column_by_name(name);
                let list = || {
                    let lists = TextLists::of(column?.as_ref())?.get(row)?;
                    Some(lists.into_iter().map(str::to_string).collect())
                };
                let text = || Some(split(TextColumn::of(column?.as_ref())?.get(row)?));
                let found: Option<Vec<String>> = list().or_else(text);
                found.ok_or_else(|| format!("there are no answers in the column `{name}`"))
            }
        }
    }
}

fn split(text: &str) -> Vec<String> {
    let parsed: Result<Candidates, _> = text.parse();
    parsed.map_or(Vec::new(), |Candidates(texts)| texts)
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
    }
}
