//! The report of a load: what was missing, misshapen or unused.

use std::fmt;

/// A tensor that the model asked for and the checkpoint does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The name asked for.
    pub name: String,
    /// The shape asked for.
    pub shape: Vec<usize>,
    /// The name in the checkpoint that is most like it.
    pub suggestion: Option<String>,
}

/// A tensor whose shape or format is not what the configuration demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// The tensor.
    pub name: String,
    /// The shape that the configuration demands.
    pub expected: Vec<usize>,
    /// The shape in the checkpoint, or a note on its format.
    pub found: String,
}

/// What a load found beside the weights that it wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// What is missing.
    pub missing: Vec<Missing>,
    /// What has the wrong shape or format.
    pub misshapen: Vec<Misshapen>,
    /// What the checkpoint holds and no part of the model asked for.
    pub unused: Vec<String>,
    /// What stands before every name that the model asks for in the checkpoint's names, if something does:
    /// a wrapper was saved, and not the model in it.
    pub prefix: Option<String>,
}

/// How many lines of a kind are shown; the fields have all.
const SHOWN: usize = 10;

impl LoadReport {
    /// Whether the model is complete: nothing is missing or misshapen.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_complete(), self.unused.len()) {
            (true, 0) => return f.write_str("every tensor is there and used"),
            (true, unused) => write!(f, "every tensor is there, and {unused} unused")?,
            (false, unused) => write!(
                f,
                "the weights do not fit the configuration: {} missing, {} misshapen, {unused} unused",
                self.missing.len(),
                self.misshapen.len(),
            )?,
        }
        if let Some(prefix) = &self.prefix {
            write!(
                f,
                "\n  the names in the file begin with `{prefix}`: a wrapper was saved, and not the model in it; \
                 save that, or rename the tensors"
            )?;
        }
        for Missing {
            name,
            shape,
            suggestion,
        } in self.missing.iter().take(SHOWN)
        {
            write!(f, "\n  missing: {name} {shape:?}")?;
            if let Some(suggestion) = suggestion {
                write!(f, " (the file has {suggestion})")?;
            }
        }
        and_more(f, "missing", self.missing.len())?;
        for Misshapen {
            name,
            expected,
            found,
        } in self.misshapen.iter().take(SHOWN)
        {
            write!(
                f,
                "\n  misshapen: {name} should be {expected:?}, the file has {found}"
            )?;
        }
        and_more(f, "misshapen", self.misshapen.len())?;
        for name in self.unused.iter().take(SHOWN) {
            write!(f, "\n  unused: {name}")?;
        }
        and_more(f, "unused", self.unused.len())
    }
}

fn and_more(f: &mut fmt::Formatter<'_>, what: &str, count: usize) -> fmt::Result {
    match count.saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write!(f, "\n  and {more} more {what}"),
    }
}
