//! The curve of a training, as a picture.

use plotters::{coord::Shift, prelude::*};

use super::record::{Metrics, Record};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

/// The number of parts of the training over each of which the loss is averaged: single batches jump.
const POINTS: usize = 400;

impl Metrics {
    /// The loss over the steps, and below it the score, as an SVG; `None` without a step.
    pub fn curve_svg(&self) -> Option<String> {
        let losses = self.smoothed();
        let scores: Vec<(f64, f64)> = self
            .scores
            .iter()
            .map(|score| (score.step as f64, score.value))
            .collect();
        if losses.is_empty() {
            return None;
        }
        let mut svg = String::new();
        let height = if scores.is_empty() { 360 } else { 640 };
        let drawn = (|| -> Result<(), Failure<'_>> {
            let root = SVGBackend::with_string(&mut svg, (720, height)).into_drawing_area();
            root.fill(&WHITE)?;
            if scores.is_empty() {
                chart(&root, "loss", &losses)?;
            } else {
                let (above, below) = root.split_vertically(360);
                chart(&above, "loss", &losses)?;
                chart(&below, "score", &scores)?;
            }
            root.present()
        })();
        drawn.ok().map(|()| svg)
    }

    fn smoothed(&self) -> Vec<(f64, f64)> {
        let size = self.records.len().div_ceil(POINTS).max(1);
        let part = |records: &[Record]| {
            let count = records.len() as f64;
            let loss = records.iter().map(|record| record.loss).sum::<f64>() / count;
            let step = records.iter().map(|record| record.step as f64).sum::<f64>() / count;
            (step, loss)
        };
        self.records.chunks(size).map(part).collect()
    }
}

fn chart<'a>(area: &Area<'a>, name: &str, points: &[(f64, f64)]) -> Result<(), Failure<'a>> {
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for (_, value) in points {
        (least, most) = (least.min(*value), most.max(*value));
    }
    let room = ((most - least) * 0.05).max(1e-6);
    let end = points.last().map_or(1.0, |(step, _)| step.max(1.0));
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, least - room..most + room)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc(name)
        .light_line_style(WHITE)
        .draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), &BLUE))?;
    Ok(())
}
