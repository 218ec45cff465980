//! Settings: read once, all faults at once, never with a value.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use curtail::config::{Config, CorsOrigins, Effective, Env, ExposeSecret, StoreKind};

fn read(pairs: &[(&str, &str)]) -> (Config, Result<Vec<Effective>, String>) {
    let mut env = Env::from_pairs(pairs.iter().copied());
    let config = Config::read(&mut env);
    (config, env.finish().map_err(|faults| faults.to_string()))
}

fn value<'a>(effective: &'a [Effective], name: &str) -> Option<&'a str> {
    effective
        .iter()
        .find(|setting| setting.name == name)
        .unwrap()
        .value
        .as_deref()
}

#[test]
fn nothing_set_is_trial_mode_on_loopback() {
    let (config, effective) = read(&[]);
    let effective = effective.unwrap();

    assert_eq!(value(&effective, "PORT"), Some("8080"));
    assert_eq!(value(&effective, "LISTEN_ADDRESS"), Some("127.0.0.1"));
    assert_eq!(value(&effective, "MIGRATE_ON_START"), Some("true"));
    assert_eq!(value(&effective, "DATABASE_URL"), None);
    assert!(config.access.trial && config.http.trial);
    assert!(matches!(config.store.kind, StoreKind::Sqlite(path) if path == Path::new("data/curtail.db")));
}

#[test]
fn a_database_makes_it_production() {
    let (config, effective) = read(&[("DATABASE_URL", "postgres://curtail:secret@db/curtail")]);
    let effective = effective.unwrap();

    assert_eq!(value(&effective, "LISTEN_ADDRESS"), Some("0.0.0.0"));
    assert_eq!(value(&effective, "MIGRATE_ON_START"), Some("false"));
    assert_eq!(value(&effective, "DATABASE_URL"), Some("(hidden)"));
    assert!(!config.access.trial && !config.http.trial);
    assert!(
        !format!("{config:?}").contains("secret@"),
        "a secret must not be printed by accident"
    );
}

#[test]
fn every_fault_is_named_at_once_and_no_value_is_repeated() {
    let pairs = [
        ("PORT", "eighty-SENTINEL"),
        ("LISTEN_ADDRESS", "SENTINEL"),
        ("BASE_URL", "https://go.example.com/SENTINEL"),
        ("DATABASE_URL", ""),
        ("DATABASE_POOL_SIZE", "0"),
        ("DATABASE_POOLER", "SENTINEL"),
        ("DATABASE_SERVICE_PASSWORD", "SENTINEL"),
        ("ADMIN_API_KEY", "SENTINEL"),
        ("SESSION_COOKIE", "SENTINEL cookie"),
        ("ANONYMOUS_CREATE", "ture-SENTINEL"),
        ("TRUSTED_PROXY_HOPS", "-1"),
        ("SLUG_LENGTH", "4"),
        ("MAX_URL_LENGTH", "32769"),
        ("OWN_HOSTS", "SENTINEL host"),
        ("BLOCKED_DOMAINS", "good.example SENTINEL/path"),
        ("BLOCKED_DOMAINS_FILE", "/nowhere/to/be/SENTINEL"),
        ("SECURITY_CONTACT", "SENTINEL"),
        ("SECURITY_POLICY", "http://SENTINEL.example/"),
        ("SECURITY_LANGUAGES", "SENTINEL!"),
        ("LOG_FORMAT", "xml"),
        ("API_CONCURRENCY", "0"),
        ("METRICS_ADDRESS", "SENTINEL"),
        ("HSTS_SECONDS", "forever-SENTINEL"),
        ("CORS_ORIGINS", "SENTINEL"),
        ("YOURLS_API", "SENTINEL"),
        ("REFERRER_POLICY", "SENTINEL"),
        ("MEMORY_CACHE_MIB", "1048577"),
        ("MEMORY_CACHE_SECONDS", "1.5"),
        ("CLICK_FLUSH_MS", "0"),
        ("CLICK_BUFFER", "0"),
        ("CLICK_RETENTION_DAYS", "0"),
        ("COUNTRY_HEADER", "X SENTINEL"),
        ("PURGE_AFTER_DAYS", "soon-SENTINEL"),
        ("AUDIT_RETENTION_DAYS", "0"),
        ("REDIS_URL", ""),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:SENTINEL"),
        ("OTEL_EXPORTER_OTLP_HEADERS", ""),
        ("OTEL_TRACES_SAMPLER", "SENTINEL"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_RESOURCE_ATTRIBUTES", "SENTINEL"),
        ("REDIS_PASSWORD_FILE", "/nowhere/to/be/found"),
    ];
    let (_, effective) = read(&pairs);
    let faults = effective.unwrap_err();

    for (name, _) in pairs {
        assert!(faults.contains(name), "{name} is not named: {faults}");
    }
    assert!(!faults.contains("SENTINEL"), "{faults}");
    assert!(!faults.contains('\n'), "one line");
}

#[test]
fn a_secret_comes_by_value_or_by_file_and_not_by_both() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"a-key-of-at-least-24-characters\n").unwrap();
    let path = file.path().to_str().unwrap();

    let (config, effective) = read(&[("ADMIN_API_KEY_FILE", path)]);
    assert!(effective.is_ok());
    assert_eq!(
        config.access.admin_api_key.unwrap().expose_secret(),
        "a-key-of-at-least-24-characters"
    );

    let (_, both) = read(&[
        ("ADMIN_API_KEY_FILE", path),
        ("ADMIN_API_KEY", "a-key-of-at-least-24-characters"),
    ]);
    assert!(
        both.unwrap_err()
            .contains("ADMIN_API_KEY and ADMIN_API_KEY_FILE are both set")
    );

    let empty = tempfile::NamedTempFile::new().unwrap();
    let (_, empty) = read(&[("ADMIN_API_KEY_FILE", empty.path().to_str().unwrap())]);
    assert!(
        empty
            .unwrap_err()
            .contains("ADMIN_API_KEY_FILE names an empty file")
    );

    let (_, empty) = read(&[("ADMIN_API_KEY", "")]);
    assert!(empty.unwrap_err().contains("ADMIN_API_KEY is empty"));
}

