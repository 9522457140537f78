//! What PEFT is told of adapters: which layers they are of.

use super::{
    chosen::Chosen,
    config::{LoraConfig, is_name},
};
use crate::names::NamePattern;

impl Chosen {
    /// The configuration with such targets as PEFT understands, by which it finds the layers in `adapted`,
    /// and no other, among `all` of the model's: with one more it would train what was not trained here.
    ///
    /// It is as it was given where that says as much. Else what PEFT knows by the ends of names stays, and
    /// what other patterns, blocks and layers left out stood for is named layer by layer.
    pub(super) fn for_peft(&self, adapted: &[&str], all: &[&str]) -> LoraConfig {
        let as_given = all
            .iter()
            .all(|layer| self.peft_adapts(layer) == adapted.contains(layer));
        match as_given && self.names_are_of_peft() {
            true => self.config.clone(),
            false => self.by_layers(adapted, all),
        }
    }

    /// Whether PEFT, too, reads all targets as names.
    fn names_are_of_peft(&self) -> bool {
        let mut targets = self.config.target_modules.iter();
        targets.all(|target| is_name(target.as_str()))
    }

    /// Whether PEFT adapts a layer (`check_target_module_exists`): it has a whole name count in every block.
    fn peft_adapts(&self, layer: &str) -> bool {
        let mut targets = self.config.target_modules.iter();
        let is_whole = self
            .config
            .target_modules
            .iter()
            .any(|own| own.as_str() == layer);
        let is_end = targets.any(|own| own.is_end_of(layer));
        !self.is_left_out(layer) && (is_whole || (is_end && self.is_in_blocks(layer)))
    }

    /// The same, by ends of names that are of adapted layers alone, and whole names.
    fn by_layers(&self, adapted: &[&str], all: &[&str]) -> LoraConfig {
        let is_exact = |target: &&NamePattern| {
            let mut of = all.iter().filter(|layer| target.is_end_of(layer));
            let is_of_some = adapted.iter().any(|layer| target.is_end_of(layer));
            is_of_some && of.all(|layer| adapted.contains(layer))
        };
        let targets = self.config.target_modules.iter().filter(is_exact);
        let mut targets: Vec<NamePattern> = targets.cloned().collect();
        let is_named = |layer: &str| targets.iter().any(|target| target.is_end_of(layer));
        let rest = adapted.iter().filter(|layer| !is_named(layer));
        let rest: Vec<NamePattern> = rest.map(|&layer| layer.into()).collect();
        targets.extend(rest);
        LoraConfig {
            target_modules: targets,
            layers_to_transform: Vec::new(),
            layers_pattern: Vec::new(),
            exclude_modules: None,
            ..self.config.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use blip2_io::TargetModules;

    use super::*;

    /// The configuration that is written of adapters of `adapted`.
    fn told(config: LoraConfig, adapted: &[&str], all: &[&str]) -> LoraConfig {
        Chosen::of(config).unwrap().for_peft(adapted, all)
    }

    fn names<const N: usize>(names: [&str; N]) -> [NamePattern; N] {
        names.map(NamePattern::from)
    }

    #[test]
    fn layers_are_named_where_a_pattern_is_none_of_its_own() {
        let all = ["lm.0.q_proj", "qformer.query", "qformer.key", "lm.lm_head"];
        let adapted = &all[..3];
        let config = LoraConfig::new(4, ["q_proj", "qformer", "v_proj"]);
        let wanted = names(["q_proj", "qformer.query", "qformer.key"]);
        assert_eq!(told(config, adapted, &all).target_modules, wanted);
        let config = LoraConfig::new(4, ["all-linear"]);
        let wanted = names(["lm.0.q_proj", "qformer.query", "qformer.key"]);
        assert_eq!(told(config, adapted, &all).target_modules, wanted);
    }

    #[test]
    fn blocks_and_layers_left_out_are_kept_where_they_say_as_much() {
        let all = [
            "lm.layers.0.q_proj",
            "lm.layers.1.q_proj",
            "v.layers.1.q_proj",
        ];
        let blocks = || LoraConfig::new(4, ["q_proj"]).with_layers_to_transform([1]);
        let of_lm = LoraConfig {
            exclude_modules: Some(TargetModules::Expression(r"v\..*".into())),
            layers_pattern: vec!["layers".into()],
            ..blocks()
        };
        assert_eq!(told(of_lm.clone(), &all[1..2], &all), of_lm);
        assert_eq!(told(blocks(), &all[1..], &all), blocks());
        // With other adapters than it speaks of.
        for (config, adapted) in [(of_lm, &all[..1]), (blocks(), &all[1..2])] {
            let told = told(config, adapted, &all);
            assert_eq!(told.target_modules, names([adapted[0]]));
            assert!(told.layers_to_transform.is_empty() && told.exclude_modules.is_none());
        }
    }

    /// PEFT has a whole name count in every block.
    #[test]
    fn whole_names_beside_blocks_are_written_as_peft_reads_them() {
        let all = ["lm.layers.0.q_proj", "lm.layers.1.q_proj"];
        let config = LoraConfig::new(4, all).with_layers_to_transform([1]);
        let told = told(config, &all[1..], &all);
        assert_eq!(told.target_modules, names([all[1]]));
    }
}
