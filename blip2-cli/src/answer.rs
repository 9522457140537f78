//! `blip2 answer IMAGE "QUESTION"…`.

use std::path::Path;

use blip2_core::{Answer, Options};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Failure,
    args::{answer::AnswerArgs, picture::FrameChoice},
    asked::{Asked, Kind, Reply, inputs},
    family::Answerer,
    interrupt, model,
    records::{Output, Record, Schema, Sink},
    shown::{self, Shown},
};

pub(crate) fn run(args: &AnswerArgs) -> Result<(), Failure> {
    let options = args.generation.options(args.template.clone())?;
    let asked = Asked::of(args)?;
    match (asked.as_slice(), &args.output.to) {
        (_, Output::Beside) => Err(Failure::usage(
            "--output beside is for captions; give answers a .jsonl or .csv file",
        )),
        ([asked], Output::Standard) if args.table.is_none() => of_picture(args, asked, &options),
        _ if args.prompt.is_some() => Err(Failure::usage(
            "--prompt has its answer on standard output; leave out --output",
        )),
        _ => record(args, &asked, options),
    }
}

fn open(args: &AnswerArgs) -> Result<Answerer, Failure> {
    let model = Answerer::open(&args.model)?;
    match args.template.is_some() && !model.has_template() {
        true => Err(Failure::usage(
            "BLIP-1 reads questions as they are and has no use for a --template",
        )),
        false => Ok(model),
    }
}

/// Prints the answers about one picture.
fn of_picture(args: &AnswerArgs, asked: &Asked, options: &Options) -> Result<(), Failure> {
    let frames = shown::frames(&args.model);
    let note = |note: &str| note!("{note}");
    let images = Shown::open(&asked.picture, frames, args.picture, note)?;
    let model = open(args)?;
    let mut failed = 0;
    for image in &images {
        match (&args.prompt, asked.questions.as_slice()) {
            (Some(prompt), _) => print(args, &model.prompt(image, prompt, options)?)?,
            (None, [question]) => answer(args, &model, image, question, options)?,
            (None, questions) => failed += answer_all(args, &model, image, questions, options)?,
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::Work(format!(
            "{failed} of {} questions have no answer",
            asked.questions.len() * images.len()
        ))),
    }
}

/// Prints the answer to one question.
fn answer(
    args: &AnswerArgs,
    model: &Answerer,
    image: &Shown,
    question: &str,
    options: &Options,
) -> Result<(), Failure> {
    let answer = match Kind::of(args) {
        Kind::Text => model.answer(image, question, options),
        Kind::YesNo => model.answer_as::<bool>(image, question, options),
        Kind::Number => model.answer_as::<u64>(image, question, options),
        Kind::OneOf(given, options) => {
            for answer in model.rank(image, question, &given, &options)? {
                match args.json {
                    true => print_json(&answer)?,
                    false => say!("{answer}\t{:.1} %", 100.0 * answer.share),
                }
            }
            return Ok(());
        }
    };
    print(args, &answer?)
}

/// Prints an answer, and those after it if several were asked for.
fn print(args: &AnswerArgs, answer: &Answer) -> Result<(), Failure> {
    if args.json {
        return print_json(answer);
    }
    say!("{answer}");
    for other in &answer.alternatives {
        say!("{other}");
    }
    Ok(())
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    say!("{}", serde_json::to_string(value).map_err(Failure::work)?);
    Ok(())
}

/// Prints an answer for each question, on a line of its own; returns how many have none.
fn answer_all(
    args: &AnswerArgs,
    model: &Answerer,
    image: &Shown,
    questions: &[String],
    options: &Options,
) -> Result<usize, Failure> {
    let kind = Kind::of(args);
    let looked = model.look(image)?.map_err(Failure::Work)?;
    let mut failed = 0;
    for batch in questions.chunks(usize::from(args.batch)) {
        for (question, reply) in batch.iter().zip(kind.ask(&looked, batch, options)?) {
            if let Err(error) = &reply {
                failed += 1;
                note!("{question}: {error}");
            }
            match args.json {
                true => print_json(&asked_and_said(question, &reply)?)?,
                // A line for each question, whatever the answer.
                false => say!("{}", text_of(&reply).replace(['\r', '\n'], " ")),
            }
        }
    }
    Ok(failed)
}

