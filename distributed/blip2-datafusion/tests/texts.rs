//! Captions and answers in SQL against the pipeline alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::sync::Arc;

use blip2_core::{GenerationConfig, Options};
use blip2_datafusion::{Functions, OnError};
use datafusion::{
    arrow::array::{
        ArrayRef, BinaryArray, BinaryViewArray, LargeBinaryArray, LargeStringArray, NullArray,
        StringArray, StringViewArray,
    },
    logical_expr::Volatility,
    object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path},
};
use support::*;

const COLOR: &str = "what color is the shape?";

fn binary(files: &[Vec<u8>]) -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(files))
}

/// What the pipeline alone answers.
fn answers(question: &str) -> Vec<Option<String>> {
    let (blip2, images) = (demo(), images());
    let pairs = images.iter().map(|image| (image, question));
    let answers = blip2.answer_batch(pairs, &Options::default()).unwrap();
    answers
        .into_iter()
        .map(|answer| Some(answer.text))
        .collect()
}

#[tokio::test]
async fn columns_of_bytes_give_what_the_pipeline_alone_gives() {
    let files = files();
    let columns: [ArrayRef; 3] = [
        binary(&files),
        Arc::new(LargeBinaryArray::from_iter_values(&files)),
        Arc::new(BinaryViewArray::from_iter_values(&files)),
    ];
    let (blip2, images) = (demo(), images());
    let captions = blip2.caption_batch(&images, &Options::default()).unwrap();
    let captions: Vec<_> = captions
        .into_iter()
        .map(|answer| Some(answer.text))
        .collect();
    let colors = answers(COLOR);
    assert!(colors.contains(&Some("red".into())) && colors.contains(&Some("blue".into())));
    // Batches that do not divide the rows, within and beyond what the engine hands over at once.
    let functions = Functions::new(blip2).unwrap().with_batch(3).with_rows(7);
    for column in columns {
        let ctx = session(&functions, vec![("image", column)]);
        assert_eq!(
            texts(&ctx, "SELECT blip2_caption(image) FROM photos").await,
            captions
        );
        let sql = format!("SELECT blip2_answer(image, '{COLOR}') FROM photos");
        assert_eq!(texts(&ctx, &sql).await, colors);
    }
}

#[tokio::test]
async fn questions_may_be_a_column() {
    let files = files();
    let questions: Vec<_> = (0..files.len())
        .map(|row| ["what color is the shape?", "what shape is in the image?"][row % 2])
        .collect();
    let (blip2, images) = (demo(), images());
    let pairs = images.iter().zip(&questions);
    let alone = blip2.answer_batch(pairs, &Options::default()).unwrap();
    let alone: Vec<_> = alone.into_iter().map(|answer| Some(answer.text)).collect();
    let functions = Functions::new(blip2).unwrap();
    let columns: [ArrayRef; 3] = [
        Arc::new(StringArray::from(questions.clone())),
        Arc::new(LargeStringArray::from(questions.clone())),
        Arc::new(StringViewArray::from(questions)),
    ];
    for column in columns {
        let ctx = session(&functions, vec![("image", binary(&files)), ("q", column)]);
        assert_eq!(
            texts(&ctx, "SELECT blip2_answer(image, q) FROM photos").await,
            alone
        );
    }
}

#[tokio::test]
async fn texts_are_files_of_a_folder_or_of_a_registered_store() {
    let (names, colors) = (names(), answers(COLOR));
    let store = InMemory::new();
    for name in &names {
        let path = Path::from(format!("a folder/{name}"));
        store.put(&path, bytes(name).into()).await.unwrap();
    }
    let folder = std::path::Path::new(PICTURES).canonicalize().unwrap();
    let urls: Vec<_> = names
        .iter()
        .map(|name| format!("memory://photos/a%20folder/{name}"))
        .collect();
    let absolute: Vec<_> = names
        .iter()
        .map(|name| folder.join(name).display().to_string())
        .collect();
    let of_file: Vec<_> = absolute
        .iter()
        .map(|path| format!("file://{path}"))
        .collect();
    let functions = Functions::new(demo())
        .unwrap()
        .with_folder(PICTURES)
        .with_batch(4);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(names.clone())),
        Arc::new(LargeStringArray::from(absolute)),
        Arc::new(StringViewArray::from_iter_values(&of_file)),
        Arc::new(StringViewArray::from_iter_values(&urls)),
    ];
    for column in columns {
        let ctx = session(&functions, vec![("path", column)]);
        let url = url::Url::parse("memory://photos").unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(store.fork());
        ctx.register_object_store(&url, store);
        let sql = format!("SELECT blip2_answer(path, '{COLOR}') FROM photos");
        assert_eq!(texts(&ctx, &sql).await, colors);
    }
}

