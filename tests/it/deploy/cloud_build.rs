//! What `gcloud builds submit` takes without a word: undefined substitutions, wrong `waitFor`, times that are none.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::image::base_fault;

/// Filled by Cloud Build itself.
const BUILT_IN: &[&str] = &[
    "BRANCH_NAME",
    "BUILD_ID",
    "COMMIT_SHA",
    "LOCATION",
    "PROJECT_ID",
    "PROJECT_NUMBER",
    "REF_NAME",
    "REPO_FULL_NAME",
    "REPO_NAME",
    "REVISION_ID",
    "SERVICE_ACCOUNT",
    "SERVICE_ACCOUNT_EMAIL",
    "SHORT_SHA",
    "TAG_NAME",
    "TRIGGER_BUILD_CONFIG_PATH",
    "TRIGGER_NAME",
];

/// The faults of a build.
pub fn build_faults(build: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    steps(&mut faults, build);
    substitutions(&mut faults, build);
    if !build["timeout"].is_null() && !seconds(&build["timeout"]) {
        faults.push(format!("timeout: {} is no time such as 600s", build["timeout"]));
    }
    let options = &build["options"];
    if !build["serviceAccount"].is_null()
        && options["logging"] != "CLOUD_LOGGING_ONLY"
        && options["logging"] != "NONE"
        && build["logsBucket"].is_null()
    {
        faults.push(
            "options.logging: a build under its own account needs CLOUD_LOGGING_ONLY or a bucket".to_owned(),
        );
    }
    faults
}

/// The faults of a build whose image is released: Cloud Build signs for what it pushes itself, and not for what a step pushes.
pub fn provenance_faults(build: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let images = build["images"].as_array().cloned().unwrap_or_default();
    if build["options"]["requestedVerifyOption"] != "VERIFIED" || images.is_empty() {
        faults.push("provenance needs options.requestedVerifyOption: VERIFIED, and images".to_owned());
    }
    for step in build["steps"].as_array().into_iter().flatten() {
        let args = step["args"].to_string();
        let pushed = images
            .iter()
            .filter_map(Value::as_str)
            .any(|image| args.contains(image));
        if args.contains("push") && pushed {
            faults.push(format!("{}: pushes what is to be signed", step["id"]));
        }
        if args.contains("scripts/release") || args.contains("scripts/test") {
            faults.push(format!(
                "{}: releases or tests in the build of the image",
                step["id"]
            ));
        }
    }
    faults
}

/// The steps that have ended for certain when `step` begins.
pub fn before(build: &Value, step: &str) -> HashSet<String> {
    let mut waits: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut earlier = Vec::new();
    for step in build["steps"].as_array().into_iter().flatten() {
        let id = step["id"].as_str().unwrap_or_default();
        let waited = match step["waitFor"].as_array() {
            Some(names) => names
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| *name != "-")
                .collect(),
            None => earlier.clone(),
        };
        waits.insert(id, waited);
        earlier.push(id);
    }
    let mut found = HashSet::new();
    let mut open = vec![step];
    while let Some(step) = open.pop() {
        for name in waits.get(step).into_iter().flatten() {
            if found.insert((*name).to_owned()) {
                open.push(name);
            }
        }
    }
    found
}

fn steps(faults: &mut Vec<String>, build: &Value) {
    let secrets: HashSet<&str> = build["availableSecrets"]["secretManager"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|secret| secret["env"].as_str())
        .collect();
    let mut earlier = HashSet::new();
    for step in build["steps"].as_array().into_iter().flatten() {
        let id = step["id"].as_str().unwrap_or("a step without an id");
        match step["name"].as_str() {
            None => faults.push(format!("{id}: no image")),
            Some(image) => faults.extend(base_fault(image).map(|fault| format!("{id}: {fault}"))),
        }
        for name in step["waitFor"].as_array().into_iter().flatten() {
            let known = name
                .as_str()
                .is_some_and(|name| name == "-" || earlier.contains(name));
            if !known {
                faults.push(format!("{id}: waitFor {name}, which is no earlier step"));
            }
        }
        if !step["timeout"].is_null() && !seconds(&step["timeout"]) {
            faults.push(format!(
                "{id}: timeout {} is no time such as 600s",
                step["timeout"]
            ));
        }
        for secret in step["secretEnv"].as_array().into_iter().flatten() {
            if !secret.as_str().is_some_and(|secret| secrets.contains(secret)) {
                faults.push(format!(
                    "{id}: secretEnv {secret}, which availableSecrets does not have"
                ));
            }
        }
        for field in ["args", "env"] {
            for item in step[field].as_array().into_iter().flatten() {
                if !item.is_string() {
                    faults.push(format!("{id}: {field}: {item} must be a quoted string"));
                }
            }
        }
        if !earlier.insert(id) {
            faults.push(format!("{id}: stands there twice"));
        }
    }
}

fn substitutions(faults: &mut Vec<String>, build: &Value) {
    let mut used = BTreeSet::new();
    uses(build, &mut used);
    let defined = build["substitutions"].as_object();
    for name in &used {
        let known = defined.is_some_and(|defined| defined.contains_key(name));
        if name.starts_with('_') && !known {
            faults.push(format!("substitutions: {name} is used and not defined"));
        } else if !name.starts_with('_') && !BUILT_IN.contains(&name.as_str()) {
            faults.push(format!(
                "substitutions: {name} is neither Cloud Build's own nor begins with _"
            ));
        }
    }
    let mut nested = BTreeSet::new();
    for (name, value) in defined.into_iter().flatten() {
        if !name.starts_with('_') {
            faults.push(format!("substitutions: {name} must begin with _"));
        }
        if !used.contains(name) {
            faults.push(format!("substitutions: {name} is defined and not used"));
        }
        if !value.is_string() {
            faults.push(format!(
                "substitutions: {name} is {value}, which must be a quoted string"
            ));
        }
        uses(value, &mut nested);
    }
    if !nested.is_empty() && build["options"]["dynamicSubstitutions"] != true {
        faults.push("substitutions: one uses another, which needs options.dynamicSubstitutions".to_owned());
    }
}

/// Collects the names behind a single `$`. A double one is a literal `$`, left for a shell.
fn uses(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let mut rest = text.as_str();
            while let Some(at) = rest.find('$') {
                rest = &rest[at + 1..];
                if let Some(after) = rest.strip_prefix('$') {
                    rest = after;
                    continue;
                }
                let name = rest.strip_prefix('{').unwrap_or(rest);
                let end = name
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(name.len());
                if end > 0 {
                    found.insert(name[..end].to_owned());
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| uses(item, found)),
        Value::Object(entries) => entries.values().for_each(|entry| uses(entry, found)),
        _ => {}
    }
}

fn seconds(value: &Value) -> bool {
    let digits = value
        .as_str()
        .and_then(|text| text.strip_suffix('s'))
        .unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
