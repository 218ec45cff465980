//! `curtail keys`

use std::sync::Arc;

use clap::Subcommand;
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::output;
use crate::domain::{GivenTime, Key, KeyDraft, SystemClock};
use crate::lifecycle::Lifecycle;
use crate::service::{Caller, Error, Keys};
use crate::store;
use crate::telemetry::log::Stream;

/// Keys that are read at once.
const PAGE: u8 = 200;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key and print it, this once
    #[command(
        after_help = "Example:\n  curtail keys create --name shop --scope links:create --scope links:read --own-links-only"
    )]
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        /// links:create, links:read, links:write, stats:read or keys:admin; may be given more than once
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// Hide other links than those that it makes
        #[arg(long)]
        own_links_only: bool,
        /// When it ends, such as 2030-01-01T00:00:00Z
        #[arg(long)]
        expires_at: Option<GivenTime>,
    },
    /// List the keys, without what is secret of them
    #[command(after_help = "Example:\n  curtail keys list")]
    List,
    /// Revoke a key: it is refused everywhere within 5 seconds
    #[command(after_help = "Example:\n  curtail keys revoke a1B2c3D4e5F6")]
    Revoke {
        /// The key's id, as `curtail keys list` shows it
        id: String,
    },
}

/// Makes, lists or revokes keys in the database.
pub(super) fn keys(command: Command) -> Result<(), String> {
    let settings = super::settings::load().map_err(|faults| faults.to_string())?;
    settings.start_log(Stream::Error);
    let config = settings.config;
    super::block_on(async {
        let store = store::open(&config.store).await.map_err(|err| err.to_string())?;
        let keys = Keys::new(
            &config.access,
            Arc::clone(&store),
            Arc::new(SystemClock),
            Lifecycle::new(),
        );
        let done = run(&keys, command).await;
        store.close().await;
        done
    })?
}

async fn run(keys: &Keys, command: Command) -> Result<(), String> {
    let explained = |err: Error| explain(&err);
    match command {
        Command::Create {
            name,
            scopes,
            own_links_only,
            expires_at,
        } => {
            let draft = KeyDraft {
                name,
                scopes,
                own_links_only,
                expires_at: expires_at.map(GivenTime::get),
            };
            let issued = keys.create(&Caller::Operator, draft).await.map_err(explained)?;
            let id = &issued.key.id;
            output::note(&format!("The id of the key is {id}. The key itself is not kept:"));
            // Here a reader that has left is a failure: the key is shown once.
            match output::write(format!("{}\n", issued.secret.expose_secret()).as_bytes()) {
                Ok(true) => {}
                Ok(false) | Err(_) => {
                    return Err(format!(
                        "the key {id} was created and could not be shown: revoke it, and create another"
                    ));
                }
            }
        }
        Command::List => {
            let mut table =
                "id\tname\tscopes\town_links_only\texpires_at\tcreated_at\tlast_used_at\n".to_owned();
            let mut after = None;
            loop {
                let page = keys.list(after.as_ref(), PAGE).await.map_err(explained)?;
                page.keys.iter().for_each(|key| table.push_str(&row(key)));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            output::write(table.as_bytes())?;
        }
        Command::Revoke { id } => keys.revoke(&Caller::Operator, &id).await.map_err(explained)?,
    }
    Ok(())
}

fn row(key: &Key) -> String {
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let time = |time: Option<Timestamp>| time.map_or("-".to_owned(), |time| time.to_string());
    format!(
        "{}\t{}\t{}\t{}\t{}\t{}\t{}\n",
        key.id,
        key.name.escape_debug(),
        scopes.join(","),
        key.own_links_only,
        time(key.expires_at),
        key.created_at,
        time(key.last_used_at),
    )
}

fn explain(err: &Error) -> String {
    match err {
        Error::InvalidKey(faults) => {
            let faults: Vec<_> = faults.iter().map(|fault| fault.detail.as_str()).collect();
            faults.join("; ")
        }
        err => err.to_string(),
    }
}
