//! What was asked for and is not there.

use std::{collections::BTreeSet, path::Path};

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

    fn check_lora(&self, lora: &Lora) -> Result<(), TrainError> {
        if lora.is_fresh() {
            let targets = lora.config().named_targets();
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
            Some(layer) => Err(TrainError::NothingTrains {
                reason: format!(
                    "there is no layer `{layer}` of the adapter's shape: it was made for another model, or for a head \
                     that is this one's table of tokens"
                ),
            }),
            None => Ok(()),
        }
    }
}
