//! Whether explanations point at what matters: on easy-VQA's test pictures it is known where the shape
//! is, since its pixels differ from the ground's. For questions of its colour and kind, by each method:
//!
//! - **points**: how often the largest value's patch has the shape in it (the pointing game; Zhang et al.,
//!   2016), and how often its very centre lies on the shape;
//! - **on the shape**: the part of all (positive) values that the shape's patches have;
//! - **deletion** and **insertion** (Petsiuk, Das and Saenko, 2018): the mean probability of the answer
//!   while patches are hidden, the largest values first, which is to fall soon; and while they are shown,
//!   which is to rise soon.
//!
//! A map with its middle in the middle of the picture, and one of random numbers, are what any method
//! must beat. The data is that of the example `easy_vqa`:
//!
//! ```sh
//! cargo run --release --example pointing_game -- easy-vqa/easy_vqa/data --pictures 100
//! ```

#![allow(clippy::print_stdout)]

use std::{
    collections::HashMap,
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};

#[path = "support/easy_vqa_data.rs"]
#[allow(dead_code)] // it asks all questions too
mod easy_vqa_data;

use blip2_core::{
    Blip2Pipeline, RankOptions,
    explain::{ExplainOptions, Method},
};
use clap::Parser;
use easy_vqa_data::TestSplit;
use image::{Rgb, RgbImage};
use indicatif::ProgressBar;

#[derive(Parser)]
struct Arguments {
    /// The folder `easy_vqa/data` of the package.
    data: PathBuf,
    /// The checkpoint.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../blip2-cli/demo"))]
    model: PathBuf,
    /// How many of the test pictures, of 1,000.
    #[arg(long, default_value_t = 100)]
    pictures: usize,
    /// Patches that are hidden, or shown, from one measurement of a curve to the next.
    #[arg(long, default_value_t = 4)]
    step: usize,
    /// Leave out the curves, which take most of the time.
    #[arg(long)]
    no_curves: bool,
}

const WANTED: [&str; 11] = [
    "circle",
    "rectangle",
    "triangle",
    "black",
    "blue",
    "brown",
    "gray",
    "green",
    "red",
    "teal",
    "yellow",
];

/// What gives a map.
#[derive(Clone, Copy)]
enum By {
    Method(Method),
    Centre,
    Chance,
}

/// What a way of making maps has come to.
#[derive(Default)]
struct Tally {
    questions: usize,
    points: usize,
    centres: usize,
    on_shape: f64,
    deletion: f64,
    insertion: f64,
    time: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let split = TestSplit::open(&arguments.data)?;
    let blip2 = Blip2Pipeline::from_pretrained(&arguments.model)?;
    let asked: Vec<(&str, &RgbImage)> = split
        .asked()
        .filter(|(_, right, picture, _)| *picture < arguments.pictures && WANTED.contains(right))
        .map(|(question, _, _, image)| (question, image))
        .collect();
    let ways = Method::ALL.map(By::Method).into_iter();
    let ways: Vec<By> = ways.chain([By::Centre, By::Chance]).collect();
    let mut tallies: Vec<Tally> = ways.iter().map(|_| Tally::default()).collect();
    let bar = ProgressBar::new(asked.len() as u64);
    let mut chance = Chance(1);
    for (question, image) in &asked {
        let shape = Shape::of(image);
        for (way, tally) in ways.iter().zip(&mut tallies) {
            let begun = Instant::now();
            let map = map(&blip2, *way, question, image, &mut chance)?;
            tally.time += begun.elapsed();
            tally.point(&shape, map.grid, &map.values);
            if !arguments.no_curves {
                let curves = Curves {
                    blip2: &blip2,
                    question,
                    answer: &map.answer,
                    image,
                    grid: map.grid,
                    step: arguments.step.max(1),
                };
                let (deletion, insertion) = curves.of(&map.values)?;
                tally.deletion += deletion;
                tally.insertion += insertion;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!(
        "{} questions about {} pictures",
        asked.len(),
        arguments.pictures
    );
    println!("method       points   its centre   on the shape   deletion   insertion   time");
    for (way, tally) in ways.iter().zip(&tallies) {
        tally.print(&way.name());
    }
    Ok(())
}

impl By {
    fn name(self) -> String {
        match self {
            Self::Method(method) => method.to_string(),
            Self::Centre => "centre".into(),
            Self::Chance => "random".into(),
        }
    }
}

/// A map, row by row, and the answer that it explains.
struct Map {
    grid: [usize; 2],
    values: Vec<f32>,
    answer: String,
}

fn map(
    blip2: &Blip2Pipeline,
    way: By,
    question: &str,
    image: &RgbImage,
    chance: &mut Chance,
) -> Result<Map, Box<dyn Error>> {
    let method = match way {
        By::Method(method) => method,
        // Only the grid and the answer are wanted.
        By::Centre | By::Chance => Method::Attention,
    };
    let options = ExplainOptions::default().with_method(method);
    let why = blip2.explain_answer(image, question, &options)?;
    let [rows, columns] = why.grid;
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| [row, column]));
    let middle = |place: usize, count: usize| (place as f32 + 0.5) / count as f32 - 0.5;
    let values = match way {
        By::Method(_) => why.values,
        By::Centre => places
            .map(|[row, column]| 1.0 - middle(row, rows).hypot(middle(column, columns)))
            .collect(),
        By::Chance => places.map(|_| chance.next()).collect(),
    };
    Ok(Map {
        grid: why.grid,
        values,
        answer: why.text,
    })
}

/// Which pixels are the shape's.
struct Shape {
    size: [u32; 2],
    is_shape: Vec<bool>,
}

impl Shape {
    /// What differs from the most frequent colour.
    fn of(image: &RgbImage) -> Self {
        let mut counts: HashMap<Rgb<u8>, usize> = HashMap::new();
        for pixel in image.pixels() {
            *counts.entry(*pixel).or_default() += 1;
        }
        let ground = counts.into_iter().max_by_key(|(_, count)| *count);
        let ground = ground.map(|(color, _)| color);
        Self {
            size: [image.height(), image.width()],
            is_shape: image.pixels().map(|pixel| Some(*pixel) != ground).collect(),
        }
    }

