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

/// Those within the list that are no crawlers.
#[test]
fn of_the_public_list_libraries_and_browsers_within_apps_are_people() {
    let list = read("tests/it/agents/crawlers.txt");
    for people in ["curl/", "Wget/", "python-requests/", "Go-http-client/", "okhttp/", "Instagram 406", "MetaIAB Facebook"] {
        let mut agents = list.lines().filter(|agent| agent.contains(people)).peekable();
        assert!(agents.peek().is_some(), "{people}");
        for agent in agents.filter(|agent| !agent.contains("http://") && !agent.contains("https://")) {
            let is_named = agent.starts_with(people) || agent.starts_with("Mozilla/");
            assert!(!is_named || !is_bot(agent), "{agent}");
        }
    }
}
