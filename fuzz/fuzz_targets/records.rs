//! Records of data sets of every layout.
#![no_main]

use std::fs;

use blip2_fuzz::{chosen, on_disk};
use blip2_io::dataset::{Dataset, OnBroken, Split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = chosen(bytes, &[0, 1, 2, 3, 4]) else {
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
        _ => Dataset::easy_vqa(folder.path(), Split::Train, skip),
    };
    let Ok(data) = read else { return };
    for example in data.examples() {
        assert!(example.picture < data.pictures().len());
    }
    let pictures = fs::canonicalize(&pictures).expect("the folder");
    for picture in data.pictures().iter().filter(|_| kind < 3) {
        let path = fs::canonicalize(picture.path()).expect("there is such a file");
        assert!(path.starts_with(&pictures), "{}", path.display());
    }
});
