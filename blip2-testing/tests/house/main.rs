//! The order of the house: no import circle, imports from where a thing is defined, arrows between
//! the wings of the ground floor one way, crates on their floors.
//!
//! `cargo test --release --workspace --test house` lists every fault with its file and line.
#![allow(clippy::unwrap_used, clippy::panic)]

mod circles;
mod modules;
mod references;

use std::fs;

use blip2_testing::workspace;
use modules::Crate;
use references::{Arrow, arrows};

/// The library crates, each of which is held to all of this.
const LIBRARIES: [&str; 10] = [
    "blip2-kernels",
    "blip2-io",
    "blip2-vision",
    "blip2-qformer",
    "blip2-lm",
    "blip2-audio",
    "blip2-core",
    "blip2-train",
    "blip2-server",
    "blip2-verify",
];

/// Crates whose top-level folders are wings: these, from the ground up.
const WINGS: [(&str, &[&str]); 1] = [(
    "blip2-kernels",
    &[
        "mask", "kernel", "matrix", "gpu", "device", "replay", "autodiff", "seam", "layer",
        "weights", "block",
    ],
)];

/// Floors from the ground up: a crate depends on crates of the floors before its own alone.
const FLOORS: [&[&str]; 7] = [
    &["blip2-kernels"],
    &["blip2-io"],
    &["blip2-vision", "blip2-qformer", "blip2-lm", "blip2-audio"],
    &["blip2-core"],
    &["blip2-train", "blip2-server"],
    &["blip2-verify"],
    &["blip2-cli"],
];

#[test]
fn imports_go_in_no_circle() {
    judge(|_, arrows| circles::circles(arrows));
}

#[test]
fn imports_come_from_where_a_thing_is_defined() {
    judge(|_, arrows| {
        let through = arrows
            .iter()
            .filter(|arrow| arrow.through_root || arrow.glob);
        through.map(ToString::to_string).collect()
    });
}

#[test]
fn arrows_between_wings_go_one_way() {
    judge(|name, arrows| {
        let wings = WINGS.iter().find(|(of, _)| *of == name);
        wings.map_or_else(Vec::new, |(_, wings)| upward(wings, arrows))
    });
}

