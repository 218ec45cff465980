//! Measures the service against the least that could do the same, and prints ratios within one run.
//!
//! `scripts/bench` builds it and runs it with private servers; see there for how to call it.

#![expect(unreachable_pub, reason = "a program exports nothing")]

mod compare;
mod hits;
mod links;
mod load;
mod overload;
mod process;
mod prometheus;
mod report;
mod resources;

use std::path::{Path, PathBuf};

use load::{Cell, Loader, Traffic, settle, sql};
use process::Server;
use report::{Report, is_clear};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Links of the rows that look up in Redis or PostgreSQL. Many more than wrk has connections, so that look-ups do not
/// coincide; and no more, so that what is measured is the look-up, and not PostgreSQL storing clicks of many links on
/// the same cores. `EVEN` and `MIX` have that.
const FEW: u32 = 1_000;
/// Links of the row that draws evenly from more.
const EVEN: u32 = 10_000;
/// Links of the row that fills the memory cache to its default size.
const FULL: u32 = 100_000;
const MIX: u32 = 1_000_000;
/// The most rounds of a row whose rounds do not agree on whether it meets its target.
const MOST_ROUNDS: usize = 31;
/// Connections for reads that the default `DATABASE_POOL_SIZE` of 4 leaves.
const READERS: u32 = 2;

/// What is measured: its name, the server, and what it is asked for.
type Row<'a> = (&'a str, &'a Server, Traffic);

/// How much a server is asked for.
#[derive(Debug, Clone, Copy)]
struct Load {
    connections: u32,
    seconds: u32,
}

/// A row and what it is compared with, a round each.
struct Pair<'a> {
    row: Row<'a>,
    base: Row<'a>,
    cells: Vec<Cell>,
    base_cells: Vec<Cell>,
    load: Load,
}

