//! `blip2 verify FOLDER`: the parity certificate.

use blip2_verify::{Check, Outcome, VerifyOptions, verify};

use crate::{Failure, args::checkpoint::VerifyArgs};

pub(crate) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let options = VerifyOptions::on(&args.device.device).map_err(Failure::refused)?;
    // The goldens are of f32; a precision that rounds is asked for by name.
    let precision = args.device.precision.plan(options.precision());
    let options = options.with_precision(precision);
    let options = options.with_speculative(args.speculative);
    let reports = verify(&args.folder, &options).map_err(Failure::work)?;
    if args.json {
        say!(
            "{}",
            serde_json::to_string_pretty(&reports).map_err(Failure::work)?
        );
    } else {
        for report in &reports {
            say!("{report}\n");
        }
    }
    match reports.iter().find(|report| !report.passed()) {
        None => Ok(()),
        Some(report) => Err(Failure::Work(match report.first_divergence() {
            Some(check) => fault(&report.name, check),
            None => format!("{}: there was nothing to check", report.name),
        })),
    }
}

fn fault(name: &str, Check { stage, outcome }: &Check) -> String {
    match outcome {
        Outcome::Failed { error } => format!("{name}: {stage}: {error}"),
        _ => format!("{name}: `{stage}` diverges from its golden"),
    }
}
