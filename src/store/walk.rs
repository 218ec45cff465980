//! Bounded steps: how many links one request examines, the same for both dialects.

use std::time::{Duration, Instant};

use crate::domain::{Cursor, Link, LinkPage};

/// Links that the first step examines. It answers most lists.
const FIRST: u32 = 500;

/// Links that a later step examines at most: some 50 ms, if their rows are in memory.
const MOST: u32 = 2000;

/// After this time no further step begins. The page ends where the last step ended.
const TIME: Duration = Duration::from_millis(250);

/// Walks from the newest link to the oldest until a page is full, all links were examined, or the time is over. So no
/// list takes longer because few links match: its page is short then, and its cursor goes on.
#[derive(Debug)]
pub(super) struct Walk {
    limit: u8,
    before: i64,
    step: u32,
    began: Instant,
    found: Vec<(Cursor, Link)>,
}

/// What a step shall do.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepPlan {
    /// Only links with lower ids than this.
    pub(super) before: i64,
    /// The most links that it examines.
    pub(super) examined: i64,
    /// The most links that it has to find.
    pub(super) wanted: i64,
}

/// What a step found.
#[derive(Debug)]
pub(super) struct Step {
    /// The links that match, newest first.
    pub(super) links: Vec<(Cursor, Link)>,
    /// The oldest link that was examined. `None`: there is no older one.
    pub(super) bound: Option<i64>,
}

impl Walk {
    /// From `after` on, to a page of `limit` links.
    pub(super) fn new(after: Option<Cursor>, limit: u8) -> Self {
        Self {
            limit,
            before: after.map_or(i64::MAX, Cursor::number),
            step: FIRST,
            began: Instant::now(),
            found: Vec::new(),
        }
    }

    /// The next step.
    pub(super) fn plan(&self) -> StepPlan {
        StepPlan {
            before: self.before,
            examined: i64::from(self.step),
            wanted: self.wanted(),
        }
    }

    /// One link more than fit on the page shows that there are more.
    fn wanted(&self) -> i64 {
        let found = i64::try_from(self.found.len()).unwrap_or(i64::MAX);
        i64::from(self.limit) + 1 - found
    }

    /// Takes what a step found. `Some` is the page, if the walk ends here.
    pub(super) fn take(&mut self, step: Step) -> Option<LinkPage> {
        self.found.extend(step.links);
        let full = self.wanted() <= 0;
        match step.bound {
            Some(bound) if !full => {
                self.before = bound;
                self.step = MOST.min(self.step * 2);
                (self.began.elapsed() >= TIME).then(|| LinkPage {
                    links: self.links(),
                    next: Some(Cursor::at(bound)),
                })
            }
            _ => Some(LinkPage::of(std::mem::take(&mut self.found), self.limit)),
        }
    }

    fn links(&mut self) -> Vec<Link> {
        std::mem::take(&mut self.found)
            .into_iter()
            .map(|(_, link)| link)
            .collect()
    }
}
