//! Outputs that are nothing of what is read.

use std::path::Path;

use blip2_io::{IoError, check_apart};

use crate::Failure;

/// Refuses an output of an option that would be written over an input: over a file, or into a model's folder
/// as one of its own.
pub(crate) fn check<'p>(
    option: &str,
    output: &Path,
    inputs: impl IntoIterator<Item = &'p Path>,
) -> Result<(), Failure> {
    for input in inputs {
        check_apart(output, input).map_err(|error| match error {
            IoError::OntoInput { output, input } => Failure::Usage(format!(
                "{}: {option} would write over {}, which is read; give it another name",
                output.display(),
                input.display()
            )),
            error => Failure::work(error),
        })?;
    }
    Ok(())
}
