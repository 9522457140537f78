//! The curve of a training, as a picture.

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

use super::record::{Metrics, Record};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'c, 'a> = ChartContext<'c, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

/// The number of parts of the training over each of which the loss is averaged: single batches jump.
const POINTS: usize = 400;

/// What is left of the curve before at each of its points, where it is smoothed.
const SMOOTHING: f64 = 0.9;

impl Metrics {
    /// The loss over the steps, smoothed before what it was, with the loss on examples that are not
    /// trained on; and below it the score with the best one marked. As an SVG; `None` without a step.
    pub fn curve_svg(&self) -> Option<String> {
        let losses = self.thinned();
        if losses.is_empty() {
            return None;
        }
        let scores = self.scores.iter();
        let held_out = scores
            .clone()
            .filter_map(|score| Some((score.step as f64, score.loss?)));
        let held_out: Vec<(f64, f64)> = held_out.collect();
        let scores: Vec<(f64, f64)> = scores
            .map(|score| (score.step as f64, score.value))
            .collect();
        let mut svg = String::new();
        let height = if scores.is_empty() { 360 } else { 640 };
        let drawn = (|| -> Result<(), Failure<'_>> {
            let root = SVGBackend::with_string(&mut svg, (720, height)).into_drawing_area();
            root.fill(&WHITE)?;
            if scores.is_empty() {
                loss_chart(&root, &losses, &held_out)?;
            } else {
                let (above, below) = root.split_vertically(360);
                loss_chart(&above, &losses, &held_out)?;
                score_chart(&below, &scores)?;
            }
            root.present()
        })();
        drawn.ok().map(|()| svg)
    }

    /// The means of parts of the training.
    fn thinned(&self) -> Vec<(f64, f64)> {
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

/// An exponential moving average without the bias of its beginning, as of Adam's moments.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (mut mean, mut weight) = (0.0, 0.0);
    let points = points.iter().map(|&(step, value)| {
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * value;
        weight = SMOOTHING * weight + (1.0 - SMOOTHING);
        (step, mean / weight)
    });
    points.collect()
}

/// The losses in a light colour, and their smoothed curve; those of examples that are not trained on,
/// each a point.
fn loss_chart<'a>(
    area: &Area<'a>,
    losses: &[(f64, f64)],
    held_out: &[(f64, f64)],
) -> Result<(), Failure<'a>> {
    let all: Vec<(f64, f64)> = losses.iter().chain(held_out).copied().collect();
    let mut chart = axes(area, "loss", &all)?;
    chart.draw_series(LineSeries::new(held_out.iter().copied(), &RED))?;
    let points = held_out.iter();
    chart.draw_series(points.map(|&point| Circle::new(point, 3, RED.filled())))?;
    if let Some(&last) = held_out.last() {
        let name = Text::new("validation", (-70, -16), ("sans-serif", 13).into_font());
        chart.draw_series([EmptyElement::at(last) + name])?;
    }
    // A line of one point is none.
    if let [(step, loss)] = losses {
        chart.draw_series([Circle::new((*step, *loss), 3, BLUE.filled())])?;
        return Ok(());
    }
    chart.draw_series(LineSeries::new(losses.iter().copied(), BLUE.mix(0.3)))?;
    chart.draw_series(LineSeries::new(smoothed(losses), BLUE.stroke_width(2)))?;
    Ok(())
}

/// The scores, each a point, and the best of them.
fn score_chart<'a>(area: &Area<'a>, scores: &[(f64, f64)]) -> Result<(), Failure<'a>> {
    let mut chart = axes(area, "score", scores)?;
    chart.draw_series(LineSeries::new(scores.iter().copied(), &BLUE))?;
    let points = scores.iter();
    chart.draw_series(points.map(|&point| Circle::new(point, 3, BLUE.filled())))?;
    let best = scores
        .iter()
        .copied()
        .reduce(|best, other| match other.1 > best.1 {
            true => other,
            false => best,
        });
    if let Some((step, value)) = best {
        chart.draw_series([EmptyElement::at((step, value))
            + Circle::new((0, 0), 5, RED.filled())
            + Text::new(format!("best {value:.4}"), (8, -14), ("sans-serif", 13))])?;
    }
    Ok(())
}

/// The axes that hold all points.
fn axes<'a, 'c>(
    area: &'c Area<'a>,
    name: &str,
    points: &[(f64, f64)],
) -> Result<Chart<'c, 'a>, Failure<'a>> {
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for (_, value) in points {
        (least, most) = (least.min(*value), most.max(*value));
    }
    let room = ((most - least) * 0.1).max(1e-6);
    let end = points.iter().fold(1.0_f64, |end, (step, _)| end.max(*step));
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        // Beyond the last step, where the best one's name may stand.
        .build_cartesian_2d(0.0..end * 1.05, least - room..most + room)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc(name)
        .light_line_style(WHITE)
        .draw()?;
    Ok(chart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::Score;

    fn metrics(losses: &[f64], scores: &[f64]) -> Metrics {
        let record = |(step, loss): (usize, &f64)| Record {
            step,
            epoch: 0,
            lr: 1e-4,
            loss: *loss,
            parts: Default::default(),
            grad_norm: 1.0,
            examples: 1,
            seconds: 0.0,
        };
        let score = |(step, value): (usize, &f64)| Score {
            step,
            value: *value,
            loss: None,
            others: Default::default(),
        };
        Metrics {
            records: losses.iter().enumerate().map(record).collect(),
            scores: scores.iter().enumerate().map(score).collect(),
        }
    }

    #[test]
    fn one_point_is_a_point_and_the_best_is_marked() {
        let one = metrics(&[2.0], &[]).curve_svg().unwrap();
        assert!(one.contains("<circle"), "{one}");
        let lines = metrics(&[2.0, 1.0, 1.5], &[]).curve_svg().unwrap();
        assert!(!lines.contains("<circle"));
        let scored = metrics(&[2.0, 1.0, 1.5], &[0.25, 0.75, 0.5])
            .curve_svg()
            .unwrap();
        assert_eq!(scored.matches("<circle").count(), 4);
        assert!(scored.contains("best 0.7500"), "{scored}");
        assert!(metrics(&[], &[0.5]).curve_svg().is_none());
        let mut held_out = metrics(&[2.0, 1.0, 1.5], &[0.25, 0.75]);
        held_out.scores[1].loss = Some(9.0);
        let drawn = held_out.curve_svg().unwrap();
        assert_eq!(drawn.matches("<circle").count(), 4);
        assert!(drawn.contains("validation"), "{drawn}");
    }

    #[test]
    fn smoothing_begins_without_a_bias_and_follows() {
        let even: Vec<(f64, f64)> = (0..9).map(|step| (step as f64, 3.0)).collect();
        assert!(
            smoothed(&even)
                .iter()
                .all(|(_, loss)| (loss - 3.0).abs() < 1e-9)
        );
        let jump = smoothed(&[(0.0, 0.0), (1.0, 1.0)]);
        assert!((jump[1].1 - 0.1 / 0.19).abs() < 1e-9);
    }
}
