//! Requests that nobody thought of, made up from the description of the API that the real binary serves. It is the
//! short form of `scripts/fuzz-api`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Signal, kill_process};

use crate::app::{ADMIN_KEY, Backend};
use crate::db::variable;
use crate::ground::Ground;
use crate::process::Curtail;
use crate::redis_server::needed;

/// Requests, at the least. The boundaries of what the document names are about 2,000 more.
const CASES: &str = "500";

/// The same requests each time: what more chance can find, `scripts/fuzz-api` looks for.
const SEED: u32 = 1;

/// The Python that has schemathesis.
struct Python(PathBuf);

impl Python {
    fn find() -> Self {
        let tools =
            variable("TEST_API_TOOLS").expect("TEST_API_TOOLS says where schemathesis is: use scripts/test");
        let program = Path::new(&tools).join("bin/python");
        assert!(
            program.exists(),
            "{} is not there: use scripts/test",
            program.display()
        );
        Self(program)
    }

    /// Runs a file of `tests/api`.
    fn run(&self, file: &str, arguments: &[&str]) -> Output {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api");
        let mut command = Command::new(&self.0);
        command.arg("-B").arg(folder.join(file)).args(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    }
}

#[track_caller]
fn assert_success(output: &Output, hint: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{hint}");
}

fn serve(ground: &Ground) -> Curtail {
    Curtail::start(&[
        ("PORT", "0"),
        ("LISTEN_ADDRESS", "127.0.0.1"),
        ("DATABASE_URL", ground.url()),
        ("REDIS_URL", &needed("TEST_REDIS_URL")),
        ("REDIS_KEY_PREFIX", ground.redis_prefix()),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("SECURITY_CONTACT", "security@example.org"),
        ("YOURLS_API", "true"),
        // A budget would refuse most of the requests before they are looked at.
        ("CREATE_RATE_PER_MINUTE", "0"),
        ("MISS_RATE_PER_MINUTE", "0"),
        ("RUST_LOG", "error,curtail::app=info"),
    ])
}

#[test]
fn no_request_is_answered_by_a_5xx_or_by_what_is_not_described() {
    let python = Python::find();
    let (ground, folder) = (Ground::fresh(Backend::Postgres), tempfile::tempdir().unwrap());
    let curtail = serve(&ground);
    let (url, pid) = (format!("http://{}", curtail.address), curtail.pid());
    // A program whose log nobody reads stands still.
    let service = std::thread::spawn(move || curtail.wait());
    let seed = SEED.to_string();
    let place = folder.path().to_str().unwrap();

    let sent = python.run("rounds.py", &[&url, ADMIN_KEY, CASES, &seed, place]);
    let ended_early = service.is_finished();
    let _ = kill_process(pid, Signal::TERM);
    let (code, log) = service.join().unwrap();

    assert!(!ended_early, "the program ended: {code:?}\n{log}");
    let again = format!("the same again: scripts/fuzz-api --profile dev --cases {CASES} --seed {seed}");
    assert_success(&sent, &again);
    let [file, faults] = ["service.log", "faults"].map(|name| format!("{place}/{name}"));
    std::fs::write(&file, log).unwrap();
    let requests = String::from_utf8(sent.stdout).unwrap();
    let judged = python.run("judge.py", &[requests.trim(), &file, &faults]);
    assert_success(&judged, &again);
}
