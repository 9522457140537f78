//! Ends that all processes come to together: where one fails and the others do not hear of it, they would
//! wait for it forever.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::processes::Group;
use crate::error::TrainError;

/// What each process brings, in the order of their numbers, or the fault of the first that has one: then
/// all of them end.
///
/// ```
/// use blip2_train::{Alone, TrainError, agreed};
///
/// assert_eq!(agreed(&Alone, Ok(7))?, [7]);
/// let ended = agreed::<u8>(&Alone, Err(TrainError::Cancelled));
/// assert!(matches!(ended, Err(TrainError::Cancelled)));
/// # Ok::<(), TrainError>(())
/// ```
///
/// # Errors
///
/// The own one, [`TrainError::Cancelled`] or [`TrainError::NotFinite`] as another process has it, else
/// [`TrainError::Elsewhere`]; and as [`Group::gather`].
pub fn agreed<T: Serialize + DeserializeOwned>(
    group: &dyn Group,
    own: Result<T, TrainError>,
) -> Result<Vec<T>, TrainError> {
    if group.size() == 1 {
        return own.map(|own| vec![own]);
    }
    let (told, fault) = match own {
        Ok(own) => (Told::Well(own), None),
        Err(error) => (Told::Fault(Fault::of(&error)), Some(error)),
    };
    let bytes = serde_json::to_vec(&told).map_err(unread)?;
    let mut found = Vec::new();
    let mut fault = fault;
    for (rank, bytes) in group.gather(&bytes)?.into_iter().enumerate() {
        match serde_json::from_slice(&bytes).map_err(unread)? {
            Told::Well(value) => found.push(value),
            // The first one's counts for all, so that all end in the same way.
            Told::Fault(other) => {
                let own = fault.take().filter(|_| rank == group.rank());
                return Err(own.unwrap_or_else(|| other.into_error(rank)));
            }
        }
    }
    Ok(found)
}

/// The own value where every process has one; what it is, the others need not know.
pub(crate) fn together<T>(group: &dyn Group, own: Result<T, TrainError>) -> Result<T, TrainError> {
    let (told, own) = match own {
        Ok(own) => (Ok(()), Some(own)),
        Err(error) => (Err(error), None),
    };
    agreed(group, told)?;
    own.ok_or_else(|| TrainError::Group {
        reason: "they do not agree whether this one failed".into(),
    })
}

#[derive(Serialize, Deserialize)]
enum Told<T> {
    Well(T),
    Fault(Fault),
}

/// A fault, as far as the others' end depends on what it is.
#[derive(Serialize, Deserialize)]
enum Fault {
    Cancelled,
    NotFinite {
        what: String,
        /// JSON has no number for it.
        bits: u32,
        step: usize,
        lr: Option<f64>,
    },
    Elsewhere(usize, String),
    Other(String),
}

impl Fault {
    fn of(error: &TrainError) -> Self {
        match error {
            TrainError::Cancelled => Self::Cancelled,
            TrainError::NotFinite {
                what,
                value,
                step,
                lr,
            } => Self::NotFinite {
                what: what.clone(),
                bits: value.to_bits(),
                step: *step,
                lr: *lr,
            },
            // It says itself whose it is.
            TrainError::Elsewhere { rank, reason } => Self::Elsewhere(*rank, reason.clone()),
            other => Self::Other(other.to_string()),
        }
    }

    fn into_error(self, rank: usize) -> TrainError {
        match self {
            Self::Cancelled => TrainError::Cancelled,
            Self::NotFinite {
                what,
                bits,
                step,
                lr,
            } => TrainError::NotFinite {
                what,
                value: f32::from_bits(bits),
                step,
                lr,
            },
            Self::Elsewhere(rank, reason) => TrainError::Elsewhere { rank, reason },
            Self::Other(reason) => TrainError::Elsewhere { rank, reason },
        }
    }
}

fn unread(error: serde_json::Error) -> TrainError {
    let reason = format!("what the processes tell one another cannot be read: {error}");
    TrainError::Group { reason }
}
