//! What is written of many pictures: where, in which form, and how a run that was stopped goes on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

fn blip2(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command.args(arguments).env_remove("BLIP2_MODEL");
    command
}

fn run(arguments: &[&str]) -> Output {
    blip2(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    stdout(&output)
}

/// A picture of a colour of its own.
fn picture(path: &Path, n: u8) {
    let color = [
        n.wrapping_mul(37),
        n.wrapping_mul(101),
        255 - n.wrapping_mul(59),
    ];
    image::RgbImage::from_fn(64, 64, |x, y| {
        let inside = (20..44).contains(&x) && (16..48).contains(&y);
        image::Rgb(if inside { color } else { [240, 240, 240] })
    })
    .save(path)
    .unwrap();
}

/// A folder `photos` of pictures and one that is none, and a folder for what is written.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn of(count: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("photos")).unwrap();
        for n in 0..count {
            picture(&folder.path().join(format!("photos/{n:02}.png")), n);
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn captions_are_written_in_each_form_and_not_again() {
    let place = Place::of(3);
    let photos = place.text("photos");
    for name in ["a.jsonl", "a.csv"] {
        let output = place.text(name);
        let caption = ["caption", &photos, "--batch", "2", "--output", &output];
        assert_eq!(succeeds(&caption), "");
        let first = place.read(name);
        succeeds(&caption);
        assert_eq!(place.read(name), first, "what is done is not done again");
        picture(&place.path("photos/99.png"), 9);
        succeeds(&caption);
        let more = place.read(name);
        assert!(more.starts_with(&first) && more.len() > first.len());
        assert_eq!(more.lines().count(), first.lines().count() + 1);
        fs::remove_file(place.path("photos/99.png")).unwrap();
        assert!(!place.path(&format!("{name}.lock")).exists());
    }
    let records = lines(&place.read("a.jsonl"));
    let mut table = csv::Reader::from_path(place.path("a.csv")).unwrap();
    let header = table.headers().unwrap().clone();
    let expected = [
        "image",
        "frame",
        "caption",
        "confidence",
        "finish_reason",
        "error",
    ];
    assert!(header.iter().eq(expected));
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!((records.len(), rows.len()), (4, 4));
    for (record, row) in records.iter().zip(&rows) {
        assert_eq!(record["image"], row[0]);
        assert_eq!(record["caption"], row[2]);
    }

    succeeds(&["caption", &photos, "--output", "beside"]);
    for (n, record) in records[..3].iter().enumerate() {
        let beside = place.read(&format!("photos/{n:02}.txt"));
        assert_eq!(beside, format!("{}\n", record["caption"].as_str().unwrap()));
    }
    fs::write(place.path("photos/00.txt"), "mine").unwrap();
    succeeds(&["caption", &photos, "--output", "beside"]);
    assert_eq!(
        place.read("photos/00.txt"),
        "mine",
        "a text that is there is kept"
    );
}

#[test]
fn standard_output_is_named_by_a_dash() {
    let place = Place::of(2);
    let photos = place.text("photos");
    let told = succeeds(&["caption", &photos, "--output", "-"]);
    assert_eq!(told, succeeds(&["caption", &photos]));
    assert_eq!(lines(&told).len(), 2);
}

#[test]
fn a_file_cut_anywhere_becomes_that_of_an_undisturbed_run() {
    let place = Place::of(5);
    fs::write(place.path("photos/03.png"), "no picture").unwrap();
    let photos = place.text("photos");
    for (name, more) in [
        ("a.jsonl", &[][..]),
        ("a.csv", &[]),
        ("s.csv", &["--sample", "--num-return-sequences", "2"]),
    ] {
        let output = place.text(name);
        let caption = ["caption", &photos, "--batch", "2", "-o", &output];
        let caption = [&caption[..], more].concat();
        let told = run(&caption);
        assert_eq!(told.status.code(), Some(1), "{}", stderr(&told));
        assert!(stderr(&told).contains("1 of 5"), "{}", stderr(&told));
        let whole = fs::read(&output).unwrap();
        for cut in [0, 1, 9, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            fs::write(&output, &whole[..cut]).unwrap();
            let told = run(&caption);
            assert_eq!(told.status.code(), Some(1), "{}", stderr(&told));
            let again = fs::read(&output).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&again),
                String::from_utf8_lossy(&whole),
                "{name} cut at {cut}"
            );
        }
    }
}

