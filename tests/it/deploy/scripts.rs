//! The scripts: dry runs, a deployment against a gcloud of paper, and smoke against services that lie.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use super::yaml::document;
use super::{dry_run, read, rendered, root, said, script};

#[test]
fn a_dry_run_of_the_deployment_names_every_step_and_asks_nobody() {
    // No gcloud is on this PATH that could answer: the variables hold no account.
    let (text, _folder) = dry_run(&[]);

    let mut from = 0;
    for step in [
        "== prerequisites",
        "== apis",
        "+ gcloud services enable ",
        "== registry",
        "+ gcloud artifacts repositories create ",
        "== secrets",
        "+ gcloud secrets create curtail-database-password ",
        "== database",
        "+ gcloud sql instances create ",
        "+ gcloud sql users create ",
        "== network",
        "== cache",
        "+ gcloud redis instances create ",
        "== accounts",
        "--role=roles/cloudsql.client",
        "== service",
        "+ gcloud run deploy curtail --image=us-docker.pkg.dev/cloudrun/container/hello ",
        "+ gcloud run services add-iam-policy-binding curtail ",
        "== build and release",
        "+ gcloud builds submit . --config=deploy/cloudbuild-test.yaml ",
        "+ gcloud builds submit . --config=cloudbuild.yaml ",
        "+ gcloud builds submit . --config=deploy/cloudbuild-release.yaml ",
        "== provenance",
        "--show-provenance",
        "== migrate",
        "+ gcloud run jobs execute curtail-migrate --wait ",
        "== service",
        "+ gcloud run services replace ",
        "== smoke",
        "+ scripts/smoke https://candidate---",
        "== traffic",
        "+ gcloud run services update-traffic ",
        "== worker",
        "== cleanup",
        "== schedule",
        "+ gcloud scheduler jobs create http curtail-worker ",
        "== done",
    ] {
        let at = text[from..]
            .find(step)
            .unwrap_or_else(|| panic!("no {step:?}, or not in order:\n{text}"));
        from += at + step.len();
    }
    assert!(
        !text.contains("roles/editor") && !text.contains("roles/owner"),
        "the least roles"
    );
    // What opens a service to the world was once granted for every service of the project.
    for line in text.lines().filter(|line| line.contains("roles/run.admin")) {
        assert!(
            line.contains("run services add-iam-policy-binding curtail "),
            "{line}"
        );
    }
    let reads_password =
        |line: &&str| line.contains("curtail-database-password") && line.contains("secretAccessor");
    let readers: Vec<&str> = text.lines().filter(reads_password).collect();
    assert_eq!(readers.len(), 1, "{readers:?}");
    assert!(readers[0].contains("curtail-migrate@"), "{readers:?}");
    for word in [
        "containeranalysis.googleapis.com",
        "--ssl-mode=ENCRYPTED_ONLY",
        "--connector-enforcement=REQUIRED",
    ] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn the_scripts_say_what_they_lack() {
    let image = "us-central1-docker.pkg.dev/demo-project/curtail/curtail:1";
    let project = ("PROJECT_ID", "demo-project");
    for (path, arguments, variables, named) in [
        (
            "scripts/deploy",
            &["--dry-run"][..],
            &[][..],
            "PROJECT_ID is not set",
        ),
        (
            "scripts/deploy",
            &["--dry-run"],
            &[("PROJECT_ID", "My Project")],
            "PROJECT_ID is not a project id",
        ),
        (
            "scripts/deploy",
            &["--dry-run"],
            &[project, ("REGION", "here")],
            "REGION is not a region",
        ),
        (
            "scripts/deploy",
            &["--dry-run"],
            &[project, ("CACHE", "maybe")],
            "CACHE must be redis or none",
        ),
        (
            "scripts/deploy",
            &["--dry-run"],
            &[project, ("BASE_URL", "go.example.com")],
            "BASE_URL must be",
        ),
        (
            "scripts/deploy",
            &["--dryrun"],
            &[project],
            "no such option: --dryrun",
        ),
        (
            "scripts/release",
            &["--dry-run"],
            &[project, ("IMAGE", image)],
            "IMAGE has no digest",
        ),
        (
            "scripts/release",
            &["--dry-run", "fly"],
            &[project],
            "no such step: fly",
        ),
        (
            "scripts/smoke",
            &["http://127.0.0.1:9"],
            &[],
            "ADMIN_API_KEY is not set",
        ),
        (
            "scripts/smoke",
            &["127.0.0.1"],
            &[("ADMIN_API_KEY", "x")],
            "not the address of a service",
        ),
        (
            "scripts/smoke",
            &["http://127.0.0.1:9"],
            &[("ADMIN_API_KEY", "x")],
            "no answer from",
        ),
    ] {
        let output = script(path, arguments, variables);
        assert!(
            !output.status.success(),
            "{path} {arguments:?} {variables:?} should fail"
        );
        assert!(
            said(&output).contains(named),
            "{path} {arguments:?}: {}",
            said(&output)
        );
    }
}

#[test]
fn the_passwords_of_the_compose_stack_are_made_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a plain path");
    assert!(script("scripts/compose-secrets", &[path], &[]).status.success());
    let first = rendered(folder.path(), "database_password.txt");
    assert!(script("scripts/compose-secrets", &[path], &[]).status.success());

    assert_eq!(rendered(folder.path(), "database_password.txt"), first);
    assert_eq!(first.len(), 32);
    for secret in document(&read("compose.yaml"))["secrets"]
        .as_object()
        .expect("there are secrets")
        .values()
    {
        let file = secret["file"]
            .as_str()
            .expect("a file")
            .strip_prefix("./secrets/")
            .expect("in secrets/");
        assert!(rendered(folder.path(), file).len() >= 24, "{file}");
    }
}

