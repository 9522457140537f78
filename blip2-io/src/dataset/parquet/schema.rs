//! What holds what among a table's columns.

use arrow_schema::{DataType, Fields, Schema};
use parquet::{arrow::ProjectionMask, schema::types::SchemaDescriptor};

use super::{
    super::quote::quoted,
    value::{is_read, is_unread_text},
};
use crate::dataset::{Columns, record};

/// The most columns that are told.
const SHOWN: usize = 12;

/// How a table holds its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dataset) enum Form {
    /// Their bytes, as the hub's tables do, in the leaf of this number.
    Bytes(usize),
    /// Their files' names.
    Name,
}

/// The column of pictures.
#[derive(Debug, Clone)]
pub(in crate::dataset) struct PictureColumn {
    pub(in crate::dataset) name: String,
    pub(in crate::dataset) form: Form,
    /// The leaf that has the pictures' names, beside their bytes.
    path: Option<usize>,
}

/// A column of what is said about pictures.
#[derive(Debug, Clone)]
pub(in crate::dataset) struct TextColumn {
    /// As a record knows it: a column's name, or names with dots between them.
    pub(in crate::dataset) name: String,
    /// The way to it, from a column inwards.
    pub(in crate::dataset) way: Vec<String>,
}

/// What is read of a table.
#[derive(Debug, Clone)]
pub(in crate::dataset) struct Read {
    pub(in crate::dataset) picture: PictureColumn,
    pub(in crate::dataset) texts: Vec<TextColumn>,
    /// All names, for whoever misses one.
    pub(in crate::dataset) names: Vec<String>,
    text_leaves: Vec<usize>,
}

impl Read {
    /// Finds what is read; the error is a sentence.
    pub(super) fn of(
        schema: &Schema,
        leaves: &SchemaDescriptor,
        columns: &Columns,
    ) -> Result<Self, String> {
        let names: Vec<String> = schema
            .fields()
            .iter()
            .map(|own| own.name().clone())
            .collect();
        let picture = picture(schema, leaves, columns)?;
        let texts = texts(schema, columns)?;
        let is_said = |wanted: &[&str]| {
            let known = |own: &TextColumn| wanted.contains(&own.name.as_str());
            texts.iter().any(known)
        };
        let asks = record::asks_or_describes(columns);
        let is_asked = is_said(&asks);
        let needed = match (is_asked, is_said(&[record::question(columns)])) {
            (false, _) => vec![asks],
            (true, true) => record::answers_and_choices(columns).into(),
            (true, false) => Vec::new(),
        };
        for names in needed.iter().filter(|names| !is_said(names)) {
            unread(schema, names)?;
        }
        if !is_asked {
            let wanted = [
                record::question(columns),
                columns.caption.as_deref().unwrap_or("caption"),
            ];
            return Err(format!(
                "it has neither a column {} nor {}; its columns are {}: name the right ones by `columns`",
                quoted(wanted[0]),
                quoted(wanted[1]),
                told(schema.fields())
            ));
        }
        let roots: Vec<usize> = texts
            .iter()
            .filter_map(|own| schema.index_of(own.way.first()?).ok())
            .collect();
        let text_leaves = (0..leaves.num_columns())
            .filter(|&leaf| roots.contains(&leaves.get_column_root_idx(leaf)))
            .filter(|&leaf| leaf_is_text(leaves, leaf))
            .collect();
        Ok(Self {
            picture,
            texts,
            names,
            text_leaves,
        })
    }

