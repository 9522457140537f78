//! The rows that the engine handed over, on their way through the model.

use std::{ops::Range, sync::Arc};

use blip2_core::{CancelToken, preprocessing::PixelValues};
use blip2_io::tables::{PictureCell, PictureColumn, TextColumn};
use datafusion::{
    arrow::array::{Array, ArrayRef},
    common::runtime::SpawnedTask,
    error::{DataFusionError, Result},
    logical_expr::ScalarFunctionArgs,
};

use crate::{
    cells::{Cell, column},
    engine::Engine,
    error::{Fault, RowError},
    functions::OnError,
    pictures::prepare,
    verb::{Argument, Verb},
};

/// A function's call on the rows of an engine's batch.
pub(crate) struct Call {
    verb: Verb,
    engine: Arc<Engine>,
    picture: Option<Arg>,
    text: Option<Arg>,
    rows: usize,
}

/// An argument: its column, and its name for those who read errors.
#[derive(Clone)]
struct Arg {
    name: String,
    column: ArrayRef,
}

/// Rows that are ready for the model.
struct Ready {
    /// The rows' numbers, within the call.
    rows: Vec<usize>,
    pictures: Vec<PixelValues>,
    texts: Vec<String>,
    /// Rows that failed before.
    faults: Vec<(usize, Fault)>,
}

/// Stops the model when nobody waits for it any more.
struct Stopping(CancelToken);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Call {
    pub(crate) fn new(verb: Verb, engine: Arc<Engine>, args: ScalarFunctionArgs) -> Result<Self> {
        let rows = args.number_rows;
        let mut call = Self {
            verb,
            engine,
            picture: None,
            text: None,
            rows,
        };
        let given = args.args.iter().zip(&args.arg_fields);
        for (argument, (value, field)) in verb.arguments().iter().zip(given) {
            let arg = Some(Arg {
                name: field.name().clone(),
                column: value.to_array(rows)?,
            });
            match argument {
                Argument::Picture => call.picture = arg,
                Argument::Text => call.text = arg,
            }
        }
        Ok(call)
    }

    /// Computes the column: while the model is at one batch, the next is fetched and decoded.
    pub(crate) async fn run(self) -> Result<ArrayRef> {
        let stopping = Stopping(CancelToken::new());
        let call = Arc::new(self);
        let mut cells = vec![None; call.rows];
        let mut batches = call.batches();
        let mut next = batches.next().map(|rows| call.prepared(rows));
        while let Some(preparing) = next {
            let ready = preparing.join().await.map_err(lost)??;
            next = batches.next().map(|rows| call.prepared(rows));
            for (row, cell) in call.computed(ready, &stopping.0).await? {
                if let Some(place) = cells.get_mut(row) {
                    *place = Some(cell);
                }
            }
        }
        column(call.verb, &call.engine.model.shape(), cells)
    }

