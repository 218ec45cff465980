//! `curtail export`

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::output;
use super::porting::{self, Progress};
use super::whole_file::WholeFile;
use crate::service::{Caller, Export, ExportFormat, Links};

/// What to export, and where to.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// ndjson or csv
    #[arg(long, default_value = "ndjson")]
    format: ExportFormat,
    /// The file to write, which is replaced once the export is whole; standard output if there is none
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// Writes every link of the database.
pub(super) fn export(arguments: Arguments) -> Result<(), String> {
    let settings = super::settings::load().map_err(|faults| faults.to_string())?;
    settings.note_warnings();
    let config = settings.config;
    super::block_on(async {
        let opened = porting::open(&config).await?;
        let done = write(&opened.links, arguments).await;
        opened.close().await;
        done
    })?
}

/// Where an export goes.
enum Sink {
    File(Box<WholeFile>),
    Output,
}

impl Sink {
    /// `false` if there is no reader any more.
    fn write(&mut self, bytes: &[u8]) -> Result<bool, String> {
        match self {
            Self::Output => output::write(bytes),
            Self::File(file) => match file.write_all(bytes) {
                Ok(()) => Ok(true),
                // A pipe with a name.
                Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(false),
                Err(err) => Err(format!("the links cannot be written: {err}")),
            },
        }
    }
}

async fn write(links: &Links, arguments: Arguments) -> Result<(), String> {
    let failed = |err: io::Error| format!("the links cannot be written: {err}");
    let mut sink = match &arguments.output {
        Some(path) => Sink::File(Box::new(WholeFile::create(path).map_err(failed)?)),
        None => Sink::Output,
    };
    let mut export = Export::new(&Caller::Admin, arguments.format).map_err(|err| err.to_string())?;
    let mut progress = Progress::start("exported");
    while let Some(text) = export.next(links).await.map_err(|err| err.to_string())? {
        // Whoever reads may be slow, and the store's connections want to be driven meanwhile.
        let writing = tokio::task::spawn_blocking(move || sink.write(&text).map(|goes_on| (sink, goes_on)));
        let goes_on;
        (sink, goes_on) = writing.await.map_err(|err| err.to_string())??;
        if !goes_on {
            return Ok(());
        }
        progress.show(export.links(), None);
    }
    if let Sink::File(file) = sink {
        file.finish().map_err(failed)?;
    }
    progress.end(export.links());
    Ok(())
}
