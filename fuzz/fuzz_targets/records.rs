//! Records of data sets of every layout; kinds from 5 on are those that a file of its own layout has.
#![no_main]

use std::fs;

use blip2_fuzz::{chosen, on_disk};
use blip2_io::dataset::{ChoiceAnswers, Columns, Dataset, OnBroken, Split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = chosen(bytes, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]) else {
        return;
    };
    let file = if kind == 4 {
        "train/questions.json"
    } else {
        "records"
    };
    let folder = on_disk(&[
        (file, rest),
        ("pictures/0/image.png", b""),
        ("secret.png", b""),
    ]);
    let (file, pictures) = (folder.path().join(file), folder.path().join("pictures"));
    let skip = OnBroken::Skip;
    let read = match kind {
        0 => Dataset::json_lines(&file, &pictures, skip),
        1 => Dataset::coco_captions(&file, &pictures, skip),
        2 => Dataset::vqa_v2(&file, None, &pictures, skip),
        3 => Dataset::easy_vqa(&file, Split::Train, skip),
        4 => Dataset::easy_vqa(folder.path(), Split::Train, skip),
        5 => Dataset::csv(&file, &pictures, &Columns::default(), None, skip),
        6 => Dataset::karpathy(&file, &pictures, "train", true, skip),
        7 => Dataset::vizwiz(&file, &pictures, false, skip),
        8 => Dataset::gqa(&file, &pictures, true, skip),
        9 => Dataset::a_okvqa(&file, &pictures, ChoiceAnswers::Choice, skip),
        10 => Dataset::textcaps(&file, &pictures, skip),
        11 => Dataset::flickr30k(&file, &pictures, skip),
        _ => Dataset::web_dataset(&[file], &Columns::default(), skip),
    };
    let Ok(data) = read else { return };
    for example in data.examples() {
        assert!(example.picture < data.pictures().len());
    }
    let pictures = fs::canonicalize(&pictures).expect("the folder");
    for picture in data
        .pictures()
        .iter()
        .filter(|_| !matches!(kind, 3 | 4 | 12))
    {
        let path = fs::canonicalize(picture.path()).expect("there is such a file");
        assert!(path.starts_with(&pictures), "{}", path.display());
    }
});
