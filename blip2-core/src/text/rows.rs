//! Prompt rows: the token ids that the language model sees, image placeholders included.

use crate::error::Blip2Error;

/// On which side of the text shorter rows are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaddingSide {
    /// Between the image placeholders and the text: `[<image> …][pad …][text]`, for decoder-only
    /// models, whose next token follows the last position.
    Left,
    /// After the text: `[<image> …][text][pad …]`, for encoder-decoder models.
    Right,
}

/// A rectangular batch of prompt rows with their attention mask.
///
/// ```
/// use blip2_core::model::{PaddingSide, PromptRows};
///
/// let (image, pad) = (50, 1);
/// let texts = [vec![2, 7], vec![2, 7, 8, 9]];
/// let rows = PromptRows::lay_out(&texts, Some(image), 2, pad, PaddingSide::Left)?;
/// assert_eq!(rows.ids(), [[50, 50, 1, 1, 2, 7], [50, 50, 2, 7, 8, 9]]);
/// assert_eq!(rows.mask()[0], [true, true, false, false, true, true]);
/// assert_eq!(rows.unpadded()[0], [50, 50, 2, 7]);
/// # Ok::<(), blip2_core::Blip2Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptRows {
    ids: Vec<Vec<u32>>,
    mask: Vec<Vec<bool>>,
}

impl PromptRows {
    /// Rows as they are, for ids that were padded elsewhere; `mask` is true where a position
    /// counts.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Rows`] for an empty batch, empty rows, or rows of different lengths.
    pub fn new(ids: Vec<Vec<u32>>, mask: Vec<Vec<bool>>) -> Result<Self, Blip2Error> {
        let width = ids.first().map_or(0, Vec::len);
        if width == 0 {
            return Err(Blip2Error::Rows {
                reason: "there are no rows, or they are empty".into(),
            });
        }
        if ids.len() != mask.len() {
            let reason = format!("{} rows of ids but {} of mask", ids.len(), mask.len());
            return Err(Blip2Error::Rows { reason });
        }
        for (row, (ids, mask)) in ids.iter().zip(&mask).enumerate() {
            if ids.len() != width || mask.len() != width {
                let reason = format!(
                    "row {row} has {} ids and {} mask values where row 0 has {width} ids",
                    ids.len(),
                    mask.len()
                );
                return Err(Blip2Error::Rows { reason });
            }
        }
        Ok(Self { ids, mask })
    }

    /// Pads `texts` to one length and puts `placeholders` copies of `image_token` before each, as
    /// `Blip2Processor` lays rows out. Without an image token the rows hold text alone.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Rows`] for an empty batch or if every row is empty.
    pub fn lay_out(
        texts: &[Vec<u32>],
        image_token: Option<u32>,
        placeholders: usize,
        pad_token: u32,
        side: PaddingSide,
    ) -> Result<Self, Blip2Error> {
        let images = image_token.map_or_else(Vec::new, |token| vec![token; placeholders]);
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for text in texts {
            let padding = longest - text.len();
            let pads = || std::iter::repeat_n((pad_token, false), padding);
            let (left, right) = match side {
                PaddingSide::Left => (Some(pads()), None),
                PaddingSide::Right => (None, Some(pads())),
            };
            let (row, attend) = images
                .iter()
                .map(|&id| (id, true))
                .chain(left.into_iter().flatten())
                .chain(text.iter().map(|&id| (id, true)))
                .chain(right.into_iter().flatten())
                .unzip();
            ids.push(row);
            mask.push(attend);
        }
        Self::new(ids, mask)
    }

    /// The rows at these places, in this order; any may come more than once.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Rows`] for no places, and for one beyond the rows.
    pub fn select(&self, places: &[usize]) -> Result<Self, Blip2Error> {
        if let Some(place) = places.iter().find(|&&place| place >= self.len()) {
            let reason = format!("there is no row {place} among {}", self.len());
            return Err(Blip2Error::Rows { reason });
        }
        let ids = places.iter().map(|&place| self.ids[place].clone());
        let mask = places.iter().map(|&place| self.mask[place].clone());
        Self::new(ids.collect(), mask.collect())
    }

