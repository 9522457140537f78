//! Abbreviations: whose full stop it is.
//!
//! Class and case: the tokenizer compares words in any case, but what stands in brackets as it is. So
//! `Wash.` is a state, and `wash.` ends a sentence.

use super::{
    super::{
        rule::{Rule, token},
        written::Written,
    },
    classes::{DIGIT, GAP, INSIDE, SPACE},
    markup::tag,
    words::word,
};

/// Months, days, and others that a small letter follows: before a capital their stop ends the
/// sentence as well.
fn within_sentences() -> String {
    let own = [
        "(?i:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)",
        "(?i:Mon|Tues?|Wed|Thu(?:rs)?|Fri)",
        states(),
        "(?i:Inc|Cos?|Corp|Ltd|Plc|Rt|Bancorp|Bhd|Assn|Univ|Intl|Sys)",
        "(?i:Pp?t)[ye](?i:s?)",
        "(?i:tel|est|ext|sq|etc|al|seq|Bldg)",
        r"(?i:Jr|Sr|Bros|(?:Ed|Ph)\.D|Blvd|Rd|Esq)",
    ];
    format!(r"(?:{})\.", own.join("|"))
}

/// States of the USA; those that are words as well only with their capital.
fn states() -> &'static str {
    "(?i:Ala|Ariz|Calif|Colo|Conn|Ct|Dak|Fla|Ga|Ind|Kans?|Ky|Md|Mich|Minn|Mo|Mont|Neb|Nev|Okla|Penn|Tenn|Va|Vt|Wisc?|Wyo)\
     |A(?i:z|rk)|D(?i:el)|I(?i:ll)|L(?i:a)|M(?i:ass|iss)|O(?i:re)|P(?i:a)|T(?i:ex)|W(?i:ash)"
}

/// Letters with stops between.
fn letters() -> &'static str {
    r"[A-Za-z](?:\.[A-Za-z])+|(?i:(?:Canada|Sino|Korean|EU|Japan|non)-U\.S|U\.S\.-(?:U\.K|U\.S\.S\.R))"
}

/// The same, or a single letter.
fn initials() -> String {
    format!("(?:[A-Za-z]|{})", letters())
}

/// An abbreviation of letters, as part of a compound: `pre-U.S.`.
pub(super) fn letters_in_compounds() -> String {
    format!(r"(?:{})\.", letters())
}

/// Titles and others that a name follows.
fn before_names() -> String {
    let titles = "(?i:Mrs?|Ms|Drs?|Profs?|Sens?|Reps?|Attys?|Lt|Col|Gen|Messrs|Govs?|Adm|Rev|Maj|Sgt|Cpl|Pvt|Capt|Ste?|Ave|Pres|Lieut|Hon|Brig|Co?mdr|Pfc|Spc|Supts?|Det|Mt|Ft|Adj|Adv|Asst|Assoc|Ens|Insp|Mlle|Mme|Msgr|Sfc)|M(?i:iss)";
    let others =
        r"(?i:vs|Alex|Wm|Jos|Cie|a\.k\.a|cf|TREAS|Ph|Invt|Elec|Natl|Dept)|(?i:M)[ft](?i:g)";
    format!("(?:{titles}|{others}|{})", initials())
}

/// Words in capitals that begin a sentence after an abbreviation.
fn beginnings() -> String {
    let words = "About According Additionally After An A As At But Earlier He Her Here However If In It \
                 Last Many More Mr\\. Ms\\. Now Once One Other Our She Since So Some Such That The Their \
                 Then There These They This We When While What Yet You";
    let words = words.split_whitespace().map(|word| {
        let (first, rest) = word.split_at(1);
        format!("{first}(?i:{rest})")
    });
    let words: Vec<String> = words.collect();
    format!("{GAP}+(?:{}|{}){GAP}", words.join("|"), tag())
}

/// Abbreviations, and where they end a sentence.
pub(super) fn abbreviations() -> Vec<Rule> {
    let within = within_sentences();
    let names = before_names();
    vec![
        // "I. The": a single letter is most often no abbreviation there.
        token("[A-Za-z]").before(format!(r"\.{}", beginnings())),
        token(letters_in_compounds())
            .before(beginnings())
            .stopping_again(),
        token(r"(?i:ca|figs?|prop|nos?|art|bldg|pp|op)\.").before(format!("{GAP}?[{DIGIT}]")),
        token(r"(?:(?i:pt)[eyEY]|(?i:co))\.").before(format!("{SPACE}(?i:ltd|lim)")),
        token(&*within)
            .before(format!(r"{GAP}(?:{GAP}|\p{{Lu}}|{})", tag()))
            .stopping_again(),
        token(&*within).before(r"(?s:..)"),
        token(within).stopping_again(),
        token(format!(r"{names}\.")),
        token(names).before(SPACE),
        token(initials()).before(GAP),
    ]
}

/// A word with its stop where the sentence goes on.
pub(super) fn words_with_stops() -> Vec<Rule> {
    let rule = token(format!(r"{}\.", word())).before(INSIDE);
    vec![rule.written(Written::Word)]
}
