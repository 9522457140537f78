//! Which module names which: every path that begins at the crate, or at a module above.

use std::{fmt, path::PathBuf};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::ToTokens;

use crate::modules::{Crate, Place};

/// A module that names something of another.
#[derive(Debug)]
pub(crate) struct Arrow {
    pub(crate) from: Place,
    /// The module in which what is named is defined, or whose folder hands it on.
    pub(crate) to: Place,
    /// Whether it is named as something that the crate's root hands on.
    pub(crate) through_root: bool,
    /// The path as resolved from the crate's root.
    path: Place,
    file: PathBuf,
    line: usize,
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, path) = (self.from.join("::"), self.path.join("::"));
        write!(
            f,
            "{from} names crate::{path} ({}:{})",
            self.file.display(),
            self.line
        )
    }
}

/// The arrows of a crate, but not those from a module to what is in it.
pub(crate) fn arrows(library: &Crate) -> Vec<Arrow> {
    let mut arrows = Vec::new();
    for (place, module) in &library.modules {
        let mut paths = Vec::new();
        for item in &module.items {
            scan(item.to_token_stream(), &mut paths);
        }
        for (path, line) in paths {
            let Some(path) = absolute(place, &path) else {
                continue;
            };
            let (to, through_root) = target(library, &path);
            if to.starts_with(place) && !through_root {
                continue;
            }
            arrows.push(Arrow {
                from: place.clone(),
                to,
                through_root,
                path,
                file: module.file.clone(),
                line,
            });
        }
    }
    arrows
}

/// A relative path from the crate's root; `None` for one of another crate.
fn absolute(place: &[String], path: &[String]) -> Option<Place> {
    let above = path.iter().take_while(|name| *name == "super").count();
    let rest = &path[above.max(1)..];
    match path.first()?.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([place, rest].concat()),
        // More than there are: within a module of tests, or a macro.
        "super" => Some([place.get(..place.len().checked_sub(above)?)?, rest].concat()),
        _ => None,
    }
}

/// The module that a path leads to, and whether the crate's root hands on what it names.
fn target(library: &Crate, path: &[String]) -> (Place, bool) {
    let module = module_of(library, path);
    let handed_on = &library.modules[&Place::new()].handed_on;
    match path.first().and_then(|name| handed_on.get(name)) {
        Some(from) if module.is_empty() => {
            let from = absolute(&[], from).unwrap_or_else(|| from.clone());
            (module_of(library, &from), true)
        }
        _ => (module, false),
    }
}

/// The longest part of a path that is a module.
fn module_of(library: &Crate, path: &[String]) -> Place {
    let module = |length: &usize| library.modules.contains_key(&path[..*length]);
    let length = (0..=path.len()).rev().find(module).unwrap_or(0);
    path[..length].to_vec()
}

/// Collects the paths that begin with `crate`, `super` or `self`, with their lines. Tokens are read,
/// so that those within macros are found too.
fn scan(tokens: TokenStream, into: &mut Vec<(Place, usize)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(start) if begins_path(start) && separated(&tokens, at + 1) => {
                let line = start.span().start().line;
                at = follow(&tokens, at, &mut Vec::new(), line, into);
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

/// Whether `::` stands there.
fn separated(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(at) && colon(at + 1)
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
            _ => at += 1, // a glob, or generic arguments
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
