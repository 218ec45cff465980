//! What commands print, and how they end.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::{Output, Stdio};

use crate::app::{ADMIN_KEY, Backend};
use crate::ground::Ground;
use crate::process::{Curtail, command};

fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    command(settings).args(arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `curtail keys list | head -1` ended with a core dump: the macros that print panic when nobody reads.
#[test]
fn a_reader_that_has_left_is_no_panic() {
    let ground = Ground::fresh(Backend::Sqlite);
    let settings = [("DATABASE_URL", ground.url())];
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let commands: [(&[&str], i32); 15] = [
        (&["config"], 0),
        (&["openapi"], 0),
        (&["keys", "list"], 0),
        (&["export"], 0),
        (&["export", "--format", "csv"], 0),
        (&["import", "--from", "ndjson"], 0),
        (&["migrate"], 0),
        (&["worker", "--once"], 0),
        (&["--help"], 0),
        (&["--version"], 0),
        (&["keys", "revoke", "a1B2c3D4e5F6"], 1),
        (&["healthcheck", "--store"], 0),
        (&["healthcheck"], 1),
        (&["bogus"], 2),
        // The key is shown once: whoever wanted it did not get it.
        (&["keys", "create", "--name", "x", "--scope", "links:read"], 1),
    ];
    for (arguments, code) in commands {
        let status = command(&settings)
            .env("PORT", "1")
            .args(arguments)
            .stdout(closed())
            .stderr(closed())
            .status()
            .unwrap();

        assert_eq!(status.code(), Some(code), "{arguments:?}: {status}");
    }
}

#[test]
fn an_export_takes_the_place_of_the_last_one_only_when_it_is_whole() {
    let ground = Ground::fresh(Backend::Postgres);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("links.ndjson");
    let path = file.to_str().unwrap();
    let link = |slug: &str| {
        format!(
            "INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at)
             VALUES ('{slug}', 1, 'https://example.org/', '{{}}', 302, false, false, now(), now())"
        )
    };
    ground.execute(&link("first"));
    let settings = [("DATABASE_URL", ground.url())];
    let whole = run(&["export", "--output", path], &settings);
    let before = fs::read_to_string(&file).unwrap();

    // A status that no link can have fails the export where it comes to that link.
    ground.execute("ALTER TABLE links DROP CONSTRAINT IF EXISTS links_redirect_status_check");
    ground.execute(&link("second").replace("302", "299"));
    let failed = run(&["export", "--output", path], &settings);

    assert!(whole.status.success(), "{}", errors(&whole));
    assert!(before.contains("\"first\""), "{before}");
    assert_eq!(failed.status.code(), Some(1), "{}", errors(&failed));
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "no draft is left"
    );
}

#[test]
fn exit_codes_tell_a_failure_a_wrong_command_line_and_a_partial_import_apart() {
    let ground = Ground::fresh(Backend::Sqlite);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("links.ndjson");
    let path = file.to_str().unwrap();
    let state = directory.path().join("state");
    let state = state.to_str().unwrap();
    fs::write(
        &file,
        "{\"slug\":\"good\",\"url\":\"https://example.org/\"}\n{\"slug\":\"bad one\",\"url\":\"https://example.org/\"}\n",
    )
    .unwrap();
    let settings = [("DATABASE_URL", ground.url())];
    let code = |arguments: &[&str]| run(arguments, &settings).status.code();

    assert_eq!(code(&["import", path]), Some(3));
    assert_eq!(code(&["import", "--on-conflict", "skip", path]), Some(3));
    assert_eq!(code(&["import", "/nowhere"]), Some(1));
    assert_eq!(code(&["import", "--state", state]), Some(2));
    assert_eq!(code(&["import", "--state", state, "--skip", "1", path]), Some(2));
    assert_eq!(code(&["healthcheck", "--live", "--store"]), Some(2));
    assert_eq!(code(&["export", "--output", "/nowhere/links"]), Some(1));
    fs::write(&file, "{\"slug\":\"good\",\"url\":\"https://example.org/\"}\n").unwrap();
    assert_eq!(code(&["import", path]), Some(0));
    let help = String::from_utf8(run(&["--help"], &[]).stdout).unwrap();
    assert!(help.contains("Exit codes: 0 success, 1 failure, 2"), "{help}");
}