    /// Every row `count` times, the whole batch after itself.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Rows`] for a count of zero.
    pub(crate) fn repeated(&self, count: usize) -> Result<Self, Blip2Error> {
        let places: Vec<usize> = (0..count).flat_map(|_| 0..self.len()).collect();
        self.select(&places)
    }

    /// Rows that all have one length, so that every position counts.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn even(ids: Vec<Vec<u32>>) -> Result<Self, Blip2Error> {
        let mask = ids.iter().map(|row| vec![true; row.len()]).collect();
        Self::new(ids, mask)
    }

    /// The token ids, `[batch][seq]`.
    pub fn ids(&self) -> &[Vec<u32>] {
        &self.ids
    }

    /// The attention mask, `[batch][seq]`.
    pub fn mask(&self) -> &[Vec<bool>] {
        &self.mask
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no rows; never true of a constructed value.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The ids of each row without its padding.
    pub fn unpadded(&self) -> Vec<Vec<u32>> {
        let rows = self.ids.iter().zip(&self.mask);
        rows.map(|(ids, mask)| {
            ids.iter()
                .zip(mask)
                .filter_map(|(&id, &counts)| counts.then_some(id))
                .collect()
        })
        .collect()
    }

    /// For each position, row by row, which of its row's image features stands there, if any.
    ///
    /// # Errors
    ///
    /// [`Blip2Error::Placeholders`] naming the first row whose number of `image_token`s is not
    /// `features`.
    pub(crate) fn placements(
        &self,
        image_token: u32,
        features: usize,
    ) -> Result<Vec<Option<usize>>, Blip2Error> {
        let mut placements = Vec::new();
        for (row, ids) in self.ids.iter().enumerate() {
            let mut found = 0;
            placements.extend(ids.iter().map(|&id| {
                (id == image_token).then(|| {
                    found += 1;
                    found - 1
                })
            }));
            if found != features {
                return Err(Blip2Error::Placeholders {
                    row,
                    found,
                    expected: features,
                    image_token,
                });
            }
        }
        Ok(placements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: bool = true;
    const F: bool = false;

    #[test]
    fn padding_stands_between_image_and_text_or_behind() {
        let texts = [vec![2, 7], vec![2, 7, 8, 9]];
        let left = PromptRows::lay_out(&texts, Some(50), 2, 1, PaddingSide::Left).unwrap();
        assert_eq!(left.ids(), [[50, 50, 1, 1, 2, 7], [50, 50, 2, 7, 8, 9]]);
        assert_eq!(left.mask(), [[T, T, F, F, T, T], [T; 6]]);
        assert_eq!(
            left.unpadded(),
            [vec![50, 50, 2, 7], vec![50, 50, 2, 7, 8, 9]]
        );

        let right = PromptRows::lay_out(&texts, Some(50), 2, 1, PaddingSide::Right).unwrap();
        assert_eq!(right.ids()[0], [50, 50, 2, 7, 1, 1]);

        let bare = PromptRows::lay_out(&texts, None, 2, 1, PaddingSide::Left).unwrap();
        assert_eq!(bare.ids()[0], [1, 1, 2, 7]);
    }

    #[test]
    fn too_few_and_too_many_placeholders_are_refused() {
        let rows = PromptRows::new(vec![vec![5, 50, 6, 50]], vec![vec![T; 4]]).unwrap();
        assert_eq!(
            rows.placements(50, 2).unwrap(),
            [None, Some(0), None, Some(1)]
        );
        for expected in [1, 3] {
            let error = rows.placements(50, expected).unwrap_err().to_string();
            assert!(
                error.contains("2") && error.contains(&expected.to_string()),
                "{error}"
            );
        }
    }

    #[test]
    fn ragged_rows_are_refused() {
        assert!(PromptRows::new(vec![], vec![]).is_err());
        assert!(PromptRows::new(vec![vec![]], vec![vec![]]).is_err());
        assert!(PromptRows::new(vec![vec![1], vec![1, 2]], vec![vec![T], vec![T, T]]).is_err());
        assert!(PromptRows::new(vec![vec![1, 2]], vec![vec![T]]).is_err());
        assert!(PromptRows::new(vec![vec![1, 2]], vec![]).is_err());
    }
}
