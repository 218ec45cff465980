//! Renovate keeps what is pinned: every file that names an image or a tool is one that it reads.

use super::read;

#[test]
fn every_file_that_names_a_version_is_kept_up_to_date() {
    let text = read("renovate.json");
    let settings: serde_json::Value = serde_json::from_str(&text).expect("JSON");

    assert!(settings["extends"].to_string().contains("docker:pinDigests"));
    // Cargo.toml and Dockerfile are found by themselves; these are not, or not all of them.
    for (manager, files) in [
        ("cloudbuild", "cloudbuild"),
        ("docker-compose", "compose"),
        ("kubernetes", "kubernetes"),
        ("pip_requirements", "lint"),
        ("customManagers", "service"),
        ("customManagers", "Dockerfile"),
    ] {
        assert!(
            settings[manager].to_string().contains(files),
            "{manager}: {files}"
        );
    }
    for tool in ["cargo-auditable", "auditable2cdx"] {
        assert!(
            read("Dockerfile").contains(&format!("{tool}@")) && text.contains(tool),
            "{tool}"
        );
    }
}
