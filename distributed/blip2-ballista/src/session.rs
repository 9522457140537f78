//! Contexts of DataFusion that have the functions.

use std::sync::Arc;

use ballista::prelude::{SessionConfigExt, SessionContextExt};
use blip2_datafusion::Functions;
use datafusion::{
    execution::{SessionStateBuilder, runtime_env::RuntimeEnv},
    logical_expr::ScalarUDF,
    prelude::{SessionConfig, SessionContext},
};

use crate::error::ClusterError;

/// Where queries are computed: on this machine, or on a cluster.
#[derive(Debug, Clone)]
pub struct Session {
    functions: Vec<Arc<ScalarUDF>>,
    settings: Functions,
    runtime: Arc<RuntimeEnv>,
    scheduler: Option<String>,
}

impl Session {
    /// Computes on this machine, by the functions' model.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Functions`] for settings that make no sense.
    pub fn local(functions: &Functions) -> Result<Self, ClusterError> {
        Self::of(functions, None)
    }

    /// Computes on the cluster whose scheduler is at `url`, `df://host:port`. The functions may be
    /// [declared](Functions::declared) without a model.
    ///
    /// # Errors
    ///
    /// As [`local`](Self::local); whether the scheduler is there is seen at the first query.
    pub fn remote(url: impl Into<String>, functions: &Functions) -> Result<Self, ClusterError> {
        Self::of(functions, Some(url.into()))
    }

    fn of(functions: &Functions, scheduler: Option<String>) -> Result<Self, ClusterError> {
        let runtime = Arc::new(RuntimeEnv::default());
        let settings = functions.clone();
        let functions = functions
            .clone()
            .with_stores(runtime.object_store_registry.clone());
        Ok(Self {
            functions: functions.scalar_functions()?,
            settings,
            runtime,
            scheduler,
        })
    }

    /// Whether queries are computed elsewhere.
    pub fn is_remote(&self) -> bool {
        self.scheduler.is_some()
    }

    /// A new context, in which a query is cut into at most so many partitions, of which each is a task of
    /// its own. All contexts of a session share the model and the object stores.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Query`] for a URL that names no scheduler.
    pub async fn context(&self, partitions: usize) -> Result<SessionContext, ClusterError> {
        let config = match &self.scheduler {
            Some(_) => SessionConfig::new_with_ballista(),
            None => SessionConfig::new(),
        };
        let config = self.settings.configured(config);
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(config.with_target_partitions(partitions.max(1)))
            .with_runtime_env(self.runtime.clone())
            .build();
        let ctx = match &self.scheduler {
            Some(url) => SessionContext::remote_with_state(url, state).await?,
            None => SessionContext::new_with_state(state),
        };
        // Afterwards: Ballista puts its own list of functions in the place of the state's.
        for function in &self.functions {
            ctx.register_udf(function.as_ref().clone());
        }
        Ok(ctx)
    }
}
