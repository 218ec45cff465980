//! The Dockerfile, the Compose files and the Kubernetes manifests.

use serde_json::Value;

use super::image::image_fault;

/// The faults of a Dockerfile whose image Cloud Run and older builders are to take.
pub fn dockerfile_faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let mut stages: Vec<&str> = Vec::new();
    let mut last = "";
    for words in lines
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
    {
        if let ["FROM", image, more @ ..] = words.as_slice() {
            if *image != "scratch" && !stages.contains(image) {
                faults.extend(image_fault(image));
            }
            if let ["AS", stage] = more {
                stages.push(stage);
            }
            last = image;
        }
    }
    if last != "scratch" {
        faults.push(format!("the image is made from {last}, not from scratch"));
    }
    for (sign, what) in [
        ("--mount", "a mount"),
        ("<<", "a here-document"),
        ("--link", "a linked copy"),
    ] {
        if lines.iter().any(|line| line.contains(sign)) {
            faults.push(format!("{what}, which only BuildKit knows"));
        }
    }
    let argument = |instruction: &str| {
        lines
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '))
            .map(str::trim)
    };
    let numeric = argument("USER").is_some_and(|user| {
        user.split(':')
            .all(|part| part.parse::<u32>().is_ok_and(|number| number > 0))
    });
    if !numeric {
        faults.push("USER: not a number above 0; Cloud Run runs an unknown name as root".to_owned());
    }
    if !argument("ENTRYPOINT").is_some_and(|entry| entry.starts_with('[')) {
        faults.push("ENTRYPOINT: not in exec form, and there is no shell".to_owned());
    }
    faults
}

/// The faults of a Compose file.
pub fn compose_faults(file: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let services = &file["services"];
    for (name, service) in services.as_object().into_iter().flatten() {
        let mut fault = |text: String| faults.push(format!("{name}: {text}"));
        match service["image"].as_str() {
            None => fault("no image".to_owned()),
            Some(image) if image.contains('$') => fault(format!("image: {image} holds a variable")),
            Some(image) => {
                if let Some(text) = image_fault(image) {
                    fault(text);
                }
            }
        }
        if service["healthcheck"].is_null() {
            fault("no health check, nor a word that it has none".to_owned());
        }
        if service["mem_limit"].is_null() {
            fault("no limit on its memory".to_owned());
        }
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let condition = how["condition"].as_str().unwrap_or_default();
            let checked = !services[other]["healthcheck"].is_null()
                && services[other]["healthcheck"]["disable"] != true;
            match condition {
                _ if services[other].is_null() => fault(format!("depends on {other}, which is no service")),
                "service_healthy" if !checked => {
                    fault(format!("waits for the health of {other}, which has no check"))
                }
                "service_healthy" | "service_completed_successfully" => {}
                _ => fault(format!("depends on {other} with the condition {condition:?}")),
            }
        }
        if service["depends_on"].is_array() {
            fault("depends_on without conditions".to_owned());
        }
        for (list, declared) in [("secrets", &file["secrets"]), ("networks", &file["networks"])] {
            for item in service[list]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                if !declared
                    .as_object()
                    .is_some_and(|declared| declared.contains_key(item))
                {
                    fault(format!("{list}: {item} is not declared"));
                }
            }
        }
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let secretive = ["PASSWORD", "SECRET", "API_KEY"]
                .iter()
                .any(|word| variable.contains(word));
            if secretive && !variable.ends_with("_FILE") {
                fault(format!("{variable} must be a file"));
            }
            if !value.is_string() {
                fault(format!("{variable} is {value}, which must be a quoted string"));
            }
        }
        let outside = |network: &Value| {
            network
                .as_str()
                .is_some_and(|network| file["networks"][network]["internal"] != true)
        };
        let reachable = service["networks"]
            .as_array()
            .is_none_or(|networks| networks.iter().any(outside));
        if reachable && service["ports"].is_null() {
            fault("is on a network that the outside reaches, and has no port".to_owned());
        }
    }
    faults
}

/// The faults of the Kubernetes manifests, taken together, before a Postgres with that many connections.
pub fn kubernetes_faults(manifests: &[Value], max_connections: u64) -> Vec<String> {
    let mut faults = Vec::new();
    let find = |kind: &str| {
        manifests
            .iter()
            .find(|manifest| manifest["kind"] == kind)
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
            if container["resources"]["limits"]["memory"].is_null() {
                fault("no limit on its memory".to_owned());
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
