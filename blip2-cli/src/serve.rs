//! `blip2 serve`: answers over HTTP.

use std::{path::Path, time::Duration};

use blip2_core::{BlipAnswerer, BlipCaptioner, BlipRetrieval, CancelToken, ModelKind};
#[cfg(feature = "otel")]
use blip2_server::Telemetry;
use blip2_server::{Batching, Limits, Model, Server, Settings, answer_while_loading};
use tokio::{net::TcpListener, runtime::Builder, sync::oneshot, time::sleep};
#[cfg(feature = "otel")]
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    Failure,
    args::{
        model::{ModelArgs, RetrievalArgs},
        serve::ServeArgs,
    },
    asked::text_lines,
    interrupt, model, out,
};

/// How often it is looked whether the program is to stop.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run(args: ServeArgs) -> Result<(), Failure> {
    let settings = settings(&args)?;
    #[cfg(feature = "otel")]
    let telemetry = telemetry(&args)?;
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_filter(args.log);
    let subscriber = tracing_subscriber::registry().with(log);
    #[cfg(feature = "otel")]
    let subscriber = {
        // Whatever is logged, requests are told.
        let told = |telemetry: &Telemetry| telemetry.layer().with_filter(LevelFilter::INFO);
        subscriber.with(telemetry.as_ref().map(told))
    };
    subscriber.init();
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::work)?;
    // The address is taken before a model is loaded for minutes.
    let listener = runtime.block_on(TcpListener::bind((args.host.as_str(), args.port)));
    let listener = listener.map_err(|error| refused(&args, &error))?;
    let address = listener.local_addr().map_err(Failure::work)?;
    if !address.ip().is_loopback() && settings.keys.is_empty() {
        note!(
            "note: whoever reaches {} may ask, without a key; give --keys FILE to ask for one",
            address.ip()
        );
    }
    let (loaded, wait) = oneshot::channel::<()>();
    let answering = runtime.spawn(async move {
        answer_while_loading(&listener, wait).await;
        listener
    });
    let model = open(args.model)?;
    drop(loaded);
    let listener = runtime.block_on(answering).map_err(Failure::work)?;
    let server = Server::new(model, settings).map_err(Failure::work)?;
    let stop = interrupt::watched("stopping, once what is under way has ended", || {})?;
    say!("http://{address}");
    out::flush()?;
    let served = runtime.block_on(server.serve(listener, stopped(stop)));
    // What still computes for clients that were cut off is not waited for.
    runtime.shutdown_background();
    #[cfg(feature = "otel")]
    if let Some(telemetry) = telemetry {
        telemetry.shutdown().map_err(Failure::work)?;
    }
    served.map_err(Failure::work)
}

/// What sends spans to the collector of `--otlp`.
#[cfg(feature = "otel")]
fn telemetry(args: &ServeArgs) -> Result<Option<Telemetry>, Failure> {
    let made = args.otlp.as_deref();
    let made = made.map(|endpoint| Telemetry::new(endpoint, "blip2"));
    made.transpose().map_err(Failure::work)
}

fn refused(args: &ServeArgs, error: &std::io::Error) -> Failure {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => "; give another --port, or 0 for one that is free",
        _ => "",
    };
    let port = args.port;
    // An address of IPv6 has colons of its own.
    let host = match args.host.contains(':') {
        true => format!("[{}]", args.host),
        false => args.host.clone(),
    };
    Failure::Work(format!("{host}:{port}: {error}{hint}"))
}

async fn stopped(stop: CancelToken) {
    while !stop.is_cancelled() {
        sleep(LOOK).await;
    }
}

fn settings(args: &ServeArgs) -> Result<Settings, Failure> {
    let timeout = Duration::from_secs(args.timeout.into());
    let limits = Limits::default()
        .with_body_bytes(usize::from(args.max_body) << 20)
        .with_pixels(u64::from(args.max_pixels) * 1_000_000)
        .with_prompt_tokens(args.max_prompt_tokens.into())
        .with_max_tokens(args.max_tokens.into())
        .with_time(timeout);
    let batching = Batching::default()
        .with_size(args.batch.into())
        .with_workers(args.workers.into())
        .with_queue(args.queue.into())
        .with_cache_bytes((args.cache as usize).saturating_mul(1 << 20));
    let settings = Settings::default()
        .with_model_id(name(args))
        .with_allow_hosts(args.allow_host.clone())
        .with_keys(args.keys.as_deref().map_or(Ok(Vec::new()), keys)?)
        .with_limits(limits)
        .with_batching(batching)
        .with_page(!args.no_page)
        .with_stop_within(timeout);
    #[cfg(feature = "urls")]
    let settings = settings.with_allow_urls(args.allow_urls);
    Ok(settings)
}

/// What the model is called: as it was named, or as its folder.
fn name(args: &ServeArgs) -> String {
    let folder = args.model.model.as_deref().and_then(Path::file_name);
    match (&args.model_name, folder) {
        (Some(name), _) => name.clone(),
        (None, Some(folder)) => folder.to_string_lossy().into_owned(),
        (None, None) => "blip2-demo".into(),
    }
}

fn keys(file: &Path) -> Result<Vec<String>, Failure> {
    let mut keys = text_lines(file)?;
    keys.retain(|line| !line.starts_with('#'));
    // Without keys everyone may ask, which is not what was meant.
    match keys.is_empty() {
        true => Err(Failure::Work(format!(
            "{}: there is no key in it",
            file.display()
        ))),
        false => Ok(keys),
    }
}

/// The model of `--model`, whatever member of the family it is, or the demonstration model.
fn open(mut args: ModelArgs) -> Result<Model, Failure> {
    args.adapter.choose_later();
    let kind = model::kind(args.model.as_deref());
    Ok(match (args.model.clone(), kind) {
        (Some(folder), Some(ModelKind::BlipAnswer)) => {
            model::open_any_blip1(BlipAnswerer::builder(folder), &args)?.into()
        }
        (Some(folder), Some(ModelKind::BlipCaption)) => {
            model::open_any_blip1(BlipCaptioner::builder(folder), &args)?.into()
        }
        (Some(folder), Some(ModelKind::Blip2Retrieval)) => {
            model::open_retrieval(&retrieval(folder, args)?)?.into()
        }
        (Some(folder), Some(ModelKind::BlipRetrieval)) => {
            model::open_any_blip1(BlipRetrieval::builder(folder), &args)?.into()
        }
        _ => model::open(&args)?.into(),
    })
}

fn retrieval(model: std::path::PathBuf, args: ModelArgs) -> Result<RetrievalArgs, Failure> {
    if args.image_size.is_some() || args.memory.memory_limit.is_some() {
        return Err(Failure::usage(
            "--image-size and --memory-limit are not for a BLIP-2 that compares",
        ));
    }
    Ok(RetrievalArgs {
        model,
        adapter: args.adapter,
        loading: args.loading,
        device: args.device,
    })
}
