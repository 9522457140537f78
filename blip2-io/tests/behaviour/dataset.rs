//! Data sets on disk, whole and broken, and their batches.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use blip2_io::{
    dataset::{
        Augmentation, Dataset, DatasetError, LoadedBatch, Loader, OnBroken, PictureFile, Split,
    },
    preprocessing::{ImageProcessor, ImageProcessorConfig, Size},
};
use image::{Rgb, RgbImage};

fn picture(path: &Path, level: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = RgbImage::from_fn(8, 8, |x, y| Rgb([level, x as u8 * 16, y as u8 * 16]));
    image.save(path).unwrap();
}

fn processor() -> ImageProcessor {
    let size = Size {
        height: 8,
        width: 8,
    };
    let config = ImageProcessorConfig::default().with_size(size);
    ImageProcessor::new(config).unwrap()
}

#[test]
fn lines_of_json_are_read_and_broken_ones_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("pictures/a.png"), 1);
    picture(&at("pictures/7/image.png"), 2);
    let lines = [
        r#"{"question": "How many?", "answer": "3", "pid": 7}"#,
        "",
        r#"{"question": "What?", "answers": ["cat", "a cat"], "image": "a.png", "id": "first"}"#,
        r#"{"caption": "a cat", "image": "a.png"}"#,
        r#"{"question": "How many?", "answer": 2.5, "pid": "7", "other": null}"#,
        r#"{"question": "How many?""#,
        r#"{"question": "How many?", "answer": "1", "pid": 8}"#,
        r#"{"question": " ", "answer": "1", "pid": 7}"#,
        r#"{"question": "Whose?", "answer": "1"}"#,
        r#"{"answer": "1", "pid": 7}"#,
        r#"{"question": "Whose?", "answer": "1", "image": "../secret.png"}"#,
    ];
    let file = at("train.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    let read = |on_broken| Dataset::json_lines(&file, at("pictures"), on_broken);
    let data = read(OnBroken::Skip).unwrap();
    let found: Vec<_> = data
        .examples()
        .iter()
        .map(|example| {
            (
                example.id.as_str(),
                example.question.as_deref(),
                example.answers.join("|"),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("7", Some("How many?"), "3".to_string()),
            ("first", Some("What?"), "cat|a cat".to_string()),
            ("line 4", None, "a cat".to_string()),
            ("7", Some("How many?"), "2.5".to_string()),
        ]
    );
    assert_eq!(data.pictures().len(), 2);
    let places: Vec<_> = data
        .broken()
        .iter()
        .map(|record| record.place.as_str())
        .collect();
    assert_eq!(
        places,
        ["line 6", "line 7", "line 8", "line 9", "line 10", "line 11"]
    );
    let Err(DatasetError::Broken { records }) = read(OnBroken::Fail) else {
        panic!("broken lines were passed over")
    };
    assert_eq!(records, data.broken());
    let text = DatasetError::Broken { records }.to_string();
    assert!(
        text.contains("train.jsonl, line 7: there is no picture"),
        "{text}"
    );

    fs::write(&file, "").unwrap();
    assert!(matches!(
        read(OnBroken::Skip),
        Err(DatasetError::Empty { .. })
    ));
    fs::remove_file(&file).unwrap();
    assert!(matches!(
        read(OnBroken::Skip),
        Err(DatasetError::Read { .. })
    ));
}

#[test]
fn iconqa_s_test_items_are_folders() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("10", r#"{"question": "How many stars?", "id": 10}"#),
        ("11", r#"{"question": "How many?", "id": "11"}"#),
        ("12", "{"),
    ] {
        picture(&folder.path().join(name).join("image.png"), 3);
        fs::write(folder.path().join(name).join("data.json"), text).unwrap();
    }
    let data = Dataset::iconqa_test(folder.path(), OnBroken::Skip).unwrap();
    let ids: Vec<_> = data
        .examples()
        .iter()
        .map(|example| example.id.as_str())
        .collect();
    assert_eq!(ids, ["10", "11"]);
    assert!(data.examples()[0].answers.is_empty());
    assert_eq!(data.broken()[0].place, "item 12");
}

#[test]
fn vqa_v2_joins_questions_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("val2014/COCO_val2014_000000000042.jpg"), 9);
    picture(&at("000000000043.jpg"), 9);
    fs::write(
        at("questions.json"),
        r#"{"data_subtype": "val2014", "questions": [
            {"image_id": 42, "question": "What is this?", "question_id": 42000},
            {"image_id": 43, "question": "What is that?", "question_id": 43000},
            {"image_id": 43, "question": "Why?", "question_id": 43001},
            {"image_id": 44, "question": "Who?", "question_id": 44000}]}"#,
    )
    .unwrap();
    let answer = |id| {
        format!(
            r#"{{"question_id": {id}, "answers": [{{"answer": "dog", "answer_id": 1}}, {{"answer": "cat"}}]}}"#
        )
    };
    let all = [42000, 43000, 44000].map(answer).join(",");
    fs::write(
        at("annotations.json"),
        format!(r#"{{"annotations": [{all}]}}"#),
    )
    .unwrap();
    let annotations = at("annotations.json");
    let read = |annotations: Option<&Path>| {
        Dataset::vqa_v2(
            at("questions.json"),
            annotations,
            folder.path(),
            OnBroken::Skip,
        )
    };
    let data = read(Some(&annotations)).unwrap();
    assert_eq!(data.len(), 2);
    assert_eq!(data.examples()[0].answers, ["dog", "cat"]);
    let places: Vec<_> = data
        .broken()
        .iter()
        .map(|record| record.place.as_str())
        .collect();
    assert_eq!(places, ["question 43001", "question 44000"]);
    let test = read(None).unwrap();
    assert_eq!((test.len(), test.broken().len()), (3, 1));
    assert!(
        test.examples()
            .iter()
            .all(|example| example.answers.is_empty())
    );
}