#[test]
fn a_kill_in_the_middle_loses_nothing() {
    let place = Place::of(24);
    let photos = place.text("photos");
    let whole = place.text("whole.jsonl");
    succeeds(&["caption", &photos, "--batch", "1", "-o", &whole]);
    let output = place.text("killed.jsonl");
    let caption = ["caption", &photos, "--batch", "1", "-o", &output];
    let mut kills = 0;
    for step in 1..12 {
        let mut process = blip2(&caption).stderr(Stdio::null()).spawn().unwrap();
        let before = fs::metadata(&output).map_or(0, |found| found.len());
        let began = Instant::now();
        // Once something new is there.
        while fs::metadata(&output).map_or(0, |found| found.len()) <= before + step
            && process.try_wait().unwrap().is_none()
            && began.elapsed() < Duration::from_secs(60)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        let is_over = process.try_wait().unwrap().is_some();
        process.kill().unwrap();
        process.wait().unwrap();
        if is_over {
            break;
        }
        kills += 1;
    }
    assert!(kills > 0, "it was over before it could be killed");
    succeeds(&caption);
    assert_eq!(place.read("killed.jsonl"), place.read("whole.jsonl"));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_after_the_batch_and_says_how_to_go_on() {
    let place = Place::of(40);
    let photos = place.text("photos");
    let output = place.text("a.jsonl");
    let caption = ["caption", &photos, "--batch", "1", "-o", &output];
    let process = blip2(&caption).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while fs::metadata(&output).map_or(0, |found| found.len()) == 0 {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    let id = process.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let told = process.wait_with_output().unwrap();
    let said = stderr(&told);
    assert_eq!(told.status.code(), Some(130), "{said}");
    assert!(
        said.contains("of 40 pictures") && said.contains("goes on from there"),
        "{said}"
    );
    let done = lines(&place.read("a.jsonl")).len();
    assert!((1..40).contains(&done), "{done}");
    succeeds(&caption);
    assert_eq!(lines(&place.read("a.jsonl")).len(), 40);
}

#[test]
fn what_failed_is_tried_again_when_asked_for() {
    let place = Place::of(2);
    let photos = place.text("photos");
    fs::write(place.path("photos/00.png"), "no picture").unwrap();
    for name in ["a.jsonl", "a.csv"] {
        fs::write(place.path("photos/00.png"), "no picture").unwrap();
        let output = place.text(name);
        let caption = ["caption", &photos, "-o", &output];
        assert_eq!(run(&caption).status.code(), Some(1));
        picture(&place.path("photos/00.png"), 0);
        assert_eq!(run(&caption).status.code(), Some(1), "it counts as done");
        succeeds(&[&caption[..], &["--retry"]].concat());
        assert!(
            !place.read(name).contains("00.png: "),
            "{}",
            place.read(name)
        );
        succeeds(&caption);
    }
}

#[test]
fn subfolders_are_read_in_order_and_links_in_a_circle_end() {
    let place = Place::of(1);
    fs::create_dir_all(place.path("photos/b/c")).unwrap();
    picture(&place.path("photos/b/c/x.png"), 1);
    picture(&place.path("photos/b/y.png"), 2);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("..", place.path("photos/a-link")).unwrap();
        std::os::unix::fs::symlink("../../b", place.path("photos/b/c/up")).unwrap();
    }
    let names = |text: &str| -> Vec<String> {
        let base = place.text("photos/");
        let of = |line: Value| line["image"].as_str().unwrap().replace(&base, "");
        lines(text).into_iter().map(of).collect()
    };
    let photos = place.text("photos");
    let flat = succeeds(&["caption", &photos, "--json"]);
    assert_eq!(names(&flat), ["00.png"]);
    let deep = succeeds(&["caption", &photos, "--recursive"]);
    assert_eq!(names(&deep), ["00.png", "b/c/x.png", "b/y.png"]);
}

#[test]
fn several_sequences_are_given_in_each_form() {
    let place = Place::of(2);
    let photos = place.text("photos");
    let beams = ["--beams", "3", "--num-return-sequences", "3"];
    let records = lines(&succeeds(&[&["caption", &photos][..], &beams].concat()));
    let texts = |record: &Value| -> Vec<String> {
        let of = |name| record[name].as_str().unwrap().to_string();
        ["caption", "caption_2", "caption_3"].map(of).to_vec()
    };
    succeeds(&[&["caption", &photos, "-o", "beside"][..], &beams].concat());
    assert_eq!(
        place.read("photos/00.txt").lines().collect::<Vec<_>>(),
        texts(&records[0])
    );
    let one = place.text("photos/01.png");
    let alone = succeeds(&[&["caption", &one][..], &beams].concat());
    assert_eq!(alone.lines().collect::<Vec<_>>(), texts(&records[1]));
    let csv = place.text("a.csv");
    succeeds(&[&["caption", &photos, "-o", &csv][..], &beams].concat());
    assert!(
        place
            .read("a.csv")
            .starts_with("image,frame,caption,caption_2,caption_3,")
    );
    let other = run(&["caption", &photos, "-o", &csv]);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        stderr(&other).contains("has the columns"),
        "{}",
        stderr(&other)
    );
}

