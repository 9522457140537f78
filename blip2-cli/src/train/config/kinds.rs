//! The kinds of examples, as files name them.
//!
//! A file says the kind as a key among the others of its table, and which keys there are follows from it. To find
//! it, serde would copy the whole table to where nothing is known of lines; so it is found here, and put
//! around the table, where it is found at once.

use std::{borrow::Cow, mem};

use serde::{
    Serializer,
    ser::{Error, SerializeMap},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{data::DataConfig, misread::Fault};

const KIND: &str = "kind";

/// Puts the kinds of a file's examples around their tables.
pub(super) fn around(root: &mut DeTable<'_>) -> Result<(), Fault> {
    if let Some(data) = root.get_mut("data") {
        put(data)?;
    }
    let validation = root.get_mut("validation").map(Spanned::get_mut);
    if let Some(DeValue::Table(validation)) = validation
        && let Some(data) = validation.get_mut("data")
    {
        put(data)?;
    }
    Ok(())
}

fn put(data: &mut Spanned<DeValue<'_>>) -> Result<(), Fault> {
    let span = data.span();
    let table = match data.get_mut() {
        DeValue::Table(table) => table,
        other => {
            let found = match other.type_str() {
                "array" => "sequence",
                "float" => "floating point",
                name => name,
            };
            return Err(Fault::at(
                span,
                format!("invalid type: {found}, expected a map"),
            ));
        }
    };
    let Some(kind) = table.remove(KIND) else {
        return Err(Fault::at(span, format!("missing field `{KIND}`")));
    };
    let Some(name) = kind.get_ref().as_str() else {
        return Err(Fault::at(kind.span(), "wanted string".into()));
    };
    let name = Spanned::new(kind.span(), Cow::Owned(name.to_string()));
    let own = mem::take(table);
    table.insert(name, Spanned::new(span, DeValue::Table(own)));
    Ok(())
}

/// Writes examples as a file says them.
pub(super) fn within<S: Serializer>(data: &DataConfig, serializer: S) -> Result<S::Ok, S::Error> {
    let around = toml::Value::try_from(data).map_err(S::Error::custom)?;
    let mut map = serializer.serialize_map(None)?;
    for (kind, own) in around.as_table().into_iter().flatten() {
        map.serialize_entry(KIND, kind)?;
        for (key, value) in own.as_table().into_iter().flatten() {
            map.serialize_entry(key, value)?;
        }
    }
    map.end()
}

/// Writes examples as a file says them, where it does.
pub(super) fn within_if_any<S: Serializer>(
    data: &Option<DataConfig>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match data {
        Some(data) => within(data, serializer),
        None => serializer.serialize_none(),
    }
}