impl<'a> Pair<'a> {
    /// Two of the rows that were measured in turns.
    fn of(rows: &[Row<'a>], cells: &[Vec<Cell>], at: usize, base: usize, load: Load) -> Self {
        Self {
            row: rows[at],
            base: rows[base],
            cells: cells[at].clone(),
            base_cells: cells[base].clone(),
            load,
        }
    }
}

/// What to measure with.
struct Bench {
    curtail: PathBuf,
    /// Another build of the service, to compare with.
    other: Option<PathBuf>,
    bare: PathBuf,
    postgres: PathBuf,
    database: String,
    redis: String,
    loader: Loader,
    rounds: usize,
    seconds: u32,
    overload_seconds: u32,
}

fn main() -> Result<()> {
    let sections: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str, by_default: bool| {
        sections.iter().any(|section| section == name) || (sections.is_empty() && by_default)
    };
    let bench = Bench::read()?;
    let mut report = Report::new(&bench.curtail, bench.rounds, bench.seconds);
    bench.prepare(&wanted)?;
    // First: what loads leave to the database, it does beside the starts.
    if wanted("start", true) {
        bench.start(&mut report)?;
    }
    if wanted("rate", true) {
        bench.rate(64, &mut report)?;
        bench.rate(8, &mut report)?;
    }
    if wanted("clicks", true) {
        bench.clicks(&mut report)?;
    }
    if wanted("overload", false) {
        bench.overload(&mut report)?;
    }
    if wanted("metrics", false) {
        bench.metrics(&mut report)?;
    }
    if wanted("compare", false) {
        bench.compare(&mut report)?;
    }
    if wanted("create", true) {
        bench.create(&mut report)?;
    }
    if wanted("memory", true) {
        bench.memory(&mut report)?;
    }
    if wanted("traces", false) {
        bench.traces(&mut report)?;
    }
    if wanted("concurrency", false) {
        bench.concurrency(&mut report)?;
    }
    if wanted("growth", false) {
        bench.growth(&mut report)?;
    }
    report.print()
}

impl Bench {
    fn read() -> Result<Self> {
        let set = |name: &str| std::env::vars().find_map(|(key, value)| (key == name).then_some(value));
        let needed = |name: &str| set(name).ok_or_else(|| format!("{name} is unset: scripts/bench sets it"));
        let number = |name: &str, default: u32| {
            set(name).map_or(Ok(default), |text| {
                text.parse().map_err(|_| format!("{name} is no number"))
            })
        };
        let folder = std::env::temp_dir().join(format!("curtail-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let built = PathBuf::from(needed("BENCH_BUILT")?);
        Ok(Self {
            curtail: built.join("curtail"),
            other: set("BENCH_OTHER").map(PathBuf::from),
            bare: built.join("examples/bare"),
            postgres: needed("TEST_POSTGRES_BIN")?.into(),
            database: needed("TEST_DATABASE_URL")?,
            redis: needed("TEST_REDIS_URL")?,
            loader: Loader {
                folder,
                key: "a-key-for-benchmarks-alone".to_owned(),
            },
            rounds: usize::try_from(number("BENCH_ROUNDS", 5)?)?.max(1),
            seconds: number("BENCH_SECONDS", 1)?.max(1),
            overload_seconds: number("BENCH_OVERLOAD_SECONDS", 60)?.max(1),
        })
    }

    fn prepare(&self, wanted: &impl Fn(&str, bool) -> bool) -> Result<()> {
        let links = if wanted("rate", true) || wanted("memory", true) {
            MIX
        } else {
            EVEN
        };
        eprintln!("bench: making {links} links");
        self.command(&self.database, &["migrate"])?;
        self.fill(&self.database, links)
    }

    fn command(&self, database: &str, arguments: &[&str]) -> Result<()> {
        run(&self.curtail, database, arguments)
    }

    /// Waits until the clicks of a load on `server` are stored, and sums them by value: the service would do that ten
    /// seconds later, in the middle of another row.
    fn settle(&self, server: &Server) -> Result<()> {
        settle(&self.postgres, &self.database)?;
        self.command(&server.database, &["worker", "--once"])
    }

    fn fill(&self, database: &str, links: u32) -> Result<()> {
        self.fill_with(database, links, "'?utm_source=bench'")
    }

    /// So many links, the end of whose destination URLs is the SQL expression `tail`.
    fn fill_with(&self, database: &str, links: u32, tail: &str) -> Result<()> {
        let insert = format!(
            "INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at)
            SELECT 'b' || lpad(i::text, 7, '0'), next_revision(0),
                'https://example.org/articles/' || i || {tail}, '{{}}', 302, false, false, now(), now()
            FROM generate_series(0, {links} - 1) AS i"
        );
        sql(&self.postgres, database, &insert)?;
        sql(&self.postgres, database, "VACUUM (ANALYZE) links")?;
        sql(&self.postgres, database, "CHECKPOINT").or(Ok(()))
    }

    /// A database of its own for links that no other row sees: a schema, migrated.
    fn schema(&self, name: &str) -> Result<String> {
        self.schema_of(&self.curtail, name)
    }

    fn schema_of(&self, program: &Path, name: &str) -> Result<String> {
        sql(&self.postgres, &self.database, &format!("CREATE SCHEMA {name}"))?;
        let separator = if self.database.contains('?') { '&' } else { '?' };
        let database = format!("{}{separator}options=-csearch_path%3D{name}", self.database);
        run(program, &database, &["migrate"])?;
        Ok(database)
    }

    /// The service with all defaults but `more`.
    fn service(&self, database: &str, more: &[(&str, &str)]) -> Result<Server> {
        self.service_of(&self.curtail, database, more)
    }

    fn service_of(&self, program: &Path, database: &str, more: &[(&str, &str)]) -> Result<Server> {
        // One address sends all the load: its budget of new links and of unknown slugs would be gone at once.
        let mut environment = vec![
            ("DATABASE_URL", database),
            ("ADMIN_API_KEY", &self.loader.key),
            ("CREATE_RATE_PER_MINUTE", "0"),
            ("MISS_RATE_PER_MINUTE", "0"),
        ];
        environment.extend_from_slice(more);
        let mut server = Server::start(program, &["serve"], &environment)?;
        server.await_answer("/b0000000", "302")?;
        Ok(server)
    }

    fn bare(&self, mode: &str) -> Result<Server> {
        let readers = READERS.to_string();
        let environment = [
            ("DATABASE_URL", self.database.as_str()),
            ("REDIS_URL", &self.redis),
            ("CONNECTIONS", &readers),
        ];
        let mut server = Server::start(&self.bare, &["{PORT}", mode], &environment)?;
        server.await_answer("/b0000000", "302")?;
        Ok(server)
    }

    /// So many connections, for the usual time.
    fn load(&self, connections: u32) -> Load {
        Load {
            connections,
            seconds: self.seconds,
        }
    }

    /// One cell. What its clicks leave to do is done before the next one.
    fn cell(&self, row: Row<'_>, load: Load) -> Result<Cell> {
        let (name, server, traffic) = row;
        let cell = self
            .loader
            .run(server, traffic, load.connections, load.seconds)
            .map_err(|err| format!("{name}: {err}"))?;
        if traffic.leaves_clicks() {
            self.settle(server)?;
        }
        Ok(cell)
    }

    /// Every cell in every round; answers the cells of each row, a round each.
    fn rounds(&self, rows: &[Row<'_>], load: Load) -> Result<Vec<Vec<Cell>>> {
        let mut cells = vec![Vec::new(); rows.len()];
        for round in 1..=self.rounds {
            eprintln!(
                "bench: {} connections, round {round} of {}",
                load.connections, self.rounds
            );
            for (row, cells) in rows.iter().zip(&mut cells) {
                cells.push(self.cell(*row, load)?);
            }
        }
        Ok(cells)
    }

    /// The ratios of a pair, with more rounds until they agree on `target`.
    fn ratios(&self, pair: &mut Pair<'_>, of: fn(&Cell) -> f64, target: f64) -> Result<Vec<f64>> {
        let ratio = |cells: (&Cell, &Cell)| of(cells.0) / of(cells.1);
        let mut values = pair.cells.iter().zip(&pair.base_cells).map(ratio).collect();
        let load = pair.load;
        agree(pair.row.0, target, &mut values, || {
            let base = self.cell(pair.base, load)?;
            let cell = self.cell(pair.row, load)?;
            pair.base_cells.push(base);
            pair.cells.push(cell);
            Ok(ratio((&cell, &base)))
        })?;
        Ok(values)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.loader.folder);
    }
}

/// Runs a command of a build to its end.
fn run(program: &Path, database: &str, arguments: &[&str]) -> Result<()> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", database)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let (log, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Err(format!("curtail {} failed:\n{log}{error}", arguments.join(" ")).into())
}

/// More rounds of a figure, until they agree on whether it meets its target.
fn agree(
    name: &str,
    target: f64,
    values: &mut Vec<f64>,
    mut round: impl FnMut() -> Result<f64>,
) -> Result<()> {
    while values.len() < MOST_ROUNDS && !is_clear(values, target) {
        eprintln!("bench: {name}, round {}", values.len() + 1);
        values.push(round()?);
    }
    Ok(())
}

/// The file name of a path, for messages.
fn name(path: &Path) -> String {
    path.display().to_string()
}
