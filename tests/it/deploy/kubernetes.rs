//! The Kubernetes manifests.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::image::image_fault;
use super::yaml::{document, documents};
use super::{NONE, read, root};
use crate::app::{Backend, TestApp};
use crate::ground::{Ground, Switch};

fn kubernetes_manifests() -> Vec<Value> {
    let mut manifests = Vec::new();
    let folder = root().join("deploy/kubernetes/base");
    for entry in fs::read_dir(folder).expect("the folder is there") {
        manifests.extend(documents(
            &fs::read_to_string(entry.expect("an entry").path()).expect("a text"),
        ));
    }
    manifests
}

/// The faults of the Kubernetes manifests, taken together, before a Postgres with that many connections.
fn kubernetes_faults(manifests: &[Value], max_connections: u64) -> Vec<String> {
    let mut faults = Vec::new();
    // All but the migration's are called after the service.
    let find = |kind: &str| {
        manifests
            .iter()
            .find(|manifest| manifest["kind"] == kind && manifest["metadata"]["name"] == "curtail")
            .unwrap_or(&Value::Null)
    };
    let named = |kind: &str, name: &Value| {
        manifests
            .iter()
            .any(|manifest| manifest["kind"] == kind && manifest["metadata"]["name"] == *name)
    };
    for manifest in manifests {
        let kind = manifest["kind"].as_str().unwrap_or("a manifest without a kind");
        let pod = match kind {
            "Deployment" | "Job" => &manifest["spec"]["template"]["spec"],
            "CronJob" => &manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"],
            _ => continue,
        };
        let mut fault = |text: String| faults.push(format!("{kind}: {text}"));
        let number = pod["securityContext"]["runAsUser"].as_i64().unwrap_or(0);
        if pod["securityContext"]["runAsNonRoot"] != true || number == 0 {
            fault("may run as root".to_owned());
        }
        if !named("ServiceAccount", &pod["serviceAccountName"])
            || pod["automountServiceAccountToken"] != false
        {
            fault("no account of its own, or one whose token is mounted".to_owned());
        }
        if kind != "Job" && pod.to_string().contains("curtail-migrate") {
            fault("has what the owner of the tables needs, which is for the migration alone".to_owned());
        }
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            let secret = &volume["secret"]["secretName"];
            if !secret.is_null() && !named("Secret", secret) {
                fault(format!("the secret {secret} is in no manifest"));
            }
        }
        for container in pod["containers"].as_array().into_iter().flatten() {
            if let Some(text) = container["image"]
                .as_str()
                .map_or(Some("no image".to_owned()), image_fault)
            {
                fault(text);
            }
            let context = &container["securityContext"];
            if context["readOnlyRootFilesystem"] != true
                || context["allowPrivilegeEscalation"] != false
                || context["capabilities"]["drop"][0] != "ALL"
            {
                fault("the container may do more than it needs".to_owned());
            }
            for resource in ["memory", "ephemeral-storage"] {
                if container["resources"]["limits"][resource].is_null() {
                    fault(format!("no limit on its {resource}"));
                }
            }
            for source in container["envFrom"].as_array().into_iter().flatten() {
                let map = &source["configMapRef"]["name"];
                if !map.is_null() && !named("ConfigMap", map) {
                    fault(format!("the ConfigMap {map} is in no manifest"));
                }
            }
            if kind == "Deployment" {
                for (probe, path) in [
                    ("startupProbe", "/health/startup"),
                    ("livenessProbe", "/health/live"),
                    ("readinessProbe", "/health/ready"),
                ] {
                    if container[probe]["httpGet"]["path"] != path {
                        fault(format!("{probe} does not ask {path}"));
                    }
                }
            }
        }
    }
    for (name, value) in find("ConfigMap")["data"].as_object().into_iter().flatten() {
        if !value.is_string() {
            faults.push(format!(
                "ConfigMap: {name} is {value}, which must be a quoted string"
            ));
        }
    }
    let deployment = find("Deployment");
    let pod = &deployment["spec"]["template"]["metadata"];
    if pod["annotations"].to_string().contains("prometheus.io") {
        faults.push("Deployment: annotations for Prometheus, beside what a PodMonitor reads".to_owned());
    }
    policies(&mut faults, manifests);
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for (kind, selector) in [
        ("Deployment", &deployment["spec"]["selector"]["matchLabels"]),
        ("Service", &find("Service")["spec"]["selector"]),
        (
            "PodDisruptionBudget",
            &find("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        ),
    ] {
        let entries = selector.as_object();
        let matches = entries.is_some_and(|entries| entries.iter().all(|(key, value)| labels[key] == *value));
        if !matches {
            faults.push(format!("{kind}: its selector does not find the pods"));
        }
    }
    let scaler = &find("HorizontalPodAutoscaler")["spec"];
    if scaler["scaleTargetRef"]["name"] != deployment["metadata"]["name"] {
        faults.push("HorizontalPodAutoscaler: scales something else".to_owned());
    }
    let pool = find("ConfigMap")["data"]["DATABASE_POOL_SIZE"]
        .as_str()
        .and_then(|pool| pool.parse::<u64>().ok());
    let surge = deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"].as_u64();
    match (scaler["maxReplicas"].as_u64(), surge, pool) {
        (Some(most), Some(surge), Some(pool)) => {
            let wanted = (most + surge) * pool + 2 * pool;
            if wanted > max_connections.saturating_sub(3) {
                faults.push(format!(
                    "connection budget: {wanted}, and Postgres has {max_connections} less 3"
                ));
            }
        }
        _ => {
            faults.push("the connection budget needs maxReplicas, maxSurge and DATABASE_POOL_SIZE".to_owned())
        }
    }
    faults
}

/// Every pod is closed both ways but for what a policy opens, and metrics are opened to somebody.
fn policies(faults: &mut Vec<String>, manifests: &[Value]) {
    let policies: Vec<&Value> = manifests
        .iter()
        .filter(|manifest| manifest["kind"] == "NetworkPolicy")
        .collect();
    let all = serde_json::json!({"app.kubernetes.io/name": "curtail"});
    let closes = |direction: &str| {
        policies.iter().any(|policy| {
            policy["spec"]["podSelector"]["matchLabels"] == all
                && policy["spec"]["policyTypes"].to_string().contains(direction)
        })
    };
    if !closes("Ingress") || !closes("Egress") {
        faults.push("NetworkPolicy: none closes every pod both ways".to_owned());
    }
    for policy in policies {
        let spec = &policy["spec"];
        let open = |rules: &Value, peer: &str| {
            let rules = rules.as_array().cloned().unwrap_or_default();
            rules.iter().any(|rule| {
                rule["ports"].is_null() || (rule[peer].is_null() && rule.to_string().contains("9090"))
            })
        };
        if open(&spec["ingress"], "from") || open(&spec["egress"], "to") {
            faults.push("NetworkPolicy: opens every port, or the metrics to every pod".to_owned());
        }
    }
}

#[test]
fn the_kubernetes_manifests_fit_together() {
    let manifests = kubernetes_manifests();
    for (kind, count) in [
        ("ConfigMap", 2),
        ("CronJob", 1),
        ("Deployment", 1),
        ("HorizontalPodAutoscaler", 1),
        ("Job", 1),
        ("NetworkPolicy", 2),
        ("PodDisruptionBudget", 1),
        ("Secret", 2),
        ("Service", 1),
        ("ServiceAccount", 1),
    ] {
        let found = manifests.iter().filter(|manifest| manifest["kind"] == kind);
        assert_eq!(found.count(), count, "{kind}");
    }
    assert_eq!(kubernetes_faults(&manifests, 100), NONE);

    let spoilt = |kind: &str, pointer: &str, value: Value| {
        let mut manifests = manifests.clone();
        let manifest = manifests
            .iter_mut()
            .find(|manifest| manifest["kind"] == kind)
            .expect("it is there");
        *manifest
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("{kind}: nothing at {pointer}")) = value;
        kubernetes_faults(&manifests, 100)
    };
    let container = "/spec/template/spec/containers/0";
    for (kind, pointer, value, named) in [
        (
            "Deployment",
            format!("{container}/image"),
            "curtail:latest".into(),
            "changes under our feet",
        ),
        ("Job", format!("{container}/image"), Value::Null, "no image"),
        (
            "Deployment",
            format!("{container}/resources/limits/memory"),
            Value::Null,
            "no limit on its memory",
        ),
        (
            "Deployment",
            format!("{container}/securityContext/readOnlyRootFilesystem"),
            false.into(),
            "more than it needs",
        ),
        (
            "Deployment",
            format!("{container}/livenessProbe/httpGet/path"),
            "/health/ready".into(),
            "livenessProbe does not ask",
        ),
        (
            "Deployment",
            format!("{container}/readinessProbe/httpGet/path"),
            "/health/ready?strict".into(),
            "readinessProbe does not ask",
        ),
        (
            "CronJob",
            "/spec/jobTemplate/spec/template/spec/volumes/0/secret/secretName".into(),
            "curtail-migrate".into(),
            "for the migration alone",
        ),
        (
            "Deployment",
            format!("{container}/resources/limits/ephemeral-storage"),
            Value::Null,
            "no limit on its ephemeral-storage",
        ),
        (
            "Job",
            "/spec/template/spec/serviceAccountName".into(),
            "default".into(),
            "no account of its own",
        ),
        (
            "Deployment",
            "/spec/template/metadata".into(),
            serde_json::json!({"annotations": {"prometheus.io/scrape": "true"}}),
            "annotations for Prometheus",
        ),
        (
            "NetworkPolicy",
            "/spec/policyTypes".into(),
            serde_json::json!(["Ingress"]),
            "none closes every pod both ways",
        ),
        (
            "NetworkPolicy",
            "/spec/egress/0/ports".into(),
            Value::Null,
            "opens every port",
        ),
        (
            "Deployment",
            format!("{container}/envFrom/0/configMapRef/name"),
            "other".into(),
            "in no manifest",
        ),
        (
            "Deployment",
            "/spec/template/spec/securityContext/runAsUser".into(),
            0.into(),
            "may run as root",
        ),
        (
            "Deployment",
            "/spec/template/spec/volumes/0/secret/secretName".into(),
            "other".into(),
            "in no manifest",
        ),
        (
            "Deployment",
            "/spec/selector/matchLabels".into(),
            Value::Null,
            "does not find the pods",
        ),
        (
            "Service",
            "/spec/selector/app.kubernetes.io~1component".into(),
            "web".into(),
            "does not find the pods",
        ),
        (
            "PodDisruptionBudget",
            "/spec/selector/matchLabels".into(),
            Value::Null,
            "does not find the pods",
        ),
        (
            "ConfigMap",
            "/data/TRUSTED_PROXY_HOPS".into(),
            1.into(),
            "must be a quoted string",
        ),
        (
            "ConfigMap",
            "/data/DATABASE_POOL_SIZE".into(),
            "10".into(),
            "connection budget: 140",
        ),
        (
            "HorizontalPodAutoscaler",
            "/spec/maxReplicas".into(),
            40.into(),
            "connection budget: 176",
        ),
        (
            "HorizontalPodAutoscaler",
            "/spec/scaleTargetRef/name".into(),
            "other".into(),
            "scales something else",
        ),
    ] {
        let faults = spoilt(kind, &pointer, value);
        assert!(
            faults.iter().any(|fault| fault.contains(named)),
            "{kind} {pointer}: {faults:?}"
        );
    }
}

