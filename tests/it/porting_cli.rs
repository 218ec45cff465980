//! Import and export on the command line, and how much memory they take.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::app::Backend;
use crate::db;
use crate::ground::Ground;
use crate::on_both_stores;
use crate::process;

/// The most memory that a million links may take, in KiB.
const MEMORY: u64 = 64 * 1024;

/// The program to be measured: the one of the tests, or one that is built for speed.
fn program(ground: &Ground) -> Command {
    let mut command = match db::variable("CURTAIL_TEST_PROGRAM") {
        Some(path) => Command::new(path),
        None => process::command(&[]),
    };
    command.env_clear().env("DATABASE_URL", ground.url());
    command
}

fn execute(ground: &Ground, arguments: &[&str]) -> Output {
    program(ground)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Link `n` of the round trip, as an export writes it.
fn line(n: u64) -> String {
    let title = match n % 5 {
        0 => "null".to_owned(),
        1 => json!(format!("Title {n}, \"quoted\"\nand more; Grüße")).to_string(),
        _ => json!(format!("Title {n}")).to_string(),
    };
    let tags = match n % 3 {
        0 => "[]".to_owned(),
        1 => json!([format!("t{}", n % 100), "a,b"]).to_string(),
        _ => json!(["[odd\"", "x"]).to_string(),
    };
    let optional = |yes: bool, value: String| if yes { value } else { "null".to_owned() };
    let second = 1_500_000_000 + i64::try_from(n).unwrap();
    let time = |micros: i64| {
        let time = jiff::Timestamp::from_microsecond(second * 1_000_000 + micros).unwrap();
        format!("\"{time}\"")
    };
    format!(
        "{{\"slug\":\"s{n}-x\",\"url\":\"https://site{}.example/path/{n}?query={n}\",\"title\":{title},\"tags\":{tags},\
         \"redirect_status\":{},\"cache_seconds\":{},\"forward_query\":{},\"valid_from\":{},\"expires_at\":{},\
         \"max_clicks\":{},\"disabled\":{},\"clicks\":{},\"created_at\":{},\"updated_at\":{}}}\n",
        n % 997,
        [302, 301, 307, 308][usize::try_from(n % 4).unwrap()],
        optional(n % 4 == 1, (n % 900).to_string()),
        n.is_multiple_of(7),
        optional(n.is_multiple_of(11), time(0)),
        optional(n.is_multiple_of(13), time(4_000_000_000_000_001)),
        optional(n.is_multiple_of(17), (n + 1).to_string()),
        n.is_multiple_of(19),
        n * 3,
        time(123_456),
        time(123_457),
    )
}

/// The most memory that a process has had, in KiB.
fn peak(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Imports what `write` writes, and answers the most memory before its end was told.
fn import_stream(ground: &Ground, write: impl FnOnce(&mut dyn Write)) -> u64 {
    let mut child = program(ground)
        .arg("import")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = std::io::BufWriter::new(child.stdin.take().unwrap());
    write(&mut input);
    input.flush().unwrap();
    let memory = peak(&child);
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    memory
}

/// Exports, hands each line to `read`, and answers the most memory.
fn export_stream(ground: &Ground, format: &str, mut read: impl FnMut(&[u8])) -> u64 {
    let mut child = program(ground)
        .args(["export", "--format", format])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::with_capacity(256 * 1024, child.stdout.take().unwrap());
    let (mut line, mut lines, mut memory) = (Vec::new(), 0, 0);
    while output.read_until(b'\n', &mut line).unwrap() > 0 {
        // It waits in the pipe while we look, unless it has ended.
        if lines % 10_000 == 0 && child.try_wait().unwrap().is_none() {
            memory = peak(&child).max(memory);
        }
        read(&line);
        line.clear();
        lines += 1;
    }
    assert!(child.wait().unwrap().success());
    memory
}

fn expect_all(ground: &Ground, count: u64) -> u64 {
    let mut n = 0;
    let memory = export_stream(ground, "ndjson", |bytes| {
        assert_eq!(String::from_utf8_lossy(bytes), line(n));
        n += 1;
    });
    assert_eq!(n, count);
    memory
}

on_both_stores! {
    fn a_round_trip_gives_every_byte_back_in_little_memory(backend) {
        let count = db::variable("CURTAIL_TEST_LINKS").map_or(3_000, |count| count.parse().unwrap());
        let (first, second) = (Ground::fresh(backend), Ground::fresh(backend));
        let told = |what: &str, start: Instant, memory: u64| {
            let seconds = start.elapsed().as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let rate = count as f64 / seconds;
            println!("{backend:?}: {what}: {count} links in {seconds:.1} s, {rate:.0}/s, at most {memory} KiB");
            memory
        };
        let directory = tempfile::tempdir().unwrap();
        let table = directory.path().join("links.csv");

        let start = Instant::now();
        let imported = import_stream(&first, |input| (0..count).for_each(|n| input.write_all(line(n).as_bytes()).unwrap()));
        let imported = told("import of NDJSON", start, imported);
        let start = Instant::now();
        let exported = told("export as NDJSON", start, expect_all(&first, count));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&table).unwrap());
        let start = Instant::now();
        let as_csv = export_stream(&first, "csv", |row| file.write_all(row).unwrap());
        let as_csv = told("export as CSV", start, as_csv);
        file.flush().unwrap();
        let start = Instant::now();
        let from_csv = import_stream(&second, |input| {
            std::io::copy(&mut std::fs::File::open(&table).unwrap(), input).unwrap();
        });
        let from_csv = told("import of CSV", start, from_csv);
        let again = expect_all(&second, count);

        for memory in [imported, exported, as_csv, from_csv, again] {
            assert!(memory > 0 && memory < MEMORY, "{memory} KiB");
        }
    }

    fn an_import_tells_what_it_did_and_where_it_can_go_on(backend) {
        let ground = Ground::fresh(backend);
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let (file, state, report) = (path("links.ndjson"), path("state"), path("report"));
        let good: String = (0..1200).map(line).collect();
        std::fs::write(&file, format!("{good}{{\"slug\":\"a b\",\"url\":\"https://example.org/\"}}\n")).unwrap();

        let first = execute(&ground, &["import", "--from", "ndjson", "--state", &state, "--report", &report, &file]);
        let lines = std::fs::read_to_string(&report).unwrap();
        let again = execute(&ground, &["import", "--state", &state, &file]);
        let whole = execute(&ground, &["import", &file]);
        std::fs::write(&file, &good).unwrap();
        let other = execute(&ground, &["import", "--state", &state, &file]);

        assert_eq!(first.status.code(), Some(3), "{}", errors(&first));
        assert!(errors(&first).contains("1 links were not taken"), "{}", errors(&first));
        assert!(!errors(&first).contains('\r'), "no bar without a terminal: {}", errors(&first));
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["line"], &lines[0]["slug"], &lines[0]["errors"][0]["code"]),
            (&json!(1201), &json!("a b"), &json!("slug_invalid")));
        assert_eq!((&lines[1]["created"], &lines[1]["refused"], &lines[1]["read"]), (&json!(1200), &json!(1), &json!(1201)));
        assert!(again.status.success() && errors(&again).contains("0 created, 0 unchanged"), "{}", errors(&again));
        assert!(errors(&whole).contains("(guessed): 0 created, 1200 unchanged, 0 overwritten, 0 conflicts, 1 refused"), "{}", errors(&whole));
        assert!(errors(&whole).contains("line 1201: refused: a b: /slug slug_invalid"), "{}", errors(&whole));
        assert!(!other.status.success() && errors(&other).contains("the state is of another file"), "{}", errors(&other));
    }

    fn an_export_is_written_to_a_file_and_both_say_what_is_wrong(backend) {
        let ground = Ground::fresh(backend);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("links.csv");
        let file = file.to_str().unwrap();

        let empty = execute(&ground, &["export", "--format", "csv", "--output", file]);
        let nowhere = execute(&ground, &["export", "--output", "/nowhere/links"]);
        let missing = execute(&ground, &["import", "/nowhere/links"]);
        let strange = execute(&ground, &["import", "--from", "tinyurl", file]);
        let nothing = execute(&ground, &["import", file]);

        assert!(empty.status.success() && empty.stdout.is_empty(), "{}", errors(&empty));
        assert!(std::fs::read_to_string(file).unwrap().starts_with("slug,url,"));
        assert!(errors(&nowhere).contains("the links cannot be written"), "{}", errors(&nowhere));
        assert!(errors(&missing).contains("the file cannot be read"), "{}", errors(&missing));
        assert!(errors(&strange).contains("ndjson, csv, yourls"), "{}", errors(&strange));
        assert!(nothing.status.success() && errors(&nothing).contains("read 0 as csv"), "{}", errors(&nothing));
    }
}

