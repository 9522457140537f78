//! What a checkpoint itself must say.

use std::{
    collections::{BTreeSet, btree_set::Difference},
    path::Path,
};

use blip2_core::Blip2Error;
use blip2_io::CheckpointFolder;
use serde_json::Value;

use crate::{compare::Compare, error::VerifyError, report::Outcome};

/// The names of its tensors.
pub(crate) fn checkpoint_keys(
    verification: &mut impl Compare,
    folder: &Path,
) -> Result<(), VerifyError> {
    let keys = verification.golden().json("checkpoint_keys").cloned();
    let Some(Value::Array(keys)) = keys else {
        return Ok(());
    };
    let expected: BTreeSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let folder = CheckpointFolder::open(folder).map_err(Blip2Error::from)?;
    let checkpoint = folder.checkpoint().map_err(Blip2Error::from)?;
    let difference = names_differ(checkpoint.names().collect(), expected);
    let outcome = Outcome::Exact { difference };
    verification.report().push("checkpoint_keys", outcome);
    Ok(())
}

/// How the names of tensors differ from the recorded ones.
fn names_differ(found: BTreeSet<&str>, expected: BTreeSet<&str>) -> Option<String> {
    let (more, fewer) = (found.difference(&expected), expected.difference(&found));
    let told = |what: &str, mut names: Difference<'_, &str>| {
        let first = names.next()?;
        let rest = names.count();
        Some(match rest {
            0 => format!("{what} `{first}`"),
            _ => format!("{what} `{first}` and {rest} others"),
        })
    };
    told("lacks", fewer).or_else(|| told("holds", more))
}