#[tokio::test]
async fn no_file_is_read_that_was_not_allowed() {
    let closed = Functions::new(demo()).unwrap();
    let secret = tempfile::tempdir().unwrap();
    let allowed = tempfile::tempdir().unwrap();
    let file = secret.path().join("red.png");
    std::fs::write(&file, bytes("red-triangle.png")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&file, allowed.path().join("link.png")).unwrap();
    std::fs::write(allowed.path().join("here.png"), bytes("red-triangle.png")).unwrap();
    let open = Functions::new(demo()).unwrap().with_folder(allowed.path());

    let of_closed = [
        (file.display().to_string(), "not allowed"),
        (format!("file://{}", file.display()), "not allowed"),
        (
            "http://127.0.0.1:9/red.png".into(),
            "no object store is registered",
        ),
        (
            "s3://photos/red.png".into(),
            "no object store is registered",
        ),
        (String::new(), "the text is empty"),
    ];
    let above = secret.path().file_name().unwrap().to_str().unwrap();
    let of_open = [
        (file.display().to_string(), "not below"),
        (format!("file://{}", file.display()), "not below"),
        (format!("../{above}/red.png"), "not below"),
        ("nowhere.png".into(), "No such file"),
        #[cfg(unix)]
        ("link.png".into(), "not below"),
    ];
    let cases = of_closed.into_iter().map(|case| (&closed, case));
    for (functions, (path, why)) in cases.chain(of_open.into_iter().map(|case| (&open, case))) {
        let column: ArrayRef = Arc::new(StringArray::from(vec![path.as_str()]));
        let ctx = session(functions, vec![("path", column)]);
        let said = refusal(&ctx, "SELECT blip2_caption(path) FROM photos").await;
        assert!(
            said.contains("blip2_caption") && said.contains(why),
            "{path}: {said}"
        );
        assert!(
            said.contains(&path) && said.contains("`path`"),
            "{path}: {said}"
        );
    }
    let ctx = session(
        &open,
        vec![(
            "path",
            Arc::new(StringArray::from(vec!["here.png"])) as ArrayRef,
        )],
    );
    let sql = format!("SELECT blip2_answer(path, '{COLOR}') FROM photos");
    assert_eq!(texts(&ctx, &sql).await, [Some("red".into())]);
}

#[tokio::test]
async fn null_gives_null() {
    let red = bytes("red-triangle.png");
    let image = BinaryArray::from_iter([Some(&red), None, Some(&red), None]);
    let question = StringArray::from(vec![Some(COLOR), Some(COLOR), None, None]);
    let columns = vec![
        ("image", Arc::new(image) as ArrayRef),
        ("q", Arc::new(question) as ArrayRef),
    ];
    let ctx = session(&Functions::new(demo()).unwrap(), columns);
    let rows = texts(&ctx, "SELECT blip2_answer(image, q) FROM photos").await;
    assert_eq!(rows, [Some("red".into()), None, None, None]);
    let rows = texts(&ctx, "SELECT blip2_answer(NULL, q) FROM photos").await;
    assert_eq!(rows, [None, None, None, None]);
    let rows = texts(&ctx, "SELECT blip2_answer(image, NULL) FROM photos").await;
    assert_eq!(rows, [None, None, None, None]);
    table(
        &ctx,
        "nothing",
        vec![("image", Arc::new(NullArray::new(2)) as ArrayRef)],
    );
    assert_eq!(
        texts(&ctx, "SELECT blip2_caption(image) FROM nothing").await,
        [None, None]
    );
}

#[tokio::test]
async fn a_row_that_fails_ends_the_query_or_is_null() {
    let (red, blue) = (bytes("red-triangle.png"), bytes("blue-circle.png"));
    let image: ArrayRef = Arc::new(BinaryArray::from_iter_values([
        &red[..],
        b"no picture",
        &blue[..],
    ]));
    let question: ArrayRef = Arc::new(StringArray::from(vec![COLOR, COLOR, ""]));
    let columns = vec![("photo", image), ("q", question)];
    let strict = session(&Functions::new(demo()).unwrap(), columns.clone());
    let said = refusal(&strict, "SELECT blip2_caption(photo) FROM photos").await;
    assert!(
        said.contains("blip2_caption") && said.contains("`photo`, row 1 of 3"),
        "{said}"
    );
    let said = refusal(&strict, "SELECT blip2_answer(photo, q) FROM photos").await;
    assert!(
        said.contains("blip2_answer") && said.contains("`photo`"),
        "{said}"
    );

    let lenient = Functions::new(demo()).unwrap().with_on_error(OnError::Null);
    let lenient = session(&lenient, columns);
    let rows = texts(&lenient, "SELECT blip2_answer(photo, q) FROM photos").await;
    assert_eq!(rows, [Some("red".into()), None, None]);
}

