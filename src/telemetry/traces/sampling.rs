//! What a request says of its trace, and whether it gets spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::{self, Sampler as Rule};

/// The span in another process that a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// The trace. Not 0.
    pub trace_id: u128,
    /// The span. Not 0.
    pub span_id: u64,
    /// Whether the sender samples the trace.
    pub sampled: bool,
}

impl Remote {
    /// Reads the header `traceparent`: <https://www.w3.org/TR/trace-context/#traceparent-header>.
    #[must_use]
    pub fn of_traceparent(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
        let version = hexadecimal(text.get(..2)?)?;
        // A later version may have more behind this, a dash in front.
        let ends = text.len() == 55 || (version > 0 && text.get(55) == Some(&b'-'));
        if !dashes || !ends || version == 0xff {
            return None;
        }
        let flags = hexadecimal(text.get(53..55)?)?;
        Self::new(
            hexadecimal(text.get(3..35)?)?,
            u64::try_from(hexadecimal(text.get(36..52)?)?).ok()?,
            flags & 1 == 1,
        )
    }

    /// Reads the header `X-Cloud-Trace-Context`: `TRACE_ID/SPAN_ID;o=OPTIONS`, the span's id decimal.
    #[must_use]
    pub fn of_cloud_trace(text: &str) -> Option<Self> {
        let (ids, options) = text.split_once(';').unwrap_or((text, ""));
        let (trace, span) = ids.split_once('/')?;
        if trace.len() != 32 || !span.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let trace = trace.to_ascii_lowercase();
        Self::new(
            hexadecimal(trace.as_bytes())?,
            span.parse().ok()?,
            options.trim() == "o=1",
        )
    }

    fn new(trace_id: u128, span_id: u64, sampled: bool) -> Option<Self> {
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            sampled,
        })
    }
}

/// A number in lower-case hexadecimal digits.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Decides what has a trace. The default decides that nothing has. Clones share the bound on what senders decide.
#[derive(Debug, Clone, Default)]
pub struct Sampler(Option<Part>);

#[derive(Debug, Clone)]
struct Part {
    rule: Rule,
    /// Draws below this are taken, of 2^63.
    bound: u64,
    remote: Arc<RemoteBound>,
}

impl Sampler {
    /// The sampler of the settings.
    #[must_use]
    pub fn new(config: &config::Traces) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a part from 0 to 1"
        )]
        let bound = (config.ratio * (1_u64 << 63) as f64) as u64;
        Self(config.endpoint.as_ref().map(|_| Part {
            rule: config.sampler,
            bound,
            remote: Arc::new(RemoteBound::new(config.remote_per_second)),
        }))
    }

    /// Whether anything may have a trace.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether what comes from `remote`, or from nowhere, has a trace. Whatever a sender can bring about by what it sends is
    /// bounded: anybody can send a header.
    #[must_use]
    pub fn takes(&self, remote: Option<&Remote>) -> bool {
        let Some(Part {
            rule,
            bound,
            remote: decided,
        }) = &self.0
        else {
            return false;
        };
        match (rule, remote) {
            (Rule::AlwaysOn, _) | (Rule::ParentBasedAlwaysOn, None) => true,
            (Rule::AlwaysOff, _) | (Rule::ParentBasedAlwaysOff, None) => false,
            // By the trace's id, as all who sample that way do: a trace is whole or not at all.
            (Rule::TraceIdRatio, Some(remote)) => (remote.trace_id as u64) >> 1 < *bound && decided.take(),
            (Rule::TraceIdRatio | Rule::ParentBasedTraceIdRatio, None) => fastrand::u64(..) >> 1 < *bound,
            (_, Some(remote)) => remote.sampled && decided.take(),
        }
    }
}

/// So many traces a second, and as many at once.
#[derive(Debug)]
struct RemoteBound {
    /// Nanoseconds in which one comes back; `None` grants none.
    one: Option<u64>,
    since: Instant,
    /// When all are there again, in nanoseconds after `since`.
    full: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl RemoteBound {
    fn new(per_second: u32) -> Self {
        Self {
            one: SECOND.checked_div(per_second.into()),
            since: Instant::now(),
            full: AtomicU64::new(0),
        }
    }

    fn take(&self) -> bool {
        self.take_at(self.since.elapsed())
    }

    /// Takes one at `now`, a time after `since`: the generic cell rate algorithm.
    fn take_at(&self, now: Duration) -> bool {
        let Some(one) = self.one else { return false };
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX / 2);
        let next = |full: u64| {
            let after = full.max(now) + one;
            (after <= now + SECOND).then_some(after)
        };
        self.full
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Part, Remote, RemoteBound, Rule, Sampler};

