//! The files that deploy Curtail: a lint for what gcloud, Docker and kubectl take without a word, tests
//! that the lint sees each fault, and dry runs of the scripts.

mod cloud_build;
mod cloud_run;
mod containers;
mod image;
mod kubernetes;
mod lint;
mod releases;
mod renovate;
mod scripts;
mod yaml;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use cloud_build::{before, build_faults, provenance_faults};
use cloud_run::{job_faults, service_faults};
use containers::{compose_faults, dockerfile_faults, nginx_faults, role_faults};
pub use yaml::document;

const NONE: [String; 0] = [];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a script in an environment that has only these variables, and no account of anyone's.
fn script(path: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new("bash")
        .arg(root().join(path))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(variables.iter().copied())
        .output()
        .expect("bash is there")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What `scripts/deploy --dry-run` prints, and the folder with the files that it rendered.
fn dry_run(more: &[(&str, &str)]) -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let rendered = folder.path().to_str().expect("a plain path");
    let variables = [&[("PROJECT_ID", "demo-project"), ("RENDERED", rendered)], more].concat();
    let output = script("scripts/deploy", &["--dry-run"], &variables);
    assert!(output.status.success(), "{}", said(&output));
    (said(&output), folder)
}

fn rendered(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The connections that `scripts/deploy` gives Postgres.
fn max_connections() -> u64 {
    let settings = read("deploy/settings.bash");
    let (_, rest) = settings
        .split_once("DB_MAX_CONNECTIONS:-")
        .expect("deploy/settings.bash sets it");
    rest.split('}')
        .next()
        .expect("a default")
        .parse()
        .expect("a number")
}

/// Puts each fault into a good text, one at a time, and sees that the lint names it. A line of the table is
/// `what stands there ~> what is put there ~> what the lint says`, with `\n` for the end of a line.
fn sees_each(good: &str, lint: impl Fn(&str) -> Vec<String>, table: &str) {
    assert_eq!(lint(good), NONE, "the text to spoil is good");
    let lines = table
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let parts: Vec<String> = line.split(" ~> ").map(|part| part.replace("\\n", "\n")).collect();
        let [from, to, named] = parts.as_slice() else {
            panic!("not three parts: {line}")
        };
        assert!(good.contains(from.as_str()), "nothing to spoil: {from:?}");
        let faults = lint(&good.replacen(from.as_str(), to, 1));
        assert!(
            faults.iter().any(|fault| fault.contains(named)),
            "{from:?} -> {to:?}: {faults:?}"
        );
    }
}

#[test]
fn the_cloud_run_files_have_no_fault_that_gcloud_would_let_pass() {
    for cache in ["redis", "none"] {
        let (_, folder) = dry_run(&[("CACHE", cache)]);

        let service = rendered(folder.path(), "service.yaml");
        let migrate = rendered(folder.path(), "job-migrate.yaml");
        let worker = rendered(folder.path(), "job-worker.yaml");

        assert_eq!(
            service_faults(&document(&service), max_connections()),
            NONE,
            "with the cache {cache}"
        );
        assert_eq!(job_faults(&document(&migrate)), NONE, "with the cache {cache}");
        assert_eq!(job_faults(&document(&worker)), NONE, "with the cache {cache}");
        // The service and the worker never log in as the owner of the tables, nor can they read its password.
        for text in [&service, &worker] {
            assert!(
                text.contains("postgres://curtail_service@/") && !text.contains("-database-password"),
                "{text}"
            );
            assert!(text.contains("serviceAccountName: curtail-run@"));
        }
        assert!(migrate.contains("postgres://curtail@/") && migrate.contains("value: curtail_service"));
        assert!(migrate.contains("serviceAccountName: curtail-migrate@"));
        assert_eq!(service.contains("REDIS_URL"), cache == "redis");
        assert_eq!(worker.contains("network-interfaces"), cache == "redis");
    }
}

