//! `blip2 merge FOLDER --adapter FOLDER -o FOLDER`: an adapter in its base's matrices.

use blip2_core::{CheckpointFolder, inspect::inspect};
use blip2_io::Adapter;

use crate::{Failure, args::checkpoint::MergeArgs, model::spinner};

pub(crate) fn run(args: &MergeArgs) -> Result<(), Failure> {
    let Some(adapter) = &args.adapter else {
        return Err(Failure::Usage(format!(
            "{} holds a model; name the adapter with --adapter, or give its folder in the model's place",
            args.folder.display()
        )));
    };
    let base = CheckpointFolder::open(&args.folder).map_err(Failure::work)?;
    let adapter = Adapter::open(adapter).map_err(Failure::work)?;
    let spinner = spinner("merging");
    let merged = blip2_train::merge(&base, &adapter, &args.output).map_err(Failure::work);
    spinner.finish_and_clear();
    merged?;
    // What was written must be a whole model, whatever the folder held.
    let found = inspect(&args.output).map_err(Failure::work)?;
    if !found.report.is_complete() {
        say!("{found}");
        let text = format!("{}: the model is not complete", args.output.display());
        return Err(Failure::Work(text));
    }
    note!("wrote {}; use it with --model", args.output.display());
    Ok(())
}
