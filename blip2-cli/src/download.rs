//! `blip2 download ID`.

use std::{path::PathBuf, sync::Mutex};

use blip2_io::hub::{Download, DownloadEvent, ModelId};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{Failure, args::hub::DownloadArgs};

pub(crate) fn run(args: &DownloadArgs) -> Result<(), Failure> {
    let folder = fetch(&args.id)?;
    say!("{}", folder.display());
    Ok(())
}

/// Downloads a model, with a bar for each file on standard error.
pub(crate) fn fetch(id: &ModelId) -> Result<PathBuf, Failure> {
    note!("downloading {id} from the Hugging Face hub");
    let shown = Shown::default();
    let download = Download::of_environment().progress(move |event| shown.show(event));
    download.fetch(id).map_err(Failure::work)
}

/// The bar of the file that is coming.
#[derive(Default)]
struct Shown(Mutex<Option<ProgressBar>>);

impl Shown {
    fn show(&self, event: DownloadEvent<'_>) {
        let Ok(mut bar) = self.0.lock() else {
            return;
        };
        match event {
            DownloadEvent::File { name, done, size } => {
                let bar = bar.get_or_insert_with(|| started(name, size));
                bar.set_position(done);
            }
            DownloadEvent::Done { name } => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                    note!("  {name}");
                }
            }
            _ => {}
        }
    }
}

fn started(name: &str, size: Option<u64>) -> ProgressBar {
    let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
    let style =
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.with_style(style).with_message(name.to_string())
}
