//! What is asked about which picture.

use std::{
    fmt::Display,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use blip2_core::{Answer, Options, RankOptions, Ranked};
use blip2_io::{is_utf16, open_regular};

use crate::{
    Failure,
    args::answer::AnswerArgs,
    candidates::Candidates,
    family::Looked,
    prompts::{IMAGE, beside},
    records::read_table,
};

/// The most bytes of a file of questions.
const LARGEST: u64 = 1 << 26;

/// A picture and the questions about it.
pub(crate) struct Asked {
    pub(crate) picture: PathBuf,
    pub(crate) questions: Vec<String>,
}

impl Asked {
    /// What the command line asks. Rows of a table that follow one another and name the same picture
    /// are questions about it.
    pub(crate) fn of(args: &AnswerArgs) -> Result<Vec<Self>, Failure> {
        let Some(table) = &args.table else {
            let picture = args.image.clone().unwrap_or_default();
            let questions = match &args.questions {
                Some(file) => lines(file)?,
                None => args.question.clone(),
            };
            return Ok(vec![Self { picture, questions }]);
        };
        let mut asked: Vec<Self> = Vec::new();
        for row in read_table(table)? {
            let picture = beside(table, &row.need(IMAGE)?);
            let question = row.need(&["question"])?;
            match asked.last_mut() {
                Some(last) if last.picture == picture => last.questions.push(question),
                _ => asked.push(Self {
                    picture,
                    questions: vec![question],
                }),
            }
        }
        Ok(asked)
    }
}

/// The lines of a text file that hold something, one at least.
pub(crate) fn lines(path: &Path) -> Result<Vec<String>, Failure> {
    let lines = text_lines(path)?;
    match lines.is_empty() {
        true => Err(Failure::Work(format!(
            "{}: holds no line of text",
            path.display()
        ))),
        false => Ok(lines),
    }
}

/// The lines of a text file that hold something, if any do.
pub(crate) fn text_lines(path: &Path) -> Result<Vec<String>, Failure> {
    let named = |error: &dyn Display| Failure::Work(format!("{}: {error}", path.display()));
    let mut text = Vec::new();
    let read = match path == Path::new("-") {
        true => io::stdin().take(LARGEST).read_to_end(&mut text),
        false => open_regular(path).and_then(|file| file.take(LARGEST).read_to_end(&mut text)),
    };
    if read.map_err(|error| named(&error))? as u64 == LARGEST {
        return Err(named(&format!(
            "there are {LARGEST} bytes or more, which is the limit"
        )));
    }
    if is_utf16(&text) {
        return Err(named(&"it is UTF-16; save it as UTF-8"));
    }
    let text = String::from_utf8(text).map_err(|_| named(&"it is no UTF-8; save it as UTF-8"))?;
    let lines = text
        .lines()
        .map(|line| line.trim_start_matches('\u{feff}').trim());
    let lines = lines.filter(|line| !line.is_empty());
    Ok(lines.map(str::to_string).collect())
}

/// Which answers there may be.
pub(crate) enum Kind {
    Text,
    YesNo,
    Number,
    OneOf(Vec<String>, RankOptions),
}

/// What is said to a question.
pub(crate) enum Reply {
    Answer(Answer),
    /// The given answers, the likeliest first.
    Ranked(Vec<Ranked>),
}

impl Kind {
    pub(crate) fn of(args: &AnswerArgs) -> Self {
        match (args.yes_no, args.number) {
            _ if !args.one_of.is_empty() => {
                let given = args.one_of.iter();
                let given = given.flat_map(|Candidates(given)| given.iter().cloned());
                let options = RankOptions::default();
                let options = options.with_length_normalized(args.length_normalized);
                let options = match &args.template {
                    Some(template) => options.with_template(template.clone()),
                    None => options,
                };
                Self::OneOf(given.collect(), options)
            }
            (true, _) => Self::YesNo,
            (_, true) => Self::Number,
            _ => Self::Text,
        }
    }

    /// Answers questions about a picture that was encoded.
    pub(crate) fn ask(
        &self,
        looked: &Looked,
        questions: &[String],
        options: &Options,
    ) -> Result<Vec<Result<Reply, String>>, Failure> {
        let each = questions.iter();
        match self {
            Self::Text => {
                let answers = looked.ask_each(questions, options)?.into_iter();
                Ok(answers.map(|answer| answer.map(Reply::Answer)).collect())
            }
            Self::YesNo => each
                .map(|question| Ok(looked.ask_as::<bool>(question, options)?.map(Reply::Answer)))
                .collect(),
            Self::Number => each
                .map(|question| Ok(looked.ask_as::<u64>(question, options)?.map(Reply::Answer)))
                .collect(),
            Self::OneOf(given, options) => each
                .map(|question| Ok(looked.rank(question, given, options)?.map(Reply::Ranked)))
                .collect(),
        }
    }
}

/// The files that a command line reads.
pub(crate) fn inputs<'a>(
    args: &'a AnswerArgs,
    asked: &'a [Asked],
) -> impl Iterator<Item = &'a Path> {
    let files = args.table.iter().chain(&args.questions);
    let files = files.filter(|file| fs::metadata(file).is_ok());
    let pictures = asked.iter().map(|asked| &asked.picture);
    let read = files.chain(pictures).chain(args.model.read());
    read.map(PathBuf::as_path)
}
