//! A crate's modules, with what each defines and hands on, as its files say.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, Ident, Item, Meta, UseTree, punctuated::Punctuated, token::Comma};

/// Where a module is: the names from the crate's root down to it.
pub(crate) type Place = Vec<String>;

/// All modules of a crate but those of its tests.
pub(crate) struct Crate {
    pub(crate) modules: BTreeMap<Place, Module>,
}

/// A module.
pub(crate) struct Module {
    pub(crate) file: PathBuf,
    /// What it says itself, without the modules in it.
    pub(crate) items: Vec<Item>,
    /// The names that it imports, each with the path that it has it from. Those of a private `use`
    /// are here too: the modules in this one reach them by it.
    pub(crate) imported: BTreeMap<String, Place>,
}

impl Crate {
    /// Reads the files below a folder `src`.
    pub(crate) fn read(src: &Path) -> Self {
        let mut modules = BTreeMap::new();
        read_file(&src.join("lib.rs"), src, Vec::new(), &mut modules);
        Self { modules }
    }
}

/// Reads a module's file; those of the modules in it are below `folder`.
fn read_file(file: &Path, folder: &Path, place: Place, modules: &mut BTreeMap<Place, Module>) {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    if !parsed.attrs.iter().any(is_for_tests) {
        read_items(parsed.items, file, folder, place, modules);
    }
}

fn read_items(
    items: Vec<Item>,
    file: &Path,
    folder: &Path,
    place: Place,
    modules: &mut BTreeMap<Place, Module>,
) {
    let mut own = Vec::new();
    let mut imported = BTreeMap::new();
    for item in items {
        if attributes(&item).iter().any(is_for_tests) {
            continue;
        }
        match item {
            Item::Mod(module) => {
                let name = module.ident.to_string();
                let place = [&place[..], std::slice::from_ref(&name)].concat();
                let folder = folder.join(&name);
                // Its file would be looked for in the wrong place.
                let moved = module.attrs.iter().any(|a| a.path().is_ident("path"));
                assert!(!moved, "{}: #[path] at `{name}`", file.display());
                match module.content {
                    Some((_, items)) => read_items(items, file, &folder, place, modules),
                    None => {
                        let flat = folder.with_extension("rs");
                        let nested = folder.join("mod.rs");
                        let file = if flat.exists() { flat } else { nested };
                        read_file(&file, &folder, place, modules);
                    }
                }
            }
            item => {
                if let Item::Use(used) = &item {
                    names(&used.tree, &[], &mut imported);
                }
                own.push(item);
            }
        }
    }
    let module = Module {
        file: file.to_path_buf(),
        items: own,
        imported,
    };
    modules.insert(place, module);
}

/// The names that a `use` below `path` brings, each with its whole path.
fn names(tree: &UseTree, path: &[String], into: &mut BTreeMap<String, Place>) {
    let with = |name: &Ident| [path, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(part) => names(&part.tree, &with(&part.ident), into),
        UseTree::Name(name) if name.ident == "self" => {
            into.extend(path.last().map(|last| (last.clone(), path.to_vec())));
        }
        UseTree::Name(name) => drop(into.insert(name.ident.to_string(), with(&name.ident))),
        UseTree::Rename(name) if name.ident == "self" => {
            into.insert(name.rename.to_string(), path.to_vec());
        }
        UseTree::Rename(name) => drop(into.insert(name.rename.to_string(), with(&name.ident))),
        UseTree::Glob(_) => {}
        UseTree::Group(group) => group.items.iter().for_each(|tree| names(tree, path, into)),
    }
}

/// Whether an item is there for tests alone: `cfg(test)`, or `test` as one of `all`.
fn is_for_tests(attribute: &Attribute) -> bool {
    is_test_configuration(&attribute.meta)
}

/// The same for what stands between the brackets of an attribute.
pub(crate) fn is_test_configuration(meta: &Meta) -> bool {
    let Meta::List(list) = meta else {
        return false;
    };
    list.path.is_ident("cfg")
        && list
            .parse_args()
            .is_ok_and(|meta: Meta| demands_test(&meta))
}

fn demands_test(meta: &Meta) -> bool {
    match meta {
        Meta::Path(path) => path.is_ident("test") || path.is_ident("doctest"),
        Meta::List(list) if list.path.is_ident("all") => {
            let parts = list.parse_args_with(Punctuated::<Meta, Comma>::parse_terminated);
            parts.is_ok_and(|parts| parts.iter().any(demands_test))
        }
        _ => false,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