#[test]
fn each_picture_has_its_own_prompt() {
    let place = Place::of(3);
    let table = place.text("prompts.csv");
    let (colors, shapes) = (
        "Question: what color is the shape? Answer:",
        "Question: what shape is in the image? Answer:",
    );
    fs::write(
        &table,
        format!("file_name,prompt\nphotos/02.png,{colors}\nphotos/00.png,{shapes}\n"),
    )
    .unwrap();
    let captions = |arguments: &[&str]| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_string();
        let told = succeeds(&[&["caption", "--json"], arguments].concat());
        let told = lines(&told).into_iter();
        told.map(|line| (text(&line["image"]), text(&line["caption"])))
            .collect()
    };
    let of = |name: &str, prompt: &str| {
        captions(&[&place.text(&format!("photos/{name}")), "--prompt", prompt]).remove(0)
    };
    let expected = [
        of("00.png", shapes),
        of("01.png", colors),
        of("02.png", colors),
    ];
    let photos = place.text("photos");
    let found = captions(&[&photos, "--prompts", &table, "--prompt", colors]);
    assert_eq!(found, expected);
    let [first, _, third] = expected;
    assert_eq!(
        captions(&["--prompts", &table]),
        [third, first],
        "the table's own pictures"
    );
}

#[test]
fn nothing_else_is_written_over() {
    let place = Place::of(1);
    let photos = place.text("photos");
    let foreign = place.text("data.jsonl");
    for text in ["{\"a\": 1}\n", "{\"a\": 1", "no json\n", "\u{0}\u{1}"] {
        fs::write(&foreign, text).unwrap();
        let told = run(&["caption", &photos, "-o", &foreign]);
        assert_eq!(told.status.code(), Some(1), "{text}");
        assert!(
            stderr(&told).contains("no record of this command"),
            "{}",
            stderr(&told)
        );
        assert_eq!(fs::read_to_string(&foreign).unwrap(), text);
    }
    let table = place.text("t.csv");
    fs::write(&table, "image,prompt\n").unwrap();
    let told = run(&["caption", "--prompts", &table]);
    assert_eq!(told.status.code(), Some(1));
    assert!(stderr(&told).contains("holds no rows"), "{}", stderr(&told));
    fs::write(&table, "image,prompt\nphotos/00.png,a\n").unwrap();
    let told = run(&["caption", &photos, "--prompts", &table, "-o", &table]);
    assert_eq!(told.status.code(), Some(2), "{}", stderr(&told));
    fs::copy(place.path("photos/00.png"), place.path("photos/00.bmp")).unwrap();
    let told = run(&["caption", &photos, "-o", "beside"]);
    assert_eq!(told.status.code(), Some(2));
    assert!(stderr(&told).contains("00.txt"), "{}", stderr(&told));
    let told = run(&["caption", &photos, "-o", "captions.txt"]);
    assert_eq!(told.status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_file_to_go_on_with() {
    let place = Place::of(1);
    let pipe = place.text("pipe.jsonl");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let told = run(&["caption", &place.text("photos"), "-o", &pipe]);
    assert_eq!(told.status.code(), Some(1));
    assert!(stderr(&told).contains("a pipe"), "{}", stderr(&told));
}
