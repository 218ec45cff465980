//! The clients that the README shows, run as they stand there.

use std::process::{Command, Output};

use crate::app::{ADMIN_KEY, TestApp};
use crate::on_both_stores;

/// For each language: how its fence opens, what runs it, and where the link leads.
const CLIENTS: [(&str, &[&str], &str); 3] = [
    ("```sh\n", &["sh", "-c"], "https://example.org/from-curl"),
    (
        "```python\n",
        &["python3", "-c"],
        "https://example.org/from-python",
    ),
    // Node 18, which Debian 12 has, knows `crypto` in modules only with the flag that later versions take too.
    (
        "```js\n",
        &[
            "node",
            "--experimental-global-webcrypto",
            "--input-type=module",
            "--eval",
        ],
        "https://example.org/from-javascript",
    ),
];

fn client(fence: &str) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = readme
        .split("## Clients\n")
        .nth(1)
        .expect("README.md shows clients");
    let code = section.split(fence).nth(1).expect(fence);
    code.split("```").next().unwrap().to_owned()
}

fn start(program: &[&str], code: &str, app: &TestApp, key: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    Command::new(program[0])
        .args(&program[1..])
        .arg(code)
        .current_dir(directory.path())
        .env("CURTAIL_URL", app.url(""))
        .env("CURTAIL_KEY", key)
        .output()
        .unwrap_or_else(|err| {
            panic!(
                "{} cannot be run: {err}; the README shows a client for it",
                program[0]
            )
        })
}

on_both_stores! {
    fn a_client_of_the_readme_makes_a_link(backend) {
        let app = TestApp::start(backend);

        for (fence, program, target) in CLIENTS {
            let output = start(program, &client(fence), &app, ADMIN_KEY);
            let printed = String::from_utf8_lossy(&output.stdout);
            let short_url = printed.trim();
            let path = short_url.strip_prefix(&app.url("")).unwrap_or_else(|| panic!("{program:?}: {output:?}"));
            let visit = app.get(path);

            assert!(output.status.success(), "{program:?}: {output:?}");
            assert_eq!((visit.status, visit.header("location")), (302, Some(target)), "{program:?}");
        }
    }

    fn a_client_of_the_readme_says_what_was_wrong(backend) {
        let app = TestApp::start(backend);

        for (fence, program, _) in CLIENTS {
            let output = start(program, &client(fence), &app, "no-key");
            let said = [output.stdout, output.stderr].concat();

            assert!(!output.status.success(), "{program:?}");
            assert!(String::from_utf8_lossy(&said).contains("unauthenticated"), "{program:?}");
        }
    }
}
