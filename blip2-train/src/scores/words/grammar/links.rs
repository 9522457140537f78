//! Addresses, names of files and accounts.

use super::{
    super::rule::{Rule, token},
    classes::{GAP, letter, letter_or_digit},
};

/// What no address holds.
const NO_ADDRESS: &str = r#" \t\n\x0c\r"<>|()"#;

/// What an address does not end with, for it is the sentence's.
const NO_END: &str = r#" \t\n\x0c\r"<>|.!?(){},\-"#;

/// Extensions by which a name is one of a file.
const EXTENSIONS: &str = "bat|bmp|c|class|cgi|cpp|dll|docx?|exe|gif|gz|html?|h|jar|java|jpe?g|mov|mp3|pdf|php|png|pl|ppt|ps|py|sql|tar|txt|wav|xml|x|zip";

/// Addresses of pages and people.
pub(super) fn links() -> Vec<Rule> {
    let letter = letter();
    vec![
        token(format!(r"(?i:https?)://[^{NO_ADDRESS}{{}}]+[^{NO_END}]")),
        token(format!(r"(?:{})(?:/[^{NO_ADDRESS}]+[^{NO_END}])?", host())),
        token(format!(
            r"(?:<|(?i:&lt;))?[a-zA-Z0-9][^{NO_ADDRESS}\x{{a0}}{{}}]*@(?:[^{NO_ADDRESS}{{}}.\x{{a0}}]+\.)*[^{NO_ADDRESS}{{}}.\x{{a0}}]+(?:>|(?i:&gt;))?"
        )),
        token(format!("@[a-zA-Z_][a-zA-Z_0-9]*|#{letter}+")),
    ]
}

/// The host of an address without its protocol: after `www.`, or before a well-known ending, where it
/// is in small letters without digits, for the original's class of characters has a range in it that
/// takes capitals out.
fn host() -> String {
    let part = r#"[^ \t\n\x0c\r"<>|.!?(){},]"#;
    let small = r#"[^ \t\n\x0c\r"`'<>|.!?(){},-_$]"#;
    format!(r"(?i:www\.)(?:{part}+\.)+[a-zA-Z]{{2,4}}|(?:{small}+\.)+(?i:com|net|org|edu)")
}

/// Names of files.
pub(super) fn files() -> Vec<Rule> {
    let part = format!("{}+", letter_or_digit());
    vec![token(format!(r"{part}(?:\.{part})*\.(?i:{EXTENSIONS})")).before(format!("{GAP}|[.?!,]"))]
}
