//! Pictures on their way to the model: from a column's cells, from stores, from a folder.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use blip2_core::{
    Blip2Error,
    preprocessing::{DecodeOptions, ImageProcessor, PixelValues},
};
use blip2_io::tables::{PictureCell, PictureColumn};
use datafusion::{
    arrow::array::ArrayRef,
    execution::object_store::ObjectStoreRegistry,
    object_store::{ObjectStoreExt, path::Path as StorePath},
};
use futures::{StreamExt, stream};
use url::Url;

use crate::error::Fault;

/// How many files of a batch are fetched at a time.
const FETCHES: usize = 16;

/// Where files may be read from, and how large they may be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    pub(crate) stores: Option<Arc<dyn ObjectStoreRegistry>>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) decode: DecodeOptions,
}

/// What was read of a row before its picture is decoded.
pub(crate) enum Read {
    /// The cell itself holds the file, or there is nothing in it.
    Here,
    /// A file that was fetched, or why it was not.
    Fetched(Result<Vec<u8>, Fault>),
}

impl Sources {
    /// Fetches what the cells of rows name; those that are not `wanted` are left alone.
    pub(crate) async fn read(&self, column: &ArrayRef, wanted: &[bool]) -> Vec<Read> {
        // Paths are copied, so that nothing of the array is held while stores are waited for.
        let paths: Vec<Option<String>> = match PictureColumn::of(column.as_ref()) {
            None => vec![None; wanted.len()],
            Some(cells) => {
                let rows = wanted.iter().enumerate();
                rows.map(|(row, wanted)| match cells.cell(row) {
                    Some(PictureCell::Path(path)) if *wanted => Some(path.to_owned()),
                    _ => None,
                })
                .collect()
            }
        };
        let fetches = paths.into_iter().map(|path| async move {
            match path {
                None => Read::Here,
                Some(path) => Read::Fetched(self.fetch(&path).await),
            }
        });
        stream::iter(fetches).buffered(FETCHES).collect().await
    }

    async fn fetch(&self, text: &str) -> Result<Vec<u8>, Fault> {
        match Url::parse(text) {
            // A letter before a colon is a drive of Windows.
            Ok(url) if url.scheme().len() > 1 => match url.scheme() {
                "file" => match url.to_file_path() {
                    Ok(path) => self.file(path).await,
                    Err(()) => Err(source("the URL names no file of this machine")),
                },
                _ => self.stored(&url).await,
            },
            _ => self.file(PathBuf::from(text)).await,
        }
    }

    /// A file of a store that is registered.
    async fn stored(&self, url: &Url) -> Result<Vec<u8>, Fault> {
        let store = self
            .stores
            .as_ref()
            .and_then(|stores| stores.get_store(url).ok());
        let Some(store) = store else {
            return Err(source(
                "no object store is registered for this URL, and nothing else is fetched: register one \
                 with the session's runtime",
            ));
        };
        let path = StorePath::from_url_path(url.path()).map_err(source)?;
        let found = store.get(&path).await.map_err(source)?;
        self.check_size(found.meta.size)?;
        Ok(found.bytes().await.map_err(source)?.to_vec())
    }

    /// A file below the folder that is allowed.
    async fn file(&self, path: PathBuf) -> Result<Vec<u8>, Fault> {
        let Some(folder) = self.folder.clone() else {
            return Err(source(
                "files of this machine are not allowed: allow a folder (`with_folder`, `--pictures`), \
                 or give URLs of a store that is registered",
            ));
        };
        let limit = self.decode.limits.max_file_bytes;
        let read = tokio::task::spawn_blocking(move || read_below(&folder, &path, limit));
        read.await.map_err(source)?
    }

    fn check_size(&self, size: u64) -> Result<(), Fault> {
        too_large(size, self.decode.limits.max_file_bytes)
    }
}

/// Reads a file that lies below a folder, wherever links lead.
fn read_below(folder: &Path, path: &Path, limit: u64) -> Result<Vec<u8>, Fault> {
    // Told before the disk is asked, so that nobody learns from the answer what is elsewhere.
    let climbs = path.components().any(|part| part == Component::ParentDir);
    let outside = || {
        source(format!(
            "the file is not below `{}`, the one folder that is allowed",
            folder.display()
        ))
    };
    if climbs {
        return Err(outside());
    }
    let folder_itself = folder
        .canonicalize()
        .map_err(|error| source(format!("{}: {error}", folder.display())))?;
    let absolute = folder_itself.join(path);
    if !absolute.starts_with(&folder_itself) && !absolute.starts_with(folder) {
        return Err(outside());
    }
    let found = absolute.canonicalize().map_err(source)?;
    if !found.starts_with(&folder_itself) {
        return Err(outside());
    }
    too_large(std::fs::metadata(&found).map_err(source)?.len(), limit)?;
    std::fs::read(&found).map_err(source)
}

fn too_large(size: u64, limit: u64) -> Result<(), Fault> {
    match size > limit {
        true => Err(source(format!(
            "the file has {size} bytes, more than the {limit} that are allowed"
        ))),
        false => Ok(()),
    }
}

/// Decodes and prepares the pictures of the rows that are `wanted`; `None` where there is none.
pub(crate) fn prepare(
    column: &ArrayRef,
    read: Vec<Read>,
    wanted: &[bool],
    processor: &ImageProcessor,
    options: &DecodeOptions,
) -> Vec<Option<Result<PixelValues, Fault>>> {
    let cells = PictureColumn::of(column.as_ref());
    let rows = read.into_iter().zip(wanted).enumerate();
    rows.map(|(row, (read, wanted))| match read {
        _ if !wanted => None,
        Read::Here => match cells.as_ref()?.cell(row)? {
            PictureCell::Bytes(bytes) => Some(decode(bytes, processor, options)),
            _ => None,
        },
        Read::Fetched(Ok(bytes)) => Some(decode(&bytes, processor, options)),
        Read::Fetched(Err(fault)) => Some(Err(fault)),
    })
    .collect()
}

fn decode(
    bytes: &[u8],
    processor: &ImageProcessor,
    options: &DecodeOptions,
) -> Result<PixelValues, Fault> {
    let image = PictureCell::Bytes(bytes).decode(Path::new(""), options);
    let pixels = image.and_then(|image| processor.process(&image));
    pixels.map_err(|error| Fault::Model(Blip2Error::from(error)))
}

fn source(reason: impl ToString) -> Fault {
    Fault::Source(reason.to_string())
}