#[test]
fn an_import_into_a_database_without_its_schema_says_so() {
    let ground = Ground::fresh_without_schema();

    let output = execute(&ground, &["import"]);

    assert!(!output.status.success());
    assert!(
        errors(&output).contains("run `curtail migrate`"),
        "{}",
        errors(&output)
    );
}

#[test]
fn links_that_are_written_over_reach_a_running_instance() {
    let app = crate::app::TestApp::start_with(Backend::Postgres, &[("MEMORY_CACHE_MIB", "0")]);
    app.create(json!({"slug": "moved", "url": "https://example.org/old"}));
    assert_eq!(
        app.get("/moved").header("location"),
        Some("https://example.org/old")
    );
    let directory = tempfile::tempdir().unwrap();
    let file: &Path = &directory.path().join("links");
    std::fs::write(file, r#"{"slug":"moved","url":"https://example.org/new"}"#).unwrap();

    let mut command = program(&app.database);
    command
        .env("REDIS_URL", crate::redis_server::needed("TEST_REDIS_URL"))
        .env("REDIS_KEY_PREFIX", app.database.redis_prefix())
        .args(["import", "--from", "ndjson", "--on-conflict", "overwrite"])
        .arg(file);
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();

    assert!(child.wait().unwrap().success(), "{text}");
    assert_eq!(
        app.get("/moved").header("location"),
        Some("https://example.org/new")
    );
}