#[tokio::test]
async fn types_are_checked_while_planning() {
    let n: ArrayRef = Arc::new(datafusion::arrow::array::Int64Array::from(vec![1]));
    let columns = vec![("image", binary(&files()[..1])), ("n", n)];
    let ctx = session(&Functions::new(demo()).unwrap(), columns);
    let cases = [
        (
            "blip2_caption(n)",
            "blip2_caption(image): argument 1, `n`, is of type Int64",
        ),
        (
            "blip2_answer(image, n)",
            "argument 2, `n`, is of type Int64; give it texts",
        ),
        (
            "blip2_answer(n, 'what?')",
            "argument 1, `n`, is of type Int64; give it pictures",
        ),
        ("blip2_caption()", "blip2_caption"),
        (
            "blip2_answer(image)",
            "'blip2_answer' expected 2 arguments but received 1",
        ),
        (
            "blip2_similarity(n, n)",
            "blip2_similarity(a, b): argument 1, `n`",
        ),
        // Of another model.
        ("blip2_match(image, 'a dog')", "blip2_match"),
    ];
    for (call, said) in cases {
        // No row is asked for.
        let planned = ctx.sql(&format!("SELECT {call} FROM photos")).await;
        let error = planned
            .err()
            .unwrap_or_else(|| panic!("{call} is planned"))
            .to_string();
        assert!(error.contains(said), "{call}: {error}");
    }
}

#[tokio::test]
async fn functions_are_evaluated_in_filters_and_of_literals() {
    let names = names();
    let column: ArrayRef = Arc::new(StringArray::from(names.clone()));
    let functions = Functions::new(demo()).unwrap().with_folder(PICTURES);
    let ctx = session(&functions, vec![("path", column)]);
    let sql = format!("SELECT path FROM photos WHERE blip2_answer(path, '{COLOR}') = 'red'");
    assert_eq!(
        texts(&ctx, &sql).await,
        [
            Some("red-circle.png".into()),
            Some("red-triangle.png".into())
        ]
    );
    let sql = format!("SELECT blip2_answer('red-circle.png', '{COLOR}')");
    assert_eq!(texts(&ctx, &sql).await, [Some("red".into())]);
    let sql = format!(
        "SELECT count(*) || ' ' || color FROM (SELECT blip2_answer(path, '{COLOR}') AS color FROM photos) AS c
         WHERE color IN ('red', 'blue') GROUP BY color ORDER BY color"
    );
    assert_eq!(
        texts(&ctx, &sql).await,
        [Some("1 blue".into()), Some("2 red".into())]
    );
}

#[tokio::test]
async fn drawn_texts_are_volatile_and_greedy_ones_stable() {
    let volatility = |functions: &Functions, name: &str| {
        let functions = functions.scalar_functions().unwrap();
        let found = functions.iter().find(|function| function.name() == name);
        found.unwrap().signature().volatility
    };
    let greedy = Functions::new(demo()).unwrap();
    assert_eq!(volatility(&greedy, "blip2_caption"), Volatility::Stable);
    let sampling = GenerationConfig::default()
        .with_do_sample(true)
        .with_temperature(2.0)
        .with_max_new_tokens(Some(8));
    let drawn = greedy.with_generation(sampling.with_seed(7));
    assert_eq!(volatility(&drawn, "blip2_caption"), Volatility::Volatile);
    assert_eq!(volatility(&drawn, "blip2_answer"), Volatility::Volatile);
    assert_eq!(volatility(&drawn, "blip2_embed"), Volatility::Stable);

    // Batches are drawn from rows of random numbers of their own: one picture again and again does not
    // get the same text in each.
    let red = bytes("red-triangle.png");
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values(vec![&red; 24]));
    let ctx = session(&drawn.with_batch(2), vec![("image", column)]);
    let mut rows = texts(&ctx, "SELECT blip2_caption(image) FROM photos").await;
    rows.sort();
    rows.dedup();
    assert!(rows.len() > 2, "{rows:?}");
}

#[tokio::test]
async fn settings_that_make_no_sense_are_named() {
    let functions = Functions::new(demo()).unwrap();
    let cases = [
        (functions.clone().with_batch(0), "with_batch"),
        (functions.clone().with_rows(0), "with_rows"),
        (functions.clone().with_calls(0), "with_calls"),
        (
            functions
                .clone()
                .with_generation(GenerationConfig::default().with_num_beams(0)),
            "with_generation",
        ),
        (
            functions.with_generation(
                GenerationConfig::default()
                    .with_num_beams(3)
                    .with_num_return_sequences(2),
            ),
            "one sequence",
        ),
    ];
    for (functions, named) in cases {
        let error = functions.scalar_functions().unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    assert!(Functions::declared(fixture("nowhere")).is_err());
}
