//! Tables that are read: a row for each picture.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
};

use blip2_io::{is_utf16, open_regular};
use serde_json::{Map, Value};

use super::cell;
use crate::Failure;

/// The most bytes of a table.
const LARGEST: u64 = 1 << 30;

/// A row of a table.
pub(crate) struct Row {
    fields: Map<String, Value>,
    place: String,
}

impl Row {
    /// The first of these columns that the row has.
    pub(crate) fn of(&self, names: &[&str]) -> Option<String> {
        let found = names.iter().find(|name| self.fields.contains_key(**name));
        found.map(|name| cell(&self.fields, name))
    }

    /// [`of`](Self::of) where there must be one, and not an empty one.
    pub(crate) fn need(&self, names: &[&str]) -> Result<String, Failure> {
        let found = self.of(names).filter(|text| !text.trim().is_empty());
        found.ok_or_else(|| {
            let names = names.join("` or `");
            Failure::Work(format!("{}: there is no `{names}`", self.place))
        })
    }

    /// Where the row stands.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

/// The rows of a file of JSON lines, or of a CSV file with a header, by its name's ending.
pub(crate) fn read_table(path: &Path) -> Result<Vec<Row>, Failure> {
    let named =
        |error: &dyn std::fmt::Display| Failure::Work(format!("{}: {error}", path.display()));
    let ends_in = |ending| {
        path.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case(ending))
    };
    let file = open_regular(path).map_err(|error| named(&error))?;
    if file.metadata().map_err(|error| named(&error))?.len() > LARGEST {
        return Err(named(&format!(
            "the table has more than {LARGEST} bytes, which is the limit"
        )));
    }
    let mut file = BufReader::new(file.take(LARGEST));
    if is_utf16(file.fill_buf().map_err(|error| named(&error))?) {
        return Err(named(&"it is UTF-16; save it as UTF-8"));
    }
    let found = if ends_in("csv") {
        rows(file)
    } else if ends_in("jsonl") || ends_in("ndjson") {
        lines(file)
    } else {
        Err("is no table: give a file whose name ends in .csv or .jsonl".into())
    };
    let found = found.map_err(|error| named(&error))?;
    if found.is_empty() {
        return Err(named(&"holds no rows"));
    }
    let placed = found.into_iter().map(|(line, fields)| Row {
        fields,
        place: format!("{}: line {line}", path.display()),
    });
    Ok(placed.collect())
}

type Found = Vec<(u64, Map<String, Value>)>;

fn rows(file: impl Read) -> Result<Found, String> {
    let mut table = csv::Reader::from_reader(file);
    let header = table.headers().map_err(|error| error.to_string())?;
    // A spreadsheet marks its text as Unicode.
    let header: Vec<String> = header
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').trim().to_string())
        .collect();
    let mut found = Vec::new();
    for row in table.records() {
        let row = row.map_err(|error| error.to_string())?;
        let line = row.position().map_or(0, csv::Position::line);
        let fields = header.iter().cloned().zip(row.iter().map(Value::from));
        found.push((line, fields.collect()));
    }
    Ok(found)
}

fn lines(file: impl BufRead) -> Result<Found, String> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(file.lines()) {
        let text = text.map_err(|error| format!("line {line}: {error}"))?;
        if text.trim().is_empty() {
            continue;
        }
        match serde_json::from_str(&text) {
            Ok(Value::Object(fields)) => found.push((line, fields)),
            Ok(_) => return Err(format!("line {line}: no JSON object")),
            Err(error) => return Err(format!("line {line}: this is no JSON: {error}")),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_kinds_of_table_give_the_same_rows() {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("a.csv");
        fs::write(
            &csv,
            "\u{feff}image, question\na.png,\"red, or \"\"blue\"\"?\"\nb.png,\n",
        )
        .unwrap();
        let lines = folder.path().join("a.jsonl");
        let text = r#"{"image": "a.png", "question": "red, or \"blue\"?"}"#;
        fs::write(&lines, format!("{text}\n\n{{\"image\": \"b.png\"}}\n")).unwrap();
        for (path, last) in [(csv, "line 3"), (lines, "line 3")] {
            let rows = read_table(&path).unwrap_or_default();
            assert_eq!(rows.len(), 2, "{}", path.display());
            assert_eq!(
                rows[0].of(&["file_name", "image"]).as_deref(),
                Some("a.png")
            );
            assert_eq!(
                rows[0].of(&["question"]).as_deref(),
                Some("red, or \"blue\"?")
            );
            assert!(rows[1].need(&["question"]).is_err());
            assert!(rows[1].place().ends_with(last), "{}", rows[1].place());
        }
    }
}
