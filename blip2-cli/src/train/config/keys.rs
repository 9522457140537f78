//! Which keys a file has.

use std::collections::BTreeSet;

/// The dotted keys that a file has.
pub(super) fn written(text: &str) -> BTreeSet<String> {
    fn add(into: &mut BTreeSet<String>, before: &str, table: &toml::Table) {
        for (name, value) in table {
            let key = match before {
                "" => name.clone(),
                before => format!("{before}.{name}"),
            };
            if let toml::Value::Table(table) = value {
                add(into, &key, table);
            }
            into.insert(key);
        }
    }
    let mut keys = BTreeSet::new();
    // What is no TOML is told by whoever reads all of it.
    if let Ok(table) = text.parse::<toml::Table>() {
        add(&mut keys, "", &table);
    }
    keys
}
