//! `blip2 convert FILE.pth --arch NAME -o FOLDER`.

use blip2_core::{inspect::inspect, lavis::Conversion};

use crate::{Failure, args::checkpoint::ConvertArgs, model::spinner};

pub(crate) fn run(args: &ConvertArgs) -> Result<(), Failure> {
    let mut conversion = Conversion::new(&args.file, args.arch);
    if let Some(file) = &args.vision {
        conversion = conversion.vision(file);
    }
    if let Some(folder) = &args.language_model {
        conversion = conversion.language_model(folder);
    }
    if let Some(folder) = &args.tokenizer {
        conversion = conversion.tokenizer(folder);
    }
    if let Some(folder) = &args.config {
        conversion = conversion.config(folder);
    }
    let spinner = spinner("converting");
    let converted = conversion.write(&args.output).map_err(Failure::work);
    spinner.finish_and_clear();
    say!("{}", converted?);
    // What was written must be a whole model, whatever the file held.
    let found = inspect(&args.output).map_err(Failure::work)?;
    say!("{found}");
    match found.report.is_complete() {
        true => Ok(()),
        false => Err(Failure::Work(format!(
            "{}: the model is not complete",
            args.output.display()
        ))),
    }
}