/// The text of a reply, the likeliest of given ones.
fn text_of(reply: &Result<Reply, String>) -> &str {
    match reply {
        Ok(Reply::Answer(answer)) => &answer.text,
        Ok(Reply::Ranked(ranked)) => ranked.first().map_or("", |best| &best.text),
        Err(_) => "",
    }
}

/// A question with all that is known of its answer.
fn asked_and_said(question: &str, reply: &Result<Reply, String>) -> Result<Record, Failure> {
    let mut line = Record::new();
    line.insert("question".into(), json!(question));
    match reply {
        Ok(Reply::Answer(answer)) => {
            if let Value::Object(answer) = serde_json::to_value(answer).map_err(Failure::work)? {
                line.extend(answer);
            }
        }
        Ok(Reply::Ranked(ranked)) => {
            line.insert("text".into(), json!(text_of(reply)));
            line.insert("ranked".into(), json!(ranked));
        }
        Err(error) => {
            line.insert("error".into(), json!(error));
        }
    }
    Ok(line)
}

/// The columns of answers: those of further sequences are as many as are asked for.
fn schema(args: &AnswerArgs) -> Schema {
    let further = (2..=args.generation.sequences()).map(|n| format!("answer_{n}"));
    let columns = ["image", "frame", "question", "answer"].map(str::to_string);
    let rest = ["confidence", "finish_reason", "error"].map(str::to_string);
    Schema {
        keys: &["image", "question", "frame"],
        result: "answer",
        columns: columns.into_iter().chain(further).chain(rest).collect(),
    }
}

/// Writes a record of each question about each picture.
fn record(args: &AnswerArgs, asked: &[Asked], options: Options) -> Result<(), Failure> {
    let sink = Sink::open(
        &args.output.to,
        schema(args),
        args.output.retry,
        inputs(args, asked),
    )?;
    let stop = interrupt::watched("ending after this picture", || {})?;
    let mut work = Work {
        args,
        options,
        frames: shown::frames(&args.model),
        kind: Kind::of(args),
        model: open(args)?,
        failed: 0,
        sink,
    };
    let bar = model::bar(asked.len());
    for (n, about) in asked.iter().enumerate() {
        if stop.is_cancelled() {
            bar.finish_and_clear();
            return Err(Failure::Interrupted(format!(
                "interrupted: {n} of {} pictures are done; {}",
                asked.len(),
                work.sink.way_on()
            )));
        }
        work.about(about, &bar)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let questions = asked
        .iter()
        .map(|asked| asked.questions.len())
        .sum::<usize>();
    match work.failed + work.sink.failed_before() {
        0 => Ok(()),
        failed => Err(Failure::Work(format!(
            "{failed} of {questions} questions have no answer"
        ))),
    }
}

/// Answers picture by picture.
struct Work<'a> {
    args: &'a AnswerArgs,
    options: Options,
    frames: usize,
    kind: Kind,
    model: Answerer,
    sink: Sink,
    failed: usize,
}

