//! How many crawlers of a public list are recognised, and what the README says of it.

use std::fs;
use std::path::Path;

use curtail::domain::is_bot;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// 642 of the 1,453 patterns of the list counted as people.
#[test]
fn the_readme_has_the_hit_rate_on_the_public_list_of_crawlers() {
    let list = read("tests/it/agents/crawlers.txt");
    let (found, left): (Vec<&str>, Vec<&str>) = list.lines().partition(|agent| is_bot(agent));

    let thousands = |number: usize| format!("{},{:03}", number / 1000, number % 1000);
    let rate = format!(
        "{} of the {} user agents",
        thousands(found.len()),
        thousands(found.len() + left.len())
    );

    let readme = read("README.md").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(readme.contains(&rate), "README.md does not say: {rate}");
}

/// What the list has beside crawlers.
#[test]
fn of_the_public_list_libraries_and_browsers_within_apps_are_people() {
    let list = read("tests/it/agents/crawlers.txt");
    let is_people = |agent: &&str| {
        let libraries = [
            "curl/7",
            "Wget/1",
            "python-requests/2",
            "Go-http-client/1",
            "okhttp/4",
        ];
        libraries
            .iter()
            .any(|library| agent.starts_with(library) && !agent.contains(['(', ';', '+']))
            || agent.contains(" Instagram 406.")
            || agent.ends_with("MetaIAB Facebook")
    };

    let people: Vec<&str> = list.lines().filter(is_people).collect();

    assert!(people.len() > 10, "{people:?}");
    for agent in people {
        assert!(!is_bot(agent), "{agent}");
    }
}
