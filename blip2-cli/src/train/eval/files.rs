//! The files that an evaluation writes: answers for people, results for servers.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use blip2_core::figure::{Line, contact_sheet};
use blip2_io::{
    IoError, check_folders_apart, check_keeps,
    dataset::{Dataset, Example, PictureFile},
    preprocessing::DecodeOptions,
    write_file,
};
use blip2_train::{Answered, Scoring};
use image::RgbImage;
use serde_json::{Map, Value, json};

use super::report;
use crate::{
    Failure,
    args::train::EvalArgs,
    sheet,
    train::{
        config::{Config, ValidationConfig},
        place,
    },
    words,
};

/// Where they are written.
pub(super) struct Files<'a> {
    answers: Option<&'a Path>,
    results: Option<&'a Path>,
    sheet: Option<&'a Path>,
}

impl<'a> Files<'a> {
    /// Refuses to write onto what is read, or one file onto the other.
    pub(super) fn of(
        args: &'a EvalArgs,
        config: &Config,
        validation: &ValidationConfig,
        base: &Path,
        model: &Path,
    ) -> Result<Self, Failure> {
        let files = Self {
            answers: args.answers.as_deref(),
            results: args.results.as_deref(),
            sheet: args.sheet.as_deref(),
        };
        for file in files.written() {
            let file = file.as_path();
            let adapters = args.adapter.read().map(|folder| folder.as_path());
            for folder in [model].into_iter().chain(adapters) {
                check_folders_apart(file, folder).map_err(Failure::work)?;
            }
            let data = config.data.iter().chain([&validation.data]);
            let mut read = data.flat_map(|data| data.paths(base));
            read.try_for_each(|path| check_keeps(file, path).map_err(Failure::work))?;
            check_keeps(file, &args.config).map_err(Failure::work)?;
        }
        files.check_names()?;
        // One file may have several names.
        let is_again = |(place, file): (usize, &Path)| {
            let onto = |other| check_keeps(file, other);
            let mut before = files.all().take(place);
            before.any(|other| matches!(onto(other), Err(IoError::OntoInput { .. })))
        };
        if files.all().enumerate().any(is_again) {
            let text = "--answers, --results and --sheet each need a file of their own".to_string();
            return Err(Failure::Usage(text));
        }
        Ok(files)
    }

    /// What may be written: the name of a part too.
    fn written(&self) -> impl Iterator<Item = PathBuf> {
        let part = self.answers.map(partial);
        self.all().map(Path::to_path_buf).chain(part)
    }