#[test]
fn crates_depend_on_floors_below() {
    let mut faults = Vec::new();
    for (floor, names) in FLOORS.iter().enumerate() {
        for name in *names {
            let Ok(manifest) = fs::read_to_string(workspace().join(name).join("Cargo.toml")) else {
                continue; // a crate that is to be
            };
            let manifest: toml::Table = manifest.parse().unwrap();
            for on in dependencies(&manifest).filter(|on| on.starts_with("blip2-")) {
                if floor_of(on).is_none_or(|below| below >= floor) {
                    faults.push(format!(
                        "{name} depends on {on}, which is on no floor below"
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_library_is_judged_and_has_a_floor() {
    for name in LIBRARIES {
        assert!(floor_of(name).is_some(), "{name}");
    }
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        let member = member.as_str().unwrap();
        let published = !["benches", "examples", "blip2-testing", "blip2-cli"].contains(&member);
        let judged = LIBRARIES.contains(&member);
        assert_eq!(judged, published, "{member}");
    }
}

/// What a crate depends on, whoever asks for it: its code, its build or its tests, on any target.
/// What tests share is on no floor, and a crate may turn its own features on for its tests.
fn dependencies(manifest: &toml::Table) -> impl Iterator<Item = &str> {
    let own = manifest["package"]["name"].as_str().unwrap();
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(toml::Table::values);
    let targets = targets.filter_map(toml::Value::as_table);
    let tables = std::iter::once(manifest).chain(targets).flat_map(|of| {
        ["dependencies", "build-dependencies", "dev-dependencies"]
            .into_iter()
            .filter_map(|kind| of.get(kind)?.as_table())
    });
    tables
        .flat_map(toml::Table::keys)
        .map(String::as_str)
        .filter(move |on| *on != own && *on != "blip2-testing")
}

fn floor_of(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

/// Fails with the faults of all libraries.
fn judge(faults: impl Fn(&str, &[Arrow]) -> Vec<String>) {
    let mut broken = Vec::new();
    for name in LIBRARIES {
        let arrows = arrows(&Crate::read(&workspace().join(name).join("src")));
        assert!(!arrows.is_empty(), "{name} is not read rightly");
        let faults = faults(name, &arrows);
        broken.extend(faults.iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// The arrows that go from a wing to one that is not before it, or from what is no wing.
fn upward(wings: &[&str], arrows: &[Arrow]) -> Vec<String> {
    let floor = |name: Option<&str>| wings.iter().position(|wing| Some(*wing) == name);
    let mut faults = Vec::new();
    for arrow in arrows {
        let (from, to) = (arrow.from.first(), arrow.to.first());
        // The root itself may name every wing.
        if from.is_none() || from == to {
            continue;
        }
        match (
            floor(from.map(String::as_str)),
            floor(to.map(String::as_str)),
        ) {
            (Some(from), Some(to)) if to < from => {}
            _ => faults.push(arrow.to_string()),
        }
    }
    faults
}

/// A small crate of a test's own, by its files.
fn small(files: &[(&str, &str)]) -> Vec<Arrow> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    arrows(&Crate::read(folder.path()))
}

#[test]
fn a_circle_is_found() {
    let arrows = small(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        (
            "c.rs",
            "pub struct C; fn f() -> super::a::A { super::a::A }",
        ),
    ]);
    let circles = circles::circles(&arrows);
    assert_eq!(circles.len(), 1, "{circles:?}");
    assert!(circles[0].contains("a -> b -> c -> a"), "{circles:?}");
}

#[test]
fn a_circle_within_a_folder_is_found() {
    let arrows = small(&[
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod x; mod y;"),
        ("a/x.rs", "use super::y::{Y, other::{self}}; pub struct X;"),
        ("a/y.rs", "use crate::a::x; pub struct Y;"),
    ]);
    assert_eq!(circles::circles(&arrows).len(), 1);
}

#[test]
fn tests_words_and_other_crates_are_no_arrows() {
    let arrows = small(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        (
            "b.rs",
            "//! As crate::a::A.\nuse std::fmt; pub struct B;\n\
             #[cfg(test)] mod tests { use crate::a::A; }\n\
             #[cfg(all(test, unix))] use crate::a::A;",
        ),
    ]);
    assert_eq!(arrows.len(), 1, "{arrows:?}");
    assert_eq!(circles::circles(&arrows), [""; 0]);
}

#[test]
fn what_the_root_hands_on_is_told_from_what_it_defines() {
    let arrows = small(&[
        ("lib.rs", "mod a; mod b; pub use a::A; pub struct Own;"),
        ("a.rs", "pub struct A;"),
        ("b.rs", "use crate::{A, Own}; fn f(_: A, _: Own) {}"),
    ]);
    let through: Vec<_> = arrows
        .iter()
        .filter(|arrow| arrow.through_root || arrow.glob)
        .collect();
    assert_eq!(through.len(), 1, "{arrows:?}");
    assert_eq!(through[0].to, ["a"]);
}

#[test]
fn an_arrow_upward_is_found_also_within_a_macro() {
    let arrows = small(&[
        ("lib.rs", "mod low; mod high;"),
        ("low.rs", "fn f() { let _ = vec![crate::high::g()]; }"),
        ("high.rs", "use crate::low; pub fn g() {}"),
    ]);
    assert_eq!(upward(&["low", "high"], &arrows).len(), 1);
    assert_eq!(upward(&["high", "low"], &arrows).len(), 1);
}

#[test]
fn a_circle_by_what_a_folder_hands_on_or_imports_is_found() {
    for import in ["pub use y::Y;", "pub(crate) use self::y::Y;", "use y::Y;"] {
        let arrows = small(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", &format!("mod x; mod y; {import}")),
            ("a/x.rs", "use super::Y; pub struct X;"),
            ("a/y.rs", "use super::x::X; pub struct Y;"),
        ]);
        assert_eq!(circles::circles(&arrows).len(), 1, "{import}: {arrows:?}");
    }
}

#[test]
fn a_circle_by_what_another_folder_hands_on_is_found() {
    let arrows = small(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::C; pub struct A;"),
        ("b.rs", "pub use crate::c::C;"),
        ("c.rs", "use crate::a::A; pub struct C;"),
    ]);
    // The one by the folder, and the one past it.
    assert_eq!(circles::circles(&arrows).len(), 2, "{arrows:?}");
}

#[test]
fn paths_are_read_in_all_ways_of_writing_them() {
    for path in [
        "use crate::b::{self, c::D};",
        "use crate::{b::{c::{self as e, D}}};",
        "use {crate::b::c::D, std::fmt};",
        "use super::b::c::D as E;",
        "use self::super::b::c;",
        "fn f() { super::b::c::f::<super::b::X>() }",
        "fn f() { println!(\"{}\", crate::b::N) }",
        "fn f() -> Result<crate::b::c::D, ()> { todo!() }",
        "impl From<crate::b::c::D> for X {}",
        "mod inline { use super::super::b::c::D; }",
        "macro_rules! m { () => { $crate::b::f() } }",
        "#[cfg(any(test, unix))] use crate::b::c;",
        "#[cfg(not(test))] use crate::b::c;",
        "fn f() { #[cfg(test)] let x = 1; crate::b::f() }",
    ] {
        let arrows = small(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", path),
            ("b/mod.rs", "pub mod c;"),
            ("b/c.rs", ""),
        ]);
        assert!(!arrows.is_empty(), "{path}");
        let b = |arrow: &Arrow| arrow.from[0] == "a" && arrow.to[0] == "b" && !arrow.through_root;
        assert!(arrows.iter().all(b), "{path}: {arrows:?}");
    }
}

#[test]
fn what_is_no_path_or_for_tests_alone_is_no_arrow() {
    for code in [
        "fn f(self: ::std::rc::Rc<Self>) {}",
        "pub(crate) fn f() { self.x }",
        "fn f() { #[cfg(test)] crate::b::f(); }",
        "fn f() { #[cfg(test)] { crate::b::f() } }",
        "impl X { #[cfg(test)] fn f() { crate::b::f() } }",
        "/// See [`crate::b`].\nfn f() { \"crate::b\"; }",
        "#![cfg(test)] use crate::b;",
        "use std::{fmt, self as b};",
    ] {
        let arrows = small(&[("lib.rs", "mod a; mod b;"), ("a.rs", code), ("b.rs", "")]);
        assert!(arrows.is_empty(), "{code}: {arrows:?}");
    }
}

#[test]
fn a_glob_and_an_import_of_the_root_are_told() {
    let arrows = small(&[
        ("lib.rs", "mod a; mod b; mod c; use b::B; pub use std::fmt;"),
        ("a.rs", "use crate::b::*;"),
        ("b.rs", "pub struct B;"),
        ("c.rs", "use crate::B; use crate::fmt; use crate::b::c;"),
    ]);
    let globs: Vec<_> = arrows.iter().filter(|arrow| arrow.glob).collect();
    assert_eq!(globs.len(), 1, "{arrows:?}");
    assert_eq!(globs[0].from, ["a"]);
    let through = arrows.iter().filter(|arrow| arrow.through_root).count();
    assert_eq!(through, 2, "{arrows:?}");
}

#[test]
fn what_is_no_wing_must_not_be_named_and_names_none() {
    let arrows = small(&[
        (
            "lib.rs",
            "mod low; mod high; mod stray; pub mod face { pub use crate::low::g; }",
        ),
        ("low.rs", "use crate::stray::S;"),
        ("high.rs", "use crate::face::g;"),
        ("stray.rs", "use crate::low; pub struct S;"),
    ]);
    assert_eq!(upward(&["low", "high"], &arrows).len(), 3, "{arrows:?}");
}

#[test]
fn dependencies_of_every_kind_are_read() {
    let manifest = "package.name = \"n\"\n\
        [dependencies]\na = \"1\"\n[build-dependencies]\nb = \"1\"\n\
        [dev-dependencies]\nc = \"1\"\nn = \"1\"\nblip2-testing = \"1\"\n\
        [target.'cfg(unix)'.dependencies]\nd = \"1\"";
    let manifest = manifest.parse().unwrap();
    let mut found: Vec<_> = dependencies(&manifest).collect();
    found.sort_unstable();
    assert_eq!(found, ["a", "b", "c", "d"]);
}
