//! `curtail export`

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::porting::{self, Progress};
use crate::service::{Caller, Export, ExportFormat, Links};

/// What to export, and where to.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// ndjson or csv
    #[arg(long, default_value = "ndjson")]
    format: ExportFormat,
    /// The file to write; standard output if there is none
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// Writes every link of the database.
pub(super) fn export(arguments: Arguments) -> Result<(), String> {
    let (config, _) = super::settings::load().map_err(|faults| faults.to_string())?;
    super::block_on(async {
        let opened = porting::open(&config).await?;
        let done = write(&opened.links, arguments).await;
        opened.close().await;
        done
    })?
}

async fn write(links: &Links, arguments: Arguments) -> Result<(), String> {
    let failed = |err: io::Error| format!("the links cannot be written: {err}");
    let mut output: Box<dyn Write + Send> = match &arguments.output {
        Some(path) => Box::new(File::create(path).map_err(failed)?),
        None => Box::new(io::stdout()),
    };
    let mut export = Export::new(&Caller::Admin, arguments.format).map_err(|err| err.to_string())?;
    let mut progress = Progress::start("exported");
    while let Some(text) = export.next(links).await.map_err(|err| err.to_string())? {
        // Whoever reads may be slow, and the store's connections want to be driven meanwhile.
        let written = tokio::task::spawn_blocking(move || output.write_all(&text).map(|()| output)).await;
        output = written.map_err(|err| err.to_string())?.map_err(failed)?;
        progress.show(export.links(), None);
    }
    output.flush().map_err(failed)?;
    progress.end(export.links());
    Ok(())
}
