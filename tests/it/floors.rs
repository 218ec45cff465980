//! A module uses only floors below its own, and neighbours do not know one another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// For each module, the modules of ours that it may name.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    BTreeMap::from([
        ("domain", vec![]),
        ("config", vec!["domain"]),
        ("telemetry", vec!["config", "domain"]),
        ("lifecycle", vec![]),
        ("store", vec!["domain", "config", "telemetry"]),
        ("cache", vec!["domain", "config", "telemetry"]),
        (
            "service",
            vec!["domain", "config", "telemetry", "lifecycle", "store", "cache"],
        ),
        (
            "http",
            vec!["domain", "config", "telemetry", "lifecycle", "service"],
        ),
        (
            "worker",
            vec!["domain", "config", "telemetry", "lifecycle", "service"],
        ),
        (
            "app",
            vec![
                "domain",
                "config",
                "telemetry",
                "lifecycle",
                "store",
                "cache",
                "service",
                "http",
                "worker",
            ],
        ),
        (
            "cli",
            vec![
                "domain",
                "config",
                "telemetry",
                "lifecycle",
                "store",
                "cache",
                "service",
                "http",
                "worker",
                "app",
            ],
        ),
        ("main", vec!["cli"]),
        ("lib", vec![]),
    ])
}

/// For each module, the crates that it must not name.
const FORBIDDEN_CRATES: &[(&str, &[&str])] = &[
    (
        "domain",
        &[
            "tokio",
            "actix_web",
            "tokio_postgres",
            "rusqlite",
            "std::env",
            "SystemTime::now()",
        ],
    ),
    (
        "config",
        &[
            "actix_web",
            "tokio_postgres",
            "deadpool_postgres",
            "rusqlite",
            "redis::",
        ],
    ),
    (
        "service",
        &[
            "actix_web",
            "tokio_postgres",
            "deadpool_postgres",
            "rusqlite",
            "deadpool_redis",
        ],
    ),
    (
        "http",
        &[
            "tokio_postgres",
            "deadpool_postgres",
            "rusqlite",
            "deadpool_redis",
        ],
    ),
    (
        "worker",
        &[
            "actix_web",
            "tokio_postgres",
            "deadpool_postgres",
            "rusqlite",
            "deadpool_redis",
        ],
    ),
    (
        "app",
        &[
            "tokio_postgres",
            "deadpool_postgres",
            "rusqlite",
            "deadpool_redis",
        ],
    ),
    (
        "cli",
        &[
            "tokio_postgres",
            "deadpool_postgres",
            "rusqlite",
            "deadpool_redis",
        ],
    ),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The faults of one file, given as text so that the rule itself can be tested.
fn faults(module: &str, text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let code = code
        .replace("pub(in crate::http)", "")
        .replace("pub(in crate::store)", "");
    let allowed = allowed();
    let mut faults = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let group: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![rest],
        };
        for name in group {
            let name: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if allowed.contains_key(name.as_str())
                && name != module
                && !allowed[module].contains(&name.as_str())
            {
                faults.push(format!("{module} uses {name}"));
            }
        }
    }
    let crates = FORBIDDEN_CRATES
        .iter()
        .filter(|(name, _)| *name == module)
        .flat_map(|(_, crates)| *crates);
    let clock = text.contains("the one place that may ask the machine for the time");
    faults.extend(
        crates
            .filter(|name| code.contains(**name) && !(clock && **name == "SystemTime::now()"))
            .map(|name| format!("{module} names {name}")),
    );
    faults
}

#[test]
fn every_module_uses_only_floors_below_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);

    let mut wrong = Vec::new();
    for file in &files {
        let inside = file.strip_prefix(&root).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        assert!(allowed().contains_key(module), "{module} has no floor");
        let text = std::fs::read_to_string(file).unwrap();
        wrong.extend(
            faults(module, &text)
                .into_iter()
                .map(|fault| format!("{}: {fault}", inside.display())),
        );
    }

    assert!(files.len() > 30, "the sources were not found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rule_itself_sees_a_fault() {
    assert_eq!(faults("http", "use crate::store::Store;"), ["http uses store"]);
    assert_eq!(
        faults("store", "use crate::{cache, domain};"),
        ["store uses cache"]
    );
    assert_eq!(
        faults("domain", "use tokio::sync::Mutex;"),
        ["domain names tokio"]
    );
    assert!(
        faults(
            "http",
            "// crate::store is not for here\nuse crate::service::Links;"
        )
        .is_empty()
    );
}

#[test]
fn no_room_has_grown_too_large() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let large: Vec<_> = files
        .iter()
        .map(|file| (std::fs::read_to_string(file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > 450)
        .collect();

    assert!(large.is_empty(), "split these: {large:?}");
}
