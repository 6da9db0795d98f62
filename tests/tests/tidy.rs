//! The house rules that no lint knows, as tests. Limits only ever go down; a rule that hurts is
//! changed here, in the open, or the code is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// Longest file, tests not counted. A longer one hides a second noun.
const LINES_MAX: usize = 500;
/// Most `use` statements of one file. More means that it does two jobs.
const IMPORTS_MAX: usize = 25;
/// Where a thread may sleep: places that wait for facts of other processes.
const SLEEPERS: [&str; 3] = [
    "xtask/src/shell.rs",
    "tests/src/wait.rs",
    "control-plane/src/checkpoint/sled_store.rs",
];

#[test]
fn every_file_starts_by_saying_what_it_is() {
    // A sibling `tests.rs` belongs to the file that it tests, and is introduced by it.
    let silent = sources()
        .into_iter()
        .filter(|file| !file.text.starts_with("//! ") && !file.name.ends_with("/tests.rs"));
    assert_none(silent.map(|file| file.name));
}

#[test]
fn no_file_outgrows_one_noun() {
    let long = sources()
        .into_iter()
        .map(|file| (file.production().lines().count(), file.name))
        .filter(|(lines, _)| *lines > LINES_MAX);
    assert_none(long.map(|(lines, name)| format!("{name}: {lines} lines, at most {LINES_MAX}")));
}

#[test]
fn no_file_imports_the_world() {
    let count = |text: &str| text.lines().filter(|line| line.starts_with("use ")).count();
    let busy = sources()
        .into_iter()
        .map(|file| (count(file.production()), file.name))
        .filter(|(imports, _)| *imports > IMPORTS_MAX);
    assert_none(busy.map(|(imports, name)| format!("{name}: {imports}, at most {IMPORTS_MAX}")));
}

#[test]
fn tests_wait_for_facts_and_never_sleep() {
    let files = sources();
    let paused = |name: &str| {
        files
            .iter()
            .any(|file| file.name == name && file.text.contains("start_paused"))
    };
    let asleep = files.iter().filter(|file| {
        let tests = file.tests();
        // Under a paused clock a sleep takes no time and proves an order. A helper file of
        // `x/tests/` is under the clock of `x/tests.rs`.
        let above = file
            .name
            .rsplit_once('/')
            .map(|(folder, _)| format!("{folder}.rs"));
        let on_time = paused(&file.name) || above.is_some_and(|above| paused(&above));
        let timed = tests.contains("time::sleep(") && !on_time;
        let blocked = file.text.contains("thread::sleep(") && !SLEEPERS.contains(&&*file.name);
        timed || blocked
    });
    // This very file names what it looks for.
    assert_none(
        asleep
            .map(|file| file.name.clone())
            .filter(|name| name != "tests/tests/tidy.rs"),
    );
}

#[test]
fn the_deciding_core_has_no_runtime_and_no_io() {
    let banned = ["tokio", "mio", "hyper", "bollard", "rustls", "rand", "sled"];
    let tree = cargo(&[
        "tree",
        "--package",
        "skiff-engine",
        "--edges",
        "normal",
        "--prefix",
        "none",
    ]);
    let found = tree.lines().filter_map(|line| line.split(' ').next());
    assert_none(
        found
            .filter(|name| banned.contains(name))
            .map(str::to_owned),
    );
}

#[test]
fn dependencies_between_crates_only_go_down() {
    let allowed: [(&str, &[&str]); 9] = [
        ("skiff-api", &[]),
        ("skiff-engine", &["skiff-api"]),
        ("skiff-client", &["skiff-api"]),
        ("skiff-network", &["skiff-api", "skiff-client"]),
        (
            "skiff-gateway",
            &["skiff-api", "skiff-client", "skiff-network"],
        ),
        (
            "skiff-node-agent",
            &[
                "skiff-api",
                "skiff-client",
                "skiff-network",
                "skiff-gateway",
            ],
        ),
        ("skiff-control-plane", &["skiff-api", "skiff-engine"]),
        (
            "skiff-sim",
            &[
                "skiff-api",
                "skiff-client",
                "skiff-engine",
                "skiff-control-plane",
                "skiff-network",
                "skiff-gateway",
                "skiff-node-agent",
            ],
        ),
        ("skiff-shop", &[]),
    ];
    let up = allowed.iter().flat_map(|(package, below)| {
        let tree = cargo(&[
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
        ]);
        let names: BTreeSet<String> = tree
            .lines()
            .filter_map(|line| line.split(' ').next())
            .filter(|name| name.starts_with("skiff-") && name != package && !below.contains(name))
            .map(|name| format!("{package} -> {name}"))
            .collect();
        names
    });
    assert_none(up);
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = read(&root().join("Cargo.toml"));
    let dependencies = manifest
        .split_once("[workspace.dependencies]")
        .and_then(|(_, rest)| rest.split_once("\n["))
        .map(|(section, _)| section)
        .expect("the root Cargo.toml lists the workspace's dependencies");
    let page = read(&root().join("docs/dependencies.md"));
    let silent = dependencies
        .lines()
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| !name.starts_with("skiff-") && !page.contains(&format!("| `{name}` |")));
    assert_none(silent.map(str::to_owned));
}