/// The keys of every example in the repository, and what people type who want to be done.
#[test]
fn a_key_that_can_be_guessed_is_refused() {
    let example = crate::deploy::read("deploy/kubernetes/base/secret.yaml.example");
    let line = example
        .lines()
        .find(|line| line.contains("admin_api_key:"))
        .unwrap();
    let example = line
        .split_once(':')
        .unwrap()
        .1
        .trim()
        .trim_matches('"')
        .to_owned();
    for key in [
        example.as_str(),
        "change-me-change-me-change-me",
        "CHANGEME-to-something-secret",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "123123123123123123123123123123",
        "tiger-lily-tiger-lily-tiger-lily",
    ] {
        let (_, effective) = read(&[("ADMIN_API_KEY", key)]);
        let faults = effective.unwrap_err();
        assert!(faults.contains("ADMIN_API_KEY is too weak"), "{key}: {faults}");
        assert!(!faults.contains(key), "{faults}");
    }
}

#[test]
fn a_database_url_by_file_is_production_too() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"postgres://curtail@db/curtail").unwrap();

    let (config, effective) = read(&[("DATABASE_URL_FILE", file.path().to_str().unwrap())]);

    assert!(effective.is_ok());
    assert!(matches!(config.store.kind, StoreKind::Postgres(_)));
    assert!(!config.http.trial);
}

#[test]
fn cloud_run_does_not_start_on_a_file_that_will_be_lost() {
    let (_, refused) = read(&[("K_SERVICE", "curtail")]);
    assert!(
        refused
            .unwrap_err()
            .contains("DATABASE_URL must be a postgres:// URL on Cloud Run")
    );

    let (_, refused) = read(&[("CLOUD_RUN_JOB", "curtail-migrate")]);
    assert!(refused.unwrap_err().contains("DATABASE_URL"));

    let (_, refused) = read(&[("K_SERVICE", "curtail"), ("DATABASE_URL", "sqlite:/tmp/x.db")]);
    assert!(refused.is_err());

    let (config, allowed) = read(&[("K_SERVICE", "curtail"), ("ALLOW_EPHEMERAL_STORE", "true")]);
    assert!(allowed.is_ok());
    assert!(
        !config.access.trial,
        "a service that the world can reach needs a key"
    );
    assert!(!config.http.trial, "and is asked for by its public name");
    assert!(config.http.address.is_unspecified());

    let (config, good) = read(&[
        ("K_SERVICE", "curtail"),
        ("DATABASE_URL", "postgres://db/curtail"),
    ]);
    let good = good.unwrap();
    assert_eq!(value(&good, "TRUSTED_PROXY_HOPS"), Some("1"));
    assert!(config.links.slugs.refuse_final_z);
}

