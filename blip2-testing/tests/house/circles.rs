//! Circles of arrows between the modules of one folder.

use std::collections::{BTreeMap, BTreeSet};

use crate::{modules::Place, references::Arrow};

/// For each two neighbours in a folder, an arrow from one to the other.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Arrow>>;

/// A circle of each group of modules that reach one another, in any folder, with its arrows.
pub(crate) fn circles(arrows: &[Arrow]) -> Vec<String> {
    let mut folders: BTreeMap<Place, Graph<'_>> = BTreeMap::new();
    for arrow in arrows {
        let pairs = arrow.from.iter().zip(&arrow.to);
        let shared = pairs.take_while(|(from, to)| from == to).count();
        // An arrow to or from the folder itself concerns no two neighbours.
        if let (Some(from), Some(to)) = (arrow.from.get(shared), arrow.to.get(shared)) {
            let graph = folders.entry(arrow.from[..shared].to_vec()).or_default();
            graph.entry(from).or_default().entry(to).or_insert(arrow);
        }
    }
    let circles = folders.iter().flat_map(|(folder, graph)| {
        let circles = circles_of(graph);
        circles
            .into_iter()
            .map(|circle| describe(folder, graph, &circle))
    });
    circles.collect()
}

/// Shortest circles, one through each module that is in any and in none of those before.
fn circles_of<'a>(graph: &Graph<'a>) -> Vec<Vec<&'a str>> {
    let mut told = BTreeSet::new();
    let mut circles = Vec::new();
    for start in graph.keys() {
        if told.contains(start) {
            continue;
        }
        if let Some(circle) = shortest(graph, start) {
            told.extend(circle.iter().copied());
            circles.push(circle);
        }
    }
    circles
}

/// The shortest way from a module back to itself.
fn shortest<'a>(graph: &Graph<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![start]];
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let next = graph.get(way[way.len() - 1]).into_iter().flatten();
            for (&next, _) in next {
                if next == start {
                    return Some([&way[..], &[start]].concat());
                }
                if seen.insert(next) {
                    longer.push([&way[..], &[next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

fn describe(folder: &[String], graph: &Graph<'_>, circle: &[&str]) -> String {
    let arrows = circle
        .windows(2)
        .map(|pair| format!("\n    {}", graph[pair[0]][pair[1]]));
    let folder = folder.join("::");
    let arrows: String = arrows.collect();
    format!("in `crate::{folder}`: {}{arrows}", circle.join(" -> "))
}