#[test]
fn the_base_lists_every_manifest_and_the_example_names_the_image_once() {
    let folder = root().join("deploy/kubernetes/base");
    let base = document(&read("deploy/kubernetes/base/kustomization.yaml"));
    let mut listed: Vec<String> = base["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect();
    let mut there: Vec<String> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .filter(|name| name.ends_with(".yaml") && name != "kustomization.yaml")
        .collect();
    listed.sort();
    there.sort();
    let example = document(&read("deploy/kubernetes/example/kustomization.yaml"));
    let images = example["images"].as_array().expect("images");

    assert_eq!(listed, there);
    assert_eq!(images.len(), 1);
    for file in ["deployment", "job-migrate", "worker"] {
        let text = read(&format!("deploy/kubernetes/base/{file}.yaml"));
        let name = images[0]["name"].as_str().expect("a name");
        assert!(text.contains(&format!("image: {name}:")), "{file}");
    }
    for file in example["resources"].as_array().expect("resources") {
        let path = root()
            .join("deploy/kubernetes/example")
            .join(file.as_str().expect("a path"));
        assert!(path.exists(), "{file}");
    }
    // Where kubectl is installed, it says what the files make.
    if let Ok(output) = Command::new("kubectl")
        .args(["kustomize", "deploy/kubernetes/example"])
        .current_dir(root())
        .output()
    {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let made = documents(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(
            made.len(),
            12,
            "what the base has but the secrets, and the ingress"
        );
        assert!(
            made.iter()
                .all(|manifest| manifest["metadata"]["namespace"] == "curtail")
        );
    }
}

/// A pod was once taken out after twenty seconds without its database: all of them at the same moment, although each still
/// redirected.
#[test]
fn no_probe_takes_a_pod_out_while_its_database_is_away() {
    let switch = Switch::before_postgres();
    let ground = std::sync::Arc::new(Ground::through(&switch));
    let app = TestApp::start_on(Backend::Postgres, ground, &[]);
    app.create(serde_json::json!({"slug": "kept", "url": "https://example.org/"}));
    assert_eq!(app.get("/kept").status, 302);
    let deployment = document(&read("deploy/kubernetes/base/deployment.yaml"));
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];

    switch.cut();

    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().expect("a path");
        assert_eq!(app.get(path).status, 200, "{probe}");
    }
    assert_eq!(app.get("/health/ready").json()["status"], "degraded");
    assert_eq!(app.get("/kept").status, 302);
}
