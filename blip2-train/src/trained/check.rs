//! What was asked for and is not there.

use std::{collections::BTreeSet, path::Path};

use blip2_io::Adapter;

use super::Trained;
use crate::{
    error::TrainError,
    lora::Lora,
    names::{self, NamePattern},
};

impl<M> Trained<M> {
    /// The same, known to be made of the checkpoint in `source`. Parts and layers that matched nothing
    /// are refused: a name that was misspelt would else train less than was meant.
    pub(crate) fn of_checkpoint(
        self,
        source: &Path,
        parts: &[NamePattern],
        lora: Option<&Lora>,
    ) -> Result<Self, TrainError> {
        let all = self.names.iter().collect::<Vec<_>>();
        let parameters = all.iter().filter(|named| !named.is_lora());
        let parameters = parameters.map(|named| named.name.as_str());
        names::check(parts, "parameter", parameters)?;
        if let Some(lora) = lora {
            self.check_lora(lora)?;
        }
        if self.trained.is_empty() {
            let reason = "neither a part nor an adapter was named".into();
            return Err(TrainError::NothingTrains { reason });
        }
        let source = source.to_path_buf();
        Ok(Self { source, ..self })
    }

    /// Refuses a head that is its table of tokens, as it is no layer that an adapter could be put on.
    fn check_tied(&self, target: &NamePattern) -> Result<(), TrainError> {
        if self.names.layers().any(|layer| target.matches(layer)) {
            return Ok(());
        }
        let is_head = |tensor: &String| {
            let layer = tensor.strip_suffix(".weight");
            layer.is_some_and(|layer| target.is_end_of(layer))
        };
        let is_one =
            |table: &&String| is_head(table) || Adapter::copies(table).any(|copy| is_head(&copy));
        match self.names.tables.iter().find(is_one) {
            None => Ok(()),
            Some(table) => {
                let part = table.strip_suffix(".weight").unwrap_or(table);
                let reason = format!(
                    "is one with the table of tokens of this model (`tie_word_embeddings`), and no layer that an \
                     adapter could be put on; leave it out, or train the table whole: `{part}` among the parts"
                );
                let target = target.to_string();
                Err(TrainError::argument("target_modules", target, reason))
            }
        }
    }

    fn check_lora(&self, lora: &Lora) -> Result<(), TrainError> {
        if lora.is_fresh() {
            let targets = lora.config().named_targets();
            targets.iter().try_for_each(|own| self.check_tied(own))?;
            names::check(&targets, "linear layer", self.names.layers())?;
            if let Some(expression) = lora.chosen().idle(self.names.layers()) {
                return Err(TrainError::UnknownName {
                    wanted: "linear layer",
                    pattern: expression.to_string(),
                    nearest: Vec::new(),
                });
            }
        }
        if let (true, Some(block)) = (
            lora.is_fresh(),
            lora.chosen().idle_block(self.names.layers()),
        ) {
            let reason = "is the number of a block in which no layer is among the targets";
            return Err(TrainError::argument("layers_to_transform", block, reason));
        }
        // Those of another shape than their layer's, or of a rank that makes no sense, were not made.
        let adapted: BTreeSet<&str> = self
            .trained
            .iter()
            .filter_map(|name| name.strip_suffix(".lora_A.weight"))
            .collect();
        let chosen = lora.chosen();
        let wanted = |layer: &&str| lora.is_fresh() && chosen.targets(layer);
        let mut wanted = self.names.layers().filter(wanted);
        if let Some(layer) = wanted.find(|layer| !adapted.contains(layer)) {
            let reason =
                format!("is above both widths of `{layer}`; a smaller rank can add as much");
            return Err(TrainError::argument("r", chosen.rank(layer), reason));
        }
        match lora.saved_layers().find(|layer| !adapted.contains(layer)) {
            Some(layer) => Err(homeless(lora, layer)),
            None => Ok(()),
        }
    }
}

/// A saved adapter of a layer that the model does not have.
fn homeless(lora: &Lora, layer: &str) -> TrainError {
    let reason = format!(
        "there is no layer `{layer}` of the adapter's shape: it was made for another model, or for a head \
         that is this one's table of tokens"
    );
    match lora.saved() {
        Some(adapter) => adapter.mismatch(reason).into(),
        None => TrainError::NothingTrains { reason },
    }
}