#[test]
fn every_manifest_is_a_named_object() {
    let files = files_below(&root().join("manifests"), "yaml");
    assert!(!files.is_empty(), "manifests/ has examples");
    let bad = files.iter().flat_map(|path| {
        let text = read(path);
        let found: Vec<String> = serde_yaml::Deserializer::from_str(&text)
            .map(|document| serde_json::Value::deserialize(document).map_err(|err| err.to_string()))
            .filter_map(|parsed| complaint(&parsed).map(|why| format!("{}: {why}", path.display())))
            .collect();
        found
    });
    assert_none(bad);
}

/// What keeps a document from being an object that can be applied.
fn complaint(parsed: &Result<serde_json::Value, String>) -> Option<String> {
    let object = match parsed {
        Ok(object) => object,
        Err(why) => return Some(why.clone()),
    };
    let missing = |pointer: &&str| {
        object
            .pointer(pointer)
            .is_none_or(|value| !value.is_string())
    };
    let first = ["/apiVersion", "/kind", "/metadata/name"]
        .into_iter()
        .find(missing);
    first.map(|pointer| format!("no {pointer}"))
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let named = page.split('`').skip(1).step_by(2);
    let paths =
        named.filter(|text| text.contains('/') && !text.contains([' ', '*', '{', '<', '$']));
    let of_ours = paths.filter(|text| {
        let first = text.split('/').next().unwrap_or_default();
        !first.is_empty() && root().join(first).is_dir()
    });
    let gone = of_ours.filter(|text| {
        let path = text.split(':').next().unwrap_or(text);
        !root().join(path).exists()
    });
    assert_none(gone.map(str::to_owned));
}

#[test]
fn xtask_knows_every_suite() {
    let listed: BTreeSet<String> = read(&root().join("xtask/src/suites.rs"))
        // Behind it come those of other packages.
        .split("CRATE_SUITES")
        .next()
        .unwrap_or_default()
        .split("name: \"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"').map(|(name, _)| name.to_owned()))
        .collect();
    let present: BTreeSet<String> = files_below(&root().join("tests/tests"), "rs")
        .iter()
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .collect();
    assert_eq!(listed, present, "xtask/src/suites.rs against tests/tests/");
}

/// A Rust source file of ours.
struct Source {
    /// Its path from the root.
    name: String,
    text: String,
}

impl Source {
    /// All of it but the tests.
    fn production(&self) -> &str {
        if self.is_test() {
            return "";
        }
        self.text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default()
    }

    fn tests(&self) -> &str {
        self.text.get(self.production().len()..).unwrap_or_default()
    }

    fn is_test(&self) -> bool {
        self.name.contains("/tests/") || self.name.ends_with("/tests.rs")
    }
}

fn sources() -> Vec<Source> {
    let crates = [
        "api",
        "cli",
        "client",
        "control-plane",
        "engine",
        "node-agent",
        "shop",
        "sim",
    ];
    let files: Vec<Source> = crates
        .iter()
        .chain(&["tests", "xtask"])
        .flat_map(|folder| files_below(&root().join(folder), "rs"))
        .map(|path| Source {
            name: path
                .strip_prefix(root())
                .unwrap_or(&path)
                .display()
                .to_string(),
            text: read(&path),
        })
        .collect();
    assert!(files.len() > 10, "the house was not found");
    files
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of this repository");
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry of a folder").path())
        .flat_map(|path| match path.is_dir() {
            true => files_below(&path, extension),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .arg("--offline")
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the repository")
}

fn assert_none(found: impl IntoIterator<Item = String>) {
    let found: Vec<String> = found.into_iter().collect();
    assert!(
        found.is_empty(),
        "{} found:\n  {}",
        found.len(),
        found.join("\n  ")
    );
}