#[test]
fn the_lint_sees_each_fault_of_a_service() {
    let (_, folder) = dry_run(&[]);
    let good = rendered(folder.path(), "service.yaml");
    let lint = |text: &str| service_faults(&document(text), 100);
    sees_each(
        &good,
        lint,
        r#"
            # Names and levels of annotations.
            run.googleapis.com/ingress: ~> run.googleapis.com/ingres: ~> ingres is not known here
            run.googleapis.com/minScale: ~> autoscaling.knative.dev/minScale: ~> minScale is not known here
            autoscaling.knative.dev/maxScale: ~> run.googleapis.com/maxScale: ~> maxScale is not known here
            startup-cpu-boost: ~> cpu-boost: ~> cpu-boost is not known here
            # Values of annotations.
            ingress: all ~> ingress: everyone ~> ingress may not be "everyone"
            execution-environment: gen2 ~> execution-environment: gen3 ~> may not be "gen3"
            vpc-access-egress: private-ranges-only ~> vpc-access-egress: all ~> may not be "all"
            cpu-throttling: "true" ~> cpu-throttling: "yes" ~> may not be "yes"
            minScale: "0" ~> minScale: 0 ~> must be a quoted string
            invoker-iam-disabled: "true" ~> invoker-iam-disabled: true ~> must be a quoted string
            "subnetwork" ~> "subnet" ~> network-interfaces may not be
            run.googleapis.com/network-interfaces: ~> run.googleapis.com/secrets: ~> egress without a network
            # Fields.
            apiVersion: serving.knative.dev/v1 ~> apiVersion: run.googleapis.com/v1 ~> apiVersion
            kind: Service ~> kind: Job ~> kind: "Job"
            name: curtail\n ~> name: curtail\n  namespace: demo\n ~> metadata.namespace
            name: curtail-b ~> name: shorter-b ~> does not begin with curtail-
            containerConcurrency: 250 ~> containerConcurrency: 2500 ~> containerConcurrency: 2500
            containerConcurrency: 250 ~> timeoutSecond: 5 ~> no containerConcurrency
            timeoutSeconds: 3600 ~> timeoutSeconds: 30s ~> timeoutSeconds: "30s"
            timeoutSeconds: 3600 ~> timeoutSeconds: 30 ~> cuts off an import or an export
            livenessProbe: ~> readinessProbe: {httpGet: {path: /health/ready}}\n        livenessProbe: ~> takes every instance out
            serviceAccountName: ~> serviceAccount: ~> no serviceAccountName
            args: ["serve"] ~> securityContext: {} ~> securityContext: Cloud Run ignores it
            demo-project/curtail/curtail@sha256: ~> ${PLACE}/curtail@sha256: ~> a ${...} place is left
            name: http1 ~> name: http ~> neither http1 nor h2c
            containerPort: 8080 ~> containerPort: "8080" ~> containerPort: "8080"
            containerPort: 8080 ~> containerPort: 8081 ~> port 8080 is not the container's
            # Images.
            curtail@sha256:0 ~> curtail:latest@sha256: ~> has no true digest
            /curtail@sha256: ~> /curtail:v1@sha512: ~> has no true digest
            /curtail@sha256: ~> /curtail:v1+ ~> is not named by its digest
            image: ~> picture: ~> image: none
            # Variables and secrets.
            value: "4" ~> value: 4 ~> DATABASE_POOL_SIZE is 4, which must be a quoted string
            - name: RUST_LOG ~> - name: PORT ~> PORT is set by Cloud Run
            - name: RUST_LOG ~> - name: BASE_URL ~> BASE_URL stands there twice
            - name: RUST_LOG ~> - name: OTHER_PASSWORD ~> OTHER_PASSWORD must come from a secret
            value: info ~> value: $(LEVEL) ~> has a $(...) place
            key: "1" ~> key: 1 ~> no version of a secret
            key: "1" ~> key: latest ~> no version of a secret
            # Limits.
            memory: 512Mi ~> memory: 256Mi ~> gen2 has 512Mi at least
            memory: 512Mi ~> memory: 512M ~> no amount in Mi or Gi
            cpu: "1" ~> cpu: 1 ~> resources.limits.cpu: 1, which must be a quoted string
            cpu: "1" ~> cpu: "0.5" ~> allows a containerConcurrency of 1 only
            cpu: "1" ~> disk: "1" ~> disk is not known
            # Probes.
            failureThreshold: 120 ~> failureThreshold: 300 ~> more than 240 s
            periodSeconds: 1\n ~> periodSeconds: 3\n ~> more than 240 s
            timeoutSeconds: 1\n ~> timeoutSeconds: 2\n ~> longer than the period
            failureThreshold: 120 ~> failureThreshold: 120\n          successThreshold: 2 ~> successThreshold
            path: /health/startup ~> path: /healthz ~> a path that ends in z
            path: /health/live ~> path: /health/ready ~> not /health/live
            livenessProbe: ~> lifeProbe: ~> livenessProbe: none
            port: 8080\n          periodSeconds: 15 ~> port: 8080\n            host: x\n          periodSeconds: 15 ~> httpGet.host
            # The database.
            maxScale: "10" ~> maxScale: "12" ~> connection budget: 2 revisions x 12 instances x 4 + 8 for jobs = 104
            value: "4" ~> value: "5" ~> connection budget
            - name: DATABASE_POOL_SIZE ~> - name: POOL_SIZE ~> the connection budget needs
            cloudsql-instances: demo-project:us-central1:curtail ~> cloudsql-instances: demo-project:us-central1:other ~> cloudsql-instances does not name
            # Traffic.
            percent: 100 ~> percent: 90 ~> 90 percent in all
            percent: 100 ~> percent: 100\n    latestRevision: true ~> either a revision or the latest
        "#,
    );
    let first_generation = good.replace("gen2", "gen1").replace("512Mi", "128Mi");
    assert_eq!(lint(&first_generation), NONE, "gen1 may have 128Mi");
    assert!(
        !lint(&first_generation.replace("128Mi", "64Mi")).is_empty(),
        "and not 64Mi"
    );
}

