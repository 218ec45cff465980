//! `build.rs`: which commit a build says it is of, and when cargo asks again.

use std::path::Path;
use std::process::Command;

/// The build script, compiled by itself.
fn compiled(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("build-script");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    let status = Command::new("rustc")
        .args(["--edition", "2024", "-o"])
        .arg(&program)
        .arg(source)
        .status()
        .expect("rustc is there");
    assert!(status.success());
    program
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("git is there");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What the script says in a directory: the commit, and the files that it watches.
fn run(program: &Path, directory: &Path) -> (String, Vec<String>) {
    let output = Command::new(program)
        .current_dir(directory)
        .env_remove("CURTAIL_GIT_COMMIT")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let all = |prefix: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.map(str::to_owned).collect()
    };
    let commit = all("cargo::rustc-env=CURTAIL_GIT_COMMIT=").remove(0);
    let mut watched = all("cargo::rerun-if-changed=");
    watched.retain(|path| path != "build.rs");
    (commit, watched)
}

/// Only `.git/HEAD` was watched, which a commit to a branch does not touch: a build said the commit before. Where it did not exist,
/// cargo built the crate anew each time.
#[test]
fn a_build_says_its_commit_and_watches_what_a_commit_changes() {
    let folder = tempfile::tempdir().unwrap();
    let program = compiled(folder.path());
    let repository = folder.path().join("repository");
    let vendored = repository.join("vendor/curtail");
    let tarball = folder.path().join("tarball");
    for directory in [&vendored, &tarball] {
        std::fs::create_dir_all(directory).unwrap();
    }
    git(&repository, &["init", "--quiet"]);
    git(&repository, &["commit", "--quiet", "--allow-empty", "-m", "one"]);
    let linked = folder.path().join("linked");
    git(
        &repository,
        &["worktree", "add", "--quiet", linked.to_str().unwrap()],
    );
    let times = |paths: &[String]| -> Vec<_> {
        let time = |path: &String| (path.clone(), std::fs::read(path).unwrap());
        paths.iter().map(time).collect()
    };

    let mut seen = Vec::new();
    for directory in [&repository, &linked] {
        let (before, watched) = run(&program, directory);
        let old = times(&watched);
        git(directory, &["commit", "--quiet", "--allow-empty", "-m", "two"]);
        let changed = old != times(&watched);
        let (after, _) = run(&program, directory);
        let head = git(directory, &["rev-parse", "--short=12", "HEAD"]);
        seen.push((before != after, after == head, changed));
    }

    assert_eq!(seen, [(true, true, true); 2]);
    let nothing = ("unknown".to_owned(), Vec::new());
    assert_eq!(run(&program, &vendored), nothing, "the commit of another project");
    assert_eq!(run(&program, &tarball), nothing);
}