/// Stands in for gcloud: what was created is there from then on, and every call is written down.
const PAPER_GCLOUD: &str = r#"#!/usr/bin/env bash
set -euo pipefail
printf '%s\n' "$*" >>"$PAPER/calls"
words=()
for word in "$@"; do [[ $word == -* ]] || words+=("${word%%@*}"); done
key() { printf '%s/is-%s' "$PAPER" "$(tr ' /:' '---' <<<"${words[*]/$1/}")"; }
case "$*" in
  "auth list"*) echo someone@example.com ;;
  "projects describe"*) echo 123456789012 ;;
  "billing projects describe"*) echo True ;;
  "redis instances describe"*"value(host)"*) echo 10.0.0.3 ;;
  "redis instances describe"*"value(port)"*) echo 6379 ;;
  "redis instances get-auth-string"*) echo the-auth-string ;;
  "secrets versions access"*) cat "$PAPER/secret-$(sed 's/.*--secret=\([a-z-]*\).*/\1/' <<<"$*")" ;;
  "secrets versions add"*) cat >"$PAPER/secret-$4" ;;
  "sql users create"*) cat "$(sed 's/.*--flags-file=\([^ ]*\).*/\1/' <<<"$*")" >"$PAPER/user"; touch "$(key create)" ;;
  "secrets versions list"*) echo 3 ;;
  "run services describe"*flatten*) cat "$PAPER/traffic" ;;
  "run services describe"*) test -e "$PAPER/traffic" ;;
  "run deploy"*) echo "$3-placeholder,100,," >>"$PAPER/traffic" ;;
  "artifacts docker images describe"*fully_qualified*) echo "${5%%:*}@sha256:$(printf '0%.0s' {1..64})" ;;
  "artifacts docker images describe"*provenance*) cat "$PAPER/provenance" 2>/dev/null || true ;;
  "run revisions list"*) cat "$PAPER/revisions" 2>/dev/null || true ;;
  "run services replace"*)
    revision=$(sed -n 's/^      name: //p' "$4")
    printf '%s,,candidate,%s\n' "$revision" "$SERVICE_URL" >>"$PAPER/traffic" ;;
  "scheduler jobs create http"*) touch "$PAPER/scheduled" ;;
  "scheduler jobs describe"*) test -e "$PAPER/scheduled" ;;
  *" describe "*) test -e "$(key describe)" ;;
  *" create "*) touch "$(key create)" ;;
esac
"#;

/// Runs a script for real, on paper.
pub fn on_paper(name: &str, paper: &Path, more: &[(&str, &str)]) -> Output {
    let gcloud = paper.join("gcloud");
    fs::write(&gcloud, PAPER_GCLOUD).expect("a file");
    fs::set_permissions(&gcloud, fs::Permissions::from_mode(0o755)).expect("a program");
    Command::new("bash")
        .arg(root().join(name))
        .env_clear()
        .env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", paper.display()),
        )
        .env("PAPER", paper)
        .env("RENDERED", paper.join("rendered"))
        .env("PROJECT_ID", "demo-project")
        .envs(more.iter().copied())
        .output()
        .expect("bash is there")
}

#[test]
fn a_second_deployment_makes_nothing_that_is_there() {
    let paper = tempfile::tempdir().expect("a folder");
    let calls = || fs::read_to_string(paper.path().join("calls")).expect("calls");

    let first = on_paper("scripts/deploy", paper.path(), &[]);
    assert!(first.status.success(), "{}", said(&first));
    let made = calls();
    let password = rendered(paper.path(), "secret-curtail-database-password");
    fs::remove_file(paper.path().join("calls")).expect("a file");
    let second = on_paper("scripts/deploy", paper.path(), &[]);
    assert!(second.status.success(), "{}", said(&second));

    for what in [
        "artifacts repositories",
        "sql instances",
        "sql databases",
        "sql users",
        "redis instances",
    ] {
        assert_eq!(
            made.matches(&format!("{what} create")).count(),
            1,
            "{what}:\n{made}"
        );
    }
    assert_eq!(made.matches("iam service-accounts create").count(), 5, "{made}");
    assert_eq!(made.matches("secrets versions add").count(), 4, "{made}");
    assert_eq!(made.matches("run deploy curtail").count(), 1, "{made}");
    for made_again in [" create ", "versions add", "run deploy"] {
        assert!(!calls().contains(made_again), "{made_again}:\n{}", calls());
    }
    assert!(
        calls().contains("scheduler jobs update http curtail-worker"),
        "{}",
        calls()
    );
    assert!(calls().contains("builds submit"), "the code is built each time");

    // The database's user got the password that the secret holds; nobody can read it in a process list.
    assert_eq!(
        rendered(paper.path(), "secret-curtail-database-password"),
        password
    );
    assert_eq!(
        rendered(paper.path(), "user"),
        format!("--password: \"{password}\"\n")
    );
    for secret in [password.as_str(), "the-auth-string"] {
        assert!(
            !made.contains(secret) && !said(&first).contains(secret),
            "a secret was shown"
        );
    }
}

