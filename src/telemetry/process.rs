//! What the system says of this process. Systems without `/proc` say nothing.

use std::fs;

/// Ticks a second in `/proc`. It is part of Linux's interface to programs, and 100 everywhere.
const TICKS: f64 = 100.0;

/// Figures of this process. What is not known is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Process {
    /// CPU time, user and system.
    pub cpu_seconds: Option<f64>,
    /// Memory in use.
    pub resident_bytes: Option<f64>,
    /// Addresses in use.
    pub virtual_bytes: Option<f64>,
    /// Open file descriptors.
    pub open_fds: Option<f64>,
    /// How many may be open.
    pub max_fds: Option<f64>,
    /// Threads.
    pub threads: Option<f64>,
}

impl Process {
    /// The figures now.
    #[must_use]
    pub(super) fn read() -> Self {
        let text = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let (stat, status, limits) = (text("stat"), text("status"), text("limits"));
        let of_status = |name: &str| number_behind(&status, name);
        Self {
            cpu_seconds: cpu_seconds(&stat),
            resident_bytes: of_status("VmRSS:").map(|kib| kib * 1024.0),
            virtual_bytes: of_status("VmSize:").map(|kib| kib * 1024.0),
            // One of them is the directory that is being read.
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| entries.count().saturating_sub(1) as f64),
            max_fds: number_behind(&limits, "Max open files"),
            threads: of_status("Threads:"),
        }
    }
}

/// The first number of the line that begins with `name`.
fn number_behind(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time of a line of `/proc/self/stat`. The program's name before them may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: f64 = times.next()?.parse().ok()?;
    let system: f64 = times.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::{cpu_seconds, number_behind};

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 4 0 100 0 0";

        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }

    #[test]
    fn a_figure_is_found_by_the_name_of_its_line() {
        let text = "VmSize:\t  20 kB\nVmRSS:\t  12 kB\nMax open files            1024                 4096    files\n";

        assert_eq!(number_behind(text, "VmRSS:"), Some(12.0));
        assert_eq!(number_behind(text, "Max open files"), Some(1024.0));
        assert_eq!(number_behind(text, "Threads:"), None);
    }
}
