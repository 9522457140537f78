//! Which modules were trained whole, as PEFT's `modules_to_save` names them.

use std::{collections::BTreeSet, ops::Bound};

/// The largest modules of which everything was trained, without adapters in them. A parameter that stands
/// in no module but the model, and one that has an adapter beside it, belongs to none: PEFT cannot have
/// saved it.
///
/// `trained` are parameters that were trained whole, `others` what was not, or has adapters.
pub(crate) fn whole_modules(trained: &BTreeSet<&str>, others: &BTreeSet<&str>) -> Vec<String> {
    let modules: BTreeSet<&str> = trained
        .iter()
        .filter_map(|name| ancestors(name).find(|module| !holds_any(module, others)))
        .collect();
    modules.into_iter().map(str::to_string).collect()
}

/// The modules that a parameter stands in, the outermost first.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.')
        .filter_map(|(dot, _)| name.get(..dot))
}

fn holds_any(module: &str, names: &BTreeSet<&str>) -> bool {
    let begin = format!("{module}.");
    let from = (Bound::Included(begin.as_str()), Bound::Unbounded);
    let mut behind = names.range::<str, _>(from);
    behind.next().is_some_and(|name| name.starts_with(&begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_modules_that_were_trained_whole() {
        let found = |trained: &[&str], others: &[&str]| {
            whole_modules(
                &trained.iter().copied().collect(),
                &others.iter().copied().collect(),
            )
        };
        let qformer = [
            "qformer.0.query.weight",
            "qformer.0.query.bias",
            "qformer.norm.weight",
        ];
        assert_eq!(found(&qformer, &["lm.0.weight", "qformers.x"]), ["qformer"]);
        let some = &qformer[..2];
        assert_eq!(found(some, &["qformer.norm.weight"]), ["qformer.0"]);
        assert_eq!(found(&qformer[..1], &qformer[1..]), [] as [&str; 0]);
        assert_eq!(found(&["query_tokens"], &["lm.0.weight"]), [] as [&str; 0]);
    }
}
