//! Instances come and go.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::super::bed::Ground;
use super::super::client::Client;
use super::super::instance::{Instance, command};
use super::super::ledger::{Entry, Kind};
use super::super::load::{HOT, Load, Traffic, slug, visit};
use super::super::proxy::Proxy;
use super::super::report::{Check, text};
use super::super::servers::{Postgres, Redis};
use super::{ALL, LINKS, USED, all_302, millis, none_wrong, pause, settle_creates, warm_bed};

/// A router as sites have one: haproxy, which tries a request on another server if one gave no answer.
struct Router {
    child: Child,
    folder: TempDir,
    client: Arc<Client>,
}

impl Router {
    async fn before(instances: &[Instance]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let socket = folder.path().join("admin.sock");
        let mut servers = String::new();
        for (number, instance) in instances.iter().enumerate() {
            servers += &format!("    server s{number} {} check\n", instance.client.address);
        }
        let configuration = format!(
            "global\n    stats socket {} level admin\n    maxconn 4000\ndefaults\n    mode http\n    timeout connect 1s\n    timeout check 2s\n\
             \x20   timeout client 30s\n    timeout server 30s\n    retries 3\n    option redispatch 1\n\
             \x20   retry-on conn-failure empty-response\n    default-server inter 100ms fall 2 rise 1\n\
             frontend all\n    bind 127.0.0.1:{port}\n    default_backend curtail\n\
             backend curtail\n    balance roundrobin\n    option httpchk GET /health/ready\n{servers}",
            socket.display()
        );
        let path = folder.path().join("haproxy.cfg");
        std::fs::write(&path, configuration).unwrap();
        let child = Command::new("haproxy")
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
            .args(["-db", "-q", "-f"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is installed: scripts/rig does it");
        let client = Arc::new(Client::new(([127, 0, 0, 1], port).into()));
        let deadline = Instant::now() + Duration::from_secs(10);
        while client.get("/health/ready").await.map(|answer| answer.status) != Ok(200) {
            assert!(Instant::now() < deadline, "haproxy does not answer");
            pause(millis(20)).await;
        }
        Self {
            child,
            folder,
            client,
        }
    }

    fn tell(&self, command: &str) {
        let mut socket = UnixStream::connect(self.folder.path().join("admin.sock")).unwrap();
        socket.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = std::io::Read::read_to_string(&mut socket, &mut answer);
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two instances behind haproxy, which sends nothing to one that is not ready. Both lose Postgres at one moment.
pub async fn probed(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = warm_bed(&ground, 2).await;
    let router = Router::before(&bed.instances).await;
    let load = Load::start(&[Arc::clone(&router.client)], Traffic::common(200.0));
    pause(scale.seconds(3, 1)).await;

    ground.postgres.kill().await;
    let down = Instant::now();
    pause(scale.seconds(60, 5)).await;
    let up = Instant::now();
    ground.postgres.boot().await;
    ground.postgres.answers().await;
    pause(scale.seconds(5, 2)).await;
    let ledger = load.stop().await;

    let dark = ledger.within(USED, down, up);
    vec![
        all_302("links used within the last hour, while Postgres is gone", &dark),
        none_wrong(&ledger),
    ]
}

pub async fn rolling(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let mut bed = warm_bed(&ground, 2).await;
    let router = Router::before(&bed.instances).await;
    let load = Load::start(
        &[Arc::clone(&router.client)],
        Traffic::common(scale.pick(500.0, 150.0)),
    );
    pause(scale.seconds(3, 1)).await;
    let mut codes = Vec::new();
    for round in 0..scale.pick(5, 2) {
        let number = round % 2;
        router.tell(&format!("set server curtail/s{number} state drain"));
        pause(millis(300)).await;
        codes.push(replace(&mut bed, &router, number).await);
        pause(scale.seconds(2, 1)).await;
    }
    let surprise = Instant::now();
    for number in 0..2 {
        codes.push(replace(&mut bed, &router, number).await);
        pause(scale.seconds(2, 1)).await;
    }
    let ledger = load.stop().await;

    let planned = ledger.within(ALL, ledger.began, surprise);
    let sudden = ledger.within(LINKS, surprise, Instant::now());
    let failed = |what: &str, chosen: &super::Selection| {
        let failed = chosen.count(Entry::is_error);
        let figure = match failed {
            0 => format!("0 of {}", chosen.len()),
            _ => format!("{failed} of {}: {}", chosen.len(), chosen.outcomes()),
        };
        Check::that(what, "0", &figure, failed == 0 && chosen.len() > 0)
    };
    let mut checks = vec![
        failed("failed requests, drained first", &planned),
        failed("failed redirects, SIGTERM without a word to the router", &sudden),
        none_wrong(&ledger),
        Check::exactly(
            "exit code 0",
            codes.len(),
            codes.iter().filter(|&&code| code == Some(0)).count(),
        ),
        Check::at_most("p99 of redirects", millis(60), planned.p99()),
    ];
    let client = Arc::clone(&bed.instances[0].client);
    checks.extend(settle_creates(&bed, &client, &ledger).await);
    checks
}

/// Stops an instance and puts a new one in its place.
async fn replace(bed: &mut super::Bed, router: &Router, number: usize) -> Option<i32> {
    bed.instances[number].signal(Signal::TERM);
    let code = bed.instances[number].ended(Duration::from_secs(12)).await;
    let next = bed.start_instance().await;
    let port = next.client.address.port();
    router.tell(&format!(
        "set server curtail/s{number} addr 127.0.0.1 port {port}"
    ));
    router.tell(&format!("set server curtail/s{number} state ready"));
    bed.instances[number] = next;
    code
}

/// What Cloud Run does between requests: the instance has no CPU.
pub async fn without_cpu(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = warm_bed(&ground, 1).await;
    let client = Arc::clone(&bed.instances[0].client);
    let clicks = "SELECT coalesce(sum(clicks), 0)::bigint FROM links";
    let clicked = |ledger: &super::Ledger| ledger.select(|entry| entry.is(302)).len();
    // Those of the warming are stored first.
    pause(Duration::from_secs(2)).await;
    let before = bed.number(clicks).await;
    let mut redirects = 0;
    let mut first = Vec::new();
    let mut errors = 0;
    for _ in 0..scale.pick(3, 2) {
        let load = Load::start(
            &bed.clients(),
            Traffic {
                rate: 200.0,
                shares: [90, 10, 0, 0, 0],
            },
        );
        pause(scale.seconds(3, 1)).await;
        let ledger = load.stop().await;
        redirects += clicked(&ledger);
        errors += ledger.select(Entry::is_error).len();
        bed.instances[0].signal(Signal::STOP);
        pause(scale.seconds(20, 6)).await;
        bed.instances[0].signal(Signal::CONT);
        let ledger = super::Ledger::default();
        visit(&client, Kind::Hot, 0, Instant::now(), &ledger).await;
        redirects += clicked(&ledger);
        errors += ledger.select(|entry| !entry.is(302)).len();
        first.push(ledger.select(|_| true).longest());
    }
    pause(Duration::from_secs(3)).await;
    let counted = bed.number(clicks).await - before;
    vec![
        Check::exactly("errors", 0, errors),
        Check::that(
            "clicks in the database",
            &format!("{redirects}, the redirects answered"),
            &counted.to_string(),
            usize::try_from(counted) == Ok(redirects),
        ),
        Check::at_most(
            "first redirect after the thaw, the longest",
            millis(500),
            first.into_iter().max().unwrap_or_default(),
        ),
    ]
}

/// Many instances at once, and a database with few connections.
pub async fn scale_out(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let count = scale.pick(20, 6);
    let limit = scale.pick("max_connections=60", "max_connections=20");
    let limits = [limit];
    let (postgres, redis) = tokio::join!(Postgres::start(&limits), Redis::start());
    let small = Arc::new(Ground::of(ground.program.clone(), scale, postgres, redis));
    let bed = small.bed_with(0, &[("DATABASE_POOL_SIZE", "2")]).await;
    let proxy = Proxy::before(small.postgres.address()).await;
    proxy.watch_for(b"C53300");
    let mut starting = JoinSet::new();
    for _ in 0..count {
        let start = command(&small.program, &bed.settings(&proxy, &bed.redis));
        starting.spawn(async move {
            let instance = Instance::start(start).await;
            let path = format!("/{}", slug(Kind::Hot, fastrand::u64(..HOT)));
            while instance.client.get(&path).await.map(|answer| answer.status) != Ok(302) {
                assert!(instance.began.elapsed() < Duration::from_secs(30));
            }
            let redirected = instance.began.elapsed();
            while instance
                .client
                .get("/health/ready?strict")
                .await
                .map(|answer| answer.status)
                != Ok(200)
            {
                assert!(instance.began.elapsed() < Duration::from_secs(30));
                pause(millis(10)).await;
            }
            (redirected, instance.began.elapsed(), instance)
        });
    }
    let mut instances = Vec::new();
    while let Some(instance) = starting.join_next().await {
        instances.push(instance.unwrap());
    }
    let slowest = instances
        .iter()
        .map(|(redirected, ..)| *redirected)
        .max()
        .unwrap();
    let ready = instances.iter().map(|(_, ready, _)| *ready).max().unwrap();
    let clients: Vec<_> = instances
        .iter()
        .map(|(.., instance)| Arc::clone(&instance.client))
        .collect();
    let load = Load::start(&clients, Traffic::common(scale.pick(400.0, 100.0)));
    pause(scale.seconds(8, 2)).await;
    let ledger = load.stop().await;
    let used = small
        .postgres
        .number(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'curtail'",
        )
        .await;
    let alone = {
        let mut times = Vec::new();
        for _ in 0..scale.pick(10, 1) {
            drop(instances.pop());
            let instance = Instance::start(command(&small.program, &bed.settings(&proxy, &bed.redis))).await;
            while instance.client.get("/hot-1").await.map(|answer| answer.status) != Ok(302) {}
            times.push(instance.began.elapsed());
        }
        times.into_iter().max().unwrap()
    };
    vec![
        Check::exactly("connections that the database refused (53300)", 0, proxy.seen()),
        Check::that(
            &format!("connections in use, of {limit}"),
            &format!("<= {}", count * 2),
            &used.to_string(),
            usize::try_from(used).is_ok_and(|used| used <= count * 2),
        ),
        super::no_errors("errors under load", &ledger, ALL, ledger.began, Instant::now()),
        Check::at_most(
            &format!("{count} instances at once: all ready"),
            Duration::from_secs(5),
            ready,
        ),
        Check::speed(
            "start to first redirect, the longest of all at once, and of ten alone",
            "<= 300 ms alone",
            &format!("{}, {}", text(slowest), text(alone)),
            alone <= millis(300),
        ),
    ]
}
