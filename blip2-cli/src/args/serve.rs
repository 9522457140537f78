//! Arguments of `blip2 serve`.

use std::path::PathBuf;

use clap::{Args, builder::NonEmptyStringValueParser};

use super::model::ModelArgs;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The address to listen at, or a name of it. With another than this machine's own, whoever reaches it may ask:
    /// give --keys then.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) host: String,
    /// The port to listen at; 0 for one that is free, which the first line of output tells.
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,
    /// What the model is called in answers. Default: the last part of --model.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) model_name: Option<String>,
    /// Another name by which the server is called, such as that of a proxy before it: where it listens to this
    /// machine alone it answers to localhost and such names only, and pages of such names may ask it. May be given
    /// several times.
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub(crate) allow_host: Vec<String>,
    /// A text file of keys, one a line, any of which a request must bring as `Authorization: Bearer KEY`. Lines that
    /// begin with # are comments.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Fetch pictures by their URLs (http and https) too, of public servers.
    #[cfg(feature = "urls")]
    #[arg(long)]
    pub(crate) allow_urls: bool,
    /// Leave out the page at /.
    #[arg(long)]
    pub(crate) no_page: bool,
    /// How many requests run together at most.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    /// How many batches run at a time, sharing the cores.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// How many requests may wait; more are answered with 429.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) queue: u16,
    /// How much memory encoded pictures may take that are kept for further questions.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub(crate) cache: u32,
    /// The largest request.
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_body: u16,
    /// The largest picture, in millions of pixels.
    #[arg(long, value_name = "MILLIONS", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_pixels: u16,
    /// The most tokens of a question or a prompt.
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_prompt_tokens: u16,
    /// The most tokens that a request may ask for.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_tokens: u16,
    /// How long a request may take, and how long requests under way may take to end when the program is
    /// told to stop.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) timeout: u16,
    /// What is logged on standard error: off, error, warn, info (a line for each request) or debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: tracing_subscriber::filter::LevelFilter,
    /// Send spans of requests to this collector of OpenTelemetry, such as http://localhost:4318 (OTLP over
    /// HTTP).
    #[cfg(feature = "otel")]
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

/// A name without a scheme, a port or a path.
fn host_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    match !text.is_empty() && (is_address || text.bytes().all(plain)) {
        true => Ok(text.into()),
        false => Err(
            "give a name alone, such as pictures.example, without https:// and without a port"
                .into(),
        ),
    }
}