#[test]
fn the_sidecar_for_metrics_asks_where_the_service_shows_them() {
    let (text, folder) = dry_run(&[("MONITORING", "gmp")]);
    let good = rendered(folder.path(), "service.yaml");
    let monitoring = document(&read("deploy/monitoring/run-monitoring.yaml"));

    let service = document(&good);
    let container = &service["spec"]["template"]["spec"]["containers"][0];
    let port = container["env"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|variable| variable["name"] == "METRICS_PORT")
        .map(|variable| variable["value"].clone());

    let asked = &monitoring["spec"]["endpoints"][0];
    assert_eq!(monitoring["kind"], "RunMonitoring");
    assert_eq!(port, Some(Value::from(asked["port"].to_string())));
    assert_eq!(asked["path"], "/metrics");
    for role in ["roles/monitoring.metricWriter", "roles/logging.logWriter"] {
        assert!(text.contains(role), "{role} is not granted");
    }
    assert!(
        text.contains("curtail-collector"),
        "its configuration is not kept"
    );
    let (without, folder) = dry_run(&[]);
    assert!(!without.contains("collector") && !rendered(folder.path(), "service.yaml").contains("collector"));
    sees_each(
        &good,
        |text| service_faults(&document(text), 100),
        r#"
            '{"collector":["curtail"]}' ~> '{"collector":["curtial"]}' ~> does not put the two containers in an order
            '{"collector":["curtail"]}' ~> '["collector"]' ~> does not put the two containers in an order
            name: METRICS_PORT ~> name: METRIC_PORT ~> METRICS_PORT: the sidecar needs one
            value: "9090" ~> value: "8080" ~> METRICS_PORT: the sidecar needs one
            - name: collector-config\n          mountPath ~> - name: collector-conf\n          mountPath ~> there is no volume
            - key: "1" ~> - key: latest ~> no version of a secret
            gmp-sidecar:1.2.0 ~> gmp-sidecar:latest ~> changes under our feet
            - name: collector\n        image ~> - name: collector\n        picture ~> sidecar: no image
            - name: collector\n ~> - name: collector\n        ports: [{containerPort: 8081}]\n ~> only one container may have one
        "#,
    );
}

#[test]
fn the_lint_sees_each_fault_of_a_job() {
    let (_, folder) = dry_run(&[]);
    sees_each(
        &rendered(folder.path(), "job-migrate.yaml"),
        |text| job_faults(&document(text)),
        r#"
            kind: Job ~> kind: Service ~> kind: "Service"
            execution-environment: gen2 ~> execution-environment: gen1 ~> may not be "gen1"
            memory: 512Mi ~> memory: 128Mi ~> gen2 has 512Mi at least
            maxRetries: 3 ~> maxRetries: 30 ~> maxRetries: 30
            timeoutSeconds: 600 ~> timeoutSeconds: 10m ~> timeoutSeconds: "10m"
            image: us-central1 ~> image: curtail:latest # us-central1 ~> changes under our feet
            run.googleapis.com/cloudsql-instances: ~> run.googleapis.com/cpu-throttling: ~> is not known here
            args: ["migrate"] ~> livenessProbe: {} ~> a job serves nobody
        "#,
    );
}