    /// The rows of each of the model's batches.
    fn batches(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, batch) = (self.rows, self.engine.batch);
        (0..rows)
            .step_by(batch)
            .map(move |first| first..(first + batch).min(rows))
    }

    /// Fetches and decodes rows, on other threads.
    fn prepared(self: &Arc<Self>, rows: Range<usize>) -> SpawnedTask<Result<Ready>> {
        let call = self.clone();
        SpawnedTask::spawn(async move { call.prepare(rows).await })
    }

    async fn prepare(self: Arc<Self>, range: Range<usize>) -> Result<Ready> {
        let slice = |arg: &Option<Arg>| {
            let arg = arg.as_ref();
            arg.map(|arg| arg.column.slice(range.start, range.len()))
        };
        let (pictures, texts) = (slice(&self.picture), slice(&self.text));
        let given: Vec<bool> = (0..range.len())
            .map(|row| {
                [&pictures, &texts]
                    .into_iter()
                    .flatten()
                    .all(|column| is_given(column, row))
            })
            .collect();
        let read = match &pictures {
            Some(column) => Some(self.engine.sources.read(column, &given).await),
            None => None,
        };
        let preparing = SpawnedTask::spawn_blocking(move || {
            let decoded = pictures.zip(read).map(|(column, read)| {
                let (model, sources) = (&self.engine.model, &self.engine.sources);
                prepare(&column, read, &given, model.processor(), &sources.decode)
            });
            let texts = texts.map(|column| owned(&column));
            gather(range.start, &given, decoded, texts)
        });
        preparing.join().await.map_err(lost)
    }

    /// Computes a batch; rows of it that are not among the results are NULL.
    async fn computed(
        self: &Arc<Self>,
        ready: Ready,
        cancel: &CancelToken,
    ) -> Result<Vec<(usize, Cell)>> {
        let Ready {
            rows,
            pictures,
            texts,
            faults,
        } = ready;
        for (row, fault) in faults {
            self.failed(row, fault)?;
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let (call, cancel) = (self.clone(), cancel.clone());
        let permit = self.engine.calls.acquire().await;
        let permit = permit.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let computing = SpawnedTask::spawn_blocking(move || {
            let engine = &call.engine;
            engine
                .model
                .run(call.verb, &pictures, &texts, &engine.ask, &cancel)
        });
        let results = computing.join().await.map_err(lost)?;
        drop(permit);
        tracing::debug!(function = self.verb.name(), rows = rows.len(), "computed");
        let mut cells = Vec::new();
        for (row, result) in rows.into_iter().zip(results) {
            match result {
                Ok(cell) => cells.push((row, cell)),
                Err(fault) => self.failed(row, fault)?,
            }
        }
        Ok(cells)
    }

    /// What becomes of a row that failed: the query ends with it, or it is NULL.
    fn failed(&self, row: usize, fault: Fault) -> Result<()> {
        let of_row = fault.is_of_row();
        let error = RowError {
            function: self.verb.name(),
            place: self.place(row),
            fault,
        };
        match self.engine.on_error {
            OnError::Null if of_row => {
                tracing::debug!(%error, "a row is NULL");
                Ok(())
            }
            _ => Err(error.into()),
        }
    }

    /// Where a row's picture or text is.
    fn place(&self, row: usize) -> String {
        let Some(arg) = self.picture.as_ref().or(self.text.as_ref()) else {
            return format!("row {row}");
        };
        let cells = PictureColumn::of(arg.column.as_ref());
        match cells.as_ref().and_then(|cells| cells.cell(row)) {
            Some(PictureCell::Path(path)) => format!("`{path}` of `{}`", arg.name),
            _ => format!(
                "`{}`, row {row} of {} that were computed together",
                arg.name, self.rows
            ),
        }
    }
}

/// Puts together what the model computes of a batch whose first row is `first`.
fn gather(
    first: usize,
    given: &[bool],
    decoded: Option<Vec<Option<Result<PixelValues, Fault>>>>,
    texts: Option<Vec<Option<String>>>,
) -> Ready {
    let mut ready = Ready {
        rows: Vec::new(),
        pictures: Vec::new(),
        texts: Vec::new(),
        faults: Vec::new(),
    };
    let (has_pictures, has_texts) = (decoded.is_some(), texts.is_some());
    let mut decoded = decoded.into_iter().flatten();
    let mut texts = texts.into_iter().flatten();
    for (row, given) in given.iter().enumerate() {
        let (picture, text) = (decoded.next().flatten(), texts.next().flatten());
        if !given {
            continue;
        }
        match picture {
            Some(Ok(picture)) => ready.pictures.push(picture),
            Some(Err(fault)) => {
                ready.faults.push((first + row, fault));
                continue;
            }
            None if has_pictures => {
                let fault = Fault::Source("there is no picture: the text is empty".into());
                ready.faults.push((first + row, fault));
                continue;
            }
            None => {}
        }
        if has_texts {
            ready.texts.push(text.unwrap_or_default());
        }
        ready.rows.push(first + row);
    }
    ready
}

/// Whether a row is not NULL.
fn is_given(column: &ArrayRef, row: usize) -> bool {
    // What a dictionary's key or a column without a type says of NULL, its own mask does not.
    column
        .logical_nulls()
        .is_none_or(|nulls| nulls.is_valid(row))
}

fn owned(column: &ArrayRef) -> Vec<Option<String>> {
    let texts = TextColumn::of(column.as_ref());
    (0..column.len())
        .map(|row| Some(texts.as_ref()?.get(row)?.to_owned()))
        .collect()
}

fn lost(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
