//! The process that plans queries and hands their tasks out.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ballista_core::{config::TaskSchedulingPolicy, utils::default_session_builder};
use ballista_scheduler::{
    cluster::BallistaCluster,
    config::{SchedulerConfig, TaskDistributionPolicy},
    scheduler_process::start_server,
    scheduler_server::SessionBuilder,
};
use blip2_datafusion::Functions;
use datafusion::execution::FunctionRegistry;

use crate::error::ClusterError;

/// A scheduler, which needs the types of the functions and no weights.
#[derive(Debug, Clone)]
pub struct Scheduler {
    /// Where it listens.
    pub bind: SocketAddr,
    /// The name by which executors and clients reach it.
    pub host: String,
    /// How long an executor may say nothing before its tasks are given to others. An executor speaks at
    /// least every five seconds.
    pub executor_timeout: Duration,
    /// How often a task is tried before its query fails.
    pub attempts: usize,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 50050)),
            host: "localhost".into(),
            executor_timeout: Duration::from_secs(30),
            attempts: 4,
        }
    }
}

impl Scheduler {
    /// Serves until the process ends.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Cluster`] if the address is taken, [`ClusterError::Functions`] for settings that make
    /// no sense.
    pub async fn run(&self, functions: &Functions) -> Result<(), ClusterError> {
        let registered = functions.scalar_functions()?;
        let session_builder: SessionBuilder = Arc::new(move |config| {
            let mut state = default_session_builder(config)?;
            for function in &registered {
                state.register_udf(function.clone())?;
            }
            Ok(state)
        });
        let timeout = self.executor_timeout.as_secs().max(1);
        let config = SchedulerConfig {
            external_host: self.host.clone(),
            bind_host: self.bind.ip().to_string(),
            bind_port: self.bind.port(),
            // Executors ask for tasks when they have a free place: nothing has to reach them but whoever
            // fetches results, and the faster ones get more.
            scheduling_policy: TaskSchedulingPolicy::PullStaged,
            task_distribution: TaskDistributionPolicy::RoundRobin,
            executor_timeout_seconds: timeout,
            expire_dead_executor_interval_seconds: (timeout / 4).clamp(1, 15),
            task_max_failures: self.attempts.max(1),
            stage_max_failures: self.attempts.max(1),
            override_session_builder: Some(session_builder),
            ..SchedulerConfig::default()
        };
        let cluster = BallistaCluster::new_from_config(&config).await?;
        Ok(start_server(cluster, self.bind, Arc::new(config)).await?)
    }
}
