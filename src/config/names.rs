//! Names of variables that are set and that no setting reads: misspelt settings, and what OpenTelemetry's specification
//! defines and this program does not honour.

/// Edits that make a near miss of a name with [`SHORT`] characters or more; shorter names allow one.
const EDITS: usize = 2;
const SHORT: usize = 9;

/// What the variables of OpenTelemetry begin with.
const OTEL: &str = "OTEL_";

/// A sentence for each variable of `set` (name and value) that is not read and that looks as if it were meant to be.
/// `settings` are the names of all settings, and `secrets` those of the ones that files may hold. No value is repeated.
pub(super) fn warnings<'a>(
    set: impl Iterator<Item = (&'a str, &'a str)>,
    settings: &[&str],
    secrets: &[&str],
) -> Vec<String> {
    let files = secrets.iter().map(|name| format!("{name}_FILE"));
    let known: Vec<String> = settings
        .iter()
        .map(|name| (*name).to_owned())
        .chain(files)
        .collect();
    set.filter(|(name, value)| !known.iter().any(|known| known == name) && !is_of_kubernetes(name, value))
        .filter_map(|(name, _)| warning(name, settings, &known))
        .collect()
}

fn warning(name: &str, settings: &[&str], known: &[String]) -> Option<String> {
    if name
        .strip_suffix("_FILE")
        .is_some_and(|stem| settings.contains(&stem))
    {
        return Some(format!(
            "{name} is set and not honoured: only secrets are read from files"
        ));
    }
    if let Some(meant) = near_miss(name, known) {
        return Some(format!(
            "{name} is set and is not a setting: did you mean {meant}?"
        ));
    }
    name.starts_with(OTEL)
        .then(|| format!("{name} is set and not honoured"))
}

/// Kubernetes sets `CURTAIL_PORT` and others in every pod beside a Service called `curtail`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    name.starts_with("CURTAIL_") && (value.starts_with("tcp://") || name.contains("_SERVICE_"))
}

/// The name that `name` almost is: in another case, with dashes, behind the program's name, or a few edits off.
fn near_miss<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    let bare = upper.strip_prefix("CURTAIL_").unwrap_or(&upper);
    let allowed = if bare.len() < SHORT { 1 } else { EDITS };
    known
        .iter()
        .map(|known| (strsim::osa_distance(bare, known), known.as_str()))
        .min()
        .filter(|(edits, _)| *edits <= allowed)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::warnings;

    const SETTINGS: &[&str] = &[
        "PORT",
        "DATABASE_URL",
        "BLOCKED_DOMAINS",
        "BLOCKED_DOMAINS_FILE",
        "OTEL_SERVICE_NAME",
    ];

    fn warned(name: &str, value: &str) -> Option<String> {
        warnings([(name, value)].into_iter(), SETTINGS, &["DATABASE_URL"]).pop()
    }

    #[test]
    fn a_near_miss_names_the_setting_that_was_meant() {
        for (name, meant) in [
            ("DATABSE_URL", "DATABASE_URL"),
            ("DATABASE_URI", "DATABASE_URL"),
            ("database_url", "DATABASE_URL"),
            ("DATABASE-URL", "DATABASE_URL"),
            ("CURTAIL_DATABASE_URL", "DATABASE_URL"),
            ("DATABSE_URL_FILE", "DATABASE_URL_FILE"),
            ("PROT", "PORT"),
            ("BLOCKED_DOMAIN_FILE", "BLOCKED_DOMAINS_FILE"),
            ("OTEL_SERVICENAME", "OTEL_SERVICE_NAME"),
        ] {
            let warned = warned(name, "SENTINEL").unwrap_or_default();

            assert!(
                warned.contains(&format!("did you mean {meant}?")),
                "{name}: {warned}"
            );
            assert!(!warned.contains("SENTINEL"), "{warned}");
        }
    }

    #[test]
    fn what_other_programs_use_and_what_is_read_has_no_warning() {
        for name in [
            "PATH",
            "HOST",
            "HOME",
            "POSTGRES_URL",
            "DATABASE_USER",
            "DATABASE_URL_FILE",
            "BLOCKED_DOMAINS_FILE",
            "PORT",
        ] {
            assert_eq!(warned(name, "x"), None, "{name}");
        }
        assert_eq!(warned("CURTAIL_PORT", "tcp://10.0.0.1:80"), None);
        assert_eq!(warned("CURTAIL_SERVICE_PORT", "80"), None);
    }

    #[test]
    fn a_variable_of_opentelemetry_or_a_file_that_is_not_honoured_is_named() {
        assert_eq!(
            warned("OTEL_BSP_MAX_QUEUE_SIZE", "4096").as_deref(),
            Some("OTEL_BSP_MAX_QUEUE_SIZE is set and not honoured")
        );
        assert_eq!(
            warned("PORT_FILE", "/run/port").as_deref(),
            Some("PORT_FILE is set and not honoured: only secrets are read from files")
        );
    }
}
