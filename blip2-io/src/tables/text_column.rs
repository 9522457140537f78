//! Columns of texts, in every form in which Arrow has them.

use arrow_array::{
    Array, BinaryViewArray, GenericBinaryArray, LargeStringArray, StringArray, StringViewArray,
    cast::AsArray,
};
use arrow_schema::DataType;

/// A column of texts: of any width, as views, or as a dictionary.
#[derive(Debug, Clone)]
pub struct TextColumn<'b>(Form<'b>);

#[derive(Debug, Clone)]
enum Form<'b> {
    Small(&'b StringArray),
    Large(&'b LargeStringArray),
    View(&'b StringViewArray),
    Dictionary {
        array: &'b dyn Array,
        keys: Vec<usize>,
        values: Box<Form<'b>>,
    },
}

impl<'b> TextColumn<'b> {
    /// The texts of an array; `None` if it holds none.
    pub fn of(array: &'b dyn Array) -> Option<Self> {
        Form::of(array).map(Self)
    }

    /// The text of a row, unless it is null.
    pub fn get(&self, row: usize) -> Option<&'b str> {
        self.0.get(row)
    }

    /// Whether columns of this type are texts.
    pub fn is_one(data_type: &DataType) -> bool {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
            DataType::Dictionary(_, values) => Self::is_one(values),
            _ => false,
        }
    }
}

impl<'b> Form<'b> {
    fn of(array: &'b dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Utf8 => Self::Small(array.as_string_opt()?),
            DataType::LargeUtf8 => Self::Large(array.as_string_opt()?),
            DataType::Utf8View => Self::View(array.as_string_view_opt()?),
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary_opt()?;
                // Keys of no values cannot be normalised, and there is nothing that they name.
                let keys = match dictionary.values().is_empty() {
                    true => Vec::new(),
                    false => dictionary.normalized_keys(),
                };
                Self::Dictionary {
                    array,
                    keys,
                    values: Box::new(Self::of(dictionary.values().as_ref())?),
                }
            }
            _ => return None,
        })
    }

    fn get(&self, row: usize) -> Option<&'b str> {
        match self {
            Self::Small(array) => (array.is_valid_at(row)).then(|| array.value(row)),
            Self::Large(array) => (array.is_valid_at(row)).then(|| array.value(row)),
            Self::View(array) => (array.is_valid_at(row)).then(|| array.value(row)),
            Self::Dictionary {
                array,
                keys,
                values,
            } => match array.is_valid_at(row) {
                true => values.get(*keys.get(row)?),
                false => None,
            },
        }
    }
}

/// A column of lists of texts.
#[derive(Debug, Clone)]
pub struct TextLists<'b> {
    lists: &'b dyn Array,
    texts: TextColumn<'b>,
}

impl<'b> TextLists<'b> {
    /// The lists of an array; `None` if it holds none.
    pub fn of(array: &'b dyn Array) -> Option<Self> {
        let values = match array.data_type() {
            DataType::List(_) => array.as_list_opt::<i32>()?.values(),
            DataType::LargeList(_) => array.as_list_opt::<i64>()?.values(),
            DataType::FixedSizeList(..) => array.as_fixed_size_list_opt()?.values(),
            _ => return None,
        };
        Some(Self {
            lists: array,
            texts: TextColumn::of(values.as_ref())?,
        })
    }

    /// The texts of a row's list, unless it is null. What is null in a list is left out.
    pub fn get(&self, row: usize) -> Option<Vec<&'b str>> {
        if !self.lists.is_valid_at(row) {
            return None;
        }
        let range = list_range(self.lists, row)?;
        Some(range.filter_map(|place| self.texts.get(place)).collect())
    }

    /// Whether columns of this type are lists of texts.
    pub fn is_one(data_type: &DataType) -> bool {
        match data_type {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                TextColumn::is_one(item.data_type())
            }
            _ => false,
        }
    }
}

/// Where a row's values are among those of all lists.
pub(super) fn list_range(array: &dyn Array, row: usize) -> Option<std::ops::Range<usize>> {
    match array.data_type() {
        DataType::List(_) => {
            let offsets = array.as_list_opt::<i32>()?.value_offsets();
            let (begin, end) = (*offsets.get(row)?, *offsets.get(row + 1)?);
            Some(begin as usize..end as usize)
        }
        DataType::LargeList(_) => {
            let offsets = array.as_list_opt::<i64>()?.value_offsets();
            let (begin, end) = (*offsets.get(row)?, *offsets.get(row + 1)?);
            Some(begin as usize..end as usize)
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).ok()?;
            Some(row * size..(row + 1) * size)
        }
        _ => None,
    }
}

/// A column of bytes.
#[derive(Debug, Clone)]
pub(super) enum BytesColumn<'b> {
    Small(&'b GenericBinaryArray<i32>),
    Large(&'b GenericBinaryArray<i64>),
    View(&'b BinaryViewArray),
}

impl<'b> BytesColumn<'b> {
    pub(super) fn of(array: &'b dyn Array) -> Option<Self> {
        match array.data_type() {
            DataType::Binary => array.as_binary_opt().map(Self::Small),
            DataType::LargeBinary => array.as_binary_opt().map(Self::Large),
            DataType::BinaryView => array.as_binary_view_opt().map(Self::View),
            _ => None,
        }
    }

    pub(super) fn get(&self, row: usize) -> Option<&'b [u8]> {
        match self {
            Self::Small(array) => array.is_valid_at(row).then(|| array.value(row)),
            Self::Large(array) => array.is_valid_at(row).then(|| array.value(row)),
            Self::View(array) => array.is_valid_at(row).then(|| array.value(row)),
        }
    }

    pub(super) fn is_one(data_type: &DataType) -> bool {
        matches!(
            data_type,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView
        )
    }
}

/// Whether there is a row, and something in it.
pub(super) trait ValidAt {
    fn is_valid_at(&self, row: usize) -> bool;
}

impl<A: Array + ?Sized> ValidAt for A {
    fn is_valid_at(&self, row: usize) -> bool {
        row < self.len() && self.is_valid(row)
    }
}
