//! The functions of a model, with their settings.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use blip2_core::{
    Blip2Error, CheckpointFolder, GenerationConfig, ModelKind, Template,
    preprocessing::DecodeOptions,
};
use datafusion::{
    execution::object_store::ObjectStoreRegistry,
    logical_expr::{ScalarUDF, async_udf::AsyncScalarUDF},
    prelude::{SessionConfig, SessionContext},
};
use tokio::sync::Semaphore;

use crate::{
    ask::Ask,
    engine::Engine,
    error::FunctionError,
    function::Function,
    model::{Model, check},
    pictures::Sources,
    shape,
    similarity::similarity,
    verb::Verb,
};

/// What becomes of a row that fails: a file that is not there or is no picture, an empty question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnError {
    /// The query ends with an error that says what is wrong with the row.
    #[default]
    Fail,
    /// The row's result is NULL. What is wrong with the machine or the model still ends the query.
    Null,
}

/// A model's functions of SQL, and their settings.
///
/// ```
/// use blip2_core::{Blip2Pipeline, GenerationConfig};
/// use blip2_datafusion::{Functions, OnError};
///
/// let blip2 = Blip2Pipeline::from_pretrained("../../blip2-cli/demo")?;
/// let functions = Functions::new(blip2)?
///     .with_batch(32)
///     .with_on_error(OnError::Null)
///     .with_generation(GenerationConfig::default().with_num_beams(3));
/// let names: Vec<_> = functions.scalar_functions()?.iter().map(|f| f.name().to_owned()).collect();
/// assert_eq!(names, ["blip2_caption", "blip2_answer", "blip2_embed", "blip2_similarity"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Functions {
    model: Option<Model>,
    kind: ModelKind,
    shape: Vec<usize>,
    batch: usize,
    rows: usize,
    calls: usize,
    on_error: OnError,
    generation: Option<GenerationConfig>,
    template: Option<Template>,
    sources: Sources,
}

impl Functions {
    /// The functions of a model.
    ///
    /// # Errors
    ///
    /// [`FunctionError::Kind`] for a model of videos.
    pub fn new(model: impl Into<Model>) -> Result<Self, FunctionError> {
        let model = model.into();
        let (kind, shape) = (model.kind(), model.shape());
        Self::of(Some(model), kind, shape)
    }

    /// The functions of the model that a checkpoint holds, of which the configuration alone is read: to
    /// plan with where another machine computes.
    ///
    /// ```
    /// use blip2_datafusion::Functions;
    ///
    /// let functions = Functions::declared("../../blip2-cli/demo")?;
    /// assert_eq!(functions.scalar_functions()?.len(), 4);
    /// # Ok::<(), blip2_datafusion::FunctionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and if there is no such checkpoint or its configuration cannot be read.
    pub fn declared(checkpoint: impl AsRef<Path>) -> Result<Self, FunctionError> {
        let folder = CheckpointFolder::open(checkpoint).map_err(Blip2Error::from)?;
        let kind = folder.kind().map_err(Blip2Error::from)?;
        check(kind)?;
        Self::of(None, kind, shape::of_folder(&folder, kind)?)
    }

    fn of(model: Option<Model>, kind: ModelKind, shape: Vec<usize>) -> Result<Self, FunctionError> {
        check(kind)?;
        Ok(Self {
            model,
            kind,
            shape,
            batch: 16,
            rows: 256,
            calls: 1,
            on_error: OnError::default(),
            generation: None,
            template: None,
            sources: Sources::default(),
        })
    }

    /// How many rows the model computes together. Default 16.
    #[must_use]
    pub fn with_batch(mut self, rows: usize) -> Self {
        self.batch = rows;
        self
    }

    /// How many rows DataFusion hands over at once, `datafusion.execution.batch_size`, which
    /// [`register`](Self::register) and [`configured`](Self::configured) set. Default 256.
    #[must_use]
    pub fn with_rows(mut self, rows: usize) -> Self {
        self.rows = rows;
        self
    }

    /// How many batches are in the model at a time, where DataFusion computes several partitions. Default
    /// one: a batch takes all threads already, and another its memory beside.
    #[must_use]
    pub fn with_calls(mut self, calls: usize) -> Self {
        self.calls = calls;
        self
    }

    /// What becomes of a row that fails. Default: the query ends.
    #[must_use]
    pub fn with_on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// How captions and answers are written. Default: as the pipeline does, greedily unless it was built
    /// otherwise.
    ///
    /// Where they are drawn, the functions are volatile, and each batch has its own row of random numbers:
    /// the seed, and the number of batches before. What a row gets depends on the order in which batches
    /// come.
    #[must_use]
    pub fn with_generation(mut self, generation: GenerationConfig) -> Self {
        self.generation = Some(generation);
        self
    }