    /// The leaves that are read at the start: texts, and the names of pictures.
    pub(super) fn text_leaves(&self) -> Vec<usize> {
        let path = self.picture.path;
        let mut all: Vec<usize> = self.text_leaves.iter().copied().chain(path).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(super) fn text_mask(&self, leaves: &SchemaDescriptor) -> ProjectionMask {
        ProjectionMask::leaves(leaves, self.text_leaves())
    }
}

/// Whether a leaf is no picture beside texts, as `texts.image.bytes` would be.
fn leaf_is_text(leaves: &SchemaDescriptor, leaf: usize) -> bool {
    let parts = leaves.column(leaf);
    let parts = parts.path().parts();
    parts.len() == 1 || parts.last().is_none_or(|last| last != "bytes")
}

fn picture(
    schema: &Schema,
    leaves: &SchemaDescriptor,
    columns: &Columns,
) -> Result<PictureColumn, String> {
    let fields = schema.fields();
    let named = columns.image.as_deref();
    let found = match named {
        Some(name) => fields.iter().position(|own| own.name() == name),
        None => record::IMAGE
            .iter()
            .chain(&["images"])
            .find_map(|usual| fields.iter().position(|own| own.name() == usual))
            .or_else(|| only_bytes(fields)),
    };
    let root = found.ok_or_else(|| {
        format!(
            "it has no column {}; its columns are {}: name the one that has the pictures by `columns`",
            quoted(named.unwrap_or("image")),
            told(fields)
        )
    })?;
    let own = &fields[root];
    let (is_bytes, is_name) = (holds_bytes(own.data_type()), holds_name(own.data_type()));
    let leaf_of = |end: &str| {
        (0..leaves.num_columns()).find(|&leaf| {
            let parts = leaves.column(leaf);
            let parts = parts.path().parts();
            leaves.get_column_root_idx(leaf) == root
                && (end.is_empty() || parts.last().is_some_and(|last| last == end))
        })
    };
    let bytes = leaf_of("bytes").or_else(|| leaf_of(""));
    let (form, path) = match (is_bytes, is_name, bytes) {
        (true, _, Some(bytes)) => (Form::Bytes(bytes), leaf_of("path")),
        (_, true, _) => (Form::Name, leaf_of("path").or_else(|| leaf_of(""))),
        _ => {
            return Err(format!(
                "its column {} holds {}, where pictures' bytes, `{{bytes, path}}` or names of files \
                 would fit",
                quoted(own.name()),
                kind(own.data_type())
            ));
        }
    };
    Ok(PictureColumn {
        name: own.name().clone(),
        form,
        path: path.filter(|path| Form::Bytes(*path) != form),
    })
}

/// The only column of bytes that there is.
fn only_bytes(fields: &Fields) -> Option<usize> {
    let mut all = (0..fields.len()).filter(|&root| holds_bytes(fields[root].data_type()));
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// Whether a column has pictures' bytes: plain, in an object of the hub, or in a list.
fn holds_bytes(kind: &DataType) -> bool {
    match kind {
        DataType::Binary => true,
        DataType::Struct(fields) => fields
            .iter()
            .any(|own| own.name() == "bytes" && own.data_type() == &DataType::Binary),
        DataType::List(member) => {
            !matches!(member.data_type(), DataType::List(_)) && holds_bytes(member.data_type())
        }
        _ => false,
    }
}

fn holds_name(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 => true,
        DataType::Struct(fields) => fields
            .iter()
            .any(|own| own.name() == "path" && own.data_type() == &DataType::Utf8),
        DataType::List(member) => {
            !matches!(member.data_type(), DataType::List(_)) && holds_name(member.data_type())
        }
        other => other.is_integer(),
    }
}

/// The columns that a record knows, and those that were named.
fn texts(schema: &Schema, columns: &Columns) -> Result<Vec<TextColumn>, String> {
    let mut found: Vec<TextColumn> = Vec::new();
    for (name, is_named) in record::names(columns) {
        if found.iter().any(|own| own.name == name) {
            continue;
        }
        let way: Vec<String> = match schema.index_of(name) {
            Ok(_) => vec![name.into()],
            Err(_) => name.split('.').map(Into::into).collect(),
        };
        match kind_of(schema.fields(), &way) {
            Some(data) if is_read(data) => found.push(TextColumn {
                name: name.into(),
                way,
            }),
            Some(data) if is_named => return Err(unfit(name, data)),
            // What stands under a usual name means something else.
            Some(_) => {}
            None if is_named => {
                return Err(format!(
                    "it has no column {}; its columns are {}",
                    quoted(name),
                    told(schema.fields())
                ));
            }
            None => {}
        }
    }
    Ok(found)
}

/// Refuses a column of a usual name that holds what is not read, where no other has what it would have.
fn unread(schema: &Schema, names: &[&str]) -> Result<(), String> {
    let found = names
        .iter()
        .find_map(|name| Some((*name, schema.field_with_name(name).ok()?.data_type())));
    match found {
        Some((name, data)) if !is_read(data) => Err(unfit(name, data)),
        _ => Ok(()),
    }
}

fn unfit(name: &str, data: &DataType) -> String {
    format!(
        "its column {} holds {}, where texts, numbers or lists of them would fit",
        quoted(name),
        kind(data)
    )
}

fn kind_of<'f>(fields: &'f Fields, way: &[String]) -> Option<&'f DataType> {
    let (first, rest) = way.split_first()?;
    let (_, own) = fields.find(first)?;
    match (rest.is_empty(), own.data_type()) {
        (true, kind) => Some(kind),
        (false, DataType::Struct(inner)) => kind_of(inner, rest),
        (false, _) => None,
    }
}

/// The names of columns.
fn told(fields: &Fields) -> String {
    if fields.is_empty() {
        return "none".into();
    }
    let shown: Vec<String> = fields
        .iter()
        .take(SHOWN)
        .map(|own| quoted(own.name()))
        .collect();
    let more = match fields.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

/// What a column holds, in words.
fn kind(data: &DataType) -> String {
    match data {
        DataType::Utf8 => "texts".into(),
        DataType::Binary | DataType::FixedSizeBinary(_) => "bytes".into(),
        DataType::Boolean => "true and false".into(),
        DataType::Null => "nothing".into(),
        DataType::List(member) => format!("lists of {}", kind(member.data_type())),
        DataType::Struct(fields) => match fields.iter().find(|own| is_unread_text(own)) {
            Some(own) => format!(
                "objects whose {} holds {}",
                quoted(own.name()),
                kind(own.data_type())
            ),
            None => format!("objects with the keys {}", told(fields)),
        },
        DataType::Date32 | DataType::Date64 => "dates".into(),
        DataType::Timestamp(..) => "dates with times (timestamps)".into(),
        DataType::Time32(_) | DataType::Time64(_) => "times of a day".into(),
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => "decimals (numbers of a fixed count of digits)".into(),
        DataType::Map(..) => "maps".into(),
        other if other.is_numeric() => "numbers".into(),
        _ => "something else".into(),
    }
}
