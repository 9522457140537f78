# What is done often, by its name: `just`, or read here what a name does.
# https://just.systems; each line is plain shell, so it can be copied out where `just` is not.

# One profile and one feature set for everything: Burn takes minutes to build.
workspace := "--release --workspace --locked"

# lists the recipes
default:
    @just --list

# formats the tree
fmt:
    cargo fmt --all

# what CI refuses: format, lints
lint:
    cargo fmt --all --check
    cargo clippy {{workspace}} --all-targets -- -D warnings

# every test and every example of the documentation
test:
    cargo test {{workspace}}

# import circles, upward arrows and the crates' floors
house:
    cargo test {{workspace}} --test house

# the goldens and the curves of training on flex, ndarray and wgpu
goldens:
    cargo test {{workspace}} --features blip2-cli/ndarray,blip2-cli/wgpu --test goldens --test curves --test gpu --test halves --test replay --test explain

# every fuzz target for so many minutes; nightly and `cargo install cargo-fuzz`
fuzz minutes="10":
    fuzz/run {{minutes}}

# benchmarks, those whose name holds `filter`
bench filter="":
    cargo bench --workspace --locked --bench layers --bench stages -- {{filter}}

# the documentation, as its readers see it
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc {{workspace}} --no-deps

# the documentation with the features that each item needs, as on docs.rs
docs-rs:
    RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS="--cfg docsrs" cargo doc {{workspace}} --no-deps --features blip2-core/lavis,blip2-kernels/autodiff,blip2-io/dataset

# each library crate alone, with its default features and with none
alone:
    .ci/alone

# each library crate with every feature alone, and with all of them
features:
    .ci/alone --all

# functions of SQL, and a cluster of processes: the workspace `distributed`
distributed:
    .ci/distributed

# programs outside the workspace, as after `cargo add`
outside:
    .ci/outside

# several processes that train as one, over Open MPI
mpi:
    .ci/mpi

# the server's page in a headless Chromium
browser:
    .ci/browser

# 10,000 requests from 32 clients, bad ones among them
load:
    LOAD_REQUESTS=10000 cargo test {{workspace}} --test server_load -- --nocapture

# every cell of the notebook, against what it said before
notebook:
    docs/notebook/run

# what explanations are worth: the table of docs/explain.md, of so many pictures of easy-VQA
pointing-game pictures="100":
    test -d target/easy-vqa || (pip download --no-deps --dest target easy-vqa==1.0 && python3 -m zipfile -e target/easy_vqa-1.0-*.whl target/easy-vqa)
    cargo run --release --locked --example pointing_game -- target/easy-vqa/easy_vqa/data --pictures {{pictures}}

# the packages as they will be published, each built from its own files
package:
    .ci/packages

# licences, advisories, duplicate and banned crates, sources (`cargo install cargo-deny --locked`)
deny:
    cargo deny --locked check

# breaks of the public API since the last release (`cargo install cargo-semver-checks --locked`)
semver:
    cargo semver-checks check-release --workspace --exclude blip2-cli

# everything that CI does
ci:
    bash .ci/run
