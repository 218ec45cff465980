//! A TCP proxy that does harm: it delays, stops, cuts, slices and mixes up what passes through it.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

/// How long a reply waits for another to change places with.
const SWAP_WAIT: Duration = Duration::from_millis(15);

/// What is done to everything that passes. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Added to each direction's way.
    pub latency: Duration,
    /// At random up to so much more, or less.
    pub jitter: Duration,
    /// Added on the way to the server alone.
    pub to_server: Duration,
    /// Nothing passes; it is kept, and passes later, as after a partition.
    pub blackhole: bool,
    /// What the server says is kept, and passes later. What the client says passes at once.
    pub hold_answers: bool,
    /// New connections are reset.
    pub refuse: bool,
    /// One byte at a time.
    pub slice: bool,
    /// Redis' replies change places in pairs.
    pub swap: bool,
    /// So many bytes from the server, then a reset.
    pub limit: Option<usize>,
}

/// The proxy, on a port of its own.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
}

#[derive(Debug)]
struct Control {
    server: Mutex<SocketAddr>,
    faults: watch::Sender<Faults>,
    /// Counts the resets of all that is open.
    resets: watch::Sender<u64>,
    open: Mutex<Vec<Open>>,
    /// A text to be looked for in what the server says, and how often it was there.
    watched: Mutex<Option<Vec<u8>>>,
    seen: AtomicUsize,
    swapped: AtomicUsize,
}

/// A connection, and when the client closed it.
#[derive(Debug)]
struct Open {
    since: Instant,
    closed: Arc<Mutex<Option<Instant>>>,
}

impl Proxy {
    /// Starts a proxy before `server`.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let control = Arc::new(Control {
            server: Mutex::new(server),
            faults: watch::Sender::new(Faults::default()),
            resets: watch::Sender::new(0),
            open: Mutex::default(),
            watched: Mutex::default(),
            seen: AtomicUsize::new(0),
            swapped: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&control);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&accepting).join(client));
            }
        });
        Self { address, control }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections from now on reach this server.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.control.server.lock().unwrap() = server;
    }

    /// Does this from now on, to open connections too.
    pub fn set(&self, faults: Faults) {
        self.control.faults.send_replace(faults);
    }

    /// Does no harm any more.
    pub fn heal(&self) {
        self.set(Faults::default());
    }

    /// Refuses new connections, and resets those that are open.
    pub fn cut(&self) {
        self.set(Faults {
            refuse: true,
            ..Faults::default()
        });
        self.reset_all();
    }

    /// Resets every open connection.
    pub fn reset_all(&self) {
        self.control.resets.send_modify(|count| *count += 1);
    }

    /// How many connections from before `time` the client has not closed.
    pub fn open_from_before(&self, time: Instant) -> usize {
        let open = self.control.open.lock().unwrap();
        open.iter()
            .filter(|open| open.since < time && open.closed.lock().unwrap().is_none())
            .count()
    }

    /// Counts how often the server says this.
    pub fn watch_for(&self, text: &[u8]) {
        *self.control.watched.lock().unwrap() = Some(text.to_vec());
    }

    /// How often it did.
    pub fn seen(&self) -> usize {
        self.control.seen.load(Ordering::SeqCst)
    }

    /// How many pairs of replies changed places.
    pub fn swapped(&self) -> usize {
        self.control.swapped.load(Ordering::SeqCst)
    }
}