    const PARENT: Remote = Remote {
        trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        span_id: 0xb7ad_6b71_6920_3331,
        sampled: true,
    };

    #[test]
    fn a_traceparent_is_read_as_w3c_says() {
        let read = Remote::of_traceparent;
        let unsampled = Remote {
            sampled: false,
            ..PARENT
        };

        assert_eq!(
            read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            Some(PARENT)
        );
        assert_eq!(
            read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
            Some(unsampled)
        );
        assert_eq!(
            read("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"),
            Some(PARENT)
        );
    }

    #[test]
    fn a_malformed_traceparent_is_none() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
        ] {
            assert_eq!(Remote::of_traceparent(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_header_of_cloud_trace_names_its_span_in_decimal() {
        let text = "0af7651916cd43dd8448eb211c80319c/13235353014750950193;o=1";
        let unsampled = text.strip_suffix(";o=1").unwrap();

        assert_eq!(Remote::of_cloud_trace(text), Some(PARENT));
        assert_eq!(
            Remote::of_cloud_trace(unsampled).map(|remote| remote.sampled),
            Some(false)
        );
        assert_eq!(Remote::of_cloud_trace("0af7651916cd43dd8448eb211c80319c"), None);
        assert_eq!(
            Remote::of_cloud_trace("0af7651916cd43dd8448eb211c80319c/+1"),
            None
        );
    }

    #[test]
    fn a_sampler_follows_its_parent_or_its_part() {
        let takes = |rule, ratio: f64, remote: Option<bool>| {
            let bound = (ratio * (1_u64 << 63) as f64) as u64;
            let remote = remote.map(|sampled| Remote { sampled, ..PARENT });
            let part = Part {
                rule,
                bound,
                remote: Arc::new(RemoteBound::new(1)),
            };
            Sampler(Some(part)).takes(remote.as_ref())
        };

        assert!(takes(Rule::AlwaysOn, 0.0, Some(false)));
        assert!(!takes(Rule::AlwaysOff, 1.0, Some(true)));
        assert!(takes(Rule::ParentBasedTraceIdRatio, 0.0, Some(true)));
        assert!(!takes(Rule::ParentBasedTraceIdRatio, 1.0, Some(false)));
        assert!(takes(Rule::ParentBasedTraceIdRatio, 1.0, None));
        assert!(!takes(Rule::ParentBasedTraceIdRatio, 0.0, None));
        assert!(takes(Rule::ParentBasedAlwaysOn, 0.0, None));
        assert!(!takes(Rule::ParentBasedAlwaysOff, 1.0, None));
        assert!(takes(Rule::TraceIdRatio, 1.0, Some(false)));
        assert!(
            !takes(Rule::TraceIdRatio, 0.5, Some(true)),
            "its id is above the half"
        );
        assert!(!Sampler::default().takes(Some(&PARENT)));
    }

    /// Each request that claimed to be sampled had a trace and a line of the log: a visitor decided how many.
    #[test]
    fn what_senders_decide_is_bounded() {
        let bound = RemoteBound::new(10);
        let taken = |millis: u64, tries: u32| {
            let take = |_: &u32| bound.take_at(Duration::from_millis(millis));
            (0..tries).filter(take).count()
        };

        assert_eq!(taken(0, 1_000), 10);
        assert_eq!(taken(100, 1_000), 1);
        assert_eq!(taken(5_000, 1_000), 10);
        assert_eq!((0..1_000).filter(|_| RemoteBound::new(0).take()).count(), 0);
        for rule in [
            Rule::ParentBasedTraceIdRatio,
            Rule::ParentBasedAlwaysOff,
            Rule::TraceIdRatio,
        ] {
            let part = Part {
                rule,
                bound: u64::MAX,
                remote: Arc::new(RemoteBound::new(1)),
            };
            let sampler = Sampler(Some(part));
            let taken = (0..100).filter(|_| sampler.clone().takes(Some(&PARENT))).count();
            assert!((1..10).contains(&taken), "{rule:?}: {taken}");
        }
    }
}
