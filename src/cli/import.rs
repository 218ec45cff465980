//! `curtail import`

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::import_state::State;
use super::output;
use super::porting::{self, Progress};
use crate::service::{Caller, Concern, Format, Import, ImportRequest, Links, OnConflict, Report};

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// Links that were not taken and are told one by one, unless there is a file for them.
const SHOWN: u64 = 20;

/// What to import, and how.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file to read; standard input if it is - or missing
    file: Option<PathBuf>,
    /// Whose form it is: ndjson, csv, yourls, shlink, kutt or bitly; guessed if it is missing
    #[arg(long)]
    from: Option<Format>,
    /// What the short URLs of the source begin with, such as `https://example.com/s`, if that is more than a host
    #[arg(long)]
    base: Option<String>,
    /// What to do with a link whose slug is another's: report, skip or overwrite
    #[arg(long, default_value = "report")]
    on_conflict: OnConflict,
    /// Links at the start to pass over
    #[arg(long, default_value_t = 0, conflicts_with = "state")]
    skip: u64,
    /// A file that remembers how far the import has come, and lets the next run go on from there
    #[arg(long)]
    state: Option<PathBuf>,
    /// A file for every link that was not taken, a JSON object a line, and the counts as the last one
    #[arg(long)]
    report: Option<PathBuf>,
}

/// Takes links into the database.
pub(super) fn import(arguments: Arguments) -> Result<(), Failure> {
    let settings = super::settings::load().map_err(|faults| faults.to_string())?;
    settings.note_warnings();
    let config = settings.config;
    super::block_on(async {
        let opened = porting::open(&config).await?;
        let done = take(&opened.links, &arguments).await;
        opened.close().await;
        done
    })?
}

async fn take(links: &Links, arguments: &Arguments) -> Result<(), Failure> {
    let cannot = |what: &str, err: io::Error| format!("{what}: {err}");
    let path = arguments.file.as_deref().filter(|path| *path != Path::new("-"));
    let (mut input, length): (Box<dyn Read + Send>, _) = match path {
        Some(path) => {
            let file = File::open(path).map_err(|err| cannot("the file cannot be read", err))?;
            let length = file.metadata().ok().map(|data| data.len());
            (Box::new(file), length)
        }
        None => (Box::new(io::stdin()), None),
    };
    let state = match (&arguments.state, path) {
        (Some(state), Some(path)) => Some(State::read(state, path)?),
        (Some(_), None) => {
            let text = "--state needs a file to import, not standard input";
            return Err(Failure::Usage(text.to_owned()));
        }
        (None, _) => None,
    };
    let request = ImportRequest {
        format: arguments.from,
        on_conflict: arguments.on_conflict,
        skip: state.as_ref().map_or(arguments.skip, |state| state.read),
        max_problems: usize::MAX,
        host: None,
        base: arguments.base.clone(),
    };
    let mut problems = match &arguments.report {
        Some(path) => Problems::file(path)?,
        None => Problems::Shown(0),
    };
    let mut import = links
        .import(&Caller::Operator, request)
        .map_err(|err| err.to_string())?;
    let mut progress = Progress::start("imported");
    let mut bytes = 0;
    let ended = loop {
        let reading = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; PIECE];
            let length = input.read(&mut buffer)?;
            buffer.truncate(length);
            Ok::<_, io::Error>((input, buffer))
        });
        let (back, piece) = reading
            .await
            .map_err(|err| err.to_string())?
            .map_err(|err| cannot("the file cannot be read", err))?;
        input = back;
        bytes += piece.len() as u64;
        let taken = if piece.is_empty() {
            import.finish().await
        } else {
            import.feed(&piece).await
        };
        problems.tell(&mut import, &mut progress)?;
        if let Some(state) = &state {
            state.write(import.report().read)?;
        }
        if piece.is_empty() || taken.is_err() {
            break taken;
        }
        progress.show(import.report().read, length.map(|length| (bytes, length)));
    };
    let report = import.report();
    progress.end(report.read);
    problems.finish(report)?;
    ended.map_err(|err| {
        format!(
            "{err}; {} links were dealt with before, and stay: the import may be run again",
            report.read
        )
    })?;
    match report.refused + report.conflicts {
        left if left > 0 && arguments.on_conflict != OnConflict::Skip => {
            Err(Failure::Partial(format!("{left} links were not taken")))
        }
        _ if report.refused > 0 => Err(Failure::Partial(format!(
            "{} links were not taken",
            report.refused
        ))),
        _ => Ok(()),
    }
}

/// Where problems are told.
enum Problems {
    /// On the terminal, the first of them; how many there were.
    Shown(u64),
    /// In a file.
    File(Box<dyn Write>),
}

impl Problems {
    fn file(path: &Path) -> Result<Self, String> {
        let file = File::create(path).map_err(|err| format!("the report cannot be written: {err}"))?;
        Ok(Self::File(Box::new(io::BufWriter::new(file))))
    }

    fn tell(&mut self, import: &mut Import, progress: &mut Progress) -> Result<(), String> {
        for concern in import.take_problems() {
            match self {
                Self::File(file) => line(file, &concern)?,
                Self::Shown(shown) => {
                    if *shown < SHOWN {
                        progress.say(&sentence(&concern));
                    } else if *shown == SHOWN {
                        progress.say("... more were not taken: --report FILE tells of each");
                    }
                    *shown += 1;
                }
            }
        }
        Ok(())
    }

    fn finish(self, report: &Report) -> Result<(), String> {
        let format = report.format.map_or("nothing", Format::as_str);
        output::note(&format!(
            "read {} as {format}{}: {} created, {} unchanged, {} overwritten, {} conflicts, {} refused{}",
            report.read,
            if report.guessed { " (guessed)" } else { "" },
            report.created,
            report.unchanged,
            report.overwritten,
            report.conflicts,
            report.refused,
            if report.titles_cut > 0 {
                format!("; {} titles were cut", report.titles_cut)
            } else {
                String::new()
            }
        ));
        match self {
            Self::Shown(_) => Ok(()),
            Self::File(mut file) => {
                line(&mut file, report)?;
                file.flush()
                    .map_err(|err| format!("the report cannot be written: {err}"))
            }
        }
    }
}

fn line(file: &mut Box<dyn Write>, value: &impl serde::Serialize) -> Result<(), String> {
    serde_json::to_writer(&mut *file, value)
        .map_err(io::Error::from)
        .and_then(|()| file.write_all(b"\n"))
        .map_err(|err| format!("the report cannot be written: {err}"))
}

/// What a person reads. The slug may hold anything.
fn sentence(concern: &Concern) -> String {
    let outcome = concern.outcome.as_str();
    let slug = concern.slug.as_deref().unwrap_or_default().escape_debug();
    let errors: Vec<String> = concern
        .errors
        .iter()
        .map(|error| {
            format!(
                "{} {}: {}",
                error.pointer.escape_debug(),
                error.code,
                error.detail.escape_debug()
            )
        })
        .collect();
    format!("line {}: {outcome}: {slug}: {}", concern.line, errors.join("; "))
}
