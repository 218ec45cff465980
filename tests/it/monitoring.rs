//! What watches the service: the list of figures for people, the alerts, the dashboard and the ways to read them.

use std::collections::BTreeSet;

use curtail::telemetry::metrics::{FAMILIES, Kind};
use serde_json::Value;

use crate::deploy::{document, read};
use crate::metrics::promtool;

const ALERTS: &str = "deploy/monitoring/alerts.yaml";
const ALERT_TESTS: &str = "deploy/monitoring/alerts.test.yaml";

/// Runs promtool on a file of this repository.
#[track_caller]
fn promtool_accepts(arguments: &[&str]) {
    let output = promtool(arguments, "");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

fn rules() -> Vec<Value> {
    let groups = document(&read(ALERTS));
    let groups = groups["groups"].as_array().unwrap().clone();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

/// The names of figures in an expression.
fn figures_in(expression: &str) -> BTreeSet<&str> {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        .filter(|word| word.starts_with("curtail_") || word.starts_with("process_"))
        .collect()
}

/// Whether the service shows figures of this name, parts of histograms included.
fn is_shown(name: &str) -> bool {
    FAMILIES.iter().any(|family| match family.kind {
        Kind::Counter | Kind::Gauge => name == family.name,
        Kind::Histogram => name
            .strip_prefix(family.name)
            .is_some_and(|part| ["_bucket", "_sum", "_count"].contains(&part)),
    })
}

#[test]
fn the_docs_list_every_figure_as_the_code_has_it() {
    let docs = read("docs/OBSERVABILITY.md");
    let listed: Vec<&str> = docs
        .lines()
        .filter(|line| line.starts_with("| `curtail_") || line.starts_with("| `process_"))
        .collect();

    let known: Vec<String> = FAMILIES
        .iter()
        .map(|family| {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind) = (family.name, family.kind.word());
            format!("| `{name}` | {kind} | {} | {} |", labels.join(", "), family.help)
        })
        .collect();

    assert_eq!(listed, known);
}

#[test]
fn the_alerts_fire_when_they_must_and_only_then() {
    promtool_accepts(&["check", "rules", ALERTS]);
    promtool_accepts(&["test", "rules", ALERT_TESTS]);
}

#[test]
fn every_alert_is_tried_and_looks_at_figures_that_there_are() {
    let tests = document(&read(ALERT_TESTS));
    let tried: Vec<(&str, bool)> = tests["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten())
        .map(|tried| {
            let fires = tried["exp_alerts"]
                .as_array()
                .is_some_and(|alerts| !alerts.is_empty());
            (tried["alertname"].as_str().unwrap(), fires)
        })
        .collect();

    let rules = rules();
    assert!(rules.len() > 10);
    for rule in &rules {
        let unknown: Vec<_> = figures_in(rule["expr"].as_str().unwrap())
            .into_iter()
            .filter(|name| !is_shown(name))
            .collect();
        assert!(unknown.is_empty(), "{rule}: {unknown:?}");
        if let Some(alert) = rule["alert"].as_str() {
            assert!(tried.contains(&(alert, true)), "{alert} is not tried");
            assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().unwrap()));
            for text in ["summary", "description"] {
                assert!(rule["annotations"][text].is_string(), "{alert} has no {text}");
            }
        }
    }
}

#[test]
fn the_dashboard_shows_every_figure_and_none_that_there_is_not() {
    let dashboard: Value = serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions: Vec<&str> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();

    let shown: BTreeSet<&str> = expressions
        .iter()
        .flat_map(|expression| figures_in(expression))
        .collect();
    let unknown: Vec<_> = shown.iter().filter(|name| !is_shown(name)).collect();
    let missing: Vec<_> = FAMILIES
        .iter()
        .map(|family| family.name)
        .filter(|name| !shown.iter().any(|shown| shown.starts_with(name)))
        .collect();
    // Prometheus parses what Grafana would send.
    let rules: String = expressions
        .iter()
        .enumerate()
        .map(|(number, expression)| {
            let expression = Value::from(expression.replace("$__rate_interval", "5m"));
            format!("  - {{record: 'panel:number{number}', expr: {expression}}}\n")
        })
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("groups:\n- name: dashboard\n  rules:\n{rules}");
    std::fs::write(file.path(), text).unwrap();

    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(missing.is_empty(), "{missing:?}");
    promtool_accepts(&["check", "rules", file.path().to_str().unwrap()]);
}

