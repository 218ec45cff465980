//! What gcloud sends on without a word, and Cloud Run refuses or ignores: names and levels of annotations,
//! enums, limits, probe windows, and a connection budget that Postgres cannot meet.

use std::collections::HashSet;

use serde_json::Value;

use super::image::image_fault;

/// What an annotation may say.
enum Says {
    Any,
    Flag,
    Number,
    OneOf(&'static [&'static str]),
    Interfaces,
}

use Says::{Any, Flag, Interfaces, Number, OneOf};

const ON_SERVICE: &[(&str, Says)] = &[
    ("run.googleapis.com/binary-authorization", Any),
    ("run.googleapis.com/custom-audiences", Any),
    ("run.googleapis.com/default-url-disabled", Flag),
    ("run.googleapis.com/description", Any),
    (
        "run.googleapis.com/ingress",
        OneOf(&["all", "internal", "internal-and-cloud-load-balancing"]),
    ),
    ("run.googleapis.com/invoker-iam-disabled", Flag),
    ("run.googleapis.com/launch-stage", OneOf(&["ALPHA", "BETA", "GA"])),
    ("run.googleapis.com/manualInstanceCount", Number),
    ("run.googleapis.com/maxScale", Number),
    ("run.googleapis.com/minScale", Number),
    ("run.googleapis.com/scalingMode", OneOf(&["automatic", "manual"])),
];

const ON_REVISION: &[(&str, Says)] = &[
    ("autoscaling.knative.dev/maxScale", Number),
    ("autoscaling.knative.dev/minScale", Number),
    ("run.googleapis.com/cloudsql-instances", Any),
    ("run.googleapis.com/container-dependencies", Any),
    ("run.googleapis.com/cpu-throttling", Flag),
    (
        "run.googleapis.com/execution-environment",
        OneOf(&["gen1", "gen2"]),
    ),
    ("run.googleapis.com/network-interfaces", Interfaces),
    ("run.googleapis.com/secrets", Any),
    ("run.googleapis.com/sessionAffinity", Flag),
    ("run.googleapis.com/startup-cpu-boost", Flag),
    ("run.googleapis.com/vpc-access-connector", Any),
    (
        "run.googleapis.com/vpc-access-egress",
        OneOf(&["private-ranges-only", "all-traffic"]),
    ),
];

const ON_EXECUTION: &[(&str, Says)] = &[
    ("run.googleapis.com/cloudsql-instances", Any),
    ("run.googleapis.com/execution-environment", OneOf(&["gen2"])),
    ("run.googleapis.com/network-interfaces", Interfaces),
    ("run.googleapis.com/vpc-access-connector", Any),
    (
        "run.googleapis.com/vpc-access-egress",
        OneOf(&["private-ranges-only", "all-traffic"]),
    ),
];

/// Parsed by gcloud, and not supported by Cloud Run.
const IGNORED_IN_CONTAINER: &[&str] = &[
    "envFrom",
    "imagePullPolicy",
    "lifecycle",
    "securityContext",
    "stdin",
    "terminationMessagePath",
    "tty",
];

/// Set by Cloud Run itself.
const INJECTED: &[&str] = &["PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"];

/// What the two jobs may take of Postgres' connections beside the service, and what its administrator has.
const JOBS: u64 = 8;
const RESERVED: u64 = 3;

