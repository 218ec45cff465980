//! Traces: where they go, and how many.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::Env;

/// The settings of traces.
#[derive(Debug, Clone)]
pub struct Traces {
    /// The receiver of spans, with a scheme, a host and perhaps a port; `None` makes no span at all.
    pub endpoint: Option<Url>,
    /// How long one export may take, with connecting.
    pub timeout: Duration,
    /// Headers of every export, one `name=value` behind the other. They may hold a key.
    pub headers: Option<SecretString>,
    /// A PEM file of the certificate authority that signed the receiver's certificate; `None` is the bundled
    /// public roots.
    pub certificate: Option<PathBuf>,
    /// Which requests have a trace.
    pub sampler: Sampler,
    /// The part of them, from 0 to 1, where the sampler goes by a part.
    pub ratio: f64,
    /// The traces a second of which the sender may decide that they are sampled.
    pub remote_per_second: u32,
    /// What this service is called.
    pub service: String,
    /// Further attributes of this process.
    pub attributes: Vec<(String, String)>,
    /// Whether the receiver is Google's own, which wants a token and the name of a project.
    pub google: bool,
    /// Google Cloud, as far as the environment knows it.
    pub place: CloudPlace,
}

/// Where in Google Cloud this runs.
#[derive(Debug, Clone, Default)]
pub struct CloudPlace {
    /// Whether this is a service or a job of Cloud Run.
    pub cloud_run: bool,
    /// The project's id, if the environment says it.
    pub project: Option<String>,
    /// The service of Cloud Run.
    pub service: Option<String>,
    /// Its revision.
    pub revision: Option<String>,
    /// Host and perhaps port of the metadata server.
    pub metadata_host: String,
}

/// Which requests have a trace: the names of the OpenTelemetry specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// A part, by the trace's id, whatever the sender decided.
    TraceIdRatio,
    /// Those that the sender samples, and all that come without a decision.
    ParentBasedAlwaysOn,
    /// Those that the sender samples.
    ParentBasedAlwaysOff,
    /// Those that the sender samples, and a part of those that come without a decision.
    ParentBasedTraceIdRatio,
}

const SAMPLERS: [(&str, Sampler); 6] = [
    ("always_on", Sampler::AlwaysOn),
    ("always_off", Sampler::AlwaysOff),
    ("traceidratio", Sampler::TraceIdRatio),
    ("parentbased_always_on", Sampler::ParentBasedAlwaysOn),
    ("parentbased_always_off", Sampler::ParentBasedAlwaysOff),
    ("parentbased_traceidratio", Sampler::ParentBasedTraceIdRatio),
];

impl FromStr for Sampler {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        SAMPLERS
            .iter()
            .find_map(|(name, sampler)| (*name == text).then_some(*sampler))
            .ok_or(
                "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or \
                 parentbased_traceidratio",
            )
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = SAMPLERS
            .iter()
            .find_map(|(name, sampler)| (sampler == self).then_some(*name));
        f.write_str(name.unwrap_or_default())
    }
}

