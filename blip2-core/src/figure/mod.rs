//! Contact sheets: pictures side by side, with lines of text. Heat maps are drawn by
//! `explain::Explanation`.

pub(crate) mod letters;
mod sheet;

pub use sheet::{Line, contact_sheet, hits_sheet};
