//! Plans queries with BLIP-2's functions and hands their tasks to executors.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use blip2_ballista::{
    Scheduler,
    program::{FunctionArgs, log_to_stderr, run},
};
use clap::Parser;

/// Plans queries with BLIP-2's functions and hands their tasks to executors. It reads a model's
/// configuration and no weights.
#[derive(Debug, Parser)]
#[command(name = "blip2-scheduler", version)]
struct Args {
    #[command(flatten)]
    functions: FunctionArgs,
    /// Where it listens. Whoever reaches it may run queries: keep it within a network that you trust.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// The port of executors and clients.
    #[arg(long, value_name = "PORT", default_value_t = 50050)]
    port: u16,
    /// The name by which executors and clients reach it.
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    host: String,
    /// How many seconds an executor may say nothing before its tasks are given to others.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(10..))]
    executor_timeout: u64,
    /// How often a task is tried before its query fails.
    #[arg(long, value_name = "N", default_value_t = 4)]
    attempts: usize,
    /// What is logged, as `level` or `crate=level`, between commas.
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "warn")]
    log: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    run(async move {
        log_to_stderr(&args.log)?;
        let scheduler = Scheduler {
            bind: SocketAddr::new(args.bind, args.port),
            host: args.host,
            executor_timeout: Duration::from_secs(args.executor_timeout),
            attempts: args.attempts,
        };
        Ok(scheduler.run(&args.functions.declared()?).await?)
    })
}
