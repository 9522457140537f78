//! Runs a query over a table's files, each by itself, and goes on where it was stopped.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use blip2_ballista::{
    Job, Session,
    program::{FunctionArgs, ModelArgs, log_to_stderr, run},
};
use clap::Parser;

/// Runs a query over a table's Parquet files, each by itself, and writes a Parquet file for each. The same
/// command again computes what is missing.
///
/// The functions are blip2_caption(image), blip2_answer(image, question), blip2_match(image, text),
/// blip2_embed(image), blip2_embed_text(text) and blip2_similarity(a, b), those of them that the model has.
#[derive(Debug, Parser)]
#[command(name = "blip2-sql", version)]
struct Args {
    /// The query, such as "SELECT name, blip2_caption(image) AS caption FROM photos".
    sql: String,
    /// The table, by the name that the query has for it: a Parquet file, or a folder of them.
    #[arg(long, value_name = "NAME=PATH", value_parser = table)]
    table: (String, PathBuf),
    /// The folder that the results go to.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// The cluster's scheduler, df://HOST:PORT. Without it this machine computes.
    #[arg(long, value_name = "URL")]
    scheduler: Option<String>,
    /// How many files are computed at a time. Default: 64 on a cluster, which gives them to whoever has a
    /// place, and 2 on this machine, where one is read while the other is computed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    at_once: Option<u16>,
    /// How often a file is tried on a cluster, where a result is lost if its executor dies before it was
    /// fetched.
    #[arg(long, value_name = "N", default_value_t = 3)]
    attempts: usize,
    /// Throw away what another job left in the output, and begin anew.
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    functions: FunctionArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// What is logged, as `level` or `crate=level`, between commas.
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "warn")]
    log: String,
}

fn table(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.into(), path.into()))
        }
        _ => Err("give NAME=PATH, such as photos=data/photos".into()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    run(async move {
        log_to_stderr(&args.log)?;
        let session = match &args.scheduler {
            Some(url) => Session::remote(url, &args.functions.declared()?)?,
            None => Session::local(&args.functions.loaded(&args.model)?)?,
        };
        let usual = if session.is_remote() { 64 } else { 2 };
        let (table, input) = args.table;
        let job = Job {
            sql: args.sql,
            table,
            input,
            output: args.output,
            model: args.functions.model.display().to_string(),
            at_once: args.at_once.map_or(usual, usize::from),
            attempts: args.attempts,
            restart: args.restart,
        };
        report(&job, &session).await
    })
}

#[allow(clippy::print_stderr, reason = "the program tells how far it is")]
async fn report(job: &Job, session: &Session) -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let told = |split: &blip2_ballista::job::Split, rows: u64| {
        eprintln!(
            "{}: {rows} rows ({:.1} s)",
            split.name,
            begun.elapsed().as_secs_f64()
        );
    };
    let done = job.run(session, told).await?;
    eprintln!(
        "{} files: {} were there, {} computed, {} rows, {} attempts made again, in {:.1} s",
        done.splits,
        done.found,
        done.computed,
        done.rows,
        done.again,
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}