/// The faults of a Cloud Run service, rendered, before a Postgres with that many connections.
pub fn service_faults(service: &Value, max_connections: u64) -> Vec<String> {
    let mut faults = Vec::new();
    head(&mut faults, service, "serving.knative.dev/v1", "Service");
    let template = &service["spec"]["template"];
    let annotations = &template["metadata"]["annotations"];
    annotated(
        &mut faults,
        "metadata",
        &service["metadata"]["annotations"],
        ON_SERVICE,
    );
    annotated(&mut faults, "spec.template.metadata", annotations, ON_REVISION);
    network(&mut faults, annotations);

    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(revision) = template["metadata"]["name"].as_str() {
        let begins = revision
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('-') && rest.len() > 1);
        if !begins {
            faults.push(format!(
                "spec.template.metadata.name: {revision} does not begin with {name}-"
            ));
        }
        if revision.len() > 63 || revision.contains(|c: char| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            faults.push(format!(
                "spec.template.metadata.name: {revision} is no name of a revision"
            ));
        }
    }

    let spec = &template["spec"];
    within(&mut faults, spec, "containerConcurrency", 1, 1000);
    within(&mut faults, spec, "timeoutSeconds", 1, 3600);
    if spec["timeoutSeconds"]
        .as_u64()
        .is_some_and(|seconds| seconds < 300)
    {
        faults.push("timeoutSeconds: cuts off an import or an export".to_owned());
    }
    if !spec["containers"][0]["readinessProbe"].is_null() {
        faults.push("readinessProbe: takes every instance out at the same moment".to_owned());
    }
    // Both fields are optional, but then a default nobody chose decides.
    for field in ["containerConcurrency", "timeoutSeconds", "serviceAccountName"] {
        if spec[field].is_null() {
            faults.push(format!("spec.template.spec: no {field}"));
        }
    }
    let second_generation = annotations["run.googleapis.com/execution-environment"] != "gen1";
    containers(&mut faults, spec, 2, second_generation);
    let container = &spec["containers"][0];
    sidecar(&mut faults, template);
    ports(&mut faults, container);
    startup_probe(&mut faults, &container["startupProbe"]);
    liveness_probe(&mut faults, &container["livenessProbe"]);

    let cpu = container["resources"]["limits"]["cpu"]
        .as_str()
        .and_then(|cpu| cpu.parse::<f64>().ok());
    if cpu.is_some_and(|cpu| cpu < 1.0) && spec["containerConcurrency"] != 1 {
        faults
            .push("resources.limits.cpu: below 1, which allows a containerConcurrency of 1 only".to_owned());
    }
    budget(&mut faults, annotations, container, max_connections);
    traffic(&mut faults, &service["spec"]["traffic"]);
    faults
}

/// The faults of a Cloud Run job, rendered.
pub fn job_faults(job: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    head(&mut faults, job, "run.googleapis.com/v1", "Job");
    let annotations = &job["spec"]["template"]["metadata"]["annotations"];
    annotated(&mut faults, "metadata", &job["metadata"]["annotations"], &[]);
    annotated(&mut faults, "spec.template.metadata", annotations, ON_EXECUTION);
    network(&mut faults, annotations);
    let spec = &job["spec"]["template"]["spec"]["template"]["spec"];
    within(&mut faults, spec, "maxRetries", 0, 10);
    within(&mut faults, spec, "timeoutSeconds", 1, 86_400);
    if spec["serviceAccountName"].is_null() {
        faults.push("spec.template.spec.template.spec: no serviceAccountName".to_owned());
    }
    containers(&mut faults, spec, 1, true);
    let container = &spec["containers"][0];
    for field in ["ports", "startupProbe", "livenessProbe"] {
        if !container[field].is_null() {
            faults.push(format!("{field}: a job serves nobody"));
        }
    }
    socket(&mut faults, annotations, container);
    faults
}

fn head(faults: &mut Vec<String>, file: &Value, version: &str, kind: &str) {
    if file["apiVersion"] != version {
        faults.push(format!("apiVersion: {}, not {version}", file["apiVersion"]));
    }
    if file["kind"] != kind {
        faults.push(format!("kind: {}, not {kind}", file["kind"]));
    }
    if !file["metadata"]["namespace"].is_null() {
        faults.push("metadata.namespace: leave it out, it is the project's".to_owned());
    }
    if file.to_string().contains("${") {
        faults.push("a ${...} place is left".to_owned());
    }
}

fn annotated(faults: &mut Vec<String>, level: &str, annotations: &Value, known: &[(&str, Says)]) {
    for (name, value) in annotations.as_object().into_iter().flatten() {
        let Some((_, says)) = known.iter().find(|(known, _)| known == name) else {
            faults.push(format!("{level}.annotations: {name} is not known here"));
            continue;
        };
        let Some(text) = value.as_str() else {
            faults.push(format!(
                "{level}.annotations: {name} is {value}, which must be a quoted string"
            ));
            continue;
        };
        let good = match says {
            Any => !text.is_empty(),
            Flag => matches!(text, "true" | "false"),
            Number => text.parse::<u32>().is_ok(),
            OneOf(choices) => choices.contains(&text),
            Interfaces => interfaces(text),
        };
        if !good {
            faults.push(format!("{level}.annotations: {name} may not be {text:?}"));
        }
    }
}

