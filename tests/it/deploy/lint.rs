//! `scripts/lint` with stand-ins for its tools.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use super::{read, root, said};

/// Answers as `cargo-deny` does: the first argument that the variable `FAILS` names makes it fail.
const CARGO_DENY: &str = r#"for word in "$@"; do [[ $word != "$FAILS" ]] || exit 1; done"#;

/// Runs the script where PyPI cannot be reached, and only these tools are installed.
fn lint(tools: &[(&str, &str)], fails: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let unreachable = [("python3", "exit 1"), ("apt-get", "exit 1")];
    for (name, text) in unreachable.iter().chain(tools) {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/usr/bin/env bash\n{text}\n")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    }
    Command::new("bash")
        .arg(root().join("scripts/lint"))
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .env("CARGO_TARGET_DIR", folder.path())
        .env("FAILS", fails)
        .output()
        .expect("bash is there")
}

const INSTALLED: &[(&str, &str)] = &[("cargo-deny", CARGO_DENY), ("shellcheck", "exit 0")];

/// The gate once left out what was not installed, and was green.
#[test]
fn a_missing_tool_fails_the_gate() {
    let output = lint(&[("shellcheck", "exit 0")], "");

    assert!(!output.status.success());
    assert!(
        said(&output).contains("cargo-deny is missing, and could not be installed"),
        "{}",
        said(&output)
    );
    assert!(read(".ci/run").contains("\nstep scripts/lint\n"));
}

#[test]
fn advisories_that_cannot_be_fetched_are_left_out_loudly() {
    let output = lint(INSTALLED, "fetch");

    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    assert!(
        text.trim_end()
            .lines()
            .last()
            .is_some_and(|line| line.contains("ADVISORIES NOT CHECKED")),
        "{text}"
    );
    assert!(!text.contains("check --disable-fetch advisories"), "{text}");
}

#[test]
fn an_advisory_fails_the_gate() {
    let output = lint(INSTALLED, "advisories");

    assert!(!output.status.success());
    assert!(!said(&output).contains("NOT CHECKED"), "{}", said(&output));
    assert!(lint(INSTALLED, "").status.success());
}
