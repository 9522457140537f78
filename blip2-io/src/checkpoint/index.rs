//! The index of a sharded checkpoint.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path},
};

use serde::Deserialize;

use crate::{error::IoError, files::parse_json};

/// Which shard holds each tensor.
pub(super) type WeightMap = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Index {
    weight_map: WeightMap,
}

/// Reads an index, refusing names that lead out of its folder.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<WeightMap, IoError> {
    let index: Index = parse_json(path, text)?;
    for shard in index.weight_map.values() {
        let mut components = Path::new(shard).components();
        let plain = matches!(components.next(), Some(Component::Normal(_)))
            && components.next().is_none()
            && !shard.contains(['/', '\\']);
        if !plain {
            return Err(IoError::ShardPath {
                path: path.to_path_buf(),
                shard: shard.clone(),
            });
        }
    }
    Ok(index.weight_map)
}

/// The shards, each once.
pub(super) fn shards(index: &WeightMap) -> BTreeSet<&str> {
    index.values().map(String::as_str).collect()
}

/// Checks that every tensor is in the shard that the index says.
pub(super) fn check<'a>(
    path: &Path,
    index: &WeightMap,
    shard_of: impl Fn(&str) -> Option<&'a Path>,
) -> Result<(), IoError> {
    for (tensor, shard) in index {
        let found = shard_of(tensor).and_then(Path::file_name);
        if found != Some(shard.as_ref()) {
            return Err(IoError::ShardContent {
                path: path.to_path_buf(),
                tensor: tensor.clone(),
                shard: shard.clone(),
            });
        }
    }
    Ok(())
}
