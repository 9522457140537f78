//! Runs the tasks of queries with one model.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::ExitCode,
};

use blip2_ballista::{
    Executor,
    program::{FunctionArgs, ModelArgs, log_to_stderr, run},
};
use clap::Parser;

/// Runs the tasks of queries with one model, which it loads once.
#[derive(Debug, Parser)]
#[command(name = "blip2-executor", version)]
struct Args {
    #[command(flatten)]
    functions: FunctionArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// The scheduler.
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    scheduler: String,
    /// The scheduler's port.
    #[arg(long, value_name = "PORT", default_value_t = 50050)]
    scheduler_port: u16,
    /// How many seconds it waits for its scheduler.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u16,
    /// Where it listens for those who fetch results. Whoever reaches it may fetch them: keep it within a
    /// network that you trust.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Its port.
    #[arg(long, value_name = "PORT", default_value_t = 50051)]
    port: u16,
    /// The name by which others reach it. Default: the address that the scheduler sees.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// How many tasks run at a time: with two, one reads and decodes while the other computes.
    #[arg(long, value_name = "N", default_value_t = 2)]
    slots: usize,
    /// Where results wait to be fetched. Default: a folder of its own among the temporary files, which goes
    /// with it.
    #[arg(long, value_name = "FOLDER")]
    work: Option<PathBuf>,
    /// What is logged, as `level` or `crate=level`, between commas; `blip2_datafusion=debug` tells of each
    /// batch.
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "warn")]
    log: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    run(async move {
        log_to_stderr(&args.log)?;
        let functions = args.functions.loaded(&args.model)?;
        let own = tempfile::Builder::new()
            .prefix("blip2-executor-")
            .tempdir()?;
        let work_dir = match args.work {
            Some(folder) => {
                std::fs::create_dir_all(&folder)?;
                folder
            }
            None => own.path().to_path_buf(),
        };
        let executor = Executor {
            scheduler_host: args.scheduler,
            scheduler_port: args.scheduler_port,
            bind: args.bind,
            port: args.port,
            host: args.host,
            slots: args.slots,
            work_dir,
            patience: args.patience,
        };
        Ok(executor.run(&functions).await?)
    })
}