    fn all(&self) -> impl Iterator<Item = &'a Path> {
        [self.answers, self.results, self.sheet]
            .into_iter()
            .flatten()
    }

    /// Refuses names that would be taken for something else.
    fn check_names(&self) -> Result<(), Failure> {
        if self.all().any(|file| file == "-") {
            let text = "`-` is no file: give /dev/stdout to have it in the output".to_string();
            return Err(Failure::Usage(text));
        }
        match self.sheet {
            Some(sheet) if !is_stream(sheet) && !ends_in(sheet, "png") => {
                Err(Failure::Usage(format!(
                    "--sheet {}: a sheet is a PNG; give a name that ends in .png",
                    sheet.display()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what cannot be written, before anything is asked.
    pub(super) fn check_writable(&self) -> Result<(), Failure> {
        let mut files = self.all().filter(|file| !is_stream(file));
        files.try_for_each(|file| {
            if file.is_dir() {
                let text = "it is a folder: give the name of a file";
                return Err(Failure::Work(format!("{}: {text}", file.display())));
            }
            let folder = file.parent().filter(|own| !own.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            if !folder.is_dir() {
                let text = "there is no such folder to write in; make it first";
                return Err(Failure::Work(format!("{}: {text}", folder.display())));
            }
            place::probed(folder)
        })
    }

    /// Refuses files of answers where there are none.
    pub(super) fn check_none(&self) -> Result<(), Failure> {
        match self.all().next() {
            None => Ok(()),
            Some(_) => {
                let text = "recall has no answers to be written".to_string();
                Err(Failure::Usage(text))
            }
        }
    }

    /// Refuses to write onto a picture of the data set. A file that is not there yet is none.
    pub(super) fn check_pictures(&self, data: &Dataset) -> Result<(), Failure> {
        for file in self.written().filter(|file| file.is_file()) {
            let mut pictures = data.pictures().iter().map(PictureFile::path);
            pictures.try_for_each(|picture| check_keeps(&file, picture).map_err(Failure::work))?;
        }
        Ok(())
    }

    /// Refuses results that no server takes: of questions and captions together, and of what it cannot tell by its id.
    pub(super) fn check(&self, data: &Dataset) -> Result<(), Failure> {
        let questions = data.examples().iter().filter(|own| own.question.is_some());
        let questions = questions.count();
        if self.results.is_some() && questions > 0 && questions < data.len() {
            return Err(Failure::Usage(format!(
                "--results is of questions, or of captions, and the data has {questions} of the former \
                 and {} of the latter",
                data.len() - questions
            )));
        }
        match self.results {
            Some(_) => check_ids(data),
            None => Ok(()),
        }
    }

    /// Writes what is wanted; right answers where they are known.
    pub(super) fn write(
        &self,
        said: &Answered,
        scores: &[Scoring],
        knows_answers: bool,
    ) -> Result<(), Failure> {
        let answers = self.answers.map_or(Ok(()), |path| {
            written(path, &told(path, said, scores, knows_answers)?)
        });
        let results = self.results.map_or(Ok(()), |path| {
            let rows = said.data.examples().iter().zip(&said.answers);
            let rows: Vec<Value> = rows.map(|(own, answer)| result(own, answer)).collect();
            written(path, &Value::Array(rows).to_string())
        });
        let sheet = self
            .sheet
            .map_or(Ok(()), |path| drawn(path, said, knows_answers));
        // Each of them, whatever became of the others.
        answers.and(results).and(sheet)
    }

    /// Writes the answers of an evaluation that ended early beside where all of them would stand, if they
    /// are wanted; that file's name.
    pub(super) fn keep(
        &self,
        said: &Answered,
        knows_answers: bool,
    ) -> Result<Option<PathBuf>, Failure> {
        let Some(path) = self.answers.filter(|_| !said.answers.is_empty()) else {
            return Ok(None);
        };
        let text = told(path, said, &[], knows_answers)?;
        // Who reads a stream has it all the same, and learns of the end by the exit code.
        let path = match is_stream(path) {
            true => path.to_path_buf(),
            false => partial(path),
        };
        written(&path, &text)?;
        Ok(Some(path))
    }
}

/// What GQA calls the id of a question, which is a text to its evaluation.
const GQA: &str = "questionId";

/// Whether results of an example are in the form of GQA.
fn is_of_gqa(example: &Example) -> bool {
    example.id_key.as_deref() == Some(GQA)
}

/// Whether an id is a number, and stays what it is if it is written as one: not `007`.
fn is_number(id: &str) -> bool {
    id.parse::<u64>()
        .is_ok_and(|number| number.to_string() == id)
}

/// Keys that are ids of one thing, and of no other.
const OTHER_IDS: [&str; 4] = ["question_id", "image_id", "pid", "instance_id"];

/// Refuses ids by which no server finds a question, or a picture.
fn check_ids(data: &Dataset) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for example in data.examples() {
        let (what, column) = match example.question {
            Some(_) => ("a question", "question_id"),
            None => ("a picture", "image_id"),
        };
        let id = &example.id;
        let key = example.id_key.as_deref().unwrap_or(column);
        // `id`, and what the data's own names call it, may be either's.
        if key != column && OTHER_IDS.contains(&key) {
            return Err(Failure::Work(format!(
                "--results: its servers know {what} by its `{column}`, and the data's ids are its `{key}`: have \
                 `{column}` in the data, with `columns = {{ id = \"{column}\" }}` where it has both, or leave --results \
                 out, and take --answers"
            )));
        }
        if !is_number(id) && !is_of_gqa(example) {
            return Err(Failure::Work(format!(
                "--results: its servers know {what} by a number, and {id:?} is none, or would be written otherwise: have `{column}` in the data, or \
                 leave --results out, and take --answers"
            )));
        }
        if !seen.insert(id) {
            return Err(Failure::Work(format!(
                "--results: its servers take one answer of {what}, and {id} is the id of more than one example"
            )));
        }
    }
    Ok(())
}

/// The name for what is not whole: `answers.jsonl` is `answers.partial.jsonl` then.
fn partial(path: &Path) -> PathBuf {
    match path.extension() {
        Some(ending) => {
            let mut own = OsString::from("partial.");
            own.push(ending);
            path.with_extension(own)
        }
        None => path.with_extension("partial"),
    }
}

/// Answers, in the form that a file's name asks for.
fn told(
    path: &Path,
    said: &Answered,
    scores: &[Scoring],
    knows_answers: bool,
) -> Result<String, Failure> {
    match ends_in(path, "csv") {
        true => table(said, scores, knows_answers),
        false => Ok(lines(said, scores, knows_answers)),
    }
}

/// Whether a file's name has this ending, in small letters or large ones.
fn ends_in(path: &Path, ending: &str) -> bool {
    let own = path.extension();
    own.is_some_and(|own| own.eq_ignore_ascii_case(ending))
}

/// Draws and writes a contact sheet.
fn drawn(path: &Path, said: &Answered, knows_answers: bool) -> Result<(), Failure> {
    let sheet = worst(said, knows_answers);
    match is_stream(path) {
        true => streamed(path, &sheet::png(&sheet, path)?)?,
        false => sheet::save(&sheet, path)?,
    }
    note!("wrote {}", path.display());
    Ok(())
}

/// How many pictures a sheet has.
const PICTURES: usize = 50;

/// The pictures with the worst answers.
fn worst(said: &Answered, knows_answers: bool) -> RgbImage {
    let data = &said.data;
    let mut order = worst_first(said);
    order.truncate(PICTURES);
    let texts = order.iter().map(|&place| {
        let example = &data.examples()[place];
        let asked = Line::wrapped(example.question.as_deref().unwrap_or_default(), 2);
        let answer = Line::wrapped(&said.answers[place], 3);
        let right = match knows_answers {
            true => Line::wrapped(&format!("right: {}", report::right(example)), 3),
            false => Vec::new(),
        };
        let asked = asked.into_iter().map(Line::fainter);
        let right = right.into_iter().map(Line::fainter);
        asked.chain(answer).chain(right).collect()
    });
    let texts: Vec<_> = texts.collect();
    contact_sheet(&texts, |n| {
        let picture = data.examples()[order[n]].picture;
        let seen = data.open(picture, &DecodeOptions::default()).ok()?;
        seen.into_frames().into_iter().next()
    })
}

/// The places of all examples, those with the worst answers first.
fn worst_first(said: &Answered) -> Vec<usize> {
    let mut order: Vec<usize> = (0..said.data.len()).collect();
    if let Some(first) = said.evaluations.first() {
        order.sort_by(|a, b| first.each[*a].total_cmp(&first.each[*b]));
    }
    order
}

fn written(path: &Path, text: &str) -> Result<(), Failure> {
    match is_stream(path) {
        true => streamed(path, text.as_bytes())?,
        false => write_file(path, text).map_err(|error| unwritten(path, &error))?,
    }
    note!("wrote {}", path.display());
    Ok(())
}

/// Whether a path is of a named pipe or a device, which takes what is written and is replaced by no
/// file. What stands for an open file of this process, such as `/dev/stdout`, is no name to replace
/// either.
fn is_stream(path: &Path) -> bool {
    let found = fs::metadata(path);
    let open = ["/dev/fd", "/dev/stdout", "/dev/stderr", "/proc"];
    let of_system = open.iter().any(|open| path.starts_with(open));
    found.is_ok_and(|found| !found.is_dir() && (of_system || !found.is_file()))
}

/// Writes into a pipe or a device.
fn streamed(path: &Path, content: &[u8]) -> Result<(), Failure> {
    // Not from its beginning: it may be this process's own output.
    let file = File::options().append(true).open(path);
    file.and_then(|mut file| file.write_all(content))
        .map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let why = words::of_system(error);
    Failure::Work(format!("{}: {why}", path.display()))
}

/// An answer as the servers of VQA take it, or that of GQA, or a caption as COCO's does.
fn result(example: &Example, answer: &str) -> Value {
    if is_of_gqa(example) {
        return json!({ "questionId": example.id, "prediction": answer });
    }
    // Their ids are numbers, as was checked.
    let id = match example.id.parse::<u64>() {
        Ok(id) => Value::from(id),
        Err(_) => Value::from(example.id.as_str()),
    };
    match example.question {
        Some(_) => json!({ "question_id": id, "answer": answer }),
        None => json!({ "image_id": id, "caption": answer }),
    }
}

/// A JSON object for each answer, in the data set's order, with the right one where it is known; and then
/// one for each record that was to be answered and broke meanwhile.
fn lines(said: &Answered, scores: &[Scoring], knows_answers: bool) -> String {
    let mut text = String::new();
    let examples = said.data.examples().iter().zip(&said.answers);
    for (place, (example, answer)) in examples.enumerate() {
        let mut line = Map::new();
        line.insert("id".into(), json!(example.id));
        line.insert("question".into(), json!(example.question));
        line.insert("answer".into(), json!(answer));
        if knows_answers {
            line.insert("right".into(), json!(report::right(example)));
        }
        if !scores.is_empty() {
            let own = scores.iter().zip(&said.evaluations);
            let own =
                own.map(|(score, found)| (score.name().to_string(), json!(found.each[place])));
            line.insert("scores".into(), Value::Object(own.collect()));
        }
        text.push_str(&format!("{}\n", Value::Object(line)));
    }
    for record in &said.left_out {
        let line = json!({ "left_out": record.to_string() });
        text.push_str(&format!("{line}\n"));
    }
    text
}

/// A table of the answers, the worst first.
fn table(said: &Answered, scores: &[Scoring], knows_answers: bool) -> Result<String, Failure> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let mut header = vec!["id", "question", "answer"];
    if knows_answers {
        header.push("right");
    }
    header.extend(scores.iter().map(|score| score.name()));
    table.write_record(&header).map_err(Failure::work)?;
    for place in worst_first(said) {
        let example = &said.data.examples()[place];
        let question = example.question.clone().unwrap_or_default();
        let mut row = vec![example.id.clone(), question, said.answers[place].clone()];
        if knows_answers {
            row.push(report::right(example));
        }
        let scores = said.evaluations.iter();
        row.extend(scores.map(|own| own.each[place].to_string()));
        table.write_record(&row).map_err(Failure::work)?;
    }
    let bytes = table
        .into_inner()
        .map_err(|error| Failure::work(error.into_error()))?;
    String::from_utf8(bytes).map_err(Failure::work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_as_the_servers_take_them() {
        let pictures = vec![PictureFile::File("x.png".into())];
        let examples = [(0, Some("what?".into()), vec![]), (0, None, vec![])];
        let data = Dataset::new(pictures, examples).unwrap();
        let rows: Vec<Value> = data
            .examples()
            .iter()
            .map(|own| result(own, "a dog"))
            .collect();
        assert_eq!(rows[0], json!({ "question_id": 0, "answer": "a dog" }));
        assert_eq!(rows[1], json!({ "image_id": 1, "caption": "a dog" }));
        // Of GQA an id is a text, whose zeros count.
        let mut example = data.examples()[0].clone();
        (example.id, example.id_key) = ("073334000".into(), Some("questionId".into()));
        let due = json!({ "questionId": "073334000", "prediction": "a dog" });
        assert_eq!(result(&example, "a dog"), due);
    }

    #[test]
    fn ids_are_numbers_that_stay_what_they_are() {
        assert!(is_number("0") && is_number("262148000"));
        assert!(
            ["", "073334000", "+1", "1.0", "VizWiz_test_0.jpg"]
                .iter()
                .all(|id| !is_number(id))
        );
    }
}
