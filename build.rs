//! Tells the program its commit and build time.
//!
//! `CURTAIL_GIT_COMMIT` and `CURTAIL_BUILD_TIME` (RFC 3339) are taken from the environment when they are set,
//! as in an image build that has no `.git`; else the commit is asked of git. `SOURCE_DATE_EPOCH` makes the
//! build time reproducible: <https://reproducible-builds.org/specs/source-date-epoch/>.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    for variable in ["CURTAIL_GIT_COMMIT", "CURTAIL_BUILD_TIME", "SOURCE_DATE_EPOCH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    for path in watched() {
        println!("cargo::rerun-if-changed={path}");
    }
    let commit = given("CURTAIL_GIT_COMMIT")
        .or_else(|| own_git().and_then(|_| git(&["rev-parse", "--short=12", "HEAD"])))
        .unwrap_or_else(|| "unknown".to_owned());
    let time = given("CURTAIL_BUILD_TIME").unwrap_or_else(|| rfc3339(build_seconds()));
    println!("cargo::rustc-env=CURTAIL_GIT_COMMIT={commit}");
    println!("cargo::rustc-env=CURTAIL_BUILD_TIME={time}");
}

/// The files that change with the commit: `HEAD` with a checkout, its log with each commit, also in a linked worktree. None where
/// there is no repository: cargo would run the script, and build the crate, each time for a file that is not there.
fn watched() -> Vec<String> {
    let Some(directory) = own_git() else {
        return Vec::new();
    };
    ["HEAD", "logs/HEAD"]
        .iter()
        .map(|name| directory.join(name))
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect()
}

/// The directory of this checkout's repository. A vendored copy within another project's has none of its own.
fn own_git() -> Option<PathBuf> {
    let prefix = git(&["rev-parse", "--show-prefix"])?;
    let directory = git(&["rev-parse", "--absolute-git-dir"])?;
    prefix.is_empty().then(|| PathBuf::from(directory))
}

fn given(variable: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a build script has no settings of its own"
    )]
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// What git answers in the directory of the manifest, without its line break.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn build_seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the time of the build")]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    given("SOURCE_DATE_EPOCH")
        .and_then(|text| text.parse().ok())
        .unwrap_or(now)
}

/// The civil date of a day: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}
