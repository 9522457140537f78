//! The sizes that pictures are resized to and cut to.

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::ImageError;

/// The largest height or width that pictures are prepared in. Beyond any model's, and so little that
/// the numbers of a picture fit into memory.
const LARGEST: u32 = 1 << 13;
/// The most pixels that a picture of a very long shape becomes when its shorter edge is enlarged.
const MOST_PIXELS: u64 = 1 << 26;

/// A size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Size {
    /// The height.
    pub height: u32,
    /// The width.
    pub width: u32,
}

/// What pictures are resized to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Sizing {
    /// To exactly this size; the aspect is not kept.
    Exact(Size),
    /// So that the shorter edge has this length, and the aspect is kept.
    Edge {
        /// The length of the shorter edge.
        shortest_edge: u32,
        /// The longer edge may have at most this length, and makes the shorter one shorter.
        #[serde(skip_serializing_if = "Option::is_none")]
        longest_edge: Option<u32>,
    },
}

impl From<Size> for Sizing {
    fn from(size: Size) -> Self {
        Self::Exact(size)
    }
}

/// A size as a file spells it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
pub(super) enum Spelled {
    Both {
        height: u32,
        width: u32,
    },
    Edge {
        shortest_edge: u32,
        longest_edge: Option<u32>,
    },
    Pair([u32; 2]),
    One(u32),
}

impl Spelled {
    /// One of the spellings, or null.
    pub(super) fn read<'de, D: Deserializer<'de>>(file: D) -> Result<Option<Self>, D::Error> {
        Option::deserialize(file).map_err(|_| {
            D::Error::custom(
                "must be a number, [height, width], {\"height\", \"width\"}, or {\"shortest_edge\"}",
            )
        })
    }

    /// What pictures are resized to. A single number is a square, but for processors that keep the
    /// aspect.
    pub(super) fn sizing(self, keeps_aspect: bool) -> Sizing {
        match self {
            Self::Edge {
                shortest_edge,
                longest_edge,
            } => Sizing::Edge {
                shortest_edge,
                longest_edge,
            },
            Self::One(shortest_edge) if keeps_aspect => Sizing::Edge {
                shortest_edge,
                longest_edge: None,
            },
            Self::Both { height, width } | Self::Pair([height, width]) => {
                Sizing::Exact(Size { height, width })
            }
            Self::One(side) => Sizing::Exact(Size {
                height: side,
                width: side,
            }),
        }
    }

    /// What pictures are cut to.
    pub(super) fn size(self) -> Result<Size, &'static str> {
        match self.sizing(false) {
            Sizing::Exact(size) => Ok(size),
            Sizing::Edge { .. } => Err("must be a number or {\"height\", \"width\"}"),
        }
    }
}

impl Size {
    pub(super) fn validate(self, key: &'static str) -> Result<(), ImageError> {
        for side in [self.height, self.width] {
            check(key, side)?;
        }
        Ok(())
    }
}

fn check(key: &'static str, side: u32) -> Result<(), ImageError> {
    let reason = match side {
        0 => "must be above zero",
        1..=LARGEST => return Ok(()),
        _ => "no model looks at pictures so large",
    };
    let value = side.to_string();
    Err(ImageError::Config { key, value, reason })
}

impl Sizing {
    pub(super) fn validate(self) -> Result<(), ImageError> {
        match self {
            Self::Exact(size) => size.validate("size"),
            Self::Edge {
                shortest_edge,
                longest_edge,
            } => {
                check("size.shortest_edge", shortest_edge)?;
                longest_edge.map_or(Ok(()), |edge| check("size.longest_edge", edge))
            }
        }
    }

    /// The size that a picture is resized to.
    ///
    /// # Errors
    ///
    /// [`ImageError::Limit`] for a picture so long that it would not fit into memory.
    pub(super) fn of(self, source: Size) -> Result<Size, ImageError> {
        let (shortest, longest) = match self {
            Self::Exact(size) => return Ok(size),
            Self::Edge {
                shortest_edge,
                longest_edge,
            } => (shortest_edge, longest_edge),
        };
        let (short, long) = match source.width <= source.height {
            true => (source.width, source.height),
            false => (source.height, source.width),
        };
        let edges = match longest {
            // `get_resize_output_image_size` of `transformers`: cut towards zero.
            None => (u64::from(shortest), scaled(shortest, long, short)),
            Some(longest) => within(shortest, longest, short, long),
        };
        let pixels = edges.0.saturating_mul(edges.1);
        if pixels > MOST_PIXELS {
            return Err(ImageError::Limit {
                what: "area after it is resized, in pixels",
                found: pixels,
                limit: MOST_PIXELS,
                option: "max_pixels",
            });
        }
        // A picture a hundred times as long as high keeps a pixel.
        let [short, long] = [edges.0, edges.1].map(|edge| edge.max(1) as u32);
        Ok(match source.width <= source.height {
            true => Size {
                height: long,
                width: short,
            },
            false => Size {
                height: short,
                width: long,
            },
        })
    }
}

/// `get_size_with_aspect_ratio` of `transformers`: the shorter and the longer edge.
fn within(shortest: u32, longest: u32, short: u32, long: u32) -> (u64, u64) {
    let [short_f, long_f] = [short, long].map(f64::from);
    if long_f / short_f * f64::from(shortest) <= f64::from(longest) {
        return match short == shortest {
            true => (u64::from(short), u64::from(long)),
            false => (u64::from(shortest), scaled(shortest, long, short)),
        };
    }
    let raw = f64::from(longest) * short_f / long_f;
    // Rounded as Python rounds.
    let edge = raw.round_ties_even();
    match short_f == edge {
        true => (u64::from(short), u64::from(long)),
        false => (edge as u64, (raw * long_f / short_f) as u64),
    }
}

/// `length` as it is when `from` becomes `to`.
fn scaled(to: u32, length: u32, from: u32) -> u64 {
    u64::from(to) * u64::from(length) / u64::from(from.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_as_the_reference_computes_them() {
        let of = |longest_edge, height, width| {
            let sizing = Sizing::Edge {
                shortest_edge: 32,
                longest_edge,
            };
            let size = sizing.of(Size { height, width }).unwrap();
            (size.height, size.width)
        };
        // By `get_resize_output_image_size` and `get_size_with_aspect_ratio` of transformers 5.23.
        assert_eq!(of(None, 61, 97), (32, 50));
        assert_eq!(of(None, 97, 61), (50, 32));
        assert_eq!(of(Some(48), 61, 97), (30, 48));
        assert_eq!(of(Some(64), 61, 97), (32, 50));
        assert_eq!(of(Some(40), 100, 33), (40, 13));
    }

    #[test]
    fn a_picture_of_a_line_is_refused() {
        let sizing = Sizing::Edge {
            shortest_edge: 224,
            longest_edge: None,
        };
        let (height, width) = (1, 65_535);
        let error = sizing.of(Size { height, width }).unwrap_err();
        assert!(matches!(error, ImageError::Limit { .. }));
    }
}
