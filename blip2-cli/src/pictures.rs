//! Which pictures a command line means, and how they are opened.

use std::{
    collections::{BTreeSet, HashSet},
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use blip2_core::preprocessing::{
    Animation, DecodeOptions, ImageError, Orientation, is_apple_double,
};
use image::RgbImage;

use crate::{
    Failure,
    args::picture::{FrameChoice, PictureArgs},
    source::{Source, url},
};

/// What a folder's pictures end in. Formats that are known and not read are among them, so that each is
/// refused by its name rather than passed over.
const EXTENSIONS: [&str; 24] = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "bmp", "gif", "webp", "tif", "tiff", "ico", "tga",
    "qoi", "ppm", "pgm", "pbm", "pnm", "avif", "heic", "heif", "jp2", "j2k", "jxl",
];
/// How many names a summary lists.
const NAMED: usize = 10;

/// Opens a picture, or the one frame of an animation that is asked for.
pub(crate) fn open_one(
    path: &Path,
    args: PictureArgs,
    note: impl Fn(&str),
) -> Result<RgbImage, Failure> {
    if args.frame == Some(FrameChoice::All) {
        return Err(Failure::usage(format!(
            "{}: one picture is looked for, and --frame all takes several; give a frame's number",
            path.display()
        )));
    }
    let opened = open(path, args, note)?.into_iter().next();
    opened.ok_or_else(|| Failure::Work(format!("{}: holds no picture", path.display())))
}

/// Opens a picture, or its frames that are asked for, with their names: the file's own, and behind it
/// the frame's number from the second on, or where several are asked for.
pub(crate) fn open_named(
    path: &Path,
    name: &str,
    args: PictureArgs,
    note: impl Fn(&str),
) -> Result<Vec<(String, RgbImage)>, Failure> {
    let images = open(path, args, note)?;
    let named = match args.frame {
        Some(FrameChoice::One(n @ 1..)) => Some(n + 1),
        Some(FrameChoice::All) if images.len() > 1 => Some(1),
        _ => None,
    };
    let name = |n: usize| match named {
        Some(first) => frame_name(name, first + n),
        None => name.to_string(),
    };
    Ok((0..).map(name).zip(images).collect())
}

/// The name of a frame, counted from 1, of an animated picture.
pub(crate) fn frame_name(picture: &str, number: usize) -> String {
    format!("{picture}#{number}")
}

/// The file that [`open_named`] gave this name, and the frame of it.
fn file_of(name: &str) -> (&Path, Option<FrameChoice>) {
    let picture = Path::new(name);
    if !picture.exists()
        && let Some((picture, number)) = name.rsplit_once('#')
        && let Ok(choice @ FrameChoice::One(_)) = number.parse()
    {
        return (Path::new(picture), Some(choice));
    }
    (picture, None)
}

/// Whether the file is there that [`open_named`] gave this name.
pub(crate) fn is_there(name: &str) -> bool {
    file_of(name).0.exists()
}

/// Opens what [`open_named`] gave this name.
pub(crate) fn open_by_name(name: &str, args: PictureArgs) -> Option<RgbImage> {
    let (picture, frame) = file_of(name);
    open_one(picture, PictureArgs { frame, ..args }, |_| {}).ok()
}

/// Opens a picture, or the frames of an animation, or pages, that are asked for. Where none are, it is the first,
/// and `note` is told.
pub(crate) fn open(
    path: &Path,
    args: PictureArgs,
    note: impl Fn(&str),
) -> Result<Vec<RgbImage>, Failure> {
    let options = options(args);
    let named = |error: ImageError| Failure::work(error);
    let source = Source::open(path, args)?;
    match args.frame {
        Some(FrameChoice::All) => source.frames(&options).map_err(named),
        Some(FrameChoice::One(n)) => {
            let options = options.with_animation(Animation::Frame(n));
            let image = source.decode(&options).map_err(named)?;
            Ok(vec![image])
        }
        None => first(&source, path, &options, note).map(|image| vec![image]),
    }
}

fn first(
    source: &Source<'_>,
    path: &Path,
    options: &DecodeOptions,
    note: impl Fn(&str),
) -> Result<RgbImage, Failure> {
    let refused = match source.decode(options) {
        Ok(image) => return Ok(image),
        Err(error) => error,
    };
    let found = match &refused {
        ImageError::File { source, .. } => match **source {
            ImageError::Animated { format } => {
                format!("an animated {format}, of which the first frame")
            }
            ImageError::Pages { found } => {
                format!("a TIFF of {found} pages, of which the first one")
            }
            _ => return Err(Failure::work(refused)),
        },
        _ => return Err(Failure::work(refused)),
    };
    let still = options.with_animation(Animation::FirstFrame);
    let image = source.decode(&still).map_err(Failure::work)?;
    note(&format!(
        "note: {}: {found} is seen; --frame N|all takes others",
        path.display()
    ));
    Ok(image)
}

/// How pictures are decoded.
pub(crate) fn options(args: PictureArgs) -> DecodeOptions {
    DecodeOptions::default().with_orientation(match args.ignore_orientation {
        true => Orientation::Ignore,
        false => Orientation::Apply,
    })
}

