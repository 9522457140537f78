//! `blip2 models`: what of the hub is on this machine.

use blip2_io::{CachedModel, cached_models, hub::HubCache};
use serde_json::json;

use crate::{Failure, args::hub::ModelsArgs};

pub(crate) fn run(args: &ModelsArgs) -> Result<(), Failure> {
    let cache = HubCache::of_environment();
    let models = cached_models(&cache).map_err(Failure::work)?;
    for model in &models {
        if args.json {
            let line = json!({
                "id": model.id.to_string(),
                "kind": model.kind.map(|kind| kind.to_string()),
                "adapter": model.is_adapter,
                "bytes": model.bytes,
                "commit": model.commit,
                "refs": model.refs,
                "folder": model.folder,
            });
            say!("{line}");
        } else {
            say!("{}", line(model));
        }
    }
    if models.is_empty() {
        note!("no models in {}", cache.path().display());
    }
    Ok(())
}

fn line(model: &CachedModel) -> String {
    let kind = match model.kind {
        Some(kind) => kind.to_string(),
        None if model.is_adapter => "adapter".into(),
        None => "of another family".into(),
    };
    let size = model.bytes as f64 / 1e9;
    let commit = model.commit.get(..8).unwrap_or_default();
    format!("{}  {kind}  {size:.2} GB  {commit}", model.id)
}
