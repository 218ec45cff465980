//! Load: `wrk` with a script for each kind of traffic, and `pgbench`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::process::Server;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Traffic {
    /// One link, over and over.
    Hot,
    /// One link, over and over, by `HEAD`: the same work but for the click, which is not counted.
    HotHead,
    /// One slug that no link has.
    Absent,
    /// So many links, each as often as the next.
    Uniform(u32),
    /// The same by `HEAD`.
    UniformHead(u32),
    /// So many links, the n-th one n times less often than the first.
    Zipf(u32),
    /// The same by `HEAD`.
    ZipfHead(u32),
    /// New links.
    Create,
    /// New links, [`BULK`] in each request.
    CreateBulk,
}

/// Links in each request of [`Traffic::CreateBulk`].
pub const BULK: u32 = 1000;

/// What came of one cell: a server under one kind of traffic for a while.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// CPU seconds of the server for 100,000 requests.
    pub cpu: f64,
    pub requests: f64,
}

/// Prints what `parse` reads. Runs once, after the load.
const DONE: &str = r#"
function done(summary, latency, requests)
  print(string.format("CELL %d %d %.1f %.1f %d %d", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
local counter = 0
function setup(thread)
  thread:set("seed", counter)
  counter = counter + 1
end
"#;

impl Traffic {
    fn script(self, key: &str) -> String {
        let rest = match self {
            Self::Hot | Self::HotHead | Self::Absent => format!("wrk.method = \"{}\"\n", self.method()),
            Self::Uniform(links) | Self::UniformHead(links) => format!(
                r#"
local requests = {{}}
function init(args)
  math.randomseed(os.time() * 8 + seed)
  for i = 0, {links} - 1 do requests[i] = wrk.format("{}", string.format("/b%07d", i)) end
end
function request() return requests[math.random(0, {links} - 1)] end
"#,
                self.method()
            ),
            Self::Zipf(links) | Self::ZipfHead(links) => format!(
                r#"
local head, tail
function init(args)
  math.randomseed(os.time() * 8 + seed)
  local whole = wrk.format("{}", "/SLUG")
  local first, last = whole:find("SLUG", 1, true)
  head, tail = whole:sub(1, first - 1), whole:sub(last + 1)
end
function request()
  local rank = math.floor({links} ^ math.random())
  return head .. string.format("b%07d", rank - 1) .. tail
end
"#,
                self.method()
            ),
            Self::Create => format!(
                r#"
local number = 0
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
function request()
  number = number + 1
  local body = string.format('{{"url":"https://example.org/articles/%d-%d?utm_source=bench"}}', seed, number)
  return wrk.format("POST", "/api/v1/links", nil, body)
end
"#
            ),
            Self::CreateBulk => format!(
                r#"
local number = 0
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
function request()
  local links = {{}}
  for i = 1, {BULK} do
    number = number + 1
    links[i] = string.format('{{"url":"https://example.org/articles/%d-%d?utm_source=bench"}}', seed, number)
  end
  return wrk.format("POST", "/api/v1/links/bulk", nil, '{{"links":[' .. table.concat(links, ",") .. "]}}")
end
"#
            ),
        };
        format!("{DONE}{rest}")
    }

    fn method(self) -> &'static str {
        match self {
            Self::HotHead | Self::UniformHead(_) | Self::ZipfHead(_) => "HEAD",
            _ => "GET",
        }
    }

    /// Whether it leaves so many different clicks that storing them takes longer than the load.
    pub fn leaves_clicks(self) -> bool {
        matches!(self, Self::Uniform(links) | Self::Zipf(links) if links > 1_000)
    }

    fn path(self) -> &'static str {
        match self {
            Self::Absent => "/never-made",
            _ => "/b0000000",
        }
    }
}

/// Runs loads. Its scripts are in a folder of its own.
pub struct Loader {
    pub folder: PathBuf,
    pub key: String,
}

