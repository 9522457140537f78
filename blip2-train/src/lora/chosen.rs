//! Which layers are meant, by patterns that are compiled once.

use blip2_io::{LayerPattern, TargetModules};

use super::config::LoraConfig;
use crate::{
    error::TrainError,
    names::{NamePattern, any_matches},
};

/// The heads that `all-linear` leaves out: they are tied to the table of words, or as large.
const HEADS: [&str; 2] = ["lm_head", "cls.predictions.decoder"];

/// The most patterns of a configuration.
const MOST: usize = 2048;

/// A configuration with its patterns compiled.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) config: LoraConfig,
    targets: Vec<LayerPattern>,
    ranks: Vec<(LayerPattern, usize)>,
    alphas: Vec<(LayerPattern, f64)>,
    /// What stands before the numbers of blocks.
    blocks: Vec<LayerPattern>,
    /// What layers are left out by, where that is an expression.
    left_out: Option<LayerPattern>,
}

impl Chosen {
    /// Compiles the patterns.
    ///
    /// # Errors
    ///
    /// [`TrainError::Argument`] for one that is no regular expression.
    pub(crate) fn of(config: LoraConfig) -> Result<Self, TrainError> {
        let targets = config.expressions().map(|expression| {
            let compiled = LayerPattern::whole(expression);
            compiled.map_err(|reason| unfit("target_modules", expression, reason))
        });
        let blocks = config.layers_pattern.iter().map(|pattern| {
            let compiled = LayerPattern::end(pattern);
            compiled.map_err(|reason| unfit("layers_pattern", pattern, reason))
        });
        Ok(Self {
            blocks: blocks.collect::<Result<_, _>>()?,
            left_out: left_out(&config)?,
            targets: targets.collect::<Result<_, _>>()?,
            ranks: compiled("rank_pattern", &config.rank_pattern)?,
            alphas: compiled("alpha_pattern", &config.alpha_pattern)?,
            config,
        })
    }

    /// Whether a layer is adapted.
    pub(crate) fn targets(&self, layer: &str) -> bool {
        let is_head = || {
            HEADS
                .iter()
                .any(|&head| NamePattern::from(head).is_end_of(layer))
        };
        let named = any_matches(&self.config.named_targets(), layer)
            || (self.config.targets_all() && !is_head())
            || self.targets.iter().any(|target| target.matches(layer));
        named && self.is_in_blocks(layer) && !self.is_left_out(layer)
    }

    /// Whether a layer is in one of the blocks whose layers are adapted.
    pub(super) fn is_in_blocks(&self, layer: &str) -> bool {
        let blocks = &self.config.layers_to_transform;
        let is_one = |block| blocks.contains(&block);
        blocks.is_empty() || block(layer, &self.blocks).is_some_and(is_one)
    }

    /// Whether a layer is left out, whatever names it.
    pub(super) fn is_left_out(&self, layer: &str) -> bool {
        let names = match &self.config.exclude_modules {
            Some(TargetModules::Names(names)) => names.as_slice(),
            _ => &[],
        };
        let is_end = |name: &String| NamePattern::from(name).is_end_of(layer);
        let matches = |own: &LayerPattern| own.matches(layer);
        names.iter().any(is_end) || self.left_out.as_ref().is_some_and(matches)
    }

    /// The rank of a layer's adapter.
    pub(crate) fn rank(&self, layer: &str) -> usize {
        first(&self.ranks, layer).unwrap_or(self.config.r)
    }

    /// What a layer's adapter is multiplied by.
    pub(crate) fn scale(&self, layer: &str) -> f64 {
        let alpha = first(&self.alphas, layer).unwrap_or(self.config.lora_alpha);
        self.config.scale_of(alpha, self.rank(layer))
    }

    /// The keys of `rank_pattern` and `alpha_pattern` that match none of the layers that are adapted.
    pub(crate) fn idle_patterns<'n>(
        &self,
        layers: impl Iterator<Item = &'n str> + Clone,
    ) -> Vec<String> {
        let idle = |pattern: &LayerPattern| {
            let mut adapted = layers.clone().filter(|layer| self.targets(layer));
            !adapted.any(|layer| pattern.matches(layer))
        };
        let ranks = self.ranks.iter().zip(&self.config.rank_pattern);
        let ranks = ranks.filter(|((own, _), _)| idle(own));
        let ranks = ranks.map(|(_, (key, _))| format!("rank_pattern, {key}"));
        let alphas = self.alphas.iter().zip(&self.config.alpha_pattern);
        let alphas = alphas.filter(|((own, _), _)| idle(own));
        ranks
            .chain(alphas.map(|(_, (key, _))| format!("alpha_pattern, {key}")))
            .collect()
    }

    /// The expressions among the targets that match none of these layers.
    pub(crate) fn idle<'n>(&self, layers: impl Iterator<Item = &'n str> + Clone) -> Option<&str> {
        let mut expressions = self.config.expressions().zip(&self.targets);
        let idle = expressions.find(|(_, own)| !layers.clone().any(|layer| own.matches(layer)));
        idle.map(|(expression, _)| expression)
    }

    /// A block whose layers are to be adapted, of which none of these is a target.
    pub(crate) fn idle_block<'n>(
        &self,
        layers: impl Iterator<Item = &'n str> + Clone,
    ) -> Option<usize> {
        let mut blocks = self.config.layers_to_transform.iter().copied();
        blocks.find(|&own| {
            let mut adapted = layers.clone().filter(|layer| self.targets(layer));
            !adapted.any(|layer| block(layer, &self.blocks) == Some(own))
        })
    }
}