#[test]
fn a_new_password_of_the_cache_becomes_a_new_version() {
    let paper = tempfile::tempdir().expect("a folder");
    assert!(on_paper("scripts/deploy", paper.path(), &[]).status.success());
    fs::write(paper.path().join("secret-curtail-redis-password"), "an older one").expect("a file");

    assert!(on_paper("scripts/deploy", paper.path(), &[]).status.success());

    assert_eq!(
        rendered(paper.path(), "secret-curtail-redis-password"),
        "the-auth-string"
    );
}

#[test]
fn a_deployment_without_a_cache_asks_for_no_network() {
    let paper = tempfile::tempdir().expect("a folder");

    let output = on_paper("scripts/deploy", paper.path(), &[("CACHE", "none")]);

    assert!(output.status.success(), "{}", said(&output));
    let calls = fs::read_to_string(paper.path().join("calls")).expect("calls");
    assert!(!calls.contains("redis") && !calls.contains("compute"), "{calls}");
}

/// How a service may lie to `scripts/smoke`.
#[derive(Clone, Copy, PartialEq)]
pub enum Lie {
    None,
    Redirect,
    Deletion,
    Creation,
}

/// A service that knows one link, and may lie about it. It ends with the test's process.
pub fn service_of_paper(lie: Lie) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let target = Arc::new(Mutex::new(None));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A client that goes away in the middle of an answer is no fault of this test.
            let _ = answer(stream, lie, &target);
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, lie: Lie, target: &Mutex<Option<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let (mut length, mut key) = (0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        let line = line.trim().to_ascii_lowercase();
        key |= line == "authorization: bearer the-key";
        length = line
            .strip_prefix("content-length: ")
            .and_then(|text| text.parse().ok())
            .unwrap_or(length);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut target = target.lock().expect("no other thread fails");
    let mut words = request.split(' ');
    let link = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, location) = match (link, target.clone()) {
        (("GET", "/health/live" | "/version"), _) => ("200 OK", None),
        (("POST", "/api/v1/links"), _) if key && lie == Lie::Creation => ("200 OK", None),
        (("POST", "/api/v1/links"), _) if key => {
            let body = String::from_utf8_lossy(&body).into_owned();
            *target = body.split('"').nth(3).map(str::to_owned);
            ("201 Created", None)
        }
        (("DELETE", "/api/v1/links/abc"), Some(_)) if key => {
            if lie != Lie::Deletion {
                *target = None;
            }
            ("204 No Content", None)
        }
        (("GET", "/api/v1/links/abc"), Some(_)) if key => ("200 OK", None),
        (("GET" | "HEAD", "/abc"), Some(_)) if lie == Lie::Redirect => {
            ("302 Found", Some("https://elsewhere.example/".to_owned()))
        }
        (("GET" | "HEAD", "/abc"), Some(target)) => ("302 Found", Some(target)),
        _ => ("404 Not Found", None),
    };
    let location = location
        .map(|to| format!("Location: {to}\r\n"))
        .unwrap_or_default();
    let body = if link.0 == "HEAD" || status.starts_with("204") {
        ""
    } else {
        r#"{"slug":"abc"}"#
    };
    let length = if status.starts_with("204") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{location}{length}Connection: close\r\n\r\n{body}"
    )
}

#[test]
fn smoke_passes_on_a_service_that_works_and_on_no_other() {
    for (lie, key, named) in [
        (Lie::None, "the-key", "smoke: passed"),
        (
            Lie::None,
            "another-key",
            "POST /api/v1/links answered 404, not 201",
        ),
        (
            Lie::Creation,
            "the-key",
            "POST /api/v1/links answered 200, not 201",
        ),
        (
            Lie::Redirect,
            "the-key",
            "/abc leads to 'https://elsewhere.example/'",
        ),
        (Lie::Deletion, "the-key", "the deleted link still answers 302"),
    ] {
        let output = script(
            "scripts/smoke",
            &[&service_of_paper(lie)],
            &[("ADMIN_API_KEY", key)],
        );

        assert_eq!(
            output.status.success(),
            named == "smoke: passed",
            "{}",
            said(&output)
        );
        assert!(said(&output).contains(named), "{named}: {}", said(&output));
        assert!(!said(&output).contains(key), "the key was shown");
    }
}