/// A list of one network interface, as JSON in a string.
fn interfaces(text: &str) -> bool {
    let Ok(Value::Array(list)) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    let [Value::Object(only)] = list.as_slice() else {
        return false;
    };
    only.keys()
        .all(|key| matches!(key.as_str(), "network" | "subnetwork" | "tags"))
}

fn network(faults: &mut Vec<String>, annotations: &Value) {
    let direct = !annotations["run.googleapis.com/network-interfaces"].is_null();
    let connector = !annotations["run.googleapis.com/vpc-access-connector"].is_null();
    if direct && connector {
        faults.push("network-interfaces and vpc-access-connector: one or the other".to_owned());
    }
    if !annotations["run.googleapis.com/vpc-access-egress"].is_null() && !direct && !connector {
        faults.push("vpc-access-egress without a network".to_owned());
    }
}

fn within(faults: &mut Vec<String>, place: &Value, field: &str, least: i64, most: i64) {
    let value = &place[field];
    if !value.is_null()
        && !value
            .as_i64()
            .is_some_and(|value| (least..=most).contains(&value))
    {
        faults.push(format!("{field}: {value}, not a number from {least} to {most}"));
    }
}

fn containers(faults: &mut Vec<String>, spec: &Value, most: usize, second_generation: bool) {
    let all = spec["containers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let Some(container) = all.first().filter(|_| all.len() <= most) else {
        faults.push(format!("containers: a list of 1 to {most} was expected"));
        return;
    };
    match container["image"].as_str() {
        None => faults.push("image: none".to_owned()),
        Some(image) => {
            faults.extend(image_fault(image));
            if !image.contains("@sha256:") {
                faults.push(format!("image: {image} is not named by its digest"));
            }
        }
    }
    for field in IGNORED_IN_CONTAINER {
        if !container[*field].is_null() {
            faults.push(format!("{field}: Cloud Run ignores it"));
        }
    }
    environment(faults, container);
    limits(faults, &container["resources"]["limits"], second_generation);
}

/// The faults of the container beside the service, if there is one.
fn sidecar(faults: &mut Vec<String>, template: &Value) {
    let spec = &template["spec"];
    let (service, sidecar) = (&spec["containers"][0], &spec["containers"][1]);
    let order = &template["metadata"]["annotations"]["run.googleapis.com/container-dependencies"];
    if sidecar.is_null() {
        if !order.is_null() {
            faults.push("container-dependencies: there is but one container".to_owned());
        }
        return;
    }
    let names = [&service["name"], &sidecar["name"]];
    let order: Value = order
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let entries: Vec<_> = order.as_object().into_iter().flatten().collect();
    let known = |name: &Value| names.contains(&name);
    if entries.is_empty()
        || !entries.iter().all(|(name, after)| {
            known(&Value::from(name.as_str()))
                && after.as_array().is_some_and(|after| after.iter().all(known))
        })
    {
        faults.push("container-dependencies: does not put the two containers in an order".to_owned());
    }
    if !sidecar["ports"].is_null() {
        faults.push("ports: only one container may have one".to_owned());
    }
    match sidecar["image"].as_str() {
        None => faults.push("sidecar: no image".to_owned()),
        Some(image) => faults.extend(image_fault(image)),
    }
    environment(faults, sidecar);
    for mount in sidecar["volumeMounts"].as_array().into_iter().flatten() {
        let volume = spec["volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|volume| volume["name"] == mount["name"]);
        let Some(volume) = volume else {
            faults.push(format!("volumeMounts: there is no volume {}", mount["name"]));
            continue;
        };
        for item in volume["secret"]["items"].as_array().into_iter().flatten() {
            let version = item["key"].as_str().unwrap_or_default();
            if version.parse::<u32>().is_err() {
                faults.push(format!(
                    "volumes: {} is no version of a secret, by number, in quotes",
                    item["key"]
                ));
            }
        }
    }
    let own = service["ports"][0]["containerPort"].to_string();
    if variable(service, "METRICS_PORT").is_none_or(|port| port == own) {
        faults.push("METRICS_PORT: the sidecar needs one that is not the service's own port".to_owned());
    }
}

fn environment(faults: &mut Vec<String>, container: &Value) {
    let mut seen = HashSet::new();
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().unwrap_or_default();
        if !seen.insert(name) {
            faults.push(format!("env: {name} stands there twice"));
        }
        if INJECTED.contains(&name) {
            faults.push(format!("env: {name} is set by Cloud Run"));
        }
        let secret = &variable["valueFrom"]["secretKeyRef"];
        match (&variable["value"], secret) {
            (Value::String(text), Value::Null) if text.contains("$(") => {
                faults.push(format!(
                    "env: {name} has a $(...) place, which Cloud Run does not fill"
                ));
            }
            (Value::String(_), Value::Null) => {}
            (Value::Null, Value::Object(_)) => {
                let key = &secret["key"];
                let version = key.as_str().unwrap_or_default();
                if version.parse::<u32>().is_err() {
                    faults.push(format!(
                        "env: {name}: {key} is no version of a secret, by number, in quotes"
                    ));
                }
            }
            (value, _) => faults.push(format!("env: {name} is {value}, which must be a quoted string")),
        }
        let secretive = ["PASSWORD", "SECRET", "ADMIN_API_KEY", "TOKEN"]
            .iter()
            .any(|word| name.contains(word));
        if secretive && !name.ends_with("_FILE") && secret.is_null() {
            faults.push(format!("env: {name} must come from a secret"));
        }
    }
}

