//! Plots of points: times above, memory below.

use std::{fmt::Display, ops::Range, path::Path};

use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, ValueFormatter},
    },
    prelude::*,
};

use super::scaling::{Axis, Figures, Point};
use crate::Failure;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A line of a plot: its name, and what it shows of a point.
type Line = (&'static str, fn(&Figures) -> f64);

const TIMES: [Line; 5] = [
    ("caption", |figures| figures.caption),
    ("vision", |figures| figures.vision),
    ("Q-Former", |figures| figures.qformer),
    ("prompt", |figures| figures.prompt),
    ("decode, per token", |figures| figures.decode_per_token),
];

const MEMORY: [Line; 2] = [
    ("measured", |figures| figures.peak_memory_bytes / 1e9),
    ("predicted", |figures| figures.predicted_peak_bytes / 1e9),
];

/// Draws the points of one axis; nothing if none was measured.
///
/// Times and what they depend on are logarithmic, so that what grows in proportion is a line of the
/// same slope everywhere; memory begins at zero.
pub(super) fn draw(path: &Path, axis: Axis, points: &[Point]) -> Result<(), Failure> {
    let failed = |error: &dyn Display| {
        Failure::Work(format!("{}: cannot be drawn: {error}", path.display()))
    };
    let measured: Vec<(f64, Figures)> = points
        .iter()
        .filter_map(|point| Some((point.value as f64, point.figures?)))
        .collect();
    if measured.is_empty() {
        return Ok(());
    }
    let root = SVGBackend::new(path, (720, 760)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let (above, below) = root.split_vertically(440);

    let times = range(&measured, &TIMES);
    // Room for the names above the lines.
    let room = (times.end / times.start).powf(0.35).max(2.0);
    let times = (0.8 * times.start..room * times.end).log_scale();
    lines(&above, axis, "seconds", times, &measured, &TIMES).map_err(|error| failed(&error))?;

    let memory = 0.0..1.6 * range(&measured, &MEMORY).end;
    let unit = "peak memory, GB";
    lines(&below, axis, unit, memory, &measured, &MEMORY).map_err(|error| failed(&error))?;
    root.present().map_err(|error| failed(&error))
}

/// The smallest and the largest value of any line.
fn range(measured: &[(f64, Figures)], lines: &[Line]) -> Range<f64> {
    let values = lines
        .iter()
        .flat_map(|(_, show)| measured.iter().map(|(_, figures)| show(figures)))
        .filter(|value| *value > 0.0);
    let least = values.clone().fold(f64::INFINITY, f64::min);
    if least.is_finite() {
        least..values.fold(least, f64::max)
    } else {
        1.0..1.0
    }
}

/// One chart.
fn lines<Y>(
    area: &Area<'_>,
    axis: Axis,
    unit: &str,
    heights: Y,
    measured: &[(f64, Figures)],
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let widths = || measured.iter().map(|(value, _)| *value);
    let across = 0.9 * widths().fold(f64::INFINITY, f64::min)..1.1 * widths().fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{unit} by {}", axis.name()), ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(
            across.log_scale().with_key_points(widths().collect()),
            heights,
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(axis.name())
        .y_desc(unit)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .label_style(("sans-serif", 13))
        .draw()?;
    for (n, (name, show)) in lines.iter().enumerate() {
        let color = Palette99::pick(n).mix(0.9);
        let line: Vec<(f64, f64)> = measured
            .iter()
            .map(|(value, figures)| (*value, show(figures)))
            .filter(|(_, height)| height.is_finite())
            .collect();
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)).point_size(3))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(())
}
