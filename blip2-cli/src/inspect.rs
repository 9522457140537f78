//! `blip2 inspect FOLDER`: what a checkpoint holds and needs, without loading it.

use std::collections::BTreeMap;

use blip2_core::{
    CheckpointFolder,
    inspect::{Inspection, inspect},
    memory::Workload,
};
use serde_json::json;

use crate::{
    Failure,
    args::checkpoint::InspectArgs,
    words::{commands, words},
};

pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let mut found = inspect(&args.folder).map_err(Failure::work)?;
    if args.numbers {
        let checked = CheckpointFolder::open(&args.folder)
            .and_then(|folder| folder.checkpoint()?.verify_finite());
        found
            .obstacles
            .extend(checked.err().map(|error| words(&error)));
    }
    if args.json {
        say!(
            "{}",
            serde_json::to_string_pretty(&as_json(&found)).map_err(Failure::work)?
        );
    } else {
        say!("{found}");
        if let Some(commands) = commands(found.kind).filter(|_| found.is_complete()) {
            say!("  run it with {commands}");
        }
    }
    if found.is_complete() {
        return Ok(());
    }
    let reason = match found.report.is_complete() {
        true => "what is said to be in the way must be mended first",
        false => "the checkpoint does not fit its configuration",
    };
    Err(Failure::Work(reason.into()))
}

fn as_json(found: &Inspection) -> serde_json::Value {
    let parts: BTreeMap<_, _> = found
        .parts
        .iter()
        .map(|part| (part.name, part.parameters))
        .collect();
    let memory: BTreeMap<_, _> = found
        .memory()
        .into_iter()
        .map(|(precision, bytes)| (precision.to_string(), bytes))
        .collect();
    let peaks: BTreeMap<_, _> = found
        .peak_memory(&Workload::default())
        .into_iter()
        .map(|(precision, bytes)| (precision.to_string(), bytes))
        .collect();
    json!({
        "folder": found.path,
        "architecture": found.kind.class(),
        "abilities": found.kind.abilities().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "language_model": found.language_model,
        "parameters": parts,
        "bytes_on_disk": found.bytes_on_disk,
        "bytes_of_adapter": found.adapter,
        "bytes_in_memory": memory,
        "peak_bytes_of_a_caption": peaks,
        "missing": found.report.missing.iter().map(|m| &m.name).collect::<Vec<_>>(),
        "misshapen": found.report.misshapen.iter().map(|m| &m.name).collect::<Vec<_>>(),
        "unused": found.report.unused,
        "in_the_way": found.obstacles,
        "notes": found.notes,
        "transformers_version": found.transformers_version,
    })
}
