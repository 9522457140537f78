//! The process that runs tasks with a model.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use ballista_core::{
    RuntimeProducer, config::TaskSchedulingPolicy, registry::BallistaFunctionRegistry,
};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use blip2_datafusion::Functions;
use datafusion::execution::{
    object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry},
    runtime_env::RuntimeEnvBuilder,
};

use crate::error::ClusterError;

/// An executor: a place where tasks run, all with one model.
#[derive(Debug, Clone)]
pub struct Executor {
    /// The scheduler's name or address.
    pub scheduler_host: String,
    /// The scheduler's port.
    pub scheduler_port: u16,
    /// Where it listens for those who fetch results.
    pub bind: IpAddr,
    /// Its port.
    pub port: u16,
    /// The name by which others reach it. Default: the address from which it speaks to the scheduler.
    pub host: Option<String>,
    /// How many tasks run at a time. They share the model, which computes one batch after another: with
    /// two, one task reads and decodes while the other computes.
    pub slots: usize,
    /// Where results wait to be fetched.
    pub work_dir: PathBuf,
    /// How many seconds it waits for its scheduler.
    pub patience: u16,
}

impl Executor {
    /// Runs tasks until the process is told to end, or its scheduler is lost.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Cluster`] if the scheduler cannot be reached or the port is taken,
    /// [`ClusterError::Functions`] for settings that make no sense.
    pub async fn run(&self, functions: &Functions) -> Result<(), ClusterError> {
        // Tasks read their tables, and functions their pictures, from the same stores.
        let stores: Arc<dyn ObjectStoreRegistry> = Arc::new(DefaultObjectStoreRegistry::new());
        let functions = functions.clone().with_stores(stores.clone());
        let mut registry = BallistaFunctionRegistry::default();
        for function in functions.scalar_functions()? {
            let name = function.name().to_owned();
            registry.scalar_functions.insert(name, function);
        }
        let work_dir = self.work_dir.clone();
        let runtime: RuntimeProducer = Arc::new(move |_| {
            let builder = RuntimeEnvBuilder::new()
                .with_temp_file_path(work_dir.clone())
                .with_object_store_registry(stores.clone());
            Ok(Arc::new(builder.build()?))
        });
        let config = ExecutorProcessConfig {
            bind_host: self.bind.to_string(),
            external_host: self.host.clone(),
            port: self.port,
            scheduler_host: self.scheduler_host.clone(),
            scheduler_port: self.scheduler_port,
            scheduler_connect_timeout_seconds: self.patience,
            vcores: self.slots.max(1),
            task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
            work_dir: Some(self.work_dir.display().to_string()),
            override_function_registry: Some(Arc::new(registry)),
            override_runtime_producer: Some(runtime),
            ..ExecutorProcessConfig::default()
        };
        Ok(start_executor_process(Arc::new(config)).await?)
    }
}