impl Control {
    async fn join(self: Arc<Self>, client: TcpStream) {
        if self.faults.borrow().refuse {
            let _ = client.set_zero_linger();
            return;
        }
        let server = *self.server.lock().unwrap();
        let Ok(server) = TcpStream::connect(server).await else {
            let _ = client.set_zero_linger();
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let closed = Arc::new(Mutex::new(None));
        self.open.lock().unwrap().push(Open {
            since: Instant::now(),
            closed: Arc::clone(&closed),
        });
        let (client, server) = (Arc::new(client), Arc::new(server));
        let mut resets = self.resets.subscribe();
        let reset = tokio::select! {
            reset = pump(&self, &client, &server, true, &closed) => reset,
            reset = pump(&self, &server, &client, false, &closed) => reset,
            _ = resets.changed() => true,
        };
        if reset {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        let mut closed = closed.lock().unwrap();
        closed.get_or_insert_with(Instant::now);
    }
}

/// Carries what comes from one side to the other until either ends; `true` asks for a reset.
async fn pump(
    control: &Control,
    from: &TcpStream,
    to: &TcpStream,
    to_server: bool,
    closed: &Mutex<Option<Instant>>,
) -> bool {
    let (keep, mut kept) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let reading = async {
        while let Some(bytes) = read(from).await {
            if keep.send((Instant::now(), bytes)).is_err() {
                break;
            }
        }
        if to_server {
            closed.lock().unwrap().get_or_insert_with(Instant::now);
        }
        drop(keep);
        // What was read last still has to be written.
        std::future::pending::<()>().await;
    };
    let writing = async {
        let mut faults = control.faults.subscribe();
        let mut held = Replies::default();
        let mut passed = 0;
        loop {
            let next = if held.is_empty() {
                kept.recv().await
            } else {
                match tokio::time::timeout(SWAP_WAIT, kept.recv()).await {
                    Ok(next) => next,
                    Err(_) => {
                        if write(to, &held.take_all()).await.is_err() {
                            return false;
                        }
                        continue;
                    }
                }
            };
            let Some((came, bytes)) = next else { return false };
            let passes = |faults: &Faults| !faults.blackhole && (to_server || !faults.hold_answers);
            if faults.wait_for(passes).await.is_err() {
                return false;
            }
            let now = faults.borrow().clone();
            let delay = delay(&now, to_server);
            if !delay.is_zero() {
                sleep_until((came + delay).into()).await;
            }
            let bytes = if now.swap && !to_server {
                let (bytes, pairs) = held.swapped(&bytes);
                control.swapped.fetch_add(pairs, Ordering::SeqCst);
                bytes
            } else {
                let mut all = held.take_all();
                all.extend_from_slice(&bytes);
                all
            };
            if !to_server {
                control.look_at(&bytes);
                passed += bytes.len();
                if let Some(limit) = now.limit
                    && passed > limit
                {
                    let over = passed - limit;
                    let _ = write(to, &bytes[..bytes.len().saturating_sub(over)]).await;
                    return true;
                }
            }
            let written = if now.slice {
                write_sliced(to, &bytes).await
            } else {
                write(to, &bytes).await
            };
            if written.is_err() {
                return false;
            }
        }
    };
    tokio::select! {
        () = reading => false,
        reset = writing => reset,
    }
}

impl Control {
    fn look_at(&self, bytes: &[u8]) {
        if let Some(text) = self.watched.lock().unwrap().as_deref()
            && bytes.windows(text.len()).any(|window| window == text)
        {
            self.seen.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn delay(faults: &Faults, to_server: bool) -> Duration {
    let spread = faults.jitter.mul_f64(fastrand::f64() * 2.0);
    let both = (faults.latency + spread).saturating_sub(faults.jitter);
    if to_server { both + faults.to_server } else { both }
}

/// What has come, or nothing at the end. Shared with [`super::client`].
pub async fn read(from: &TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        from.readable().await.ok()?;
        match from.try_read(&mut bytes) {
            Ok(0) => return None,
            Ok(length) => {
                bytes.truncate(length);
                return Some(bytes);
            }
            Err(err) if err.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

/// Writes everything.
pub async fn write(to: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(err) if err.kind() == ErrorKind::WouldBlock => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

async fn write_sliced(to: &TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        write(to, std::slice::from_ref(byte)).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Replies of Redis that are held back to change places.
#[derive(Default)]
struct Replies {
    bytes: Vec<u8>,
}

impl Replies {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take_all(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Takes `bytes` in and answers what may pass now: whole replies, each pair the wrong way round, and how many
    /// pairs.
    fn swapped(&mut self, bytes: &[u8]) -> (Vec<u8>, usize) {
        self.bytes.extend_from_slice(bytes);
        let mut whole = VecDeque::new();
        let mut at = 0;
        while let Some(length) = reply_length(&self.bytes[at..]) {
            whole.push_back(at..at + length);
            at += length;
        }
        let (mut out, mut pairs, mut done) = (Vec::new(), 0, 0);
        while whole.len() >= 2 {
            let (first, second) = (whole.pop_front().unwrap(), whole.pop_front().unwrap());
            done = second.end;
            out.extend_from_slice(&self.bytes[second]);
            out.extend_from_slice(&self.bytes[first]);
            pairs += 1;
        }
        self.bytes.drain(..done);
        (out, pairs)
    }
}

/// The length of the reply that `bytes` begin with, if it is all there.
fn reply_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    match bytes[0] {
        b'$' => {
            let body = number()?;
            let whole = if body < 0 {
                line
            } else {
                line + usize::try_from(body).ok()? + 2
            };
            (bytes.len() >= whole).then_some(whole)
        }
        b'*' => {
            let mut at = line;
            for _ in 0..number()?.max(0) {
                at += reply_length(bytes.get(at..)?)?;
            }
            Some(at)
        }
        _ => Some(line),
    }
}