/// The state knew a file by its length, so another export of that length was begun in its middle.
#[test]
fn the_state_of_an_import_is_not_taken_for_that_of_another_file_of_the_same_length() {
    let ground = Ground::fresh(Backend::Sqlite);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (file, first_state, second_state) = (path("links"), path("state.a"), path("state.b"));
    let link = |slug: &str| format!("{{\"slug\":\"{slug}\",\"url\":\"https://example.org/\"}}\n");
    let settings = [("DATABASE_URL", ground.url())];
    let import = |state: &str| {
        run(
            &["import", "--from", "ndjson", "--state", state, &file],
            &settings,
        )
    };
    fs::write(&file, link("one") + &link("two")).unwrap();

    let (first, beside, again) = (import(&first_state), import(&second_state), import(&first_state));
    fs::write(&file, link("six") + &link("ten")).unwrap();
    let other = import(&first_state);

    assert!(first.status.success(), "{}", errors(&first));
    // States of one stem do not share a draft, and each is its own.
    assert!(errors(&beside).contains("2 unchanged"), "{}", errors(&beside));
    assert!(
        errors(&again).contains("0 created, 0 unchanged"),
        "{}",
        errors(&again)
    );
    assert_eq!(other.status.code(), Some(1), "{}", errors(&other));
    assert!(
        errors(&other).contains("the state is of another file"),
        "{}",
        errors(&other)
    );
}

#[test]
fn a_misspelt_setting_is_named_by_every_command_that_reads_settings() {
    let ground = Ground::fresh(Backend::Sqlite);
    let settings = [
        ("DATABASE_URL", ground.url()),
        ("REDIS_ULR", "redis://SENTINEL"),
        ("OTEL_PROPAGATORS", "b3"),
    ];
    for arguments in [
        &["config"][..],
        &["migrate"],
        &["keys", "list"],
        &["export"],
        &["import", "--from", "ndjson"],
        &["worker", "--once"],
    ] {
        let output = run(arguments, &settings);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &errors(&output);

        assert!(output.status.success(), "{arguments:?}: {text}");
        assert!(text.contains("did you mean REDIS_URL?"), "{arguments:?}: {text}");
        assert!(
            text.contains("OTEL_PROPAGATORS is set and not honoured"),
            "{arguments:?}: {text}"
        );
        assert!(!text.contains("SENTINEL"), "{text}");
    }
    let strict = run(&["config", "--strict"], &settings);
    assert_eq!(strict.status.code(), Some(1), "{}", errors(&strict));
    assert_eq!(
        run(&["config", "--strict"], &settings[..1]).status.code(),
        Some(0)
    );
    let service = [&settings[..], &[("PORT", "0"), ("ADMIN_API_KEY", ADMIN_KEY)]].concat();
    let curtail = Curtail::start(&service);
    let warns = |line: &serde_json::Value| {
        line["severity"] == "WARNING"
            && line["message"]
                .as_str()
                .unwrap()
                .contains("did you mean REDIS_URL?")
    };
    assert!(curtail.early.iter().any(warns), "{:?}", curtail.early);
}

#[test]
fn a_setting_that_is_not_utf_8_ends_the_start() {
    for name in ["BASE_URL", "DATABASE_URL", "ADMIN_API_KEY_FILE", "PORT"] {
        let output = command(&[])
            .arg("config")
            .env(name, OsStr::from_bytes(b"\xff\xfe"))
            .stdin(Stdio::null())
            .output()
            .unwrap();

        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(
            errors(&output).contains(&format!("{name} is not valid: not UTF-8")),
            "{}",
            errors(&output)
        );
    }
    // Of what is no setting nothing is said.
    let output = command(&[])
        .arg("config")
        .env("OTHER", OsStr::from_bytes(b"\xff"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
fn the_live_check_asks_nothing_of_the_database() {
    let unreachable = Ground::unreachable();
    let settings = [
        ("PORT", "0"),
        ("DATABASE_URL", unreachable.url()),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ];
    let curtail = Curtail::start(&settings);
    let port = curtail.address.port().to_string();
    let settings = [("PORT", port.as_str()), ("DATABASE_URL", unreachable.url())];

    let (live, ready) = (
        run(&["healthcheck", "--live"], &settings),
        run(&["healthcheck"], &settings),
    );
    curtail.signal(rustix::process::Signal::KILL);
    curtail.wait();
    let gone = run(&["healthcheck", "--live"], &settings);

    assert_eq!(live.status.code(), Some(0), "{}", errors(&live));
    assert_eq!(ready.status.code(), Some(1));
    assert!(errors(&ready).contains("is not ready"), "{}", errors(&ready));
    assert_eq!(gone.status.code(), Some(1));
}