impl LoraConfig {
    /// Whether a layer is adapted. Of a regular expression that is none, nothing is.
    pub fn targets(&self, layer: &str) -> bool {
        let chosen = Chosen::of(self.clone());
        chosen.is_ok_and(|chosen| chosen.targets(layer))
    }
}

/// The number of the block that a layer is in: as PEFT has it, the first part of its name that is a
/// number, with one of `patterns` before it and a part behind; without patterns, with two parts before it
/// (`.*?\.[^.]*\.(\d+)\.`).
fn block(layer: &str, patterns: &[LayerPattern]) -> Option<usize> {
    let dots: Vec<usize> = layer.match_indices('.').map(|(dot, _)| dot).collect();
    // What stands before each part with a dot on either side, and the part.
    let parts = dots.windows(2).filter_map(|dots| {
        let [begin, end] = dots else { return None };
        Some((layer.get(..*begin)?, layer.get(begin + 1..*end)?))
    });
    let numbers = parts.filter(|(_, part)| is_number(part));
    let numbers: Vec<(&str, &str)> = numbers.collect();
    let found = match patterns {
        [] => numbers.iter().find(|(before, _)| before.contains('.')),
        patterns => patterns
            .iter()
            .find_map(|own| numbers.iter().find(|(before, _)| own.matches(before))),
    };
    found?.1.parse().ok()
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// The expression that layers are left out by.
fn left_out(config: &LoraConfig) -> Result<Option<LayerPattern>, TrainError> {
    let Some(TargetModules::Expression(expression)) = &config.exclude_modules else {
        return Ok(None);
    };
    let compiled = LayerPattern::whole(expression);
    let compiled = compiled.map_err(|reason| unfit("exclude_modules", expression, reason))?;
    Ok(Some(compiled))
}

fn first<T: Copy>(patterns: &[(LayerPattern, T)], layer: &str) -> Option<T> {
    let matches = |(pattern, _): &&(LayerPattern, T)| pattern.matches(layer);
    patterns.iter().find(matches).map(|(_, value)| *value)
}

fn compiled<T: Copy>(
    key: &'static str,
    pairs: &[(String, T)],
) -> Result<Vec<(LayerPattern, T)>, TrainError> {
    if pairs.len() > MOST {
        let reason = format!("is above {MOST} patterns");
        return Err(TrainError::argument(key, pairs.len(), reason));
    }
    let compiled = pairs.iter().map(|(pattern, value)| {
        let own = LayerPattern::end(pattern);
        let own = own.map_err(|reason| unfit(key, pattern, reason))?;
        Ok((own, *value))
    });
    compiled.collect()
}

fn unfit(key: &'static str, pattern: &str, reason: String) -> TrainError {
    let reason = format!("is no regular expression: {reason}");
    TrainError::argument(key, format!("{pattern:?}"), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_patterns_and_blocks_choose_as_in_peft() {
        let config = LoraConfig::new(4, [r".*decoder\.layers\.\d+\..*(q|v)_proj"])
            .with_alpha(6.0)
            .with_rank_pattern([("v_proj".into(), 2)])
            .with_alpha_pattern([(r".*layers\.1\..*".into(), 12.0)])
            .with_layers_to_transform([1, 2]);
        let chosen = Chosen::of(config).unwrap();
        let layer = |number: usize, name: &str| {
            format!("language_model.model.decoder.layers.{number}.self_attn.{name}")
        };
        assert!(chosen.targets(&layer(1, "q_proj")) && chosen.targets(&layer(2, "v_proj")));
        assert!(!chosen.targets(&layer(0, "q_proj")) && !chosen.targets(&layer(1, "k_proj")));
        assert_eq!(chosen.rank(&layer(1, "v_proj")), 2);
        assert_eq!(chosen.scale(&layer(1, "v_proj")), 6.0);
        assert_eq!(chosen.scale(&layer(2, "q_proj")), 1.5);
        for (layer, number) in [
            ("a.layers.3.b.layers.7.c", Some(3)),
            ("lm.decoder.block.5.layer.1.SelfAttention.q", Some(5)),
            ("layers.3.c", None),
            ("a.layers.3", None),
        ] {
            assert_eq!(block(layer, &[]), number, "{layer}");
        }
        let patterns = ["layer"].map(|pattern| LayerPattern::end(pattern).unwrap());
        let t5 = "lm.decoder.block.5.layer.1.SelfAttention.q";
        assert_eq!(block(t5, &patterns), Some(1));
        assert_eq!(block("layer.2.c", &patterns), Some(2));
        let error = Chosen::of(LoraConfig::new(1, ["(q"])).unwrap_err();
        assert!(
            error.to_string().contains("no regular expression"),
            "{error}"
        );
    }
}
