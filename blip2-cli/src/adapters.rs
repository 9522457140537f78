//! The adapters of a command line, and which of them is used.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    str::FromStr,
};

use blip2_core::{Builder, Member};
use blip2_io::Adapter;
use clap::Args;

use crate::Failure;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AdapterArgs {
    /// Put the adapter (LoRA) on the model that PEFT or `blip2 train` saved in this folder. An adapter's
    /// folder in the model's place finds the model that it was trained on. Given several times, each as
    /// NAME=FOLDER, there is a choice: --use-adapter names one, and of `blip2 serve` each is a model of its
    /// own, MODEL:NAME.
    #[arg(long, value_name = "[NAME=]FOLDER")]
    adapter: Vec<AdapterArg>,
    /// Use the adapter of this name.
    #[arg(long, value_name = "NAME", requires = "adapter")]
    use_adapter: Option<String>,
    /// Whether all are loaded, and requests choose.
    #[arg(skip)]
    later: bool,
}

/// A folder of an adapter, perhaps with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AdapterArg {
    name: Option<String>,
    folder: PathBuf,
}

impl FromStr for AdapterArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('=');
        match named {
            // A folder may have the sign in its own name.
            Some((name, folder)) if !Path::new(text).exists() => match (name, folder) {
                ("", _) => Err("there is no name before the ="),
                (_, "") => Err("there is no folder behind the ="),
                (name, folder) => Ok(Self {
                    name: Some(name.into()),
                    folder: folder.into(),
                }),
            },
            _ => Ok(Self {
                name: None,
                folder: text.into(),
            }),
        }
    }
}

impl AdapterArgs {
    /// Whether none was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.adapter.is_empty()
    }

    /// An adapter that the model's own place named.
    pub(crate) fn of(folder: PathBuf) -> Self {
        Self {
            adapter: vec![AdapterArg { name: None, folder }],
            ..Self::default()
        }
    }

    /// All folders.
    pub(crate) fn read(&self) -> impl Iterator<Item = &PathBuf> + Clone {
        self.adapter.iter().map(|adapter| &adapter.folder)
    }

    /// All folders, to be found.
    pub(crate) fn folders(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.adapter.iter_mut().map(|adapter| &mut adapter.folder)
    }

    /// The folder of the adapter that is used, if there is one.
    pub(crate) fn used(&self) -> Result<Option<&Path>, Failure> {
        self.check()?;
        let found = match (&self.use_adapter, self.adapter.as_slice()) {
            (Some(used), all) => {
                let of_name = |adapter: &&AdapterArg| adapter.name.as_ref() == Some(used);
                let found = all.iter().find(of_name);
                Some(found.ok_or_else(|| {
                    let text = format!("there is no adapter {used}; there are: {}", self.names());
                    Failure::usage(text)
                })?)
            }
            (None, [] | [_]) => self.adapter.first(),
            (None, all) => match all.iter().find(|adapter| adapter.name.is_none()) {
                Some(unnamed) => Some(unnamed),
                None => {
                    let text = format!(
                        "there are several adapters: choose one of {} by --use-adapter",
                        self.names()
                    );
                    return Err(Failure::usage(text));
                }
            },
        };
        Ok(found.map(|adapter| adapter.folder.as_path()))
    }

    /// Loads all of them, for each request to choose among.
    #[cfg(feature = "serve")]
    pub(crate) fn choose_later(&mut self) {
        self.later = true;
    }

    /// A builder of a model with the adapter that is used, or with all.
    pub(crate) fn on<M: Member>(&self, builder: Builder<M>) -> Result<Builder<M>, Failure> {
        if self.later {
            return self.all_on(builder);
        }
        Ok(match self.used()? {
            Some(folder) => builder.adapter(folder),
            None => builder,
        })
    }

    fn all_on<M: Member>(&self, builder: Builder<M>) -> Result<Builder<M>, Failure> {
        self.check()?;
        if self.use_adapter.is_some() {
            let text = "--use-adapter is not for a server: each request names the model that it asks, \
                        and each adapter is one, MODEL:NAME";
            return Err(Failure::usage(text));
        }
        let with = |builder: Builder<M>, adapter: &AdapterArg| match &adapter.name {
            Some(name) => builder.named_adapter(name, &adapter.folder),
            None => builder.adapter(&adapter.folder),
        };
        Ok(self.adapter.iter().fold(builder, with))
    }

    /// Tells of an adapter on another model than it was trained on, where its base is here.
    pub(crate) fn note_other_base(&self, model: &Path) -> Result<(), Failure> {
        if self.later {
            return Ok(());
        }
        let Some(folder) = self.used()? else {
            return Ok(());
        };
        // What is wrong with it is told when it is put on. A packed file does not say what it was made of.
        if model.is_file() {
            return Ok(());
        }
        let Ok(base) = Adapter::open(folder).and_then(|adapter| adapter.base()) else {
            return Ok(());
        };
        if !is_same(&base, model).unwrap_or(true) {
            note!(
                "note      {} was trained on {}, and is put on another model",
                folder.display(),
                base.display()
            );
        }
        Ok(())
    }

    /// Refuses what could not be told apart, and files.
    fn check(&self) -> Result<(), Failure> {
        let mut folders = self.read();
        if let Some(file) = folders.find(|folder| folder.is_file()) {
            let text = format!(
                "--adapter {}: it is a file; give the folder that it is in",
                file.display()
            );
            return Err(Failure::usage(text));
        }
        for (place, adapter) in self.adapter.iter().enumerate() {
            let before = self.adapter.iter().take(place);
            if !before.into_iter().any(|other| other.name == adapter.name) {
                continue;
            }
            let text = match &adapter.name {
                Some(name) => format!("two adapters are called {name}"),
                None => "of several adapters give each a name: --adapter NAME=FOLDER".into(),
            };
            return Err(Failure::usage(text));
        }
        Ok(())
    }

    fn names(&self) -> String {
        let names = self
            .adapter
            .iter()
            .filter_map(|adapter| adapter.name.as_deref());
        let names: Vec<_> = names.collect();
        match names.as_slice() {
            [] => "none with a name".into(),
            names => names.join(", "),
        }
    }
}

