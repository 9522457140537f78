//! A training in the whole terminal: its curves, its numbers, how long it will take, and what is told of it.

use std::{
    io::{self, Stdout},
    path::Path,
    time::{Duration, Instant},
};

use blip2_io::dataset::BrokenRecord;
use blip2_train::{Record, Score, Watch};
use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor, execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen},
    },
    layout::{Constraint, Layout, Rect},
    style::{Color, Style},
    symbols::Marker,
    widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph},
};

use super::{lines::clock, show};
use crate::{Failure, out};

/// What is shown.
struct View {
    steps: usize,
    last: Option<Record>,
    losses: Vec<(f64, f64)>,
    scores: Vec<(f64, f64)>,
    /// What was left out, noted or found, in lines.
    told: Vec<String>,
}

/// The terminal, taken over; given back when this is dropped, with what was told in lines. Keys are left to the terminal: an
/// interrupt ends the program as ever.
pub(super) struct Dashboard {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    view: View,
    drawn: Option<Instant>,
}

/// Pictures of a terminal that people can follow.
const EVERY: Duration = Duration::from_millis(200);

impl Dashboard {
    pub(super) fn new(steps: usize) -> Result<Self, Failure> {
        let mut out = io::stdout();
        execute!(out, EnterAlternateScreen, cursor::Hide).map_err(Failure::work)?;
        let terminal = Terminal::new(CrosstermBackend::new(out)).map_err(Failure::work)?;
        Ok(Self {
            terminal,
            view: View::new(steps),
            drawn: None,
        })
    }

    fn draw(&mut self, at_once: bool) {
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= EVERY);
        if !due && !at_once {
            return;
        }
        self.drawn = Some(Instant::now());
        // A terminal that cannot be drawn on is no reason to end a training.
        let _ = self.terminal.draw(|frame| self.view.draw(frame));
    }
}

/// Gives the terminal back.
pub(super) fn give_back() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        give_back();
        // What was on the other screen is gone with it.
        for line in &self.view.told {
            note!("{line}");
        }
    }
}

impl Watch for Dashboard {
    fn stepped(&mut self, record: &Record) {
        self.view.stepped(record);
        self.draw(false);
    }

    fn left_out(&mut self, record: &BrokenRecord) {
        self.view.tell(format!("left out: {record}"));
        self.draw(false);
    }

    fn scored(&mut self, score: &Score) {
        self.view.scored(score);
        self.draw(true);
    }

    fn resumed(&mut self, step: usize) {
        self.view.tell(format!("going on after {step} steps"));
        self.draw(true);
    }

    fn planned(&mut self, steps: usize) {
        self.view.steps = steps;
    }

    fn passed_over(&mut self, path: &Path, reason: &str) {
        self.view.tell(show::passed_over(path, reason));
        self.draw(true);
    }

    fn noted(&mut self, text: &str) {
        self.view.tell(text.to_string());
        self.draw(true);
    }
}

impl View {
    fn new(steps: usize) -> Self {
        Self {
            steps,
            last: None,
            losses: Vec::new(),
            scores: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Tells something. It may come from a file, whose escape codes are no orders to the terminal.
    fn tell(&mut self, line: String) {
        self.told
            .extend(out::escaped(line).lines().map(String::from));
    }

    fn scored(&mut self, score: &Score) {
        self.scores.push((score.step as f64, score.value));
        self.tell(show::scored(score));
    }

    fn stepped(&mut self, record: &Record) {
        self.losses.push((record.step as f64, record.loss));
        self.last = Some(record.clone());
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let areas = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(4),
            Constraint::Fill(2),
            Constraint::Fill(1),
            Constraint::Length(self.told_height(frame.area().height)),
        ]);
        let [progress, numbers, losses, scores, told] = areas.areas(frame.area());
        let done = self.last.as_ref().map_or(0, |record| record.step + 1);
        let part = done as f64 / self.steps.max(1) as f64;
        let gauge = Gauge::default()
            .block(Block::bordered().title("steps"))
            .gauge_style(Style::new().fg(Color::Blue))
            .ratio(part.clamp(0.0, 1.0))
            .label(format!("{done} of {}", self.steps));
        frame.render_widget(gauge, progress);
        frame.render_widget(
            Paragraph::new(self.numbers(done)).block(Block::bordered()),
            numbers,
        );
        chart(frame, losses, "loss", &self.losses, self.steps);
        chart(frame, scores, "score", &self.scores, self.steps);
        if told.height > 0 {
            let last = self.last_told(told);
            frame.render_widget(last.block(Block::bordered().title("told")), told);
        }
    }

