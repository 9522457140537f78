//! What is wrong with a file that cannot be read, in the words of who wrote it.

use std::ops::Range;

use blip2_train::nearest_name;
use toml::de::{DeTable, DeValue};

/// What others call keys of this file.
const SYNONYMS: [(&str, &str); 22] = [
    ("learning_rate", "lr"),
    ("min_learning_rate", "min_lr"),
    ("batch_size", "batch"),
    ("per_device_train_batch_size", "batch"),
    ("max_steps", "steps"),
    ("num_train_epochs", "epochs"),
    ("num_epochs", "epochs"),
    ("max_epoch", "epochs"),
    ("gradient_accumulation_steps", "accumulate"),
    ("accum_grad_iters", "accumulate"),
    ("max_grad_norm", "clip"),
    ("warmup_steps", "warmup"),
    ("warmup_ratio", "warmup"),
    ("lr_scheduler_type", "schedule"),
    ("lr_layer_decay", "layer_decay"),
    ("eval_steps", "evaluate_every"),
    ("save_steps", "save_every"),
    ("num_workers", "workers"),
    ("r", "rank"),
    ("target_modules", "targets"),
    ("num_beams", "beams"),
    ("output_dir", "out"),
];

/// What the reader of a file says is wrong with it, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    span: Option<Range<usize>>,
}

impl Fault {
    pub(super) fn at(span: Range<usize>, message: String) -> Self {
        let span = Some(span);
        Self { message, span }
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        Self {
            message: error.message().to_string(),
            span: error.span(),
        }
    }
}

/// The line and its fault, of what the reader of a file `text` says.
pub(super) fn told(text: &str, fault: &Fault) -> String {
    let message = fault.message.as_str();
    let Some(span) = &fault.span else {
        return plain(message, "", "the file");
    };
    let line = 1 + before(text, span).matches('\n').count();
    let root = DeTable::parse(text).ok();
    let (key, place) = match root.and_then(|root| located(root.get_ref(), span)) {
        // It is the table that lacks something.
        Some(path) if message.starts_with("missing field") => (String::new(), named_table(&path)),
        Some(mut path) => (path.pop().unwrap_or_default(), named_table(&path)),
        // The file is no TOML.
        None => (key(text, span), place(text, span)),
    };
    format!("line {line}: {}", plain(message, &key, &place))
}

/// The message of the reader, in plain words, of `key` in `place`.
fn plain(message: &str, key: &str, place: &str) -> String {
    if let Some(keys) = message.strip_prefix("unexpected keys in table: ") {
        let (_, others) = keys.rsplit_once(", available keys: ").unwrap_or_default();
        let others: Vec<&str> = others.split(", ").collect();
        let meant = meant(key, &others, "its keys are");
        return format!("{place} has no `{key}`{meant}");
    }
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let [first, others @ ..] = &quoted[..] else {
        return typed(message, key);
    };
    if message.starts_with("unknown field") {
        let others: Vec<&str> = others.to_vec();
        return format!(
            "{place} has no `{first}`{}",
            meant(first, &others, "its keys are")
        );
    }
    if message.starts_with("unknown variant") {
        let what = match key {
            "" => format!("`{first}` is unknown"),
            key => format!("`{first}` is unknown for `{key}`"),
        };
        // Names that are made of parts are told behind the list of the others.
        let (listed, more) = match message.rsplit_once("`, or `") {
            Some((listed, more)) => (listed, format!(", or `{more}")),
            None => (message, String::new()),
        };
        let others: Vec<&str> = listed.split('`').skip(3).step_by(2).collect();
        return match meant(first, &others, "give one of") {
            told if told.ends_with('?') => format!("{what}{told}"),
            told => format!("{what}{told}{more}"),
        };
    }
    if message.starts_with("missing field") {
        return match *first {
            "kind" | "file" | "pictures" | "folder" | "score" | "data" | "rank" | "targets" => {
                format!("{place} lacks `{first}`, which has no usual value")
            }
            other => format!("{place} lacks `{other}`"),
        };
    }
    typed(message, key)
}