/// Files as they are, the pictures of folders, and what glob patterns match. What is left out of a
/// folder is told on standard error.
/// With `recursive`, folders are searched with all that are in them.
pub(crate) fn expand(arguments: &[PathBuf], recursive: bool) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for argument in arguments {
        if argument.is_dir() {
            paths.extend(pictures_in(argument, recursive)?);
        } else if argument.exists() || url(argument).is_some() {
            paths.push(argument.clone());
        } else {
            let text = argument.to_string_lossy();
            let matches = glob::glob(&text).map_err(|error| {
                Failure::usage(format!(
                    "{text}: no such file or folder, and no pattern either: {} at character {}; `[[]` stands for `[`",
                    error.msg,
                    error.pos + 1
                ))
            })?;
            let (before, mut left_out) = (paths.len(), LeftOut::default());
            for path in matches {
                let path = path.map_err(Failure::work)?;
                match why_not(&path) {
                    None => paths.push(path),
                    Some(reason) => left_out.add(&path, reason),
                }
            }
            left_out.tell(&text);
            if paths.len() == before {
                return Err(Failure::Work(format!(
                    "{text}: no such file or folder, and no picture matches it as a pattern"
                )));
            }
        }
    }
    Ok(paths)
}

fn pictures_in(folder: &Path, recursive: bool) -> Result<BTreeSet<PathBuf>, Failure> {
    let fault = |error| Failure::Work(format!("{}: {error}", folder.display()));
    let mut found = Search::default();
    found.read(folder, recursive).map_err(fault)?;
    while let Some(below) = found.next_folder() {
        if found.read(&below, true).is_err() {
            found.left_out.add(&below, "a folder that cannot be read");
        }
    }
    found.left_out.tell(&folder.display().to_string());
    if found.pictures.is_empty() {
        let endings = EXTENSIONS.join(", ");
        return Err(Failure::Work(format!(
            "{}: holds no picture (file names that end in {endings})",
            folder.display()
        )));
    }
    Ok(found.pictures)
}

/// A search through a folder.
#[derive(Default)]
struct Search {
    pictures: BTreeSet<PathBuf>,
    left_out: LeftOut,
    folders: BTreeSet<PathBuf>,
    /// Links to folders, which are followed last: what is in the folder itself has its own name.
    links: BTreeSet<PathBuf>,
    /// The folders that were read, by their real names, so that a link to one above ends.
    read: HashSet<PathBuf>,
}

impl Search {
    fn read(&mut self, folder: &Path, recursive: bool) -> io::Result<()> {
        if !self.read.insert(fs::canonicalize(folder)?) {
            return Ok(());
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            match why_not(&path) {
                None => {
                    self.pictures.insert(path);
                }
                Some(_) if recursive && path.is_symlink() && path.is_dir() => {
                    self.links.insert(path);
                }
                Some(_) if recursive && path.is_dir() => {
                    self.folders.insert(path);
                }
                Some(reason) => self.left_out.add(&path, reason),
            }
        }
        Ok(())
    }

    fn next_folder(&mut self) -> Option<PathBuf> {
        self.folders.pop_first().or_else(|| self.links.pop_first())
    }
}

/// Whether this is a file that is named like a picture.
#[cfg(feature = "tables")]
pub(crate) fn is_picture(path: &Path) -> bool {
    why_not(path).is_none()
}

/// Whether there is a picture in a folder itself.
#[cfg(feature = "tables")]
pub(crate) fn has_pictures(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| is_picture(&entry.path()))
}

/// Why a name stands for no picture, if it does not.
fn why_not(path: &Path) -> Option<&'static str> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let known = extension.is_some_and(|found| {
        EXTENSIONS
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known))
    });
    match (path.is_file(), path.is_dir()) {
        (true, _) if is_apple_double(path) => Some("what macOS keeps beside a file"),
        (true, _) if known => None,
        (true, _) => Some("not named like a picture"),
        (_, true) => Some("a folder"),
        _ => Some("not a regular file"),
    }
}

/// What a folder or a pattern holds that is no picture.
#[derive(Default)]
struct LeftOut(BTreeSet<(&'static str, String)>);

impl LeftOut {
    fn add(&mut self, path: &Path, reason: &'static str) {
        let name = path.file_name().unwrap_or(path.as_os_str());
        self.0.insert((reason, name.to_string_lossy().into_owned()));
    }

    /// Says on standard error what was left out, and why.
    fn tell(&self, from: &str) {
        if self.0.is_empty() {
            return;
        }
        let mut text = format!("note: {from}: {} left out:", self.0.len());
        for (n, (reason, name)) in self.0.iter().take(NAMED).enumerate() {
            let comma = if n > 0 { "," } else { "" };
            // Writing to a text cannot fail. A name may hold what a terminal takes for a command.
            let _ = write!(text, "{comma} {} ({reason})", name.escape_debug());
        }
        if self.0.len() > NAMED {
            let _ = write!(text, " and {} more", self.0.len() - NAMED);
        }
        note!("{text}");
    }
}

/// A picture's file as an index knows it: by its path as it was given, so that a search can open it
/// again.
pub(crate) fn name_of(path: &Path) -> Result<String, String> {
    let name = path.to_str().map(str::to_string);
    name.ok_or_else(|| {
        format!(
            "{}: the name is no UTF-8, which an index cannot keep; rename the file",
            path.display()
        )
    })
}