    /// The lines that what was told takes, with its border; none where nothing was, and no more than a
    /// fourth of the terminal.
    fn told_height(&self, all: u16) -> u16 {
        match u16::try_from(self.told.len()).unwrap_or(u16::MAX) {
            0 => 0,
            lines => lines.saturating_add(2).min((all / 4).max(3)),
        }
    }

    /// What was told last, as much of it as fits.
    fn last_told(&self, area: Rect) -> Paragraph<'static> {
        let fits = usize::from(area.height.saturating_sub(2));
        let first = self.told.len().saturating_sub(fits);
        let lines = self.told.iter().skip(first);
        Paragraph::new(lines.cloned().collect::<Vec<_>>().join("\n"))
    }

    fn numbers(&self, done: usize) -> String {
        let Some(record) = &self.last else {
            return "the first step is being made".into();
        };
        let left = (self.steps.saturating_sub(done)) as f64 * record.seconds / done.max(1) as f64;
        let parts: Vec<String> = record
            .parts
            .iter()
            .map(|(name, part)| format!("{name} {part:.4}"))
            .collect();
        format!(
            "loss {:.4}  rate {:.2e}  gradient {:.3}  epoch {}  {}\n{} so far, {} left",
            record.loss,
            record.lr,
            record.grad_norm,
            record.epoch,
            parts.join("  "),
            clock(record.seconds),
            clock(left)
        )
    }
}

fn chart(frame: &mut Frame<'_>, area: Rect, name: &str, points: &[(f64, f64)], steps: usize) {
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for (_, value) in points {
        (least, most) = (least.min(*value), most.max(*value));
    }
    if points.is_empty() {
        (least, most) = (0.0, 1.0);
    }
    let line = Dataset::default()
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(Style::new().fg(Color::Cyan))
        .data(points);
    let across = Axis::default()
        .bounds([0.0, steps as f64])
        .labels(["0".to_string(), steps.to_string()]);
    let up = Axis::default()
        .bounds([least, most.max(least + 1e-9)])
        .labels([format!("{least:.3}"), format!("{most:.3}")]);
    let chart = Chart::new(vec![line])
        .block(Block::bordered().title(name.to_string()))
        .x_axis(across)
        .y_axis(up);
    frame.render_widget(chart, area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::backend::TestBackend;

    #[test]
    fn the_numbers_of_the_last_step_are_shown() {
        let mut view = View::new(40);
        let mut terminal = Terminal::new(TestBackend::new(90, 30)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        assert!(terminal.backend().to_string().contains("the first step"));
        for step in 0..10 {
            let record = serde_json::json!({
                "step": step, "epoch": 0, "lr": 1e-4, "loss": 3.0 / (step + 1) as f64,
                "parts": {"itc": 0.5}, "grad_norm": 1.25, "seconds": step as f64 * 100.0
            });
            view.stepped(&serde_json::from_value(record).unwrap());
        }
        let score = serde_json::json!({"step": 10, "value": 0.75, "loss": 1.5});
        view.scored(&serde_json::from_value(score).unwrap());
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let shown = terminal.backend().to_string();
        for part in [
            "10 of 40",
            "loss 0.3000",
            "itc 0.5000",
            "0:15:00 so far",
            "0:45:00 left",
            "score",
            "after 10 steps: score 0.7500, validation loss 1.5000",
        ] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
    }

    #[test]
    fn what_was_told_last_is_shown_and_all_of_it_is_kept() {
        let mut view = View::new(40);
        let mut terminal = Terminal::new(TestBackend::new(90, 32)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        assert!(!terminal.backend().to_string().contains("told"));
        view.tell("left out: held.jsonl, line 3: \u{1b}[2J2.png is broken".into());
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let shown = terminal.backend().to_string();
        let line = "left out: held.jsonl, line 3: \\u{1b}[2J2.png is broken";
        assert!(shown.contains(line), "{shown}");
        for number in 0..9 {
            view.tell(format!("note {number}"));
        }
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let shown = terminal.backend().to_string();
        // A fourth of the height, less the border.
        for number in 0..9 {
            let is_shown = shown.contains(&format!("note {number}"));
            assert_eq!(is_shown, number >= 3, "{number}\n{shown}");
        }
        assert!(shown.contains("the first step"), "{shown}");
        assert_eq!(view.told.len(), 10);
    }
}
