//! No statement of either store changes a link, a key or a session without recording it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Statements that write to these tables and change nothing that is recorded.
const EXEMPT: [&str; 7] = [
    // Clicks are no changes.
    "take_click",
    "add_total",
    "record_clicks",
    // Nor is the use of a key.
    "touch_key",
    // The deletion was recorded when the link was deleted.
    "forget_set_aside",
    // The session had ended by itself.
    "drop_sessions",
    // A secret that did not exist.
    "create_shared_secret",
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

/// The constants of a source that hold SQL: the constant's name, the statement's name and the text.
fn statements(source: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let starts: Vec<usize> = source.match_indices(": &str =").map(|(at, _)| at).collect();
    for at in starts {
        let constant = source[..at].rsplit(' ').next().unwrap().to_owned();
        let rest = &source[at..];
        let end = rest
            .find(";\n\n")
            .or_else(|| rest.rfind(';'))
            .unwrap_or(rest.len());
        let text = &rest[..end];
        let Some(name) = text.split("-- ").nth(1).and_then(|rest| rest.split("()").next()) else {
            continue;
        };
        found.push((constant, name.to_owned(), text.to_owned()));
    }
    found
}

fn writes_what_is_recorded(sql: &str) -> bool {
    let words: Vec<&str> = sql
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .collect();
    let is_table = |word: &str| {
        let tables = ["links", "deleted_links", "api_keys", "sessions", "shared_secrets"];
        tables.contains(&word)
    };
    words.windows(3).any(|words| match words {
        ["INSERT" | "REPLACE", "INTO", table] | ["DELETE", "FROM", table] | ["UPDATE", table, "SET"] => {
            is_table(table)
        }
        _ => false,
    })
}

/// The functions of a source, each with the text up to the next one.
fn functions(source: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in source.lines() {
        let start = line
            .trim_start()
            .trim_start_matches("pub(super) ")
            .trim_start_matches("async ");
        if start.starts_with("fn ") {
            all.push(String::new());
        }
        let last = all.last_mut().unwrap();
        last.push_str(line);
        last.push('\n');
    }
    all.remove(0);
    all
}

/// The statements of a source that write without recording, and the names of all that write.
fn faults(source: &str) -> (Vec<String>, BTreeSet<String>) {
    let (mut faults, mut writing) = (Vec::new(), BTreeSet::new());
    for (constant, name, sql) in statements(source) {
        if !writes_what_is_recorded(&sql) {
            continue;
        }
        writing.insert(name.clone());
        if EXEMPT.contains(&name.as_str()) || sql.contains("INSERT INTO changes") {
            continue;
        }
        // SQLite has no statement that writes to two tables: the function records what it did.
        let users: Vec<String> = functions(source)
            .into_iter()
            .filter(|function| {
                function
                    .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .any(|word| word == constant)
            })
            .collect();
        let recorded = |function: &String| {
            let ways = ["record_link(", "record_key(", "record_session("];
            ways.iter()
                .any(|way| function.contains(&format!("changes::{way}")))
        };
        if users.is_empty() || !users.iter().all(recorded) {
            faults.push(name);
        }
    }
    (faults, writing)
}

#[test]
fn every_statement_that_changes_a_link_or_a_key_records_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let (mut wrong, mut writing) = (Vec::new(), BTreeSet::new());
    for dialect in ["postgres", "sqlite"] {
        let mut files = Vec::new();
        sources(&root.join(dialect), &mut files);
        let mut names = BTreeSet::new();
        for file in &files {
            let (of_file, all) = faults(&std::fs::read_to_string(file).unwrap());
            wrong.extend(
                of_file
                    .into_iter()
                    .map(|name| format!("{}: {name}()", file.display())),
            );
            names.extend(all);
        }
        assert!(names.len() > 10, "the statements were not found: {names:?}");
        writing.extend(names);
    }

    assert!(wrong.is_empty(), "these record nothing:\n{}", wrong.join("\n"));
    for exempt in EXEMPT {
        assert!(writing.contains(exempt), "{exempt} is exempt and writes nothing");
    }
}

#[test]
fn the_rule_itself_sees_a_fault() {
    let forgotten = "const RENAME: &str = \"-- rename()\nUPDATE links SET slug = $2 WHERE slug = $1\";\n\nfn rename() { run(RENAME) }\n";
    let recorded = forgotten.replace("run(RENAME)", "run(RENAME); changes::record_link()");
    let in_statement = forgotten.replace(
        "UPDATE",
        "WITH changed AS (UPDATE links), recorded AS (INSERT INTO changes (id) SELECT 1) UPDATE",
    );
    let other = forgotten.replace("links", "click_hours");

    assert_eq!(faults(forgotten).0, ["rename"]);
    for good in [recorded, in_statement, other] {
        assert_eq!(faults(&good).0, Vec::<String>::new(), "{good}");
    }
}
