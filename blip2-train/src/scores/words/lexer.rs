//! Cuts a text into tokens by rules, as a generated lexer would.

use std::{
    error::Error,
    sync::{LazyLock, Mutex, PoisonError},
};

use regex_automata::{
    Anchored, Input, MatchKind,
    hybrid::dfa::{Cache, DFA},
    meta,
};

use super::{grammar, rule::Rule};

/// How much memory the automaton's states may take before those of long ago are dropped.
const CACHE: usize = 16 << 20;

/// All rules as one automaton, whose states are built when a text first leads there.
pub(super) struct Lexer {
    rules: Vec<(Rule, Option<Ahead>)>,
    automaton: DFA,
    cache: Mutex<Cache>,
}

/// Why a rule is no expression; only a test ever sees one.
type Fault = Box<dyn Error>;

/// Finds where a token ends and what follows it begins: the first group is the token.
struct Ahead(meta::Regex);

impl Lexer {
    /// The one for English.
    pub(super) fn shared() -> &'static Self {
        static SHARED: LazyLock<Lexer> = LazyLock::new(|| {
            // The rules are constants: whether they can be built depends on no input.
            #[allow(clippy::expect_used)]
            Lexer::new(grammar::rules()).expect("the rules are regular expressions")
        });
        &SHARED
    }

    fn new(rules: Vec<Rule>) -> Result<Self, Fault> {
        let whole = rules.iter().map(|rule| match &rule.ahead {
            Some(ahead) => format!("(?:{})(?:{ahead})", rule.token),
            None => rule.token.clone(),
        });
        let whole: Vec<String> = whole.collect();
        // With `All` the search goes on to the longest match, and of the rules that match there the
        // automaton names the first.
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(CACHE)
            .skip_cache_capacity_check(true);
        let automaton = DFA::builder().configure(config).build_many(&whole)?;
        let rules = rules.into_iter().map(|rule| {
            let ahead = rule.ahead.as_ref();
            let ahead = ahead.map(|ahead| Ahead::new(&rule.token, ahead));
            Ok((rule, ahead.transpose()?))
        });
        Ok(Self {
            rules: rules.collect::<Result<_, Fault>>()?,
            cache: Mutex::new(automaton.create_cache()),
            automaton,
        })
    }

    /// The tokens that begin before `end`.
    pub(super) fn tokens(&self, text: &str, end: usize) -> Vec<String> {
        // What a thread left that panicked is a cache as good as any.
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tokens = Vec::new();
        let mut place = 0;
        while place < end {
            let (token, next) = self.next(&mut cache, text, place);
            tokens.extend(token);
            place = next;
        }
        tokens
    }

    /// The token at `start`, if there is one, and where the next one begins: always further on.
    fn next(&self, cache: &mut Cache, text: &str, start: usize) -> (Option<String>, usize) {
        let input = Input::new(text).range(start..).anchored(Anchored::Yes);
        // A search cannot fail: the automaton gives nothing up, and no rule stops it early.
        let found = self.automaton.try_search_fwd(cache, &input).ok().flatten();
        let rule = found.and_then(|found| {
            let (rule, ahead) = self.rules.get(found.pattern().as_usize())?;
            Some((rule, ahead, text.get(start..found.offset())?))
        });
        let Some((rule, ahead, found)) = rule else {
            let unknown = text.get(start..).and_then(|rest| rest.chars().next());
            return (None, start + unknown.map_or(1, char::len_utf8));
        };
        let token = ahead.as_ref().map_or(found, |ahead| ahead.token(found));
        let given_back = usize::from(rule.stops_again);
        let length = (token.len() - given_back).max(1);
        (rule.written.of(token), start + length)
    }
}

impl Ahead {
    fn new(token: &str, ahead: &str) -> Result<Self, Fault> {
        let whole = format!(r"\A((?:{token}))(?:{ahead})\z");
        Ok(Self(meta::Regex::new(&whole)?))
    }

    /// There is but one place where a token can end: none begins as what follows it does.
    fn token<'t>(&self, found: &'t str) -> &'t str {
        let mut groups = self.0.create_captures();
        self.0.captures(found, &mut groups);
        let token = groups.get_group(1);
        token.map_or(found, |token| &found[token.range()])
    }
}