#[test]
fn trial_mode_cannot_be_opened_to_the_network() {
    let (_, refused) = read(&[("LISTEN_ADDRESS", "0.0.0.0")]);
    assert!(
        refused
            .unwrap_err()
            .contains("LISTEN_ADDRESS must be a loopback address")
    );
}

#[test]
fn the_metrics_endpoint_listens_where_the_service_does_unless_a_setting_says_otherwise() {
    let (same, _) = read(&[("LISTEN_ADDRESS", "127.0.0.3")]);
    let (other, effective) = read(&[("METRICS_ADDRESS", "::1"), ("METRICS_PORT", "9090")]);

    assert_eq!(same.http.metrics_address, same.http.address);
    assert_eq!(other.http.metrics_address.to_string(), "::1");
    assert_eq!(value(&effective.unwrap(), "METRICS_ADDRESS"), Some("::1"));
}

#[test]
fn origins_of_other_pages_are_listed_whole_and_trial_mode_has_no_star() {
    let production = ("DATABASE_URL", "postgres://db/curtail");
    let origins = |value| read(&[production, ("CORS_ORIGINS", value)]);
    let (listed, effective) = origins("https://App.example:443/, chrome-extension://abc");

    assert_eq!(
        listed.http.cors_origins,
        CorsOrigins::Listed(vec![
            "https://app.example".to_owned(),
            "chrome-extension://abc".to_owned()
        ])
    );
    assert_eq!(
        value(&effective.unwrap(), "CORS_ORIGINS"),
        Some("https://app.example,chrome-extension://abc")
    );
    assert_eq!(origins("*").0.http.cors_origins, CorsOrigins::Any);
    for bad in [
        "*, https://app.example",
        "https://*.example",
        "app.example",
        "https://app.example/x",
        "null",
    ] {
        assert!(
            origins(bad).1.unwrap_err().contains("CORS_ORIGINS is not valid"),
            "{bad}"
        );
    }
    assert!(
        read(&[("CORS_ORIGINS", "*")])
            .1
            .unwrap_err()
            .contains("CORS_ORIGINS must not be *")
    );
    assert!(read(&[("CORS_ORIGINS", "http://localhost:5173")]).1.is_ok());
}

#[test]
fn visitors_and_figures_have_a_port_each() {
    let (_, same) = read(&[("METRICS_PORT", "8080")]);
    let (_, wrong) = read(&[("METRICS_PORT", "high")]);
    let (config, two) = read(&[("PORT", "9000"), ("METRICS_PORT", "9090")]);

    assert!(same.unwrap_err().contains("METRICS_PORT must not be PORT"));
    assert!(wrong.unwrap_err().contains("METRICS_PORT is not valid"));
    assert!(two.is_ok());
    assert_eq!(config.http.metrics_port, Some(9090));
}

/// 0 was no limit for a bulk importer, and for wrong keys too.
#[test]
fn wrong_keys_are_never_without_a_limit() {
    let (config, fine) = read(&[("CREATE_RATE_PER_MINUTE", "0")]);
    let (_, none) = read(&[("WRONG_KEY_RATE_PER_MINUTE", "0")]);

    assert!(fine.is_ok());
    assert_eq!(config.limits.wrong_key_per_minute, 30);
    assert!(
        none.unwrap_err()
            .contains("WRONG_KEY_RATE_PER_MINUTE is not valid: a number from 1")
    );
}

#[test]
fn the_example_file_lists_every_setting_with_its_default() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.example")).unwrap();
    let (_, effective) = read(&[]);
    let effective = effective.unwrap();

    let listed: BTreeSet<(String, String)> = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .filter(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        .collect();
    let known: BTreeSet<(String, String)> = effective
        .iter()
        .map(|setting| (setting.name.to_owned(), setting.value.clone().unwrap_or_default()))
        // What the terminal decides.
        .map(|(name, value)| {
            if name == "LOG_FORMAT" {
                (name, "json".to_owned())
            } else {
                (name, value)
            }
        })
        .collect();

    assert_eq!(listed, known);
}

#[test]
fn the_readme_names_every_setting() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, effective) = read(&[]);
    for setting in effective.unwrap() {
        assert!(
            text.contains(&format!("`{}`", setting.name)),
            "{} is not in README.md",
            setting.name
        );
    }
}
