//! Captions cut into words.

/// A caption as words between spaces, the way COCO's evaluation cuts them with Stanford's tokenizer
/// of the Penn Treebank: lower case, punctuation dropped, brackets as `-lrb-` and `-rrb-`, clitics
/// (`n't`, `'s`) apart. Texts as captions are; of rarer signs (smileys, addresses) the original
/// knows more.
///
/// ```
/// use blip2_train::scores::caption_words;
///
/// assert_eq!(caption_words("A dog's ball; it isn't red."), "a dog 's ball it is n't red");
/// ```
pub fn caption_words(caption: &str) -> String {
    let plain: String = caption.to_lowercase().chars().map(plain_quote).collect();
    let mut words = Vec::new();
    for word in plain
        .replace("--", " ")
        .replace("...", " ")
        .split_whitespace()
    {
        cut(word, &mut words);
    }
    words.join(" ")
}

fn plain_quote(character: char) -> char {
    match character {
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        other => other,
    }
}

/// Words that are two.
const DOUBLE: [(&str, [&str; 2]); 7] = [
    ("cannot", ["can", "not"]),
    ("gimme", ["gim", "me"]),
    ("gonna", ["gon", "na"]),
    ("gotta", ["got", "ta"]),
    ("lemme", ["lem", "me"]),
    ("wanna", ["wan", "na"]),
    ("y'all", ["y'", "all"]),
];

/// Short forms that keep their full stop.
const SHORT: [&str; 22] = [
    "ave", "blvd", "co", "corp", "dept", "dr", "etc", "ft", "gen", "inc", "jr", "lt", "ltd", "mr",
    "mrs", "ms", "mt", "no", "prof", "sr", "st", "vs",
];

const CLITICS: [&str; 7] = ["n't", "'s", "'re", "'ve", "'ll", "'d", "'m"];

fn cut(word: &str, words: &mut Vec<String>) {
    if word == "'n'" {
        return words.push(word.into());
    }
    if let Some((_, both)) = DOUBLE.iter().find(|(whole, _)| *whole == word) {
        return words.extend(both.map(String::from));
    }
    let mut characters = word.chars();
    match characters.next() {
        None => return,
        Some(first)
            if standing(first).is_some() || dropped(first) || matches!(first, '#' | '$') =>
        {
            words.extend(standing(first).map(String::from));
            if matches!(first, '#' | '$') {
                words.push(first.into());
            }
            return cut(characters.as_str(), words);
        }
        Some(_) => {}
    }
    match characters.next_back() {
        Some('.') if abbreviates(word) => {}
        Some(last) if standing(last).is_some() || dropped(last) || last == '%' => {
            cut(&word[..word.len() - last.len_utf8()], words);
            words.extend(standing(last).map(String::from));
            if last == '%' {
                words.push("%".into());
            }
            return;
        }
        _ => {}
    }
    if let Some(place) = divided(word) {
        cut(&word[..place], words);
        return cut(&word[place + 1..], words);
    }
    let clitic = CLITICS
        .iter()
        .find(|clitic| word.len() > clitic.len() && word.ends_with(**clitic));
    match clitic {
        Some(clitic) => {
            cut(&word[..word.len() - clitic.len()], words);
            words.push((*clitic).into());
        }
        None => words.push(word.into()),
    }
}

/// What a bracket is written as.
fn standing(character: char) -> Option<&'static str> {
    Some(match character {
        '(' => "-lrb-",
        ')' => "-rrb-",
        '[' => "-lsb-",
        ']' => "-rsb-",
        '{' => "-lcb-",
        '}' => "-rcb-",
        _ => return None,
    })
}

fn dropped(character: char) -> bool {
    matches!(
        character,
        '.' | ',' | ';' | ':' | '!' | '?' | '"' | '\'' | '`' | '-'
    )
}

/// Whether the full stop at its end belongs to a word: of known short forms, of single letters, and
/// of letters with stops between.
fn abbreviates(word: &str) -> bool {
    let stem = word.trim_end_matches('.');
    if word.len() - stem.len() != 1 {
        return false;
    }
    let letter = |part: &str| part.len() == 1 && part.chars().all(char::is_alphabetic);
    SHORT.contains(&stem) || stem.split('.').all(letter)
}

/// The place of a sign that divides a word: punctuation between letters.
fn divided(word: &str) -> Option<usize> {
    let signs = word
        .char_indices()
        .filter(|(_, sign)| matches!(sign, ',' | '?' | ';' | '"'));
    signs
        .map(|(place, _)| place)
        .find(|&place| !word[place + 1..].starts_with(|next: char| next.is_ascii_digit()))
}