#[test]
fn coco_s_captions_are_gathered_by_picture() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("x.png"), 1);
    fs::write(
        at("captions.json"),
        r#"{"images": [{"id": 5, "file_name": "x.png"}, {"id": 6, "file_name": "y.png"}],
            "annotations": [{"image_id": 5, "caption": "a dog "}, {"image_id": 6, "caption": "?"},
                            {"image_id": 5, "caption": "one dog"}, {"image_id": 9, "caption": "?"}]}"#,
    )
    .unwrap();
    let data = Dataset::coco_captions(at("captions.json"), folder.path(), OnBroken::Skip).unwrap();
    assert_eq!(data.len(), 1);
    assert_eq!(data.examples()[0].answers, ["a dog", "one dog"]);
    assert_eq!(data.broken().len(), 2);
    let read = Dataset::coco_captions(at("x.png"), folder.path(), OnBroken::Skip);
    assert!(matches!(read, Err(DatasetError::Format { .. })));
}

/// Files of an easy-VQA of two pictures.
fn easy_vqa() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for level in [1, 2] {
        let mut png = std::io::Cursor::new(Vec::new());
        let image = RgbImage::from_pixel(8, 8, Rgb([level, 0, 0]));
        image.write_to(&mut png, image::ImageFormat::Png).unwrap();
        files.push((format!("train/images/{}.png", level - 1), png.into_inner()));
    }
    let questions =
        r#"[["what?", "circle", 1], ["red?", "yes", 0], ["blue?", "no", 1], ["?", "no", 2]]"#;
    files.push(("train/questions.json".into(), questions.into()));
    files
}

#[test]
fn easy_vqa_is_read_from_its_wheel_and_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let wheel = folder.path().join("easy_vqa-1.0-py3-none-any.whl");
    let mut zip = zip::ZipWriter::new(fs::File::create(&wheel).unwrap());
    for (name, bytes) in easy_vqa() {
        let path = folder.path().join("data").join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &bytes).unwrap();
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(format!("easy_vqa/data/{name}"), options)
            .unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap();
    let [packed, unpacked] = [wheel, folder.path().join("data")].map(|path| {
        let data = Dataset::easy_vqa(&path, Split::Train, OnBroken::Skip).unwrap();
        assert_eq!(
            (data.len(), data.pictures().len(), data.broken().len()),
            (3, 2, 1)
        );
        assert!(Dataset::easy_vqa(&path, Split::Test, OnBroken::Skip).is_err());
        assert!(Dataset::easy_vqa(&path, Split::Train, OnBroken::Fail).is_err());
        let loader = Loader::new(data, processor()).batch(2);
        loader.epoch(0).map(Result::unwrap).collect::<Vec<_>>()
    });
    for (a, b) in packed.iter().zip(&unpacked) {
        assert_eq!(a.pixel_values, b.pixel_values);
        assert_eq!(a.examples, b.examples);
    }
}

/// A data set of so many pictures with two questions each.
fn many(folder: &Path, count: usize) -> Dataset {
    let files: Vec<PathBuf> = (0..count)
        .map(|n| folder.join(format!("{n}.png")))
        .collect();
    for (level, file) in files.iter().enumerate() {
        picture(file, level as u8);
    }
    let pictures = files.into_iter().map(PictureFile::File).collect();
    let examples = (0..2 * count).map(|n| (n / 2, Some(format!("What {n}?")), vec![n.to_string()]));
    Dataset::new(pictures, examples).unwrap()
}

