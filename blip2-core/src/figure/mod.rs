//! Pictures that show what came of pictures.
//!
//! [`contact_sheet`] lays pictures side by side with lines of text; heat maps are drawn by
//! [`Explanation`](crate::explain::Explanation). With the feature `evcxr` a notebook shows answers, hits,
//! explanations and [`Figure`]s where a cell ends in them.

pub(crate) mod letters;
#[cfg(feature = "evcxr")]
mod notebook;
mod sheet;

#[cfg(feature = "evcxr")]
pub use notebook::Figure;
pub use sheet::{Line, contact_sheet, hits_sheet};
