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

/// How names end that stay in an index when a model is saved again without them: duplicates of tied
/// weights, and buffers of old versions.
const LEFT_OVER: [&str; 4] = [
    "lm_head.weight",
    "embed_tokens.weight",
    "position_ids",
    "embed_positions.weights",
];

/// Checks that every tensor is there that an index speaks of.
pub(super) fn check(
    path: &Path,
    index: &WeightMap,
    is_there: impl Fn(&str) -> bool,
) -> Result<(), IoError> {
    let left_over = |name: &str| LEFT_OVER.iter().any(|end| name.ends_with(end));
    let mut absent = index
        .iter()
        .filter(|(tensor, _)| !is_there(tensor) && !left_over(tensor));
    match absent.next() {
        None => Ok(()),
        Some((tensor, shard)) => Err(IoError::ShardContent {
            path: path.to_path_buf(),
            tensor: tensor.clone(),
            shard: shard.clone(),
        }),
    }
}