    fn at(&self, y: usize, x: usize) -> bool {
        self.is_shape[y * self.size[1] as usize + x]
    }

    /// The first and last pixel of a patch, down or across.
    fn reach(&self, axis: usize, place: usize, count: usize) -> std::ops::Range<usize> {
        let side = self.size[axis] as usize;
        place * side / count..(place + 1) * side / count
    }

    /// Whether any of a patch is the shape's.
    fn touches(&self, [rows, columns]: [usize; 2], place: usize) -> bool {
        let down = self.reach(0, place / columns, rows);
        let across = self.reach(1, place % columns, columns);
        down.into_iter()
            .any(|y| across.clone().any(|x| self.at(y, x)))
    }

    /// Whether the middle of a patch is the shape's.
    fn holds_centre(&self, [rows, columns]: [usize; 2], place: usize) -> bool {
        let down = self.reach(0, place / columns, rows);
        let across = self.reach(1, place % columns, columns);
        self.at((down.start + down.end) / 2, (across.start + across.end) / 2)
    }
}

impl Tally {
    fn point(&mut self, shape: &Shape, grid: [usize; 2], values: &[f32]) {
        let Some(peak) = order(values).into_iter().next() else {
            return;
        };
        self.questions += 1;
        self.points += usize::from(shape.touches(grid, peak));
        self.centres += usize::from(shape.holds_centre(grid, peak));
        let positive = values.iter().map(|value| f64::from(value.max(0.0)));
        let all: f64 = positive.clone().sum();
        let on = positive
            .enumerate()
            .filter(|(place, _)| shape.touches(grid, *place));
        let on: f64 = on.map(|(_, value)| value).sum();
        self.on_shape += on / all.max(f64::MIN_POSITIVE);
    }

    fn print(&self, name: &str) {
        let count = self.questions.max(1) as f64;
        let percent = |part: usize| 100.0 * part as f64 / count;
        println!(
            "{name:<11}{:>6.1} %{:>11.1} %{:>13.1} %{:>11.3}{:>12.3}{:>7.1} ms",
            percent(self.points),
            percent(self.centres),
            100.0 * self.on_shape / count,
            self.deletion / count,
            self.insertion / count,
            1e3 * self.time.as_secs_f64() / count
        );
    }
}

/// The places of values, the largest first.
fn order(values: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    places
}

/// An answer's probability while patches come and go.
struct Curves<'a> {
    blip2: &'a Blip2Pipeline,
    question: &'a str,
    answer: &'a str,
    image: &'a RgbImage,
    grid: [usize; 2],
    step: usize,
}

impl Curves<'_> {
    /// The mean probabilities of deletion and of insertion.
    fn of(&self, values: &[f32]) -> Result<(f64, f64), Box<dyn Error>> {
        let order = order(values);
        let counts: Vec<usize> = (0..=order.len()).step_by(self.step).collect();
        let [hidden, shown] = [true, false].map(|hide| {
            let pictures = counts
                .iter()
                .map(|count| self.picture(&order[..*count], hide));
            pictures.collect::<Vec<RgbImage>>()
        });
        let pairs = hidden
            .iter()
            .chain(&shown)
            .map(|image| (image, self.question));
        let ranked = self
            .blip2
            .rank_batch(pairs, &[self.answer], &RankOptions::default())?;
        let probabilities: Vec<f64> = ranked
            .iter()
            .filter_map(|ranked| ranked.first())
            .map(|ranked| f64::from(ranked.score.exp()))
            .collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
        let (deleted, inserted) = probabilities.split_at(counts.len());
        Ok((mean(deleted), mean(inserted)))
    }

    /// The picture with these patches hidden under its mean colour, or with all others.
    fn picture(&self, places: &[usize], hide: bool) -> RgbImage {
        let mean = mean(self.image);
        let [rows, columns] = self.grid;
        let (width, height) = self.image.dimensions();
        let mut chosen = vec![false; rows * columns];
        places.iter().for_each(|place| chosen[*place] = true);
        RgbImage::from_fn(width, height, |x, y| {
            let row = y as usize * rows / height as usize;
            let column = x as usize * columns / width as usize;
            match chosen[row * columns + column] == hide {
                true => mean,
                false => *self.image.get_pixel(x, y),
            }
        })
    }
}

fn mean(image: &RgbImage) -> Rgb<u8> {
    let count = u64::from(image.width() * image.height()).max(1);
    Rgb([0, 1, 2].map(|channel: usize| {
        let sum: u64 = image.pixels().map(|pixel| u64::from(pixel[channel])).sum();
        (sum / count) as u8
    }))
}

/// Random numbers that are the same in each run (Marsaglia's xorshift).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }
}