/// The keys that lead to what a span is of: a key, its value, or the value that it is in.
fn located(root: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    let is_it = |own: &Range<usize>| own == span;
    let holds_it = |own: &Range<usize>| own.contains(&span.start);
    found(root, &is_it).or_else(|| found(root, &holds_it))
}

fn found(table: &DeTable<'_>, is_it: &dyn Fn(&Range<usize>) -> bool) -> Option<Vec<String>> {
    table.iter().find_map(|(key, value)| {
        let name = || key.get_ref().to_string();
        // What is in a table is nearer than the table.
        let inner = match value.get_ref() {
            DeValue::Table(inner) => found(inner, is_it),
            _ => None,
        };
        if let Some(mut path) = inner {
            path.insert(0, name());
            return Some(path);
        }
        (is_it(&key.span()) || is_it(&value.span())).then(|| vec![name()])
    })
}

/// A table by the keys that lead to it.
fn named_table(path: &[String]) -> String {
    match path {
        [] => "the file".to_string(),
        path => format!("[{}]", path.join(".")),
    }
}

/// What may have been meant, of `others`, or all of them.
fn meant(name: &str, others: &[&str], or_else: &str) -> String {
    let synonyms = || SYNONYMS.iter().filter(|(_, own)| others.contains(own));
    let own_of = |name: &str| {
        synonyms()
            .find(|(other, _)| *other == name)
            .map(|(_, own)| *own)
    };
    let near = own_of(name)
        .or_else(|| nearest_name(name, others.iter().copied()))
        .or_else(|| own_of(nearest_name(name, synonyms().map(|(other, _)| *other))?));
    if let Some(near) = near {
        return format!(": did you mean `{near}`?");
    }
    match others {
        [] => String::new(),
        others => format!(": {or_else} `{}`", others.join("`, `")),
    }
}

/// Values of another type than is due.
fn typed(message: &str, key: &str) -> String {
    const TYPES: [(&str, &str); 12] = [
        ("invalid type: ", ""),
        ("invalid value: ", ""),
        ("floating point", "the number"),
        ("integer", "the whole number"),
        ("string", "the text"),
        ("sequence", "a list"),
        ("map", "a table"),
        ("boolean", "the word"),
        (", expected ", ", and what is due is "),
        ("usize", "a whole number, not below 0"),
        ("u64", "a whole number, not below 0"),
        ("u32", "a whole number, not below 0"),
    ];
    if let Some(told) = too_large(message, key) {
        return told;
    }
    // What has one of several names.
    if message.starts_with("wanted ") {
        return format!("{} is no text, and one of its names is due", named(key));
    }
    if !message.starts_with("invalid type") && !message.starts_with("invalid value") {
        let length = message.strip_prefix("invalid length ");
        let length = length.and_then(|rest| rest.split_once(", expected an array of length "));
        return match length {
            Some((has, due)) => format!("{} has {has} values, and {due} are due", named(key)),
            None => message.to_string(),
        };
    }
    let (found, due) = message.split_once(", expected ").unwrap_or((message, ""));
    let replaced = |text: &str, from: usize| {
        let types = TYPES.iter().skip(from);
        types.fold(text.to_string(), |text, (from, to)| {
            text.replacen(from, to, 1)
        })
    };
    let due = match due {
        "f64" | "f32" => "a number".to_string(),
        "a string" | "string" | "path string" => "a text".to_string(),
        "a boolean" => "true or false".to_string(),
        "a sequence" => "a list".to_string(),
        due if due.starts_with("struct") || due == "a map" => "a table".to_string(),
        due => replaced(due, 9),
    };
    format!("{} is {}, and {due} is due", named(key), replaced(found, 0))
}

/// What is said of a whole number that no key takes, whatever its own range is.
fn too_large(message: &str, key: &str) -> Option<String> {
    let is_wide = message.contains(" as i128") || message.contains(" as u128");
    if !is_wide && message != "integer number overflowed" {
        return None;
    }
    let number = message.split('`').nth(1).unwrap_or_default();
    Some(match number.starts_with('-') {
        true => format!(
            "{} is {number}, and a number not below 0 is due",
            named(key)
        ),
        false => format!(
            "{} is too large: {} is the largest whole number that is read",
            named(key),
            u64::MAX
        ),
    })
}