impl Traces {
    pub(super) fn read(env: &mut Env, cloud_run: bool) -> Self {
        let endpoint = receiver(env);
        let timeout = Duration::from_millis(env.number_or("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000, 1..=600_000));
        let headers = env.secret("OTEL_EXPORTER_OTLP_HEADERS");
        let certificate = env.text("OTEL_EXPORTER_OTLP_CERTIFICATE").map(PathBuf::from);
        let sampler = env.parsed_or("OTEL_TRACES_SAMPLER", Sampler::ParentBasedTraceIdRatio);
        let ratio = env.parsed_or("OTEL_TRACES_SAMPLER_ARG", 0.01);
        if !(0.0..=1.0).contains(&ratio) {
            env.fault("OTEL_TRACES_SAMPLER_ARG", "is not valid: a number from 0 to 1");
        }
        let remote_per_second = env.number_or("TRACE_REMOTE_PER_SECOND", 10, 0..=1_000_000);
        let (service, revision) = (env.foreign("K_SERVICE"), env.foreign("K_REVISION"));
        let named = env.text("OTEL_SERVICE_NAME");
        let name = named
            .or_else(|| service.clone())
            .unwrap_or_else(|| "curtail".to_owned());
        env.remember("OTEL_SERVICE_NAME", Some(name.clone()));
        let attributes = env.text("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let attributes = pairs(&attributes).unwrap_or_else(|| {
            env.fault(
                "OTEL_RESOURCE_ATTRIBUTES",
                "is not valid: name=value, with commas between several",
            );
            Vec::new()
        });
        Self {
            google: endpoint.as_ref().is_some_and(is_google),
            endpoint,
            timeout,
            headers,
            certificate,
            sampler,
            ratio,
            remote_per_second,
            service: name,
            attributes,
            place: CloudPlace {
                cloud_run,
                project: env.text("GOOGLE_CLOUD_PROJECT"),
                service,
                revision,
                metadata_host: env.parsed_or("GCE_METADATA_HOST", "metadata.google.internal".to_owned()),
            },
        }
    }
}

/// Where spans go, unless they are switched off. What is for traces alone comes before what is for every signal:
/// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
fn receiver(env: &mut Env) -> Option<Url> {
    let mut found = None;
    for name in [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        let Some(text) = env.text(name) else { continue };
        let endpoint = endpoint(&text);
        if endpoint.is_none() {
            env.fault(
                name,
                "is not valid: a scheme, a host and perhaps a port, such as http://localhost:4317; spans are sent by gRPC",
            );
        }
        found = found.or(endpoint);
    }
    let protocols = [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ]
    .map(|name| (name, env.text(name)));
    let exporter = env.text("OTEL_TRACES_EXPORTER");
    if !matches!(exporter.as_deref(), None | Some("otlp" | "none")) {
        env.fault("OTEL_TRACES_EXPORTER", "is not valid: otlp or none");
    }
    let is_off = env.flag_or("OTEL_SDK_DISABLED", false) || exporter.as_deref() == Some("none");
    let found = found.filter(|_| !is_off)?;
    // Without a receiver it does not matter.
    let given = protocols
        .into_iter()
        .find_map(|(name, protocol)| Some((name, protocol?)));
    if let Some((name, protocol)) = given
        && protocol != "grpc"
    {
        env.fault(name, "is not supported: spans are sent by grpc alone");
    }
    Some(found)
}

fn endpoint(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && bare && anonymous).then_some(url)
}

/// Only over TLS: the token is not for anybody on the way.
fn is_google(endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default();
    endpoint.scheme() == "https" && host.ends_with(".googleapis.com")
}

/// `name=value,name=value`, as in the header `Baggage` without properties.
pub fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), decoded(value.trim())))
    };
    text.split(',')
        .filter(|part| !part.trim().is_empty())
        .map(pair)
        .collect()
}

/// Undoes percent-encoding.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, behind @ ..] = rest {
        let byte = match behind {
            [high, low, ..] if *first == b'%' => hexadecimal(*high).zip(hexadecimal(*low)),
            _ => None,
        };
        if let Some((high, low)) = byte {
            bytes.push(high << 4 | low);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::{Sampler, decoded, endpoint, is_google, pairs};

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_a_port() {
        for good in [
            "http://localhost:4317",
            "https://telemetry.googleapis.com",
            "http://[::1]:4317/",
        ] {
            assert!(endpoint(good).is_some(), "{good}");
        }
        for bad in [
            "localhost:4317",
            "http://a/v1/traces",
            "grpc://a",
            "http://u:p@a",
            "http://a?x",
        ] {
            assert!(endpoint(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn only_googles_own_receiver_over_tls_gets_a_token() {
        let google = |text: &str| is_google(&text.parse().unwrap());

        assert!(google("https://telemetry.googleapis.com"));
        assert!(google("https://telemetry.us-central1.rep.googleapis.com"));
        assert!(!google("http://telemetry.googleapis.com"));
        assert!(!google("https://telemetry.googleapis.com.example.org"));
        assert!(!google("https://evilgoogleapis.com"));
    }

    #[test]
    fn attributes_are_pairs_and_may_be_percent_encoded() {
        assert_eq!(
            pairs("team=links, note=a%2Cb%20c"),
            Some(vec![
                ("team".to_owned(), "links".to_owned()),
                ("note".to_owned(), "a,b c".to_owned())
            ])
        );
        assert_eq!(pairs(""), Some(Vec::new()));
        assert_eq!(pairs("team"), None);
        assert_eq!(decoded("50%"), "50%");
    }

    #[test]
    fn a_sampler_is_named_as_the_specification_names_it() {
        let sampler: Sampler = "parentbased_always_off".parse().unwrap();

        assert_eq!(sampler, Sampler::ParentBasedAlwaysOff);
        assert_eq!(sampler.to_string(), "parentbased_always_off");
        assert!("jaeger_remote".parse::<Sampler>().is_err());
    }
}
