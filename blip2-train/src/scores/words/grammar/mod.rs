//! English as Stanford's tokenizer of the Penn Treebank knows it, version 3.4.1: its rules in this
//! crate's words, in the order in which they count among equals.

mod abbreviations;
mod classes;
mod compounds;
mod links;
mod markup;
mod numbers;
mod quotes;
mod signs;
mod words;

use super::rule::Rule;

/// All rules.
pub(super) fn rules() -> Vec<Rule> {
    let kinds = [
        signs::languages(),
        words::joined(),
        markup::markup(),
        words::words(),
        links::links(),
        words::clitics(),
        numbers::numbers(),
        compounds::particular(),
        compounds::alternatives(),
        numbers::money(),
        abbreviations::abbreviations(),
        compounds::years(),
        links::files(),
        abbreviations::words_with_stops(),
        numbers::telephones(),
        quotes::double(),
        markup::less_and_greater(),
        signs::smileys(),
        signs::brackets(),
        signs::punctuation(),
        compounds::compounds(),
        quotes::opening(),
        words::clitics_anywhere(),
        quotes::others(),
        signs::symbols(),
        signs::spaces(),
    ];
    kinds.into_iter().flatten().collect()
}
