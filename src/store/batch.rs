//! Several links at once, and answers that are given only once.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::{Link, Revision};

/// A link to be made.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The link; its revision is ignored.
    pub link: Link,
    /// Whether the client chose its slug.
    pub chosen: bool,
    /// Whether a live link of the same owner with the same target and settings will do as well.
    pub reuse: bool,
}

/// What became of a candidate.
#[derive(Debug, Clone)]
pub enum Made {
    /// It is kept, at this revision.
    Inserted(Revision),
    /// This link was there already.
    Reused(Box<Link>),
    /// Its slug is in use, perhaps by an earlier candidate.
    SlugTaken,
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its `Location`.
    pub location: Option<String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Puts what became of all candidates into an answer; `None` if it is none to be remembered.
pub type Render = Arc<dyn Fn(&[Made]) -> Option<Answer> + Send + Sync>;

/// Makes a request that is sent again do nothing but give the first answer again.
#[derive(Clone)]
pub struct Once {
    /// Who asks.
    pub caller: String,
    /// The caller's name for the request.
    pub key: String,
    /// SHA-256 of what is asked for.
    pub request: [u8; 32],
    /// The time now.
    pub now: Timestamp,
    /// When the answer is forgotten.
    pub expires_at: Timestamp,
    /// Makes the answer.
    pub render: Render,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// What became of a batch.
#[derive(Debug)]
pub enum BatchOutcome {
    /// Each candidate in order, and the answer that is now remembered.
    Done(Vec<Made>, Option<Answer>),
    /// Slugs that no client chose are taken, those of these candidates. Nothing was kept. Only where an answer was
    /// to be remembered: otherwise they are among what is done.
    Collided(Vec<usize>),
    /// The request was answered before. Nothing was kept.
    Replayed(Answer),
    /// The caller gave the same name to another request. Nothing was kept.
    Mismatch,
}

/// The candidates whose slugs no client chose and are taken.
pub(super) fn collided(candidates: &[Candidate], made: &[Made]) -> Vec<usize> {
    let taken = |(candidate, made): (&Candidate, &Made)| !candidate.chosen && matches!(made, Made::SlugTaken);
    (0..made.len())
        .filter(|at| taken((&candidates[*at], &made[*at])))
        .collect()
}