#[test]
fn the_dashboard_is_one_that_grafana_can_take() {
    let dashboard: Value = serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().unwrap();

    assert!(dashboard["title"].is_string() && dashboard["uid"].is_string());
    assert!(number(&dashboard["schemaVersion"]) >= 36);
    let variable = &dashboard["templating"]["list"][0];
    assert_eq!(
        (&variable["name"], &variable["type"]),
        (&"datasource".into(), &"datasource".into())
    );
    let mut ids = BTreeSet::new();
    let mut places = BTreeSet::new();
    for panel in panels {
        assert!(
            ids.insert(number(&panel["id"])),
            "two panels have the id {}",
            panel["id"]
        );
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()));
        let place = &panel["gridPos"];
        let (x, y, w, h) = (
            number(&place["x"]),
            number(&place["y"]),
            number(&place["w"]),
            number(&place["h"]),
        );
        assert!(w > 0 && h > 0 && x + w <= 24, "{place}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(cell), "{} lies on another panel", panel["title"]);
        }
        let kind = panel["type"].as_str().unwrap();
        assert!(["row", "stat", "timeseries"].contains(&kind), "{kind}");
        if kind == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        let names: BTreeSet<&str> = targets
            .iter()
            .map(|target| target["refId"].as_str().unwrap())
            .collect();
        assert!(
            !targets.is_empty() && names.len() == targets.len(),
            "{}",
            panel["title"]
        );
        for place in targets.iter().chain([panel]) {
            assert_eq!(place["datasource"]["uid"], "${datasource}");
        }
    }
}

#[test]
fn every_way_to_read_the_figures_asks_where_they_are() {
    let deployment = document(&read("deploy/kubernetes/base/deployment.yaml"));
    let pod = &deployment["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    let port = container["ports"]
        .as_array()
        .unwrap()
        .iter()
        .find(|port| port["name"] == "metrics")
        .expect("a port for figures");
    let setting = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .find(|variable| variable["name"] == "METRICS_PORT")
        .expect("METRICS_PORT is set");
    let number = setting["value"].as_str().unwrap();
    let component = document(&read(
        "deploy/kubernetes/components/scrape-annotations/kustomization.yaml",
    ));
    let patch = document(component["patches"][0]["patch"].as_str().unwrap());
    let annotations = &patch["spec"]["template"]["metadata"]["annotations"];

    assert_eq!(port["containerPort"].to_string(), number);
    assert_eq!(annotations["prometheus.io/scrape"], "true");
    assert_eq!(annotations["prometheus.io/port"], number);
    assert_eq!(annotations["prometheus.io/path"], "/metrics");
    for (file, kind, endpoints) in [
        ("podmonitor.yaml", "PodMonitor", "podMetricsEndpoints"),
        ("podmonitoring.yaml", "PodMonitoring", "endpoints"),
    ] {
        let monitor = document(&read(&format!("deploy/monitoring/{file}")));
        assert_eq!(monitor["kind"], kind);
        assert_eq!(monitor["spec"][endpoints][0]["port"], "metrics");
        assert_eq!(monitor["spec"][endpoints][0]["path"], "/metrics");
        let selector = &monitor["spec"]["selector"]["matchLabels"];
        assert_eq!(*selector, deployment["spec"]["selector"]["matchLabels"]);
    }
    let service = document(&read("deploy/kubernetes/base/service.yaml"));
    assert_eq!(
        service["spec"]["ports"].as_array().unwrap().len(),
        1,
        "nobody reaches the figures through the service"
    );
}