impl Work<'_> {
    /// Answers what is left of the questions about a picture.
    fn about(&mut self, asked: &Asked, bar: &indicatif::ProgressBar) -> Result<(), Failure> {
        let all_frames = self.args.picture.frame == Some(FrameChoice::All);
        let mut left = Vec::new();
        for question in &asked.questions {
            left.push(all_frames || !self.is_done(&asked.picture, question, None));
        }
        if !left.contains(&true) {
            return Ok(());
        }
        let note = |note: &str| bar.suspend(|| note!("{note}"));
        let images = match Shown::open(&asked.picture, self.frames, self.args.picture, note) {
            Ok(images) => images,
            Err(Failure::Work(error) | Failure::Usage(error)) => {
                if all_frames {
                    let questions = asked.questions.iter();
                    left = questions
                        .map(|question| !self.is_done(&asked.picture, question, None))
                        .collect();
                }
                return self.write(asked, None, &left, |_| Err(error.clone()), bar);
            }
            Err(closed) => return Err(closed),
        };
        let several = images.len() > 1;
        for (image, n) in images.iter().zip(1..) {
            let frame = several.then_some(n);
            if all_frames {
                for (question, left) in asked.questions.iter().zip(&mut left) {
                    *left = !self.is_done(&asked.picture, question, frame);
                }
            }
            self.about_image(asked, frame, image, &left, bar)?;
        }
        Ok(())
    }

    fn about_image(
        &mut self,
        asked: &Asked,
        frame: Option<usize>,
        image: &Shown,
        left: &[bool],
        bar: &indicatif::ProgressBar,
    ) -> Result<(), Failure> {
        if !left.contains(&true) {
            return Ok(());
        }
        let looked = match self.model.look(image)? {
            Ok(looked) => looked,
            Err(error) => return self.write(asked, frame, left, |_| Err(error.clone()), bar),
        };
        let size = usize::from(self.args.batch);
        for (questions, left) in asked.questions.chunks(size).zip(left.chunks(size)) {
            // Samples of a batch are drawn from one row of random numbers: it is whole or not at all.
            let is_whole = self.args.generation.samples() && left.contains(&true);
            let wanted = questions
                .iter()
                .zip(left)
                .filter(|(_, left)| is_whole || **left);
            let wanted: Vec<String> = wanted.map(|(question, _)| question.clone()).collect();
            let mut replies = self.kind.ask(&looked, &wanted, &self.options)?.into_iter();
            let replies: Vec<_> = left
                .iter()
                .map(|left| (is_whole || *left).then(|| replies.next()).flatten())
                .collect();
            let part = Asked {
                picture: asked.picture.clone(),
                questions: questions.to_vec(),
            };
            let mut replies = replies.into_iter();
            self.write(
                &part,
                frame,
                left,
                |_| {
                    replies
                        .next()
                        .flatten()
                        .unwrap_or_else(|| Err("there is no answer".into()))
                },
                bar,
            )?;
        }
        Ok(())
    }

    /// Writes the records of the questions that are left.
    fn write(
        &mut self,
        asked: &Asked,
        frame: Option<usize>,
        left: &[bool],
        mut reply: impl FnMut(&str) -> Result<Reply, String>,
        bar: &indicatif::ProgressBar,
    ) -> Result<(), Failure> {
        let mut records = Vec::new();
        for (question, left) in asked.questions.iter().zip(left) {
            let reply = reply(question);
            if *left {
                self.failed += usize::from(reply.is_err());
                records.push(line(&asked.picture, frame, question, &reply));
            }
        }
        self.sink.write(&asked.picture, &records, bar)
    }

    fn is_done(&mut self, picture: &Path, question: &str, frame: Option<usize>) -> bool {
        let frame = frame.map_or(String::new(), |frame| frame.to_string());
        self.sink.take_done(picture, &[question, &frame])
    }
}

fn line(
    picture: &Path,
    frame: Option<usize>,
    question: &str,
    reply: &Result<Reply, String>,
) -> Record {
    let mut record = Record::new();
    let mut set = |key: &str, value: Value| {
        record.insert(key.to_string(), value);
    };
    set("image", json!(picture.to_string_lossy()));
    if let Some(frame) = frame {
        set("frame", json!(frame));
    }
    set("question", json!(question));
    match reply {
        Ok(Reply::Answer(answer)) => {
            set("answer", json!(answer.text));
            for (n, other) in (2..).zip(&answer.alternatives) {
                set(&format!("answer_{n}"), json!(other.text));
            }
            set("confidence", json!(answer.confidence()));
            set("finish_reason", json!(answer.finish_reason));
        }
        Ok(Reply::Ranked(ranked)) => {
            set("answer", json!(text_of(reply)));
            set("confidence", json!(ranked.first().map(|best| best.share)));
        }
        Err(error) => set("error", json!(error)),
    }
    record
}