fn named(key: &str) -> String {
    match key {
        "" => "the value".to_string(),
        key => format!("`{key}`"),
    }
}

fn before<'t>(text: &'t str, span: &Range<usize>) -> &'t str {
    text.get(..span.start).unwrap_or(text)
}

/// The line that a span begins on.
fn row<'t>(text: &'t str, span: &Range<usize>) -> &'t str {
    let begin = before(text, span).rfind('\n').map_or(0, |at| at + 1);
    let rest = text.get(begin..).unwrap_or_default();
    rest.lines().next().unwrap_or_default()
}

/// The key whose value a span is, or the key on its line, if it is there.
fn key(text: &str, span: &Range<usize>) -> String {
    let begin = before(text, span).rfind('\n').map_or(0, |at| at + 1);
    let own = text.get(begin..span.start).unwrap_or_default().trim_end();
    if let Some(own) = own.strip_suffix('=') {
        // In a table that is written on one line, others may stand before it.
        let own = own.rsplit(['{', ',']).next().unwrap_or_default();
        return own.trim().to_string();
    }
    let key = row(text, span)
        .split_once('=')
        .map_or("", |(key, _)| key.trim());
    key.to_string()
}

/// The table that a span is in.
fn place(text: &str, span: &Range<usize>) -> String {
    // The line itself may be the table's head.
    let end = text.get(span.start..).and_then(|rest| rest.find('\n'));
    let end = end.map_or(text.len(), |at| span.start + at);
    let lines = text.get(..end).unwrap_or(text).lines().rev();
    let mut heads = lines.map(str::trim).filter(|line| line.starts_with('['));
    let head = heads.find_map(|line| {
        let head = line.split('#').next()?.trim();
        head.ends_with(']').then(|| head.to_string())
    });
    head.unwrap_or_else(|| "the file".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        told(text, &super::super::parsed(text).unwrap_err())
    }

    #[test]
    fn what_cannot_be_read_is_told_in_plain_words() {
        let recipe = |line: &str| format!("model = \"m\"\n[recipe]\nbatch = 4\n{line}\n");
        for (line, part) in [
            (
                "learning_rate = 1",
                "line 4: [recipe] has no `learning_rate`: did you mean `lr`?",
            ),
            ("bacth = 1", "did you mean `batch`?"),
            ("leraning_rate = 1", "did you mean `lr`?"),
            ("zzzzzzzz = 1", "its keys are `steps`"),
            (
                "betas = [0.9, 0.9, 0.9]",
                "`betas` has 3 values, and 2 are due",
            ),
            (
                "lr = \"high\"",
                "`lr` is the text \"high\", and a number is due",
            ),
            (
                "steps = -1",
                "`steps` is the whole number `-1`, and a whole number, not below 0 is due",
            ),
            (
                "seed = 18446744073709551616",
                "`seed` is too large: 18446744073709551615 is the largest whole number",
            ),
            (
                "steps = -99999999999999999999",
                "`steps` is -99999999999999999999, and a number not below 0 is due",
            ),
            (
                "seed = 999999999999999999999999999999999999999999",
                "`seed` is too large: 18446744073709551615 is the largest whole number",
            ),
            (
                "schedule = \"cosine\"",
                "`cosine` is unknown for `schedule`: give one of `constant`, `warmup-cosine`, `exponential`",
            ),
            (
                "ema = true",
                "`ema` is the word `true`, and a number is due",
            ),
            (
                "schedule = 5",
                "`schedule` is no text, and one of its names is due",
            ),
            (
                "activations = [\"bf16\"]",
                "`activations` is no text, and one of its names is due",
            ),
            (
                "augmentation = { flip = true, shift = \"far\" }",
                "`shift` is the text \"far\", and a whole number, not below 0 is due",
            ),
            (
                "[recipies]",
                "the file has no `recipies`: did you mean `recipe`?",
            ),
            (
                "[recipe.augmentatoin]",
                "[recipe] has no `augmentatoin`: did you mean `augmentation`?",
            ),
        ] {
            let said = said(&recipe(line));
            assert!(said.contains(part), "{line}: {said}");
        }
        let said = said("out = \"x\"\n[validation]\nscore = \"vqa\"\n");
        assert!(said.contains("lacks `data`"), "{said}");
    }

    /// The line, the table and the key are those of the fault, wherever in the file it is and however it is written.
    #[test]
    fn faults_of_data_are_told_by_their_line_table_and_key() {
        let data = "kind = \"json-lines\"\nfile = \"f\"\npictures = \"p\"\n";
        for (line, part) in [
            (
                "colums = { question = \"q\" }",
                "has no `colums`: did you mean `columns`?",
            ),
            (
                "on_broken = \"ignore\"",
                "`ignore` is unknown for `on_broken`",
            ),
            (
                "columns = { question = 5 }",
                "`question` is the whole number `5`, and a text is due",
            ),
            (
                "columns.question = 5",
                "`question` is the whole number `5`, and a text is due",
            ),
        ] {
            let of_training = said(&format!("out = \"o\"\n[data]\n{data}{line}\n[train]\n"));
            let of_validation = said(&format!(
                "[data]\n{data}[validation]\nscore = \"vqa\"\n[validation.data]\n{data}{line}\n"
            ));
            for (said, number, table) in [
                (of_training, 6, "[data]"),
                (of_validation, 11, "[validation.data]"),
            ] {
                assert!(
                    said.starts_with(&format!("line {number}: ")),
                    "{line}: {said}"
                );
                assert!(said.contains(part), "{line}: {said}");
                assert!(
                    !part.starts_with("has no") || said.contains(&format!(": {table} has no")),
                    "{line}: {said}"
                );
            }
        }
    }

    #[test]
    fn tables_of_data_are_named_however_they_are_written() {
        let data = "kind = \"csv\", file = \"f\", pictures = \"p\"";
        for (text, due) in [
            (
                format!("data = {{ {data}, columns = {{ qestion = \"q\" }} }}\n"),
                "line 1: [data.columns] has no `qestion`: did you mean `question`?",
            ),
            (
                format!("[validation]\nscore = \"vqa\"\ndata = {{ {data}, picturs = \"p\" }}\n"),
                "line 3: [validation.data] has no `picturs`: did you mean `pictures`?",
            ),
            (
                "data.kind = \"csv\"\ndata.file = \"f\"\ndata.picture = \"p\"\n".into(),
                "line 3: [data] has no `picture`: did you mean `pictures`?",
            ),
            (
                "[data]\nkind = \"csv\"\nfile = \"f\"\n".into(),
                "line 1: [data] lacks `pictures`",
            ),
            (
                "[data.columns]\nqestion = \"q\"\n[data]\nkind = \"csv\"\nfile = \"f\"\npictures = \"p\"\n".into(),
                "line 2: [data.columns] has no `qestion`",
            ),
            (
                "[data]\nfile = \"f\"\n".into(),
                "line 1: [data] lacks `kind`",
            ),
            (
                "out = \"o\"\n[data]\nfile = \"f\"\nkind = \"jsonl\"\n".into(),
                "line 4: `jsonl` is unknown for `kind`",
            ),
            (
                "[data]\nkind = 5\n".into(),
                "line 2: `kind` is no text, and one of its names is due",
            ),
            (
                "out = \"o\"\ndata = 5\n".into(),
                "line 2: `data` is the whole number, and a table is due",
            ),
            (
                "[[data]]\nkind = \"csv\"\n".into(),
                "line 1: `data` is a list, and a table is due",
            ),
            (
                "[validation]\nscor = \"vqa\"\n[validation.data]\nkind = \"imagefolder\"\nfolder = \"f\"\n".into(),
                "line 2: [validation] has no `scor`: did you mean `score`?",
            ),
            (
                "[validation.data]\nkind = \"imagefolder\"\nfolder = \"f\"\n".into(),
                "line 1: [validation] lacks `score`",
            ),
        ] {
            let said = said(&text);
            assert!(said.starts_with(due), "{text}: {said}");
        }
    }
}
