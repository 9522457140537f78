//! The resampling filters of Pillow.

use std::f64::consts::PI;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A resampling filter, by Pillow's name or code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Resample {
    /// Code 0: the nearest pixel.
    Nearest,
    /// Code 1: a sinc windowed by its own first three lobes.
    Lanczos,
    /// Code 2: a triangle.
    Bilinear,
    /// Code 3: Keys' cubic with a = −0.5; BLIP-2's filter.
    #[default]
    Bicubic,
    /// Code 4: the mean.
    Box,
    /// Code 5: a sinc in a Hamming window of one lobe.
    Hamming,
}

impl Resample {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Nearest, "nearest"),
        (Self::Lanczos, "lanczos"),
        (Self::Bilinear, "bilinear"),
        (Self::Bicubic, "bicubic"),
        (Self::Box, "box"),
        (Self::Hamming, "hamming"),
    ];

    /// Pillow's code.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// How far from its centre the filter reaches, in source pixels at equal size.
    pub(super) fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The filter's weight at distance `x` (Pillow's `Resample.c`).
    pub(super) fn weight(self, x: f64) -> f64 {
        match self {
            Self::Nearest | Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => {
                const A: f64 = -0.5;
                let x = x.abs();
                if x < 1.0 {
                    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * A
                } else {
                    0.0
                }
            }
            Self::Lanczos => {
                if (-3.0..3.0).contains(&x) {
                    sinc(x) * sinc(x / 3.0)
                } else {
                    0.0
                }
            }
            Self::Hamming => {
                let x = x.abs();
                if x >= 1.0 {
                    0.0
                } else {
                    sinc(x) * (0.54 + 0.46 * (PI * x).cos())
                }
            }
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else {
        let x = x * PI;
        x.sin() / x
    }
}

impl Serialize for Resample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}

impl<'de> Deserialize<'de> for Resample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum CodeOrName {
            Code(u8),
            Name(String),
        }
        let found = match CodeOrName::deserialize(deserializer)? {
            CodeOrName::Code(code) => Self::ALL.get(usize::from(code)).ok_or(code.to_string()),
            CodeOrName::Name(name) => Self::ALL
                .iter()
                .find(|(_, known)| name.eq_ignore_ascii_case(known))
                .ok_or(name),
        };
        found.map(|(filter, _)| *filter).map_err(|unknown| {
            D::Error::custom(format!(
                "unknown resampling filter {unknown}; the codes are 0 to 5, the names nearest, \
                 lanczos, bilinear, bicubic, box and hamming"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_by_code_and_name() {
        for (code, (filter, name)) in Resample::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(filter.code()), code);
            assert_eq!(
                serde_json::from_str::<Resample>(&code.to_string()).unwrap(),
                filter
            );
            assert_eq!(
                serde_json::from_str::<Resample>(&format!("\"{name}\"")).unwrap(),
                filter
            );
        }
        assert!(serde_json::from_str::<Resample>("6").is_err());
        assert!(serde_json::from_str::<Resample>("\"cubic\"").is_err());
    }

    #[test]
    fn filters_interpolate() {
        for (filter, _) in Resample::ALL {
            assert_eq!(filter.weight(0.0), 1.0);
            assert!(filter.weight(filter.support() + 1e-9).abs() < 1e-9);
        }
    }
}
