//! The corpus `bad/`: inputs that are spoilt, each brought to the program as a user would bring it.
//!
//! Each is refused with a message that names what is wrong, and none ends the program by a panic or a
//! signal; the system sends one beyond 2 seconds of computing or 200 MB of memory. How a case is
//! written down is said at the top of `bad/manifest.toml`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod child;
mod manifest;
mod spoil;

use child::{Ended, run};
use manifest::{Case, Group, groups};
use spoil::prepared;

/// The fewest cases that a run is worth its name with.
const FEWEST: usize = 150;

/// What is wrong with how the program took a case, if something is.
fn fault(group: &Group, case: &Case) -> Option<String> {
    let folder = prepared(group, case);
    let Ended { code, said } = run(folder.path(), case.command(group));
    let missing = case.says().find(|part| !said.contains(*part));
    if !matches!(code, Some(1 | 2)) {
        let how = code.map_or("a signal".into(), |code| format!("code {code}"));
        Some(format!("it ended by {how}:\n{said}"))
    } else if said.contains("panicked") {
        Some(format!("a thread panicked:\n{said}"))
    } else {
        missing.map(|part| format!("`{part}` is not in:\n{said}"))
    }
}

#[test]
fn every_bad_input_is_refused_by_name_in_little_time_and_memory() {
    let groups = groups();
    let mut count = 0;
    let mut faults = Vec::new();
    for group in &groups {
        for case in &group.cases {
            count += 1;
            if let Some(fault) = fault(group, case) {
                faults.push(format!("{}: {}: {fault}", group.about, case.name));
            }
        }
    }
    let list = faults.join("\n");
    assert!(
        faults.is_empty(),
        "{} of {count} cases:\n{list}",
        faults.len()
    );
    assert!(count >= FEWEST, "{count} cases");
}