const RELEASE: &str = "deploy/cloudbuild-release.yaml";

/// Attestation once came after the release, which therefore could not ask for it; and the tests ran beside the build of the image.
#[test]
fn the_builds_have_no_fault_that_gcloud_would_let_pass() {
    let build = document(&read("cloudbuild.yaml"));
    let test = document(&read("deploy/cloudbuild-test.yaml"));
    let release = document(&read(RELEASE));

    for build in [&build, &test, &release] {
        assert_eq!(build_faults(build), NONE);
    }
    assert_eq!(provenance_faults(&build), NONE);
    // An account that runs the code of others may do nothing else.
    assert_ne!(test["serviceAccount"], release["serviceAccount"]);

    // Nothing is released without provenance, and no visitor meets a revision that was not tried.
    for (step, first) in [
        ("migrate", vec!["provenance"]),
        ("deploy", vec!["provenance", "migrate"]),
        ("smoke", vec!["deploy"]),
        ("traffic", vec!["provenance", "migrate", "deploy", "smoke"]),
        ("cleanup", vec!["traffic"]),
    ] {
        let ended = before(&release, step);
        for name in first {
            assert!(ended.contains(name), "{step} may begin before {name} has ended");
        }
    }
}

#[test]
fn the_lint_sees_each_fault_of_a_build() {
    sees_each(
        &read(RELEASE),
        |text| build_faults(&document(text)),
        r#"
            waitFor: [deploy] ~> waitFor: [deplyo] ~> waitFor "deplyo", which is no earlier step
            waitFor: ["-"] ~> waitFor: [smoke] ~> waitFor "smoke", which is no earlier step
            ${_SMOKE} ~> ${_SMOEK} ~> _SMOEK is used and not defined
            ${_SMOKE} ~> candidate ~> _SMOKE is defined and not used
            _SMOKE: candidate ~> _SMOKE: 1 ~> _SMOKE is 1, which must be a quoted string
            _SMOKE: candidate ~> SMOKE: candidate ~> SMOKE must begin with _
            timeout: 3600s ~> timeout: 60min ~> no time such as 600s
            - id: migrate ~> - id: provenance ~> provenance: stands there twice
            secretEnv: [ADMIN_API_KEY] ~> secretEnv: [ADMIN_KEY] ~> availableSecrets does not have
            dynamicSubstitutions: true ~> dynamicSubstitutions: false ~> needs options.dynamicSubstitutions
            logging: CLOUD_LOGGING_ONLY ~> logging: LEGACY ~> needs CLOUD_LOGGING_ONLY
        "#,
    );
    sees_each(
        &read("cloudbuild.yaml"),
        |text| {
            let build = document(text);
            [build_faults(&build), provenance_faults(&build)].concat()
        },
        r#"
            $$(date ~> $DATE(date ~> DATE is neither Cloud Build's own
            name: docker:28.3.0-cli ~> name: docker ~> docker has no tag
            name: docker:28.3.0-cli ~> name: docker:latest ~> changes under our feet
            name: docker:28.3.0-cli ~> name: docker:28-cli ~> moves with each release
            requestedVerifyOption: VERIFIED ~> requestedVerifyOption: NONE ~> provenance needs
            args: [push, "${_IMAGE}-cache:dependencies"] ~> args: [push, "${_IMAGE}:${_TAG}"] ~> pushes what is to be signed
            args: [push, "${_IMAGE}-cache:dependencies"] ~> args: [scripts/test] ~> releases or tests
        "#,
    );
}

#[test]
fn the_image_is_one_that_cloud_run_and_older_builders_take() {
    sees_each(
        &read("Dockerfile"),
        dockerfile_faults,
        r#"
            USER 65532:65532 ~> USER curtail ~> USER: not a number
            USER 65532:65532 ~> USER 0 ~> USER: not a number
            ENTRYPOINT ["/curtail"] ~> ENTRYPOINT /curtail ~> ENTRYPOINT: not in exec form
            FROM scratch\n\n ~> FROM alpine:3.20\n\n ~> not from scratch
            FROM rust:1.95.0-slim-bookworm ~> FROM rust:latest ~> changes under our feet
            FROM rust:1.95.0-slim-bookworm ~> FROM rust:1-slim-bookworm ~> moves with each release
            cargo auditable rustc ~> cargo rustc ~> does not list its dependencies
            COPY . . ~> RUN --mount=type=cache,target=/x true ~> a mount
            COPY . . ~> COPY --link . . ~> a linked copy
            COPY . . ~> RUN cat <<END ~> a here-document
            "healthcheck", "--live" ~> "healthcheck" ~> HEALTHCHECK: an outage
            VOLUME ["/data"] ~> VOLUME ["/links"] ~> VOLUME: the user does not own
            --chown=65532:65532 ~> --chown=0:0 ~> VOLUME: the user does not own
            ENV LISTEN_ADDRESS=0.0.0.0 ~> ENV LISTEN_ADDRESS=127.0.0.1 ~> LISTEN_ADDRESS: a trial
        "#,
    );
}

#[test]
fn the_compose_file_starts_in_order_and_keeps_its_secrets() {
    let text = read("compose.yaml");
    let file = document(&text);

    for (service, waits) in [
        ("migrate", vec![("postgres", "service_healthy")]),
        (
            "curtail",
            vec![
                ("migrate", "service_completed_successfully"),
                ("redis", "service_healthy"),
            ],
        ),
        ("worker", vec![("migrate", "service_completed_successfully")]),
        ("proxy", vec![("curtail", "service_healthy")]),
    ] {
        for (other, condition) in waits {
            let found = &file["services"][service]["depends_on"][other]["condition"];
            assert_eq!(*found, condition, "{service} waits for {other}");
        }
    }
    sees_each(
        &text,
        |text| compose_faults(&document(text)),
        r#"
            image: postgres:17.6-bookworm ~> image: postgres:latest ~> changes under our feet
            image: postgres:17.6-bookworm ~> image: postgres:17-bookworm ~> moves with each release
            image: postgres:17.6-bookworm ~> image: postgres:${TAG} ~> holds a variable
            condition: service_completed_successfully ~> condition: service_done ~> service_done
            migrate: {condition: service_completed_successfully} ~> migrate: {condition: service_healthy} ~> which has no check
            postgres: {condition: service_healthy} ~> postgress: {condition: service_healthy} ~> which is no service
            secrets: [redis_password] ~> secrets: [cache_password] ~> cache_password is not declared
            POSTGRES_PASSWORD_FILE: ~> POSTGRES_PASSWORD: ~> POSTGRES_PASSWORD must be a file
            PORT: "8080" ~> PORT: 8080 ~> PORT is 8080
            data: {internal: true} ~> data: {internal: false} ~> on a network that the outside reaches
            mem_limit: 512m ~> memory: 512m ~> no limit on its memory
            healthcheck: {disable: true} ~> labels: {} ~> no health check
        "#,
    );
}

#[test]
fn the_service_of_the_compose_file_has_no_right_of_the_owner() {
    sees_each(
        &read("compose.yaml"),
        |text| role_faults(&document(text)),
        r#"
            DATABASE_URL: postgres://curtail_service@ ~> DATABASE_URL: postgres://curtail@ ~> for the migration alone
            secrets: [database_service_password, redis_password, admin_api_key] ~> secrets: [database_password, redis_password, admin_api_key] ~> curtail: the owner
        "#,
    );
}

#[test]
fn the_proxy_of_the_compose_file_passes_what_the_service_takes() {
    sees_each(
        &read("deploy/nginx.conf"),
        nginx_faults,
        r#"
            keepalive 64; ~> # ~> no idle connection
            keepalive_timeout 60s ~> keepalive_timeout 90s ~> ends idle connections first
            server curtail:8080 resolve ~> server curtail:8080 ~> replicas that come later
            client_max_body_size 1g ~> client_max_body_size 5m ~> an import may have 1 GiB
            proxy_read_timeout 3600s ~> proxy_read_timeout 15s ~> a long answer is cut off
            X-Forwarded-Proto $outer_scheme ~> X-Forwarded-Proto $scheme ~> the scheme of an outer proxy is lost
            proxy_request_buffering off ~> proxy_request_buffering on ~> bodies are kept in memory
            proxy_next_upstream error timeout ~> proxy_next_upstream error timeout http_503 ~> asked for twice
        "#,
    );
}