#[test]
fn batches_do_not_depend_on_the_workers() {
    let folder = tempfile::tempdir().unwrap();
    let augmentation = Augmentation::paper().with_shift(2).with_quarter_turns(true);
    let loader = Loader::new(many(folder.path(), 11), processor())
        .batch(4)
        .shuffled(3)
        .augmented(augmentation);
    let load = |loader: &Loader, epoch, first| {
        let batches = loader.epoch_from(epoch, first);
        let found = batches.map(|batch| {
            let batch = batch.unwrap();
            (batch.pixel_values.data().to_vec(), batch.examples)
        });
        found.collect::<Vec<_>>()
    };
    let alone = load(&loader.clone().workers(1), 0, 0);
    assert_eq!(alone.len(), 6);
    assert_eq!(loader.batches(), 6);
    assert!(alone == load(&loader.clone().workers(5), 0, 0));
    // Going on in the middle gives the same; another epoch and another seed another order.
    assert!(alone[4..] == load(&loader, 0, 4)[..]);
    assert!(load(&loader, 0, 9).is_empty());
    assert!(alone != load(&loader, 1, 0));
    assert!(alone != load(&loader.clone().shuffled(4), 0, 0));
    let mut seen: Vec<usize> = alone
        .iter()
        .flat_map(|(_, shown)| shown.iter().map(|shown| shown.number))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..22).collect::<Vec<_>>());
    // Leaving early ends the workers.
    let _ = loader.epoch(0).next().unwrap().unwrap();
}

/// The parts of a batch, one after another, are the batch, whatever is left out of it.
#[test]
fn shares_are_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    let data = many(folder.path(), 5);
    fs::write(folder.path().join("3.png"), "no picture").unwrap();
    let loader = Loader::new(data, processor())
        .by_picture(2)
        .batch(3)
        .shuffled(1)
        .augmented(Augmentation::paper())
        .on_broken(OnBroken::Skip);
    let all = |loader: &Loader| loader.epoch(0).map(Result::unwrap).collect::<Vec<_>>();
    let whole = all(&loader);
    for of in [1, 2, 3, 4] {
        let parts: Vec<_> = (0..of)
            .map(|part| all(&loader.clone().share(part, of)))
            .collect();
        for (number, whole) in whole.iter().enumerate() {
            let own = || parts.iter().map(|part| &part[number]);
            let pixels: Vec<f32> = own()
                .flat_map(|own| own.pixel_values.data().to_vec())
                .collect();
            assert_eq!(pixels, whole.pixel_values.data());
            let numbers = |batch: &LoadedBatch| -> Vec<usize> {
                batch.examples.iter().map(|shown| shown.number).collect()
            };
            assert_eq!(own().flat_map(numbers).collect::<Vec<_>>(), numbers(whole));
            let broken: usize = own().map(|own| own.broken.len()).sum();
            assert_eq!(broken, whole.broken.len());
        }
    }
}

#[test]
fn by_picture_each_is_seen_once() {
    let folder = tempfile::tempdir().unwrap();
    let loader = Loader::new(many(folder.path(), 5), processor())
        .batch(2)
        .shuffled(0);
    for (most, examples) in [(1, 5), (2, 10), (9, 10)] {
        let batches: Vec<_> = loader
            .clone()
            .by_picture(most)
            .epoch(0)
            .map(Result::unwrap)
            .collect();
        assert_eq!(batches.len(), 3);
        let mut pictures: Vec<_> = batches
            .iter()
            .flat_map(|batch| batch.pictures.clone())
            .collect();
        pictures.sort_unstable();
        assert_eq!(pictures, [0, 1, 2, 3, 4]);
        let shown = batches.iter().flat_map(|batch| &batch.examples);
        assert_eq!(shown.count(), examples);
        for batch in &batches {
            assert_eq!(batch.rows().len(), batch.examples.len());
            for shown in &batch.examples {
                assert_eq!(shown.number / 2, batch.pictures[shown.row]);
                assert_eq!(shown.example, loader.dataset().examples()[shown.number]);
            }
        }
    }
}

#[test]
fn pictures_that_do_not_decode_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = many(folder.path(), 3);
    fs::write(folder.path().join("1.png"), b"no picture").unwrap();
    let loader = Loader::new(data, processor()).batch(6);
    let error = loader.epoch(0).next().unwrap().unwrap_err().to_string();
    assert!(error.contains("example 2: "), "{error}");
    assert!(error.contains("1.png: not a picture"), "{error}");
    let batch = loader
        .on_broken(OnBroken::Skip)
        .epoch(0)
        .next()
        .unwrap()
        .unwrap();
    assert_eq!((batch.examples.len(), batch.broken.len()), (4, 2));
}

#[test]
fn questions_of_position_keep_pictures_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.png");
    picture(&file, 1);
    let load = |question: &str, seed| {
        let examples = [(0, Some(question.to_string()), vec![])];
        let data = Dataset::new(vec![PictureFile::File(file.clone())], examples).unwrap();
        let loader = Loader::new(data, processor()).shuffled(seed);
        let plain = loader.epoch(0).next().unwrap().unwrap().pixel_values;
        let loader = loader.augmented(Augmentation::paper());
        plain == loader.epoch(0).next().unwrap().unwrap().pixel_values
    };
    assert!((0..8).all(|seed| load("What is to the left of it?", seed)));
    assert!((0..8).any(|seed| !load("What is it?", seed)));
}