    /// The template that questions are put into. Default: the pipeline's.
    #[must_use]
    pub fn with_template(mut self, template: Template) -> Self {
        self.template = Some(template);
        self
    }

    /// Allows texts to name files below this folder, by paths relative to it, by absolute ones or by
    /// `file:` URLs. Default: no file of the machine is read but by a column of bytes.
    ///
    /// Whoever writes the query chooses the files. One that a link leads out of the folder is refused.
    #[must_use]
    pub fn with_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.sources.folder = Some(folder.into());
        self
    }

    /// The object stores that URLs are read from. [`register`](Self::register) takes the session's; who
    /// builds a registry of functions by hand gives its runtime's.
    #[must_use]
    pub fn with_stores(mut self, stores: Arc<dyn ObjectStoreRegistry>) -> Self {
        self.sources.stores = Some(stores);
        self
    }

    /// How pictures are decoded, and how large they may be.
    #[must_use]
    pub fn with_decode_options(mut self, decode: DecodeOptions) -> Self {
        self.sources.decode = decode;
        self
    }

    /// Which member of the family the model is.
    pub fn kind(&self) -> ModelKind {
        self.kind
    }

    /// The shape of what `blip2_embed` gives for a picture.
    pub fn embedding_shape(&self) -> &[usize] {
        &self.shape
    }

    /// The functions that the model has, and `blip2_similarity`.
    ///
    /// # Errors
    ///
    /// [`FunctionError::Setting`] for settings that make no sense.
    pub fn scalar_functions(&self) -> Result<Vec<Arc<ScalarUDF>>, FunctionError> {
        self.validate()?;
        let engine = self.model.clone().map(|model| Arc::new(self.engine(model)));
        let samples = self.ask().samples();
        let verbs = Verb::ALL.into_iter().filter(|verb| verb.is_of(self.kind));
        let of_model = verbs.map(|verb| {
            let function = Function::new(verb, self.shape.clone(), samples, engine.clone());
            Arc::new(AsyncScalarUDF::new(Arc::new(function)).into_scalar_udf())
        });
        Ok(of_model.chain([Arc::new(similarity())]).collect())
    }

    /// A configuration by which DataFusion hands over as many rows as [`with_rows`](Self::with_rows) says.
    #[must_use]
    pub fn configured(&self, config: SessionConfig) -> SessionConfig {
        match NonZeroUsize::new(self.rows) {
            Some(rows) => config.with_batch_size(rows.get()),
            None => config,
        }
    }

    /// Registers the functions with a session: URLs are read from its object stores, and its batches are
    /// made as large as [`with_rows`](Self::with_rows) says, unless they are smaller already.
    ///
    /// # Errors
    ///
    /// As [`scalar_functions`](Self::scalar_functions).
    pub fn register(&self, ctx: &SessionContext) -> Result<(), FunctionError> {
        let mut own = self.clone();
        let stores = || ctx.runtime_env().object_store_registry.clone();
        own.sources.stores.get_or_insert_with(stores);
        let functions = own.scalar_functions()?;
        let state = ctx.state_ref();
        {
            let mut state = state.write();
            let config = state.config_mut();
            if config.batch_size() > self.rows {
                *config = self.configured(config.clone());
            }
        }
        for function in functions {
            ctx.register_udf(function.as_ref().clone());
        }
        Ok(())
    }

    fn engine(&self, model: Model) -> Engine {
        Engine {
            model,
            ask: self.ask(),
            sources: self.sources.clone(),
            batch: self.batch,
            on_error: self.on_error,
            calls: Semaphore::new(self.calls),
        }
    }

    fn ask(&self) -> Ask {
        Ask::new(self.generation.clone(), self.template.clone())
    }

    fn validate(&self) -> Result<(), FunctionError> {
        let counts = [
            ("with_batch", self.batch),
            ("with_rows", self.rows),
            ("with_calls", self.calls),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(setting(name, "give at least 1"));
        }
        if self.calls > Semaphore::MAX_PERMITS {
            return Err(setting("with_calls", "give fewer"));
        }
        if let Some(generation) = &self.generation {
            generation
                .validate()
                .map_err(|error| setting("with_generation", error))?;
            if generation.num_return_sequences > 1 {
                let reason = "a row has one result: ask for one sequence (num_return_sequences)";
                return Err(setting("with_generation", reason));
            }
        }
        Ok(())
    }
}

fn setting(name: &'static str, reason: impl ToString) -> FunctionError {
    FunctionError::Setting {
        name,
        reason: reason.to_string(),
    }
}
