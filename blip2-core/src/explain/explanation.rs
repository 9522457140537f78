//! What comes back: values over the grid of patches.

use serde::{Deserialize, Serialize};

use super::Method;

/// How much each patch of a picture carried an answer, a caption, a text or a comparison.
///
/// It travels by serde, in the form that `blip2 explain --json` prints.
///
/// ```
/// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
/// # let image = blip2.open("../examples/images/red-triangle.png")?;
/// use blip2_core::explain::ExplainOptions;
///
/// let why = blip2.explain_answer(&image, "what color is the shape?", &ExplainOptions::default())?;
/// assert_eq!((why.text.as_str(), why.grid), ("red", [8, 8]));
/// let [row, column] = why.peak(0);
/// println!("most of it stands in row {row}, column {column}");
/// for token in &why.tokens {
///     println!("{:?}: {} values", token.text, token.values.len());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The method.
    pub method: Method,
    /// What is explained: what the model wrote, or what was given.
    pub text: String,
    /// The rows and columns of patches.
    pub grid: [usize; 2],
    /// How many frames were looked at: those of a video, or 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub frames: usize,
    /// Where in the picture the grid lies: left, top, right and bottom, as parts of its width and
    /// height. The whole, unless the model's preprocessing cuts pictures.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub region: [f32; 4],
    /// A value for each patch, row by row from the top left, frame after frame: the mean of the
    /// tokens' values, of occlusion their sum.
    pub values: Vec<f32>,
    /// The same for each token that was written or given; nothing of a comparison.
    pub tokens: Vec<ExplainedToken>,
}

/// How much each patch carried one token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExplainedToken {
    /// Its id.
    pub id: u32,
    /// Its text as it follows the token before it.
    pub text: String,
    /// Its natural log-probability.
    pub log_prob: f32,
    /// A value for each patch, in the order of [`Explanation::values`].
    pub values: Vec<f32>,
}

impl Explanation {
    /// The values of a frame, the first of which is 0, row by row; nothing of a frame that is not
    /// there.
    pub fn frame(&self, frame: usize) -> &[f32] {
        part(&self.values, self.grid, frame)
    }

    /// The row and column of the largest value of a frame.
    pub fn peak(&self, frame: usize) -> [usize; 2] {
        let values = self.frame(frame).iter().enumerate();
        let peak = values.max_by(|(_, a), (_, b)| a.total_cmp(b));
        let (place, columns) = (peak.map_or(0, |(place, _)| place), self.grid[1].max(1));
        [place / columns, place % columns]
    }
}

impl ExplainedToken {
    /// The values of a frame of `grid`, as [`Explanation::frame`].
    pub(super) fn frame(&self, grid: [usize; 2], frame: usize) -> &[f32] {
        part(&self.values, grid, frame)
    }
}

fn part(values: &[f32], [rows, columns]: [usize; 2], frame: usize) -> &[f32] {
    let patches = (rows * columns).max(1);
    values.chunks(patches).nth(frame).unwrap_or_default()
}

fn one() -> usize {
    1
}

fn is_one(frames: &usize) -> bool {
    *frames == 1
}

fn whole() -> [f32; 4] {
    [0.0, 0.0, 1.0, 1.0]
}

fn is_whole(region: &[f32; 4]) -> bool {
    *region == whole()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_one_another() {
        let why = Explanation {
            method: Method::Rollout,
            text: "two".into(),
            grid: [1, 3],
            frames: 2,
            region: whole(),
            values: vec![0.0, 2.0, 1.0, 5.0, 3.0, 4.0],
            tokens: Vec::new(),
        };
        assert_eq!(why.frame(1), [5.0, 3.0, 4.0]);
        assert_eq!([why.peak(0), why.peak(1)], [[0, 1], [0, 0]]);
        assert!(why.frame(2).is_empty());
        let json = serde_json::to_string(&why).unwrap();
        assert!(
            !json.contains("region") && json.contains("\"frames\":2"),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), why);
    }
}
