//! The files that deploy Curtail: a lint for what gcloud, Docker and kubectl take without a word, tests
//! that the lint sees each fault, and dry runs of the scripts.

mod cloud_build;
mod cloud_run;
mod containers;
mod image;
mod scripts;
mod yaml;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use cloud_build::{before, build_faults};
use cloud_run::{job_faults, service_faults};
use containers::{compose_faults, dockerfile_faults, kubernetes_faults};
pub use yaml::document;
use yaml::documents;

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

fn kubernetes_manifests() -> Vec<Value> {
    let mut manifests = Vec::new();
    let folder = root().join("deploy/kubernetes");
    for entry in fs::read_dir(folder).expect("the folder is there") {
        manifests.extend(documents(
            &fs::read_to_string(entry.expect("an entry").path()).expect("a text"),
        ));
    }
    manifests
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
            timeoutSeconds: 30 ~> timeoutSeconds: 30s ~> timeoutSeconds: "30s"
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

#[test]
fn the_build_has_no_fault_that_gcloud_would_let_pass() {
    let build = document(&read("cloudbuild.yaml"));

    assert_eq!(build_faults(&build), NONE);

    // Nothing leaves the build before its tests, and no visitor meets a revision that was not tried.
    for (step, first) in [
        ("push", vec!["test", "build"]),
        ("migrate", vec!["push"]),
        ("deploy", vec!["test", "push", "migrate"]),
        ("smoke", vec!["deploy"]),
        ("traffic", vec!["test", "migrate", "deploy", "smoke"]),
    ] {
        let ended = before(&build, step);
        for name in first {
            assert!(ended.contains(name), "{step} may begin before {name} has ended");
        }
    }
}

#[test]
fn the_lint_sees_each_fault_of_a_build() {
    sees_each(
        &read("cloudbuild.yaml"),
        |text| build_faults(&document(text)),
        r#"
            waitFor: [deploy] ~> waitFor: [deplyo] ~> waitFor "deplyo", which is no earlier step
            waitFor: ["-"] ~> waitFor: [push] ~> waitFor "push", which is no earlier step
            ${_VERSION} ~> ${_VERSOIN} ~> _VERSOIN is used and not defined
            ${_VERSION} ~> 0.1.0 ~> _VERSION is defined and not used
            $$(date ~> $DATE(date ~> DATE is neither Cloud Build's own
            _VERSION: 0.1.0 ~> _VERSION: 1 ~> _VERSION is 1, which must be a quoted string
            _VERSION: 0.1.0 ~> VERSION: 0.1.0 ~> VERSION must begin with _
            timeout: 5400s ~> timeout: 90min ~> no time such as 600s
            name: docker:28-cli ~> name: docker ~> docker has no tag
            name: docker:28-cli ~> name: docker:latest ~> changes under our feet
            - id: cache ~> - id: build ~> build: stands there twice
            secretEnv: [ADMIN_API_KEY] ~> secretEnv: [ADMIN_KEY] ~> availableSecrets does not have
            dynamicSubstitutions: true ~> dynamicSubstitutions: false ~> needs options.dynamicSubstitutions
            requestedVerifyOption: VERIFIED ~> requestedVerifyOption: NONE ~> provenance needs
            logging: CLOUD_LOGGING_ONLY ~> logging: LEGACY ~> needs CLOUD_LOGGING_ONLY
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
            FROM scratch ~> FROM alpine:3.20 ~> not from scratch
            FROM rust:1.95-slim-bookworm ~> FROM rust:latest ~> changes under our feet
            COPY . . ~> RUN --mount=type=cache,target=/x true ~> a mount
            COPY . . ~> COPY --link . . ~> a linked copy
            COPY . . ~> RUN cat <<END ~> a here-document
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
            image: postgres:17-bookworm ~> image: postgres:latest ~> changes under our feet
            image: postgres:17-bookworm ~> image: postgres:${TAG} ~> holds a variable
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
fn the_kubernetes_manifests_fit_together() {
    let manifests = kubernetes_manifests();
    for kind in [
        "ConfigMap",
        "CronJob",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Job",
        "PodDisruptionBudget",
        "Secret",
        "Service",
    ] {
        assert_eq!(
            manifests
                .iter()
                .filter(|manifest| manifest["kind"] == kind)
                .count(),
            1,
            "{kind}"
        );
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
