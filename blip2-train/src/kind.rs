//! What is at fault in an error, for programs to decide by.

use blip2_core::{Blip2Error, ErrorKind};
use blip2_io::IoError;
use blip2_lm::LmError;

use crate::error::{Refusal, TrainError};

impl TrainError {
    /// What is at fault.
    ///
    /// ```
    /// use blip2_core::ErrorKind;
    /// use blip2_train::TrainError;
    ///
    /// let argument = "lr";
    /// let (value, reason) = ("-1".to_string(), "is no rate".to_string());
    /// let error = TrainError::Argument { argument, value, reason };
    /// assert_eq!(error.kind(), ErrorKind::Configuration);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model(refusal) => of_model(refusal),
            Self::Checkpoint { .. } => ErrorKind::Checkpoint,
            Self::Data(_) | Self::Example { .. } | Self::Batch { .. } => ErrorKind::Input,
            Self::Argument { .. } | Self::UnknownName { .. } | Self::NothingTrains { .. } => {
                ErrorKind::Configuration
            }
            Self::NotFinite { .. } => ErrorKind::Generation,
            Self::Score { source, .. } => source.kind(),
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Elsewhere { .. } | Self::Group { .. } => ErrorKind::Device,
            Self::State { .. } | Self::File { .. } | Self::InUse { .. } | Self::Overlap { .. } => {
                ErrorKind::File
            }
        }
    }
}

/// Of what the model's crates refused.
fn of_model(refusal: &Refusal) -> ErrorKind {
    let error = refusal.get_ref();
    if let Some(error) = error.downcast_ref::<Blip2Error>() {
        return error.kind();
    }
    if let Some(error) = error.downcast_ref::<LmError>() {
        return error.into();
    }
    match error.downcast_ref::<IoError>() {
        Some(error) => error.into(),
        None => ErrorKind::Checkpoint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_kind_of_the_crate_that_refused() {
        let late = TrainError::from(Blip2Error::Deadline);
        assert_eq!(late.kind(), ErrorKind::Deadline);
        let lost = TrainError::from(LmError::Device("lost".into()));
        assert_eq!(lost.kind(), ErrorKind::Device);
        let nowhere = TrainError::from(IoError::NoFolder("nowhere".into()));
        assert_eq!(nowhere.kind(), ErrorKind::Checkpoint);
    }
}
