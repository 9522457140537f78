//! Which module names which: every path that begins at the crate, or at a module above.

use std::{fmt, path::PathBuf};

use proc_macro2::{Delimiter, Ident, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Item;

use crate::modules::{Crate, Place, is_test_configuration};

/// The last name of a path to everything of a module.
const GLOB: &str = "*";

/// A module that names something of another.
#[derive(Debug)]
pub(crate) struct Arrow {
    pub(crate) from: Place,
    /// A module that the path leads through, or the one in which what it names is defined.
    pub(crate) to: Place,
    /// Whether it is named as something that the crate's root imports or hands on.
    pub(crate) through_root: bool,
    /// Whether everything of a module is named at once, which hides what is.
    pub(crate) glob: bool,
    /// The path as written, from the crate's root.
    path: Place,
    file: PathBuf,
    line: usize,
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, path) = (self.from.join("::"), self.path.join("::"));
        let (file, line) = (self.file.display(), self.line);
        write!(f, "{from} names crate::{path} ({file}:{line})")
    }
}

/// The arrows of a crate, but not those from a module to what is in it.
pub(crate) fn arrows(library: &Crate) -> Vec<Arrow> {
    let mut arrows = Vec::new();
    let root = &library.modules[&Place::new()].file;
    for (place, module) in &library.modules {
        // A module within `lib.rs` that hands things on is the root's.
        if module.file == *root && module.items.iter().all(|item| matches!(item, Item::Use(_))) {
            continue;
        }
        let mut paths = Vec::new();
        for item in &module.items {
            scan(item.to_token_stream(), &mut paths);
        }
        for (path, line) in paths {
            let Some(path) = absolute(place, &path) else {
                continue;
            };
            let (modules, through_root) = reached(library, &path);
            let glob = path.last().is_some_and(|name| name == GLOB);
            let last = modules.len() - 1;
            for (at, to) in modules.into_iter().enumerate() {
                let through_root = through_root && at == last;
                if to.starts_with(place) && !through_root && !glob {
                    continue;
                }
                arrows.push(Arrow {
                    from: place.clone(),
                    to,
                    through_root,
                    glob,
                    path: path.clone(),
                    file: module.file.clone(),
                    line,
                });
            }
        }
    }
    arrows
}

/// A relative path from the crate's root; `None` for one of another crate.
fn absolute(place: &[String], path: &[String]) -> Option<Place> {
    let at_self = usize::from(path.first()? == "self");
    let above = path[at_self..].iter().take_while(|name| *name == "super");
    let above = above.count();
    let rest = &path[at_self + above..];
    match path.first()?.as_str() {
        "crate" => Some(rest[1..].to_vec()),
        // More than there are: within a macro.
        "self" | "super" => Some([place.get(..place.len().checked_sub(above)?)?, rest].concat()),
        _ => None,
    }
}

/// The modules that a path leads to: the one that its names are in, and, where that one has them by
/// an import, the one it imports from, down to the definition. Also whether the crate's root is one
/// of those that import.
fn reached(library: &Crate, path: &[String]) -> (Vec<Place>, bool) {
    let (mut modules, mut through_root) = (Vec::new(), false);
    let mut path = path.to_vec();
    loop {
        let place = module_of(library, &path);
        // Imports that name each other end here.
        if modules.contains(&place) {
            break;
        }
        modules.push(place.clone());
        let module = &library.modules[&place];
        let Some((name, rest)) = path[place.len()..].split_first() else {
            break;
        };
        let Some(from) = module.imported.get(name) else {
            break;
        };
        through_root |= place.is_empty();
        let child = |from: &Place| {
            library
                .modules
                .contains_key(&[&place[..], &from[..1]].concat())
        };
        let from = match absolute(&place, from) {
            Some(from) => from,
            None if child(from) => [&place[..], from].concat(),
            None => break, // of another crate
        };
        path = [&from[..], rest].concat();
    }
    (modules, through_root)
}

/// The longest part of a path that is a module.
fn module_of(library: &Crate, path: &[String]) -> Place {
    let module = |length: &usize| library.modules.contains_key(&path[..*length]);
    let length = (0..=path.len()).rev().find(module).unwrap_or(0);
    path[..length].to_vec()
}

/// Collects the paths that begin with `crate`, `super` or `self`, with their lines. Tokens are read,
/// so that those within macros and bodies are found too. What is for tests alone is passed over.
fn scan(tokens: TokenStream, into: &mut Vec<(Place, usize)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(start) if begins_path(start) && separated(&tokens, at + 1) => {
                let line = start.span().start().line;
                at = follow(&tokens, at, &mut Vec::new(), line, into);
            }
            TokenTree::Punct(hash) if hash.as_char() == '#' && tests_follow(&tokens[at + 1..]) => {
                at = after_item(&tokens, at + 2);
            }
            TokenTree::Group(group) => {
                scan(group.stream(), into);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

fn begins_path(ident: &Ident) -> bool {
    ident == "crate" || ident == "super" || ident == "self"
}

/// Whether `[cfg(test)]` stands there.
fn tests_follow(tokens: &[TokenTree]) -> bool {
    let Some(TokenTree::Group(group)) = tokens.first() else {
        return false;
    };
    group.delimiter() == Delimiter::Bracket
        && syn::parse2(group.stream()).is_ok_and(|meta| is_test_configuration(&meta))
}

/// Where an item or a statement that begins at `at` ends.
fn after_item(tokens: &[TokenTree], at: usize) -> usize {
    let last = |token: &TokenTree| match token {
        TokenTree::Punct(end) => matches!(end.as_char(), ';' | ','),
        TokenTree::Group(body) => body.delimiter() == Delimiter::Brace,
        _ => false,
    };
    let length = tokens[at..].iter().position(last);
    length.map_or(tokens.len(), |length| at + length + 1)
}

/// Whether `::` stands there.
fn separated(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize, spacing: &[Spacing]| match tokens.get(at) {
        Some(TokenTree::Punct(p)) => p.as_char() == ':' && spacing.contains(&p.spacing()),
        _ => false,
    };
    // A colon and `::` are `: ::`, and the first of them stands alone.
    colon(at, &[Spacing::Joint]) && colon(at + 1, &[Spacing::Joint, Spacing::Alone])
}

/// Reads a path from `at` on, or the paths that a group at its end makes of it; returns what is after.
fn follow(
    tokens: &[TokenTree],
    mut at: usize,
    path: &mut Place,
    line: usize,
    into: &mut Vec<(Place, usize)>,
) -> usize {
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) if name == "self" && !path.is_empty() => at += 1,
            Some(TokenTree::Ident(name)) => {
                path.push(name.to_string());
                at += 1;
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let comma = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
                for part in inner.split(comma).filter(|part| !part.is_empty()) {
                    let line = part[0].span().start().line;
                    follow(part, 0, &mut path.clone(), line, into);
                }
                return at + 1;
            }
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                path.push(GLOB.to_string());
                at += 1;
            }
            _ => at += 1, // generic arguments
        }
        if !separated(tokens, at)
            || matches!(tokens.get(at + 2), Some(TokenTree::Punct(p)) if p.as_char() == '<')
        {
            into.push((path.clone(), line));
            return at;
        }
        at += 2;
    }
}
