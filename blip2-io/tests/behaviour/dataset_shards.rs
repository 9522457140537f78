//! WebDataset's shards: what is read of them, in which order, and what is refused.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use blip2_io::{
    dataset::{Columns, Dataset, DatasetError, Loader, OnBroken},
    preprocessing::{DecodeOptions, ImageProcessor, ImageProcessorConfig, Size},
};
use image::{Rgb, RgbImage};

fn png(level: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = RgbImage::from_pixel(8, 8, Rgb([level, 0, 0]));
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn shard(path: &Path, members: &[(&str, &[u8])]) {
    let mut tar = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.finish().unwrap();
}

fn read(shards: &[PathBuf]) -> Result<Dataset, DatasetError> {
    Dataset::web_dataset(shards, &Columns::default(), OnBroken::Skip)
}

#[test]
fn samples_are_the_files_of_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("000.tar");
    let long = format!("{}/1", "deep".repeat(40));
    let (long_png, long_txt) = (format!("{long}.png"), format!("{long}.txt"));
    let (one, two) = (png(1), png(2));
    shard(
        &path,
        &[
            ("0001.jpg", &one),
            ("0001.txt", "a dog\n".as_bytes()),
            ("0002.png", &two),
            ("0002.json", br#"{"question": "what?", "answer": ["dog", "cat"], "image": "../0002.png", "id": 7}"#),
            ("0003.question.txt", b"how many?"),
            ("0003.answer.txt", b"2"),
            ("0003.png", &one),
            ("0004.cls", b"3"),
            ("0004.PNG", &two),
            (&long_png, &two),
            (&long_txt, b"far below"),
            ("0005.txt", b"no picture"),
            ("0006.png", &one),
            ("0007.png", &one),
            ("0007.jpg", &one),
            ("0007.txt", b"two pictures"),
            ("0008.png", &one),
            ("0008.json", b"{'a': 1}"),
            ("0009.png", b"no picture"),
            ("0009.txt", b"of a broken picture"),
        ],
    );
    let data = read(std::slice::from_ref(&path)).unwrap();
    let found: Vec<String> = data
        .examples()
        .iter()
        .map(|own| format!("{} {:?} {}", own.id, own.question, own.answers.join("|")))
        .collect();
    assert_eq!(
        found,
        [
            "0001 None a dog".to_string(),
            "7 Some(\"what?\") dog|cat".into(),
            "0003 Some(\"how many?\") 2".into(),
            "0004 None 3".into(),
            format!("{long} None far below"),
            "0009 None of a broken picture".into(),
        ]
    );
    let said: Vec<String> = data.broken().iter().map(ToString::to_string).collect();
    let said = said.join("\n");
    for words in [
        "000.tar, sample `0005`: it has no picture",
        "sample `0006`: it has no text: no `.txt`",
        "sample `0007`: it has 2 pictures, and an example is of one",
        "sample `0008`: `0008.json`: it is no JSON from column 2 on",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    let opened = data.pictures()[1].open(&DecodeOptions::default()).unwrap();
    assert_eq!(opened.get_pixel(0, 0), &Rgb([2, 0, 0]));
    let faults = data.faults(2, |_| None, |_| true).unwrap();
    assert_eq!(faults.keys().copied().collect::<Vec<_>>(), [5]);
    assert!(faults[&5].contains("000.tar/0009.png"), "{}", faults[&5]);
}

/// A sample's files that lie apart in an archive are told as that, each sample once; what stands together
/// is read.
#[test]
fn files_of_a_sample_that_lie_apart_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("000.tar");
    let picture = png(1);
    let one = |name: &'static str| (name, &*picture);
    fn text(name: &str) -> (&str, &[u8]) {
        (name, b"a dog")
    }
    let json: (&str, &[u8]) = ("4.json", br#"{"caption": "more"}"#);
    for (members, apart, lacking, examples) in [
        (
            vec![one("1.png"), one("2.png"), text("1.txt"), text("2.txt")],
            2,
            0,
            0,
        ),
        (
            vec![text("1.txt"), text("2.txt"), one("1.png"), one("2.png")],
            2,
            0,
            0,
        ),
        // Three places, and one that stands together.
        (
            vec![
                one("1.png"),
                one("3.png"),
                text("3.txt"),
                text("1.txt"),
                one("2.png"),
                text("1.question.txt"),
            ],
            1,
            1,
            1,
        ),
        // What stands together, and something behind.
        (
            vec![
                one("4.png"),
                text("4.txt"),
                one("5.png"),
                text("5.txt"),
                json,
            ],
            1,
            0,
            2,
        ),
        // Samples of one name that are whole are two, as where archives were joined.
        (
            vec![
                one("1.png"),
                text("1.txt"),
                one("2.png"),
                text("2.txt"),
                one("1.png"),
                text("1.txt"),
            ],
            0,
            0,
            3,
        ),
    ] {
        shard(&path, &members);
        // An archive before it with the same names is another one.
        let other = folder.path().join("other.tar");
        shard(
            &other,
            &[one("1.png"), text("1.txt"), one("9.png"), text("9.txt")],
        );
        let data = read(&[other, path.clone()]).unwrap();
        let count = |said: &str| {
            let all = data.broken().iter();
            all.filter(|own| own.reason.contains(said)).count()
        };
        let found = [
            count("do not stand together in the archive"),
            count("it has no text"),
            data.len() - 2,
        ];
        assert_eq!(found, [apart, lacking, examples], "{:?}", data.broken());
        assert_eq!(data.broken().len(), apart + lacking);
    }
}

#[test]
fn archives_that_cannot_be_read_where_they_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("000.tar");
    shard(
        &path,
        &[
            ("1.png", &png(1)),
            ("1.txt", b"a dog"),
            ("2.png", &[7; 5000]),
        ],
    );
    let whole = fs::read(&path).unwrap();
    for (bytes, said) in [
        (b"\x1f\x8b\x08\x00 and more".to_vec(), "compressed by gzip"),
        (
            b"no archive at all".repeat(100),
            "no tar archive, or a damaged one",
        ),
        (Vec::new(), "no usable record"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = read(std::slice::from_ref(&path)).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    fs::write(&path, &whole[..whole.len() - 5000]).unwrap();
    let data = read(&[path]).unwrap();
    assert_eq!(data.len(), 1);
    assert!(
        data.broken()[0]
            .to_string()
            .contains("`2.png`: the archive ends before it does")
    );
}

/// Three shards of eight samples, whose captions say where they are.
fn shards(folder: &Path) -> Vec<PathBuf> {
    let path = |number: usize| folder.join(format!("{number}.tar"));
    for number in 0..3 {
        let names: Vec<[String; 2]> = (0..8)
            .map(|own| [format!("{number}{own}.png"), format!("{number}{own}.txt")])
            .collect();
        let picture = png(number as u8);
        let members: Vec<(&str, &[u8])> = names
            .iter()
            .flat_map(|[image, text]| {
                [
                    (image.as_str(), &*picture),
                    (text.as_str(), image.as_bytes()),
                ]
            })
            .collect();
        shard(&path(number), &members);
    }
    (0..3).map(path).collect()
}

/// By a buffer, shards come in another order in each epoch and what is in them nearly as it lies; a
/// training that goes on sees the rest of the very order.
#[test]
fn shards_are_shuffled_by_a_buffer_and_gone_on_with_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let data = read(&shards(folder.path())).unwrap();
    assert!(
        data.examples()[9].place.starts_with("1.tar, sample"),
        "{}",
        data.examples()[9].place
    );
    let size = Size {
        height: 8,
        width: 8,
    };
    let processor = ImageProcessor::new(ImageProcessorConfig::default().with_size(size)).unwrap();
    let loader = Loader::new(data, processor)
        .batch(3)
        .workers(2)
        .shuffle_buffer(4);
    let order = |loader: &Loader, epoch, first| -> Vec<usize> {
        let batches = loader.epoch_from(epoch, first);
        batches
            .flat_map(|batch| batch.unwrap().examples)
            .map(|own| own.number)
            .collect()
    };
    assert_eq!(order(&loader, 0, 0), (0..24).collect::<Vec<_>>());
    let loader = loader.shuffled(5);
    let first = order(&loader, 0, 0);
    assert_eq!(first, order(&loader, 0, 0));
    assert_ne!(first, order(&loader, 1, 0));
    assert_eq!(first[12..], order(&loader, 0, 4));
    let mut all = first.clone();
    all.sort_unstable();
    assert_eq!(all, (0..24).collect::<Vec<_>>());
    // No sample is farther from its shard's others than the buffer is long.
    let mut shards: Vec<usize> = first.iter().map(|number| number / 8).collect();
    for (at, shard) in shards.iter().enumerate() {
        let begins = shards.iter().position(|own| own == shard).unwrap();
        assert!(at - begins < 8 + 4 + 4, "{first:?}");
    }
    shards.sort_unstable();
    assert_eq!(shards.iter().filter(|shard| **shard == 1).count(), 8);
}

#[test]
fn samples_of_one_picture_are_of_one_picture() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["0.tar", "1.tar"].map(|name| folder.path().join(name));
    let (one, two) = (png(1), png(2));
    // As long as the others, and ending alike.
    let (mut long, mut other) = (vec![1; 9000], vec![1; 9000]);
    (long[0], other[0]) = (7, 8);
    shard(
        &paths[0],
        &[
            ("0.png", &one),
            ("0.txt", b"a"),
            ("1.png", &two),
            ("1.txt", b"b"),
            ("2.png", &one),
            ("2.json", br#"{"caption": "c", "image_id": 1}"#),
            ("3.png", &long),
            ("3.txt", b"d"),
        ],
    );
    shard(
        &paths[1],
        &[
            ("0.png", &one),
            ("0.txt", b"e"),
            ("1.png", &other),
            ("1.txt", b"f"),
            ("2.png", &long),
            ("2.txt", b"g"),
            ("3.png", &one),
            ("3.json", br#"{"caption": "h", "image_id": 1}"#),
        ],
    );
    let data = read(&paths).unwrap();
    let numbers: Vec<usize> = data.examples().iter().map(|own| own.picture).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 0, 4, 3, 2]);
    assert_eq!(data.pictures().len(), 5);
    let shown = data.captions_by_picture();
    assert_eq!(shown.examples()[0].answers, ["a", "e"]);
}

#[test]
fn a_byte_order_mark_in_a_shard_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0.tar");
    let picture = png(1);
    shard(
        &path,
        &[
            ("0.png", &picture),
            ("0.txt", "\u{feff}a dog\r\n".as_bytes()),
            ("1.png", &picture),
            (
                "1.json",
                "\u{feff}{\"question\": \"what?\", \"answer\": \"dog\"}".as_bytes(),
            ),
            ("2.png", &picture),
            ("2.txt", b"\xff\xfea\0"),
        ],
    );
    let data = read(std::slice::from_ref(&path)).unwrap();
    let said: Vec<&str> = data.examples().iter().map(|own| &*own.answers[0]).collect();
    assert_eq!(said, ["a dog", "dog"]);
    let broken = data.broken()[0].to_string();
    assert!(broken.contains("`2.txt`: it is UTF-16"), "{broken}");
}
