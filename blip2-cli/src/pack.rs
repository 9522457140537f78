//! `blip2 pack FOLDER -o FILE`: a checkpoint in one file that opens at once.

use blip2_core::{Precision, pack};

use crate::{Failure, apart, args::checkpoint::PackArgs, model::spinner};

pub(crate) fn run(args: &PackArgs) -> Result<(), Failure> {
    apart::check("--output", &args.output, [args.folder.as_path()])?;
    let spinner = spinner("packing");
    let precision = args.precision.plan(Precision::AsStored);
    let written = pack(&args.folder, precision, &args.output).map_err(Failure::work);
    spinner.finish_and_clear();
    let bytes = written?;
    note!(
        "wrote {} ({:.2} GB); use it with --model",
        args.output.display(),
        bytes as f64 / 1e9
    );
    Ok(())
}
