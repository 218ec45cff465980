//! The recorded changes, the same for both dialects.

use crate::domain::{AuditCursor, AuditPage, AuditRecord};

/// The most recorded changes that one page of the audit list looks at, however few of them pass its filters.
pub(super) const WALK: u32 = 5000;

/// The page of `limit` records out of up to one more. `end` is the place of the last record that was looked at, if
/// others may come after it.
pub(super) fn audit_page(
    mut found: Vec<(AuditCursor, AuditRecord)>,
    limit: u8,
    end: Option<AuditCursor>,
) -> AuditPage {
    let limit = usize::from(limit);
    let next = if found.len() > limit {
        found.truncate(limit);
        found.last().map(|(place, _)| *place)
    } else {
        end
    };
    AuditPage {
        records: found.into_iter().map(|(_, record)| record).collect(),
        next,
    }
}
