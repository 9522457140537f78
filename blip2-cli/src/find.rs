//! Finding the model that a command line names: a folder, an id of the hub, or an adapter's folder.

use std::path::{Path, PathBuf};

use blip2_io::{Adapter, hub::ModelId};

use crate::{
    Failure,
    adapters::AdapterArgs,
    args::{Command, index::IndexCommand},
};

/// Puts folders in the place of ids and of adapters, in all arguments that name a model. What is not in
/// the hub's cache is downloaded, if this build can.
pub(crate) fn all(command: &mut Command) -> Result<(), Failure> {
    match command {
        Command::Answer(args) => adapted(&mut args.model.model, &mut args.model.adapter),
        Command::Caption(args) => adapted(&mut args.model.model, &mut args.model.adapter),
        Command::Explain(args) => adapted(&mut args.model.model, &mut args.model.adapter),
        #[cfg(feature = "serve")]
        Command::Serve(args) => adapted(&mut args.model.model, &mut args.model.adapter),
        Command::Embed(args) => adapted(&mut args.model.model, &mut args.model.adapter),
        #[cfg(feature = "tables")]
        Command::Map(args) => adapted(&mut args.model.model, &mut args.model.adapter),
        #[cfg(feature = "speech")]
        Command::Transcribe(args) => with_adapters(&mut args.model, &mut args.adapter),
        Command::Match(args) => with_adapters(&mut args.model.model, &mut args.model.adapter),
        Command::Index(args) => match &mut args.command {
            IndexCommand::Add(args) => {
                with_adapters(&mut args.model.model, &mut args.model.adapter)
            }
            IndexCommand::Search(args) => {
                with_adapters(&mut args.model.model, &mut args.model.adapter)
            }
            IndexCommand::Remove(_) | IndexCommand::List(_) | IndexCommand::Export(_) => Ok(()),
        },
        Command::Eval(args) => adapted(&mut args.model, &mut args.adapter),
        Command::Inspect(args) => replace(&mut args.folder),
        Command::Pack(args) => replace(&mut args.folder),
        Command::Merge(args) => with_adapter(&mut args.folder, &mut args.adapter),
        _ => Ok(()),
    }
}

fn adapted(model: &mut Option<PathBuf>, adapters: &mut AdapterArgs) -> Result<(), Failure> {
    match model {
        Some(model) => with_adapters(model, adapters),
        None => adapters.folders().try_for_each(replace),
    }
}

/// A model, and its adapters; an adapter in the model's place finds the model itself.
fn with_adapters(model: &mut PathBuf, adapters: &mut AdapterArgs) -> Result<(), Failure> {
    if !adapters.is_empty() {
        replace(model)?;
        return adapters.folders().try_for_each(replace);
    }
    let mut alone = None;
    with_adapter(model, &mut alone)?;
    if let Some(folder) = alone {
        *adapters = AdapterArgs::of(folder);
    }
    Ok(())
}

/// A model, and its adapter; an adapter in the model's place finds the model itself.
fn with_adapter(model: &mut PathBuf, adapter: &mut Option<PathBuf>) -> Result<(), Failure> {
    replace(model)?;
    if let Some(adapter) = adapter {
        return replace(adapter);
    }
    if Adapter::is_alone(&*model) {
        let base = Adapter::open(&*model).and_then(|adapter| adapter.base());
        let base = base.map_err(Failure::work)?;
        *adapter = Some(std::mem::replace(model, base));
    }
    Ok(())
}

fn replace(path: &mut PathBuf) -> Result<(), Failure> {
    *path = folder(path)?;
    Ok(())
}

/// The folder of a model, or the path as it is where it is no id.
pub(crate) fn folder(path: &Path) -> Result<PathBuf, Failure> {
    if path.exists() {
        return Ok(path.to_path_buf());
    }
    if let Some(text) = path.to_str().filter(|text| text.contains("://")) {
        return Err(no_address(text));
    }
    match path.to_str().and_then(|text| text.parse::<ModelId>().ok()) {
        Some(id) => of_hub(path, &id),
        None => Ok(path.to_path_buf()),
    }
}

/// What is said of an address in a model's place.
fn no_address(text: &str) -> Failure {
    let remedy = match ModelId::of_address(text) {
        Some(id) => format!("give its id, {id}"),
        None => "give a folder, or an id on the Hugging Face hub, owner/name".into(),
    };
    Failure::Usage(format!(
        "{text}: a model is not named by its address; {remedy}"
    ))
}

/// A path that a file names, relative to `base` unless it is an id.
pub(crate) fn beside(base: &Path, path: &Path) -> Result<PathBuf, Failure> {
    let beside = base.join(path);
    match beside.exists() {
        true => Ok(beside),
        false
            if path
                .to_str()
                .is_some_and(|text| text.parse::<ModelId>().is_ok()) =>
        {
            let found = folder(path)?;
            // What is neither is told by the path that was looked at.
            Ok(if found == path { beside } else { found })
        }
        false => Ok(beside),
    }
}

#[cfg(feature = "hub")]
fn of_hub(path: &Path, id: &ModelId) -> Result<PathBuf, Failure> {
    use blip2_io::hub::{HubCache, is_offline};

    match HubCache::of_environment().find_whole(id) {
        Some(folder) => Ok(folder),
        // The loader says what there is not.
        None if is_offline() || ModelId::to_download(path).is_none() => Ok(path.to_path_buf()),
        None => crate::download::fetch(id).map_err(|failure| match failure {
            Failure::Work(error) => Failure::Work(format!(
                "{}: there is no such folder, nor such a model in the Hugging Face cache; {error}",
                path.display()
            )),
            usage => usage,
        }),
    }
}

#[cfg(not(feature = "hub"))]
fn of_hub(path: &Path, _: &ModelId) -> Result<PathBuf, Failure> {
    Ok(path.to_path_buf())
}
