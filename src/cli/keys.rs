//! `curtail keys`

use std::sync::Arc;

use clap::Subcommand;
use jiff::Timestamp;
use secrecy::ExposeSecret;

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
    let (config, _) = super::settings::load().map_err(|faults| faults.to_string())?;
    super::settings::start_log(&config, Stream::Error);
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
        done.map_err(|err| explain(&err))
    })?
}

async fn run(keys: &Keys, command: Command) -> Result<(), Error> {
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
            let issued = keys.create(&Caller::Operator, draft).await?;
            eprintln!(
                "The id of the key is {}. The key itself is not kept:",
                issued.key.id
            );
            println!("{}", issued.secret.expose_secret());
        }
        Command::List => {
            println!("id\tname\tscopes\town_links_only\texpires_at\tcreated_at\tlast_used_at");
            let mut after = None;
            loop {
                let page = keys.list(after.as_ref(), PAGE).await?;
                page.keys.iter().for_each(print);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Command::Revoke { id } => keys.revoke(&Caller::Operator, &id).await?,
    }
    Ok(())
}

fn print(key: &Key) {
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let time = |time: Option<Timestamp>| time.map_or("-".to_owned(), |time| time.to_string());
    println!(
        "{}\t{}\t{}\t{}\t{}\t{}\t{}",
        key.id,
        key.name.escape_debug(),
        scopes.join(","),
        key.own_links_only,
        time(key.expires_at),
        key.created_at,
        time(key.last_used_at),
    );
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
