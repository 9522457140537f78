//! Pictures of all kinds on the command line: moving, in folders with other files, with names that are no
//! text, and what is no file at all.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Output},
};

use image::{Frame, Rgba, RgbaImage, codecs::gif::GifEncoder};

fn blip2<A: AsRef<OsStr>>(arguments: &[A]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(arguments)
        .env_remove("BLIP2_MODEL")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An animation whose frames are shapes of other colours.
fn animation(path: &Path) {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for colour in [[255, 0, 0, 255], [0, 0, 255, 255], [0, 128, 0, 255]] {
        let frame = RgbaImage::from_fn(64, 64, |x, y| {
            let inside = (20..44).contains(&x) && (16..48).contains(&y);
            Rgba(if inside { colour } else { [240, 240, 240, 255] })
        });
        encoder.encode_frame(Frame::new(frame)).unwrap();
    }
    drop(encoder);
    fs::write(path, bytes).unwrap();
}

/// A TIFF with a page for each colour: a shape on gray ground.
fn pages(path: &Path) {
    let colours = [[255, 0, 0], [0, 0, 255]];
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    const ENTRIES: usize = 9;
    const DIRECTORY: usize = 2 + 12 * ENTRIES + 4;
    for (number, colour) in colours.iter().enumerate() {
        let levels = bytes.len() + DIRECTORY + 6;
        let next = match number + 1 == colours.len() {
            true => 0,
            false => levels + 64 * 64 * 3,
        };
        bytes.extend((ENTRIES as u16).to_le_bytes());
        let depths = levels - 6;
        for (tag, kind, count, value) in [
            (256u16, 3u16, 1u32, 64),
            (257, 3, 1, 64),
            (258, 3, 3, depths),
            (259, 3, 1, 1),
            (262, 3, 1, 2),
            (273, 4, 1, levels),
            (277, 3, 1, 3),
            (278, 3, 1, 64),
            (279, 4, 1, 64 * 64 * 3),
        ] {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend((value as u32).to_le_bytes());
        }
        bytes.extend((next as u32).to_le_bytes());
        bytes.extend([8, 0, 8, 0, 8, 0]);
        for place in 0..64 * 64 {
            let (x, y) = (place % 64, place / 64);
            let inside = (20..44).contains(&x) && (16..48).contains(&y);
            bytes.extend(if inside { *colour } else { [240; 3] });
        }
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn of_pages_the_first_is_seen_with_a_note_or_those_that_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.tif");
    pages(&path);
    let path = path.to_str().unwrap();
    let ask = |frame: &[&str]| {
        let question = ["answer", path, "what color is the shape?"];
        blip2(&[&question[..], frame].concat())
    };
    let first = ask(&[]);
    let said = text(&first.stderr);
    let note = "scan.tif: a TIFF of 2 pages, of which the first one is seen; --frame N|all";
    assert!(said.contains(note), "{said}");
    assert!(text(&first.stdout).contains("red"), "{said}");
    let second = ask(&["--frame", "2"]);
    assert!(
        text(&second.stdout).contains("blue"),
        "{}",
        text(&second.stderr)
    );
    assert!(!text(&second.stderr).contains("pages"));
    let all = text(&ask(&["--frame", "all"]).stdout);
    let answers: Vec<&str> = all.lines().collect();
    assert_eq!(answers.len(), 2, "{all}");
    assert!(
        answers[0].contains("red") && answers[1].contains("blue"),
        "{all}"
    );
    let third = ask(&["--frame", "3"]);
    let said = text(&third.stderr);
    assert!(
        said.contains("has 2 frames, and --frame asks for number 3"),
        "{said}"
    );
}

#[test]
fn of_an_animation_the_first_frame_is_seen_with_a_note_or_those_that_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moving.gif");
    animation(&path);
    let path = path.to_str().unwrap();
    let ask = |frame: &[&str]| {
        let question = ["answer", path, "what color is the shape?"];
        blip2(&[&question[..], frame].concat())
    };
    let first = ask(&[]);
    let said = text(&first.stderr);
    assert!(said.contains("moving.gif: an animated GIF"), "{said}");
    assert!(said.contains("--frame"), "{said}");
    let all = ask(&["--frame", "all"]);
    assert!(!text(&all.stderr).contains("animated"));
    let answers = text(&all.stdout);
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), 3);
    assert_eq!(text(&first.stdout).trim(), answers[0]);
    for (n, answer) in ["1", "2", "3"].into_iter().zip(&answers) {
        assert_eq!(text(&ask(&["--frame", n]).stdout).trim(), *answer);
    }
    assert_ne!(answers[0], answers[1]);
    let beyond = text(&ask(&["--frame", "4"]).stderr);
    assert!(
        beyond.contains("has 3 frames, and --frame asks for number 4"),
        "{beyond}"
    );
    assert_eq!(ask(&["--frame", "0"]).status.code(), Some(2));

    let captions = blip2(&["caption", path, "--frame", "all", "--json"]);
    let lines = text(&captions.stdout);
    assert_eq!(lines.lines().count(), 3);
    assert!(lines.contains("\"frame\":3"), "{lines}");
}

