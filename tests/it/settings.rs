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
        ("REDIS_TLS_VERIFY", "SENTINEL"),
        ("OTEL_SDK_DISABLED", "SENTINEL"),
        ("OTEL_TRACES_EXPORTER", "SENTINEL"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
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

/// It was refused, so `docker run` without a database showed an error, or a port that leads nowhere.
#[test]
fn a_trial_that_others_can_reach_needs_a_key() {
    for address in ["0.0.0.0", "::", "192.0.2.7"] {
        let (config, effective) = read(&[("LISTEN_ADDRESS", address)]);

        assert!(effective.is_ok(), "{effective:?}");
        assert!(!config.access.trial && !config.http.trial, "{address}");
        assert_eq!(
            config.access.generated_key.as_deref(),
            Some(Path::new("data/admin-key"))
        );
        assert!(matches!(config.store.kind, StoreKind::Sqlite(path) if path == Path::new("data/curtail.db")));
    }
    let (given, _) = read(&[
        ("LISTEN_ADDRESS", "0.0.0.0"),
        ("ADMIN_API_KEY", "kQ7vX2mZ9pLw4sTn8bRc6yHd"),
    ]);
    assert_eq!(given.access.generated_key, None);
    for others in [
        ("DATABASE_URL", "postgres://db/curtail"),
        ("LISTEN_ADDRESS", "::1"),
        ("K_SERVICE", "curtail"),
    ] {
        let (config, _) = read(&[("LISTEN_ADDRESS", "0.0.0.0"), others]);
        assert_eq!(config.access.generated_key, None, "{others:?}");
    }
}

/// Secret managers keep the line break of an editor or of `echo`. By file it was cut, by environment it was a part of
/// the password, and the database refused it for ever.
#[test]
fn one_line_break_at_the_end_of_a_secret_is_cut_by_environment_as_by_file() {
    for ending in ["", "\n", "\r\n"] {
        let value = |text: &str| format!("{text}{ending}");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(value("file-secret ").as_bytes()).unwrap();
        let (config, effective) = read(&[
            ("DATABASE_URL", &value("postgres://curtail@db/curtail")),
            ("DATABASE_PASSWORD", &value("pass word")),
            ("REDIS_URL", &value("redis://cache")),
            ("REDIS_PASSWORD_FILE", file.path().to_str().unwrap()),
            ("ADMIN_API_KEY", &value("kQ7vX2mZ9pLw4sTn8bRc6yHd")),
            ("OTEL_EXPORTER_OTLP_HEADERS", &value("x-key=v")),
        ]);

        assert!(effective.is_ok(), "{effective:?}");
        let StoreKind::Postgres(postgres) = config.store.kind else {
            panic!("not Postgres")
        };
        let redis = config.cache.redis.unwrap();
        let secrets = [
            (&postgres.url, "postgres://curtail@db/curtail"),
            (postgres.password.as_ref().unwrap(), "pass word"),
            (&redis.url, "redis://cache"),
            (redis.password.as_ref().unwrap(), "file-secret "),
            (
                config.access.admin_api_key.as_ref().unwrap(),
                "kQ7vX2mZ9pLw4sTn8bRc6yHd",
            ),
            (config.traces.headers.as_ref().unwrap(), "x-key=v"),
        ];
        for (secret, wanted) in secrets {
            assert_eq!(secret.expose_secret(), wanted);
        }
    }
}

#[test]
fn a_line_break_within_a_url_or_a_password_is_named_and_not_shown() {
    for name in ["DATABASE_URL", "DATABASE_PASSWORD", "REDIS_URL", "REDIS_PASSWORD"] {
        for value in [
            "SENTINEL\nSENTINEL",
            "SENTINEL\n\n",
            "\nSENTINEL",
            "SENT\u{7}INEL",
        ] {
            let (_, refused) = read(&[(name, value)]);
            let refused = refused.unwrap_err();

            assert!(
                refused.contains(&format!("{name} is not valid: it holds a line break")),
                "{refused}"
            );
            assert!(!refused.contains("SENTINEL"), "{refused}");
        }
    }
}

#[test]
fn a_flag_may_be_written_in_any_case_and_blanks_around_a_value_do_not_count() {
    let (config, effective) = read(&[
        ("YOURLS_API", "True"),
        ("ANONYMOUS_CREATE", " YES "),
        ("PORT", "9000\n"),
        ("BASE_URL", " https://go.example.com "),
    ]);

    assert!(effective.is_ok(), "{effective:?}");
    assert!(config.http.yourls_api && config.access.anonymous_create);
    assert_eq!(config.http.port, 9000);
    assert_eq!(
        config.http.base_url.unwrap().to_string(),
        "https://go.example.com"
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
fn a_variable_that_looks_like_a_setting_and_is_not_read_is_named() {
    let pairs = [
        ("DATABSE_URL", "postgres://SENTINEL@db/x"),
        ("CURTAIL_PORT", "9000"),
        ("SLUG_LENGHT_", ""),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "SENTINEL"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_BSP_SCHEDULE_DELAY", "1000"),
        ("PATH", "/usr/bin"),
        ("HOSTNAME", "web-1"),
        ("LANG", "C.UTF-8"),
        ("REDIS_PORT", "tcp://10.0.0.1:6379"),
    ];
    let mut env = Env::from_pairs(pairs);
    Config::read(&mut env);

    let warnings = env.warnings();

    assert_eq!(
        warnings,
        [
            "CURTAIL_PORT is set and is not a setting: did you mean PORT?",
            "DATABSE_URL is set and is not a setting: did you mean DATABASE_URL?",
            "OTEL_BSP_SCHEDULE_DELAY is set and not honoured",
            "OTEL_EXPORTER_OTLP_COMPRESSION is set and not honoured",
            "OTEL_PROPAGATORS is set and not honoured",
        ]
    );
}

/// Every setting by its own name, and every secret as a file, is read and so has no warning.
#[test]
fn what_is_read_has_no_warning() {
    let (_, effective) = read(&[]);
    let names: Vec<&str> = effective
        .unwrap()
        .into_iter()
        .map(|setting| setting.name)
        .collect();
    let mut env = Env::from_pairs(names.iter().map(|name| (*name, "1")));
    Config::read(&mut env);
    assert_eq!(env.warnings(), Vec::<String>::new());

    let mut env = Env::from_pairs([("DATABASE_URL_FILE", "/x"), ("ADMIN_API_KEY_FILE", "/y")]);
    Config::read(&mut env);
    assert_eq!(env.warnings(), Vec::<String>::new());
}

#[test]
fn traces_are_switched_off_and_led_elsewhere_by_the_variables_of_the_specification() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
    let receiver = |more: (&'static str, &'static str)| {
        let (config, effective) = read(&[endpoint, more]);
        assert!(effective.is_ok(), "{more:?}: {effective:?}");
        config.traces.endpoint.map(|url| url.to_string())
    };

    assert_eq!(receiver(("OTEL_SDK_DISABLED", "True")), None);
    assert_eq!(receiver(("OTEL_TRACES_EXPORTER", "none")), None);
    assert_eq!(
        receiver(("OTEL_TRACES_EXPORTER", "otlp")).as_deref(),
        Some("http://collector:4317/")
    );
    assert_eq!(
        receiver(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4317")).as_deref(),
        Some("http://traces:4317/")
    );
    assert!(receiver(("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")).is_some());
    let (config, _) = read(&[endpoint, ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")]);
    assert_eq!(config.traces.timeout, std::time::Duration::from_millis(2500));

    for name in [
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    ] {
        let (_, refused) = read(&[endpoint, (name, "http/protobuf")]);
        assert!(
            refused
                .unwrap_err()
                .contains(&format!("{name} is not supported: spans are sent by grpc alone"))
        );
        // Nothing is sent, so it does not matter.
        let (_, unused) = read(&[(name, "http/protobuf")]);
        assert!(unused.is_ok());
    }
    let (_, refused) = read(&[("OTEL_TRACES_EXPORTER", "jaeger")]);
    assert!(refused.unwrap_err().contains("OTEL_TRACES_EXPORTER"));
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
