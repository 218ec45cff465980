//! What watches the service: the list of figures for people, the dashboard and the alerts.

use std::path::{Path, PathBuf};

use curtail::telemetry::metrics::FAMILIES;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

#[test]
fn the_docs_list_every_figure_as_the_code_has_it() {
    let docs = read("docs/OBSERVABILITY.md");
    let listed: Vec<&str> = docs
        .lines()
        .filter(|line| line.starts_with("| `curtail_") || line.starts_with("| `process_"))
        .collect();

    let known: Vec<String> = FAMILIES
        .iter()
        .map(|family| {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind) = (family.name, family.kind.word());
            format!("| `{name}` | {kind} | {} | {} |", labels.join(", "), family.help)
        })
        .collect();

    assert_eq!(listed, known);
}