#[test]
fn what_is_left_out_of_a_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    image::RgbImage::new(8, 8).save(at("a.png")).unwrap();
    fs::write(at("notes.txt"), "notes").unwrap();
    fs::create_dir(at("more")).unwrap();
    let output = blip2(&["caption", folder.path().to_str().unwrap()]);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout).lines().count(), 1);
    let said = text(&output.stderr);
    assert!(
        said.contains("2 left out: more (a folder), notes.txt (not named like a picture)"),
        "{said}"
    );
    // What macOS keeps beside a picture is none, whatever its name ends in.
    fs::write(at("._a.png"), b"\0\x05\x16\x07\0\x02\0\0").unwrap();
    let output = blip2(&["caption", folder.path().to_str().unwrap()]);
    assert!(output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("3 left out:"), "{said}");
    assert!(
        said.contains("._a.png (what macOS keeps beside a file)"),
        "{said}"
    );
    // A format that is not read is no reason to pass over a picture.
    fs::write(at("b.avif"), b"\0\0\0\x1cftypavif\0\0\0\0").unwrap();
    let output = blip2(&["caption", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("format, AVIF, is not read"));
}

#[cfg(unix)]
#[test]
fn a_name_that_is_no_text_is_a_name() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(OsStr::from_bytes(b"caf\xe9.png"));
    image::RgbImage::new(8, 8)
        .save_with_format(&path, image::ImageFormat::Png)
        .unwrap();
    for argument in [folder.path(), &path] {
        let output = blip2(&[OsStr::new("caption"), argument.as_os_str()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.png");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for path in [pipe.as_path(), Path::new("/dev/zero")] {
        let output = blip2(&[OsStr::new("answer"), path.as_os_str(), OsStr::new("what?")]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("not a regular file"), "{said}");
    }
}

#[test]
fn urls_are_fetched_where_allowed_and_never_from_this_machine() {
    let url = "http://127.0.0.1:9/beach.png";
    for command in [
        &["answer", url, "what color is it?"][..],
        &["caption", url],
        &["embed", url],
    ] {
        let told = |more: &[&str]| {
            let output = blip2(&[command, more].concat());
            assert!(!output.status.success(), "{command:?}");
            text(&output.stderr)
        };
        let said = told(&[]);
        assert!(said.contains("only with --allow-urls"), "{said}");
        let said = told(&["--allow-urls"]);
        assert!(said.contains("is not asked"), "{said}");
    }
    let output = blip2(&["caption", url, "--output", "beside", "--allow-urls"]);
    let said = text(&output.stderr);
    assert!(said.contains("no text can stand beside a URL"), "{said}");
}
