//! `scripts/release` against a gcloud of paper.

use std::fs;
use std::process::Output;

use super::said;
use super::scripts::{Lie, on_paper, service_of_paper};
use super::yaml::document;

/// Releases on paper where `curtail-before` serves, and gives what was called.
fn release_on_paper(lie: Lie) -> (Output, String, String) {
    let signed = [("provenance", "signed\n"), ("traffic", "curtail-before,100,,\n")];
    release_with(lie, &signed, &[])
}

/// The same, with these files of what there is.
fn release_with(lie: Lie, files: &[(&str, &str)], more: &[(&str, &str)]) -> (Output, String, String) {
    let paper = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(paper.path().join(name), text).expect("a file");
    }
    let image = format!(
        "us-central1-docker.pkg.dev/demo-project/curtail/curtail@sha256:{}",
        "0".repeat(64)
    );
    let service_url = service_of_paper(lie);
    let variables = [
        ("IMAGE", image.as_str()),
        ("BUILD_ID", "0a1b2c3d-0000-1111-2222-333344445555"),
        ("REDIS_HOST", "10.0.0.3"),
        ("ADMIN_API_KEY", "the-key"),
        ("SERVICE_URL", service_url.as_str()),
    ];
    let output = on_paper("scripts/release", paper.path(), &[&variables, more].concat());
    let calls = fs::read_to_string(paper.path().join("calls")).expect("calls");
    let service = fs::read_to_string(paper.path().join("rendered/service.yaml")).unwrap_or_default();
    (output, calls, service)
}

#[test]
fn a_release_tries_the_new_revision_before_any_visitor_does() {
    let (output, calls, service) = release_on_paper(Lie::None);

    assert!(output.status.success(), "{}", said(&output));
    let service = document(&service);
    assert_eq!(
        service["spec"]["template"]["metadata"]["name"],
        "curtail-b0a1b2c3d"
    );
    assert_eq!(service["spec"]["traffic"][0]["revisionName"], "curtail-before");
    assert_eq!(service["spec"]["traffic"][1]["revisionName"], "curtail-b0a1b2c3d");
    assert!(
        calls.contains("update-traffic curtail --to-revisions=curtail-b0a1b2c3d=100"),
        "{calls}"
    );
    assert!(
        said(&output).contains("--to-revisions=curtail-before=100"),
        "it says how to go back"
    );
}

#[test]
fn a_revision_that_fails_the_smoke_test_gets_no_visitors() {
    let (output, calls, _) = release_on_paper(Lie::Redirect);

    assert!(!output.status.success());
    assert!(said(&output).contains("smoke: FAILED"), "{}", said(&output));
    assert!(!calls.contains("update-traffic"), "{calls}");
}

/// A canary once ended in silence at the next release.
#[test]
fn a_release_does_not_end_a_split_of_the_traffic_by_itself() {
    let files = [
        ("provenance", "signed\n"),
        ("traffic", "curtail-before,90,,\ncurtail-new,10,,\n"),
    ];

    let (refused, calls, _) = release_with(Lie::None, &files, &[]);
    let (forced, _, service) = release_with(Lie::None, &files, &[("FORCE", "true")]);

    assert!(!refused.status.success());
    assert!(
        said(&refused).contains("the traffic is split (curtail-before 90%,curtail-new 10%)"),
        "{}",
        said(&refused)
    );
    assert!(
        !calls.contains("services replace") && !calls.contains("update-traffic"),
        "{calls}"
    );
    assert!(forced.status.success(), "{}", said(&forced));
    let service = document(&service);
    assert_eq!(service["spec"]["traffic"][0]["revisionName"], "curtail-before");
}

#[test]
fn an_image_without_provenance_is_not_released() {
    let files = [("traffic", "curtail-before,100,,\n")];

    let (refused, calls, _) = release_with(Lie::None, &files, &[]);
    let (foreign, _, _) = release_with(Lie::None, &files, &[("PROVENANCE", "none")]);

    assert!(!refused.status.success());
    assert!(said(&refused).contains("has no provenance"), "{}", said(&refused));
    assert!(!calls.contains("jobs execute"), "{calls}");
    assert!(foreign.status.success(), "{}", said(&foreign));
}

/// Revisions once piled up.
#[test]
fn a_release_deletes_old_revisions_but_none_that_serves() {
    let revisions = "curtail-b0a1b2c3d\ncurtail-before\ncurtail-old\ncurtail-tagged\ncurtail-older\n";
    let files = [
        ("provenance", "signed\n"),
        (
            "traffic",
            "curtail-before,100,,\ncurtail-tagged,,beta,https://beta.example\n",
        ),
        ("revisions", revisions),
    ];

    let (output, calls, _) = release_with(Lie::None, &files, &[("KEEP_REVISIONS", "2")]);

    assert!(output.status.success(), "{}", said(&output));
    let deleted: Vec<&str> = calls
        .lines()
        .filter_map(|line| line.strip_prefix("run revisions delete "))
        .map(|rest| rest.split(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(deleted, ["curtail-old", "curtail-older"]);
}

/// The first release of a project finds what `scripts/deploy` put there for its name alone.
#[test]
fn the_placeholder_gets_no_visitors() {
    let files = [
        ("provenance", "signed\n"),
        ("traffic", "curtail-placeholder,100,,\n"),
    ];

    let (output, _, service) = release_with(Lie::None, &files, &[]);

    assert!(output.status.success(), "{}", said(&output));
    let service = document(&service);
    assert_eq!(service["spec"]["traffic"][0]["revisionName"], "curtail-b0a1b2c3d");
    assert!(!said(&output).contains("to go back"), "{}", said(&output));
}
