//! The Dockerfile and the Compose files.

use serde_json::Value;

use super::image::{base_fault, image_fault};

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
                faults.extend(base_fault(image));
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
    if !lines.iter().any(|line| line.contains("cargo auditable")) {
        faults.push("the binary does not list its dependencies".to_owned());
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
    if !lines
        .iter()
        .any(|line| line.contains("\"healthcheck\", \"--live\""))
    {
        faults.push("HEALTHCHECK: an outage of the database would restart the container".to_owned());
    }
    let owner = argument("USER").unwrap_or_default();
    let owned = format!("COPY --from=build --chown={owner} /data /data");
    if argument("VOLUME") != Some("[\"/data\"]") || !lines.contains(&owned.as_str()) {
        faults.push("VOLUME: the user does not own /data, where a trial keeps its links".to_owned());
    }
    if argument("ENV") != Some("LISTEN_ADDRESS=0.0.0.0") {
        faults.push("LISTEN_ADDRESS: a trial in a container would listen on its own loopback".to_owned());
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
                let is_ours = !service["build"].is_null();
                if let Some(text) = if is_ours {
                    image_fault(image)
                } else {
                    base_fault(image)
                } {
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

/// The faults of the proxy's settings, as far as they show without an nginx; `tests/it/proxy.rs` runs one.
pub fn nginx_faults(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .collect();
    let value = |directive: &str| {
        lines.iter().find_map(|line| {
            let value = line.strip_prefix(directive)?.strip_prefix(' ')?;
            value.strip_suffix(';').map(str::trim)
        })
    };
    let seconds = |directive: &str| {
        value(directive)
            .and_then(|value| value.strip_suffix('s')?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let mut faults = Vec::new();
    let mut check = |good: bool, text: &str| {
        if !good {
            faults.push(text.to_owned());
        }
    };
    check(
        value("keepalive").is_some(),
        "no idle connection to the service is kept",
    );
    check(
        value("server").is_some_and(|value| value.ends_with(" resolve")),
        "replicas that come later are not found",
    );
    check(
        seconds("keepalive_timeout") < 75,
        "the service ends idle connections first",
    );
    check(
        value("client_max_body_size") == Some("1g"),
        "an import may have 1 GiB",
    );
    check(seconds("proxy_read_timeout") >= 60, "a long answer is cut off");
    check(
        value("proxy_set_header X-Forwarded-Proto") != Some("$scheme"),
        "the scheme of an outer proxy is lost",
    );
    check(
        value("proxy_request_buffering") == Some("off") && value("proxy_max_temp_file_size") == Some("0"),
        "bodies are kept in memory",
    );
    check(
        value("proxy_next_upstream").is_some_and(|value| !value.contains("http_")),
        "an answer is asked for twice",
    );
    faults
}

/// The faults of a Compose file whose services serve and migrate in two roles.
pub fn role_faults(file: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, service) in file["services"].as_object().into_iter().flatten() {
        let environment = &service["environment"];
        let Some(url) = environment["DATABASE_URL"].as_str() else {
            continue;
        };
        let owner = url.contains("//curtail@");
        let has_password = service["secrets"].to_string().contains("\"database_password\"");
        if (name == "migrate") != owner || (name == "migrate") != has_password {
            faults.push(format!(
                "{name}: the owner of the tables is for the migration alone"
            ));
        }
    }
    faults
}
