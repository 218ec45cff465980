//! The classes of statements, what each may take of the connections, and how the connections are shared among them.

use std::time::Duration;

/// What a statement is for. A class waits for connections in a queue of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Rows found by their key: redirects, links, keys.
    Read,
    /// Batches of clicks, and the secrets of visitor hashes.
    Click,
    /// Everything that changes links and keys.
    Write,
    /// Clicks of links with a limit: each visit is a write.
    LimitedClick,
    /// Rollups, retention and other background jobs.
    Maintenance,
    /// Lists, searches, statistics and exports: what takes long, for a person who waits.
    Search,
}

/// Times after which the server ends a statement or a transaction, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeLimits {
    pub(super) statement: u32,
    pub(super) lock: u32,
}

/// A transaction whose client says nothing for this long is rolled back by the server: a client that was frozen between two
/// statements holds its locks no longer. Several round trips to another continent.
pub(super) const IDLE_IN_TRANSACTION_MS: u32 = 500;

/// What a search may take where it shares the only connection with other classes: less than they wait for it.
const SHORT_SEARCH_MS: u32 = 500;

impl Class {
    /// The value of the label `pool`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Click => "click",
            Self::Write => "write",
            Self::LimitedClick => "limited_click",
            Self::Maintenance => "maintenance",
            Self::Search => "search",
        }
    }

    pub(super) fn time_limits(self) -> TimeLimits {
        let (statement, lock) = match self {
            // A row is found by its key at once, unless its table is being changed. The lock's limit is longer than a migration
            // waits for its own, so that a reader behind one comes through.
            Self::Read => (500, 170),
            Self::Click | Self::Maintenance => (2000, 1000),
            // Less than a caller waits: that a lock was not had in time is an answer, and no unknown outcome.
            Self::Write => (2000, 1000),
            // A visitor waits, and so do creates behind it.
            Self::LimitedClick => (1000, 250),
            Self::Search => (2000, 500),
        };
        TimeLimits { statement, lock }
    }

    /// How long a statement waits for a connection.
    pub(super) fn patience(self) -> Duration {
        Duration::from_millis(match self {
            Self::Read => 200,
            Self::LimitedClick => 500,
            Self::Write | Self::Search => 1000,
            // Nobody waits for it: what is in front of it ends at its own limit.
            Self::Click | Self::Maintenance => 4000,
        })
    }

    /// How many may wait for each connection that the class may use. More would only wait to be refused.
    pub(super) fn queue(self) -> usize {
        match self {
            Self::Read => 64,
            Self::Write | Self::LimitedClick | Self::Click | Self::Maintenance => 32,
            Self::Search => 16,
        }
    }
}

/// A class among those that share connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) class: Class,
    /// The most connections that it may use at one time.
    pub(super) most: usize,
    pub(super) limits: TimeLimits,
}

/// Connections that some classes share, and no other class can take. The first class gives them their name and their limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) size: usize,
    pub(super) shares: Vec<Share>,
}

/// Divides `size` connections.
///
/// From four on, writes have a quarter, clicks with maintenance a quarter, and reads with searches the rest. A connection each is kept from every other class for reads, writes, clicks with maintenance, and searches;
/// reads may use those of searches too, for as long as none is searched with. Of fewer, classes share: those that share a
/// connection take turns, so each waits for one statement of every other at most.
pub(super) fn divide(size: usize) -> Vec<Group> {
    use Class::{Click, LimitedClick, Maintenance, Read, Search, Write};
    let share = |class: Class, most: usize| Share {
        class,
        most: most.max(1),
        limits: class.time_limits(),
    };
    let short_search = Share {
        limits: TimeLimits {
            statement: SHORT_SEARCH_MS,
            ..Search.time_limits()
        },
        ..share(Search, 1)
    };
    let one = |classes: &[Class]| classes.iter().map(|class| share(*class, 1)).collect::<Vec<_>>();
    let writers = [Write, Click, LimitedClick, Maintenance];
    match size {
        0 | 1 => {
            let mut shares = one(&writers);
            shares.extend([share(Read, 1), short_search]);
            vec![Group { size: 1, shares }]
        }
        2 => {
            let mut shares = one(&writers);
            shares.push(short_search);
            vec![
                Group {
                    size: 1,
                    shares: one(&[Read]),
                },
                Group { size: 1, shares },
            ]
        }
        3 => vec![
            Group {
                size: 2,
                shares: vec![share(Read, 2), share(Search, 1)],
            },
            Group {
                size: 1,
                shares: one(&writers),
            },
        ],
        _ => {
            let quarter = size / 4;
            let reads = size - 2 * quarter;
            let group = |size, shares| Group { size, shares };
            vec![
                group(reads, vec![share(Read, reads), share(Search, size / 8)]),
                group(
                    quarter,
                    vec![share(Write, quarter), share(LimitedClick, quarter / 2)],
                ),
                group(
                    quarter,
                    vec![share(Click, quarter), share(Maintenance, quarter / 2)],
                ),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(size: usize) -> Vec<(usize, Vec<(&'static str, usize)>)> {
        let name = |share: &Share| (share.class.name(), share.most);
        let of = |group: &Group| (group.size, group.shares.iter().map(name).collect());
        divide(size).iter().map(of).collect()
    }

    #[test]
    fn no_division_uses_more_connections_than_there_are() {
        for size in 1..=1000 {
            let groups = divide(size);

            assert_eq!(groups.iter().map(|group| group.size).sum::<usize>(), size);
            for group in groups {
                assert!(
                    group
                        .shares
                        .iter()
                        .all(|share| (1..=group.size).contains(&share.most))
                );
            }
        }
    }

    #[test]
    fn from_four_connections_on_each_class_has_one_of_its_own() {
        let limited = |most| ("limited_click", most);

        assert_eq!(
            shared(4),
            [
                (2, vec![("read", 2), ("search", 1)]),
                (1, vec![("write", 1), limited(1)]),
                (1, vec![("click", 1), ("maintenance", 1)]),
            ]
        );
        assert_eq!(
            shared(16),
            [
                (8, vec![("read", 8), ("search", 2)]),
                (4, vec![("write", 4), limited(2)]),
                (4, vec![("click", 4), ("maintenance", 2)]),
            ]
        );
    }

    #[test]
    fn fewer_connections_are_shared_but_visitors_have_one() {
        let writers = [
            ("write", 1),
            ("click", 1),
            ("limited_click", 1),
            ("maintenance", 1),
        ];

        assert_eq!(
            shared(3),
            [(2, vec![("read", 2), ("search", 1)]), (1, writers.to_vec())]
        );
        assert_eq!(shared(2)[0], (1, vec![("read", 1)]));
        assert_eq!(shared(2)[1].1.len(), 5);
        assert_eq!(shared(1)[0].1.len(), 6);
    }
}