fn limits(faults: &mut Vec<String>, limits: &Value, second_generation: bool) {
    for (name, value) in limits.as_object().into_iter().flatten() {
        match (name.as_str(), value.as_str()) {
            ("cpu" | "memory", Some(_)) => {}
            ("cpu" | "memory", None) => {
                faults.push(format!(
                    "resources.limits.{name}: {value}, which must be a quoted string"
                ));
            }
            _ => faults.push(format!("resources.limits: {name} is not known")),
        }
    }
    let memory = &limits["memory"];
    let least = if second_generation { 512 } else { 128 };
    match memory.as_str().and_then(mebibytes) {
        None => faults.push(format!(
            "resources.limits.memory: {memory} is no amount in Mi or Gi"
        )),
        Some(size) if size < least => {
            let generation = if second_generation { "gen2" } else { "gen1" };
            faults.push(format!(
                "resources.limits.memory: {size}Mi, and {generation} has {least}Mi at least"
            ));
        }
        Some(_) => {}
    }
}

fn mebibytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    match unit {
        "Mi" => Some(number),
        "Gi" => Some(number * 1024),
        _ => None,
    }
}

fn ports(faults: &mut Vec<String>, container: &Value) {
    let Some([port]) = container["ports"].as_array().map(Vec::as_slice) else {
        faults.push("ports: exactly one was expected".to_owned());
        return;
    };
    if !matches!(port["name"].as_str(), None | Some("http1" | "h2c")) {
        faults.push(format!(
            "ports: the name {} is neither http1 nor h2c",
            port["name"]
        ));
    }
    within(faults, port, "containerPort", 1, 65_535);
    for probe in ["startupProbe", "livenessProbe"] {
        let asked = &container[probe]["httpGet"]["port"];
        if !asked.is_null() && *asked != port["containerPort"] {
            faults.push(format!(
                "{probe}: port {asked} is not the container's, {}",
                port["containerPort"]
            ));
        }
    }
}

fn startup_probe(faults: &mut Vec<String>, probe: &Value) {
    let Some((period, threshold)) = probe_numbers(faults, "startupProbe", probe, 240) else {
        return;
    };
    if period * threshold > 240 {
        faults.push(format!(
            "startupProbe: {period} s x {threshold} is more than 240 s"
        ));
    }
    within(faults, probe, "initialDelaySeconds", 0, 240);
    if probe["httpGet"]["path"] != "/health/startup" {
        faults.push(format!(
            "startupProbe: asks {}, not /health/startup",
            probe["httpGet"]["path"]
        ));
    }
}