/// Whether two folders are one, or copies, as far as looking here and there tells: a model that was trained differs
/// from its base in whole matrices.
fn is_same(a: &Path, b: &Path) -> io::Result<bool> {
    if fs::canonicalize(a)? == fs::canonicalize(b)? {
        return Ok(true);
    }
    let files = ["config.json", "model.safetensors"];
    for name in files {
        if !is_alike(&a.join(name), &b.join(name))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether two files are of one size and equal in 256 places.
fn is_alike(a: &Path, b: &Path) -> io::Result<bool> {
    const PLACES: u64 = 256;
    const BYTES: u64 = 4096;
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let size = a.metadata()?.len();
    if b.metadata()?.len() != size {
        return Ok(false);
    }
    for place in 0..PLACES {
        let at = SeekFrom::Start(size / PLACES * place);
        let parts = [&mut a, &mut b].map(|file| -> io::Result<Vec<u8>> {
            let mut part = Vec::new();
            file.seek(at)?;
            file.take(BYTES).read_to_end(&mut part)?;
            Ok(part)
        });
        let [a, b] = parts;
        if a? != b? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(adapters: &[&str], used: Option<&str>) -> AdapterArgs {
        AdapterArgs {
            adapter: adapters.iter().map(|text| text.parse().unwrap()).collect(),
            use_adapter: used.map(str::to_string),
            later: false,
        }
    }

    #[test]
    fn one_is_used_and_of_several_the_one_that_is_named() {
        let used = |adapters: &[&str], used| {
            let args = args(adapters, used);
            args.used().map(|folder| folder.map(Path::to_path_buf)).ok()
        };
        let folder = |folder: &str| Some(Some(PathBuf::from(folder)));
        assert_eq!(used(&[], None), Some(None));
        assert_eq!(used(&["x/a"], None), folder("x/a"));
        assert_eq!(used(&["a=x/a"], None), folder("x/a"));
        let two = ["a=x/a", "b=x/b=c"];
        assert_eq!(used(&two, Some("b")), folder("x/b=c"));
        assert_eq!(used(&["a=x/a", "x/b"], None), folder("x/b"));
        for (adapters, name) in [
            (&two[..], None),
            (&two, Some("c")),
            (&["x/a", "x/b"], None),
            (&["a=x/a", "a=x/b"], Some("a")),
        ] {
            assert_eq!(used(adapters, name), None, "{adapters:?}");
        }
    }

    #[test]
    fn a_name_and_a_folder_are_both_there() {
        for text in ["=folder", "name="] {
            assert!(text.parse::<AdapterArg>().is_err(), "{text}");
        }
    }
}
