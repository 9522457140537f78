//! Columns of pictures, in every form in which people have them.

use std::path::{Path, PathBuf};

use arrow_array::{Array, StructArray, cast::AsArray};
use arrow_schema::{DataType, Schema};
use image::RgbImage;

use super::text_column::{BytesColumn, TextColumn, ValidAt};
use crate::preprocessing::{Animation, DecodeOptions, ImageError, decode_bytes, decode_file};

/// What a column of pictures is usually called, the first that there is.
const USUAL: [&str; 7] = [
    "image",
    "file_name",
    "image_path",
    "filename",
    "picture",
    "img",
    "path",
];

/// A column of pictures: the bytes of files, texts that are paths, or a struct of `bytes` and `path`, as
/// the data sets of the Hugging Face hub have it.
#[derive(Debug, Clone)]
pub struct PictureColumn<'b>(Form<'b>);

#[derive(Debug, Clone)]
enum Form<'b> {
    Bytes(BytesColumn<'b>),
    Paths(TextColumn<'b>),
    Both {
        array: &'b StructArray,
        bytes: Option<BytesColumn<'b>>,
        paths: Option<TextColumn<'b>>,
    },
}

/// Where a row's picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PictureCell<'b> {
    /// A file's bytes.
    Bytes(&'b [u8]),
    /// A file, or a URL.
    Path(&'b str),
}

impl<'b> PictureColumn<'b> {
    /// The pictures of an array; `None` if it holds none.
    pub fn of(array: &'b dyn Array) -> Option<Self> {
        if let Some(bytes) = BytesColumn::of(array) {
            return Some(Self(Form::Bytes(bytes)));
        }
        if let Some(paths) = TextColumn::of(array) {
            return Some(Self(Form::Paths(paths)));
        }
        if !Self::is_one(array.data_type()) {
            return None;
        }
        let array = array.as_struct_opt()?;
        let part = |name| array.column_by_name(name).map(AsRef::as_ref);
        Some(Self(Form::Both {
            array,
            bytes: part("bytes").and_then(BytesColumn::of),
            paths: part("path").and_then(TextColumn::of),
        }))
    }

    /// Where a row's picture is; `None` where there is none.
    pub fn cell(&self, row: usize) -> Option<PictureCell<'b>> {
        match &self.0 {
            Form::Bytes(bytes) => bytes.get(row).map(PictureCell::Bytes),
            Form::Paths(paths) => path(paths.get(row)),
            Form::Both {
                array,
                bytes,
                paths,
            } => {
                if !array.is_valid_at(row) {
                    return None;
                }
                let bytes = bytes.as_ref().and_then(|bytes| bytes.get(row));
                let named = || path(paths.as_ref().and_then(|paths| paths.get(row)));
                bytes.map(PictureCell::Bytes).or_else(named)
            }
        }
    }

    /// A row's path, if it has one: of a picture that is given by its bytes, its name.
    pub fn path(&self, row: usize) -> Option<&'b str> {
        let path = match &self.0 {
            Form::Bytes(_) => None,
            Form::Paths(paths) => paths.get(row),
            Form::Both { array, paths, .. } => {
                let paths = paths.as_ref().filter(|_| array.is_valid_at(row));
                paths.and_then(|paths| paths.get(row))
            }
        };
        path.filter(|path| !path.is_empty())
    }

    /// Whether columns of this type are pictures.
    pub fn is_one(data_type: &DataType) -> bool {
        match data_type {
            DataType::Struct(fields) => fields.iter().any(|field| match field.name().as_str() {
                "bytes" => BytesColumn::is_one(field.data_type()),
                "path" => TextColumn::is_one(field.data_type()),
                _ => false,
            }),
            other => BytesColumn::is_one(other) || TextColumn::is_one(other),
        }
    }

    /// The name of the column in which pictures usually are, if it holds any.
    pub fn usual(schema: &Schema) -> Option<&'static str> {
        USUAL.into_iter().find(|name| {
            let field = schema.field_with_name(name);
            field.is_ok_and(|field| Self::is_one(field.data_type()))
        })
    }
}

fn path(text: Option<&str>) -> Option<PictureCell<'_>> {
    text.filter(|text| !text.is_empty()).map(PictureCell::Path)
}

impl PictureCell<'_> {
    /// Decodes the picture, whose path is relative to `folder`; of an animation the first frame.
    ///
    /// # Errors
    ///
    /// As [`decode_file`] and [`decode_bytes`].
    pub fn decode(&self, folder: &Path, options: &DecodeOptions) -> Result<RgbImage, ImageError> {
        let decoded = |options: &DecodeOptions| match self {
            Self::Bytes(bytes) => decode_bytes(bytes, options),
            Self::Path(path) => decode_file(Self::file(folder, path), options),
        };
        match decoded(options) {
            Err(error) if is_animated(&error) => {
                decoded(&options.with_animation(Animation::FirstFrame))
            }
            done => done,
        }
    }

    /// The file of a path.
    fn file(folder: &Path, path: &str) -> PathBuf {
        folder.join(path)
    }
}

fn is_animated(error: &ImageError) -> bool {
    match error {
        ImageError::Animated { .. } | ImageError::Pages { .. } => true,
        ImageError::File { source, .. } => is_animated(source),
        _ => false,
    }
}
