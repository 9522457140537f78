//! Types without dictionaries.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};

/// A schema whose dictionaries are what they stand for; `None` if it has none.
pub(super) fn plain(schema: &Schema) -> Option<SchemaRef> {
    let fields = fields(schema.fields());
    let metadata = schema.metadata().clone();
    (fields != *schema.fields()).then(|| Arc::new(Schema::new_with_metadata(fields, metadata)))
}

fn fields(given: &Fields) -> Fields {
    given.iter().map(field).collect()
}

fn field(given: &Arc<Field>) -> Arc<Field> {
    let data_type = plain_type(given.data_type());
    match data_type == *given.data_type() {
        true => Arc::clone(given),
        // Its other settings are those of a dictionary.
        false => Arc::new(
            Field::new(given.name(), data_type, given.is_nullable())
                .with_metadata(given.metadata().clone()),
        ),
    }
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::Struct(inner) => DataType::Struct(fields(inner)),
        DataType::List(item) => DataType::List(field(item)),
        DataType::LargeList(item) => DataType::LargeList(field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(field(item), *size),
        other => other.clone(),
    }
}