fn liveness_probe(faults: &mut Vec<String>, probe: &Value) {
    if probe_numbers(faults, "livenessProbe", probe, 3600).is_none() {
        return;
    }
    within(faults, probe, "initialDelaySeconds", 0, 3600);
    // Anything that looks at the database would restart every instance when the database is away.
    if probe["httpGet"]["path"] != "/health/live" {
        faults.push(format!(
            "livenessProbe: asks {}, not /health/live",
            probe["httpGet"]["path"]
        ));
    }
}

/// Period and threshold of a probe, unless there is none.
fn probe_numbers(faults: &mut Vec<String>, name: &str, probe: &Value, longest: i64) -> Option<(i64, i64)> {
    if !probe.is_object() {
        faults.push(format!("{name}: none"));
        return None;
    }
    let number = |field: &str, default| match &probe[field] {
        Value::Null => Some(default),
        value => value.as_i64(),
    };
    let (period, timeout, threshold) = (
        number("periodSeconds", 10)?,
        number("timeoutSeconds", 1)?,
        number("failureThreshold", 3)?,
    );
    if !(1..=longest).contains(&period) {
        faults.push(format!(
            "{name}: a period of {period} s is not within 1 to {longest}"
        ));
    }
    if timeout > period {
        faults.push(format!(
            "{name}: a timeout of {timeout} s is longer than the period"
        ));
    }
    if number("successThreshold", 1) != Some(1) {
        faults.push(format!("{name}: successThreshold must be 1"));
    }
    for field in ["host", "scheme"] {
        if !probe["httpGet"][field].is_null() {
            faults.push(format!("{name}: Cloud Run ignores httpGet.{field}"));
        }
    }
    // Google's front end keeps some of these for itself.
    if probe["httpGet"]["path"]
        .as_str()
        .is_some_and(|path| path.ends_with('z'))
    {
        faults.push(format!("{name}: a path that ends in z may never arrive"));
    }
    Some((period, threshold))
}

fn budget(faults: &mut Vec<String>, annotations: &Value, container: &Value, max_connections: u64) {
    socket(faults, annotations, container);
    let pool = variable(container, "DATABASE_POOL_SIZE").and_then(|pool| pool.parse::<u64>().ok());
    let instances = annotations["autoscaling.knative.dev/maxScale"]
        .as_str()
        .and_then(|max| max.parse::<u64>().ok());
    let (Some(pool), Some(instances)) = (pool, instances) else {
        faults.push(
            "the connection budget needs autoscaling.knative.dev/maxScale and DATABASE_POOL_SIZE".to_owned(),
        );
        return;
    };
    // In a rollout the old and the new revision have their instances at the same time.
    let wanted = 2 * instances * pool + JOBS;
    let there_are = max_connections.saturating_sub(RESERVED);
    if wanted > there_are {
        faults.push(format!(
            "connection budget: 2 revisions x {instances} instances x {pool} + {JOBS} for jobs = {wanted}, \
             and Postgres has {there_are}"
        ));
    }
}

/// A database's socket is there only when the annotation names the instance.
fn socket(faults: &mut Vec<String>, annotations: &Value, container: &Value) {
    let Some((_, instance)) =
        variable(container, "DATABASE_URL").and_then(|url| url.split_once("/cloudsql/"))
    else {
        return;
    };
    let instances = annotations["run.googleapis.com/cloudsql-instances"]
        .as_str()
        .unwrap_or_default();
    if !instances.split(',').any(|known| known == instance) {
        faults.push(format!(
            "DATABASE_URL: the socket of {instance}, which cloudsql-instances does not name"
        ));
    }
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    container["env"]
        .as_array()?
        .iter()
        .find(|variable| variable["name"] == name)?["value"]
        .as_str()
}

fn traffic(faults: &mut Vec<String>, traffic: &Value) {
    let Some(entries) = traffic.as_array() else {
        faults.push("traffic: none".to_owned());
        return;
    };
    let mut sum = 0;
    for entry in entries {
        sum += entry["percent"].as_i64().unwrap_or(0);
        if (entry["latestRevision"] == true) == entry["revisionName"].is_string() {
            faults.push("traffic: an entry names either a revision or the latest".to_owned());
        }
    }
    if sum != 100 {
        faults.push(format!("traffic: {sum} percent in all"));
    }
}
