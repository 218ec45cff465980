//! Google Cloud's side of telemetry: who and where this process is, and its leave to send spans to Google.
//!
//! It does what a crate `opentelemetry-gcp` would do, which does not exist: the metadata server is asked in plain
//! HTTP, and only when something is to be sent.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use opentelemetry::KeyValue;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::CloudPlace;

/// How long the metadata server may take. It answers within milliseconds, but a token may take it longer.
const ASK: Duration = Duration::from_secs(2);
/// The longest pause between two questions for the project.
const SLOWEST: Duration = Duration::from_secs(60);
/// The metadata server gives the same token until five minutes before its end: then there is a new one.
const BEFORE_THE_END: Duration = Duration::from_secs(300);
/// A token has about a thousand bytes.
const LONGEST: u64 = 64 * 1024;

const QUOTA_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

/// The metadata server of Google Cloud, and what it said.
#[derive(Debug)]
pub struct Metadata {
    place: CloudPlace,
    project: OnceLock<String>,
    region: OnceLock<String>,
    instance: OnceLock<String>,
    token: Mutex<Option<Token>>,
}

#[derive(Debug, Clone)]
struct Token {
    text: SecretString,
    renew: Instant,
}

impl Metadata {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(place: &CloudPlace) -> Self {
        Self {
            project: place.project.clone().map_or_else(OnceLock::new, OnceLock::from),
            place: place.clone(),
            region: OnceLock::new(),
            instance: OnceLock::new(),
            token: Mutex::default(),
        }
    }

    /// The project's id, if it is known by now.
    #[must_use]
    pub fn known_project(&self) -> Option<&str> {
        self.project.get().map(String::as_str)
    }

    /// Service and revision of Cloud Run, for error reports.
    #[must_use]
    pub fn service(&self) -> (&str, Option<&str>) {
        let service = self.place.service.as_deref().unwrap_or("curtail");
        (service, self.place.revision.as_deref())
    }

    /// The project's id, asked for if need be.
    pub async fn project(&self) -> Result<&str, String> {
        self.learn(&self.project, "project/project-id").await
    }

    /// Asks for the project's id until it is known.
    pub async fn find_project(&self) {
        let mut pause = ASK;
        while self.project().await.is_err() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SLOWEST);
        }
    }

    /// What OpenTelemetry calls this process, as far as it can be learnt now:
    /// <https://opentelemetry.io/docs/specs/semconv/resource/cloud-provider/gcp/cloud-run/>.
    pub async fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = Vec::new();
        if self.place.cloud_run {
            attributes.push(KeyValue::new("cloud.provider", "gcp"));
            attributes.push(KeyValue::new("cloud.platform", "gcp_cloud_run"));
            // projects/NUMBER/regions/REGION
            if let Ok(region) = self.learn(&self.region, "instance/region").await {
                let region = region.rsplit('/').next().unwrap_or_default().to_owned();
                attributes.push(KeyValue::new("cloud.region", region));
            }
            if let Ok(instance) = self.learn(&self.instance, "instance/id").await {
                attributes.push(KeyValue::new("faas.instance", instance.to_owned()));
            }
            let names = [
                ("faas.name", &self.place.service),
                ("faas.version", &self.place.revision),
            ];
            for (key, name) in names {
                attributes.extend(name.clone().map(|name| KeyValue::new(key, name)));
            }
            let _ = self.project().await;
        }
        if let Some(project) = self.known_project() {
            attributes.push(KeyValue::new("cloud.account.id", project.to_owned()));
            attributes.push(KeyValue::new("gcp.project_id", project.to_owned()));
        }
        attributes
    }

    /// The headers that Google's receiver wants: a token of this process' service account, and the project that the
    /// quota is taken from.
    pub async fn authorization(&self) -> Result<HeaderMap, String> {
        let token = self.token().await?;
        let project = self.project().await?;
        let bearer = format!("Bearer {}", token.expose_secret());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|_| "the token is no token")?;
        bearer.set_sensitive(true);
        let project = HeaderValue::try_from(project).map_err(|_| "the project's id is no id")?;
        Ok(HeaderMap::from_iter([
            (header::AUTHORIZATION, bearer),
            (QUOTA_PROJECT, project),
        ]))
    }

    /// Asks for a new token the next time: this one was refused.
    pub fn forget_token(&self) {
        *self.token.lock() = None;
    }

    /// A token that is good for a while. It is renewed when it is wanted and not by a timer, which a process without
    /// CPU between its requests would miss.
    async fn token(&self) -> Result<SecretString, String> {
        let kept = self.token.lock().clone();
        if let Some(token) = kept.filter(|token| Instant::now() < token.renew) {
            return Ok(token.text);
        }
        let answer = self.ask("instance/service-accounts/default/token").await?;
        let answer: serde_json::Value =
            serde_json::from_str(&answer).map_err(|_| "the metadata server gave no token")?;
        let (Some(text), Some(seconds)) = (answer["access_token"].as_str(), answer["expires_in"].as_u64())
        else {
            return Err("the metadata server gave no token".to_owned());
        };
        let good_for = Duration::from_secs(seconds).saturating_sub(BEFORE_THE_END);
        let token = Token {
            text: SecretString::from(text),
            renew: Instant::now() + good_for,
        };
        *self.token.lock() = Some(token.clone());
        Ok(token.text)
    }

    async fn learn<'a>(&self, place: &'a OnceLock<String>, path: &str) -> Result<&'a str, String> {
        if let Some(known) = place.get() {
            return Ok(known);
        }
        let answer = self.ask(path).await?;
        Ok(place.get_or_init(|| answer.trim().to_owned()))
    }

    async fn ask(&self, path: &str) -> Result<String, String> {
        let answer = timeout(ASK, self.get(path)).await;
        let answer = answer.map_err(|_| "the metadata server did not answer in time")?;
        let answer = answer.map_err(|err| format!("the metadata server cannot be reached: {err}"))?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or("the metadata server's answer is not HTTP")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != "200" {
            return Err(format!("the metadata server answered {status} for {path}"));
        }
        Ok(body.to_owned())
    }

    /// HTTP/1.0, so that the answer ends with the connection and is in one piece.
    async fn get(&self, path: &str) -> std::io::Result<String> {
        let host = self.place.metadata_host.as_str();
        let mut stream = if host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        {
            TcpStream::connect(host).await?
        } else {
            TcpStream::connect((host, 80)).await?
        };
        let request = format!(
            "GET /computeMetadata/v1/{path} HTTP/1.0\r\nHost: {host}\r\nMetadata-Flavor: Google\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LONGEST).read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

/// Outside of Google Cloud.
impl Default for Metadata {
    fn default() -> Self {
        Self::new(&CloudPlace::default())
    }
}