impl Loader {
    /// Loads `server` from `connections` connections for so many seconds.
    pub fn run(&self, server: &Server, traffic: Traffic, connections: u32, seconds: u32) -> Result<Cell> {
        let script = self.folder.join("traffic.lua");
        std::fs::write(&script, traffic.script(&self.key))?;
        let before = server.cpu_seconds()?;
        let output = Command::new("wrk")
            .args([
                &format!("-t{}", connections.min(2)),
                &format!("-c{connections}"),
                &format!("-d{seconds}s"),
                "-s",
            ])
            .arg(&script)
            .arg(format!("http://127.0.0.1:{}{}", server.port, traffic.path()))
            .output()
            .map_err(|err| format!("wrk cannot be run: {err}"))?;
        let cpu = server.cpu_seconds()? - before;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<f64> = text
            .lines()
            .find_map(|line| line.strip_prefix("CELL "))
            .unwrap_or_default()
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        let [requests, micros, p50_us, p99_us, refused, broken] = numbers[..] else {
            return Err(format!("wrk said: {text}{}", String::from_utf8_lossy(&output.stderr)).into());
        };
        let expected = if matches!(traffic, Traffic::Absent) {
            requests
        } else {
            0.0
        };
        if refused != expected || broken > 0.0 {
            eprintln!("bench: {traffic:?}: {refused} of {requests} answers were refusals, {broken} broken");
        }
        // A row whose answers are wrong measures nothing. A few may fail while a limit is reached.
        if (refused - expected).abs() > (requests / 1000.0).max(1.0) {
            return Err(format!("{traffic:?}: {refused} of {requests} answers had the wrong status").into());
        }
        Ok(Cell {
            per_second: requests / micros * 1e6,
            p50_us,
            p99_us,
            cpu: cpu / requests * 1e5,
            requests,
        })
    }

    /// The service's own insert, by `pgbench`. Each link has a target of its own, as the service's have: the
    /// indexes that search them are a good part of what an insert costs.
    pub fn insert(&self, postgres: &Path, database: &str, connections: u32, seconds: u32) -> Result<f64> {
        const INSERT: &str = "\\set number random(1, 2000000000)\nINSERT INTO links (slug, revision, target, title, tags, redirect_status, cache_seconds, \
            forward_query, valid_from, expires_at, max_clicks, disabled, updated_at, clicks, created_at) \
            VALUES (substr(md5(random()::text), 1, 16), next_revision(0), \
            'https://example.org/articles/' || (:number)::text || '?utm_source=bench', NULL, '{}', 302, NULL, false, NULL, NULL, NULL, false, \
            now(), 0, now()) ON CONFLICT (slug) DO NOTHING RETURNING revision;\n";
        let script = self.folder.join("insert.sql");
        std::fs::write(&script, INSERT)?;
        let output = Command::new(postgres.join("pgbench"))
            .args(["-n", "-M", "prepared", "-j", "2", "-c", &connections.to_string()])
            .args(["-T", &seconds.to_string(), "-f"])
            .arg(&script)
            .arg(database)
            .output()
            .map_err(|err| format!("pgbench cannot be run: {err}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .find_map(|line| line.strip_prefix("tps = "))
            .and_then(|rest| rest.split(' ').next())
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| format!("pgbench said: {text}{}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// The number that SQL gives.
pub fn number(postgres: &Path, database: &str, text: &str) -> Result<f64> {
    let said = psql(postgres, database, text)?;
    said.trim()
        .parse()
        .map_err(|_| format!("psql said no number: {said}").into())
}

/// Runs SQL as the owner of the database.
pub fn sql(postgres: &Path, database: &str, text: &str) -> Result<()> {
    psql(postgres, database, text).map(drop)
}

fn psql(postgres: &Path, database: &str, text: &str) -> Result<String> {
    let output = Command::new(postgres.join("psql"))
        .args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-c",
            text,
        ])
        .output()
        .map_err(|err| format!("psql cannot be run: {err}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("psql said: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// Waits until what a load left to be stored is stored: the next one shall not pay for it. Clicks wait for a second at
/// the most before they are sent.
pub fn settle(postgres: &Path, database: &str) -> Result<()> {
    let wait = "DO $$
        DECLARE
            quiet integer := 0;
        BEGIN
            PERFORM pg_sleep(1.1);
            FOR turn IN 1..300 LOOP
                PERFORM pg_stat_clear_snapshot();
                quiet := CASE WHEN EXISTS (
                    SELECT FROM pg_stat_activity
                    WHERE backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()
                ) THEN 0 ELSE quiet + 1 END;
                EXIT WHEN quiet = 3;
                PERFORM pg_sleep(0.03);
            END LOOP;
        END $$";
    sql(postgres, database, wait)
}
