//! What the redirect is measured against: the least that answers a 302 over the same parts.
//!
//! `bare PORT fixed` asks nobody; `bare PORT redis` first does one `GET` on one shared connection; `bare PORT
//! postgres` first runs one prepared single-row `SELECT` through a pool. Server settings are the service's own.

use std::io::Error;
use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client, cmd};
use tokio_postgres::NoTls;

const TARGET: &str = "https://example.org/articles/1?utm_source=bench";

/// The columns that a redirect needs.
const SELECT: &str =
    "SELECT revision, target, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks IS NOT NULL AS limited, disabled
FROM links WHERE slug = $1";

fn found(target: &str) -> HttpResponse {
    HttpResponse::Found().insert_header((LOCATION, target)).finish()
}

fn slug(request: &HttpRequest) -> &str {
    request.path().trim_start_matches('/')
}

async fn fixed() -> HttpResponse {
    found(TARGET)
}

async fn from_redis(request: HttpRequest, redis: web::Data<MultiplexedConnection>) -> HttpResponse {
    let mut redis = redis.get_ref().clone();
    let key = format!("curtail:link:{}", slug(&request));
    let value: Option<Vec<u8>> = cmd("GET").arg(key).query_async(&mut redis).await.unwrap_or(None);
    match value {
        Some(_) => found(TARGET),
        None => HttpResponse::NotFound().finish(),
    }
}

async fn from_postgres(request: HttpRequest, pool: web::Data<Pool>) -> HttpResponse {
    let row = async {
        let client = pool.get().await.ok()?;
        let statement = client.prepare_cached(SELECT).await.ok()?;
        client.query_opt(&statement, &[&slug(&request)]).await.ok()?
    };
    match row.await {
        Some(row) => found(row.get("target")),
        None => HttpResponse::NotFound().finish(),
    }
}

/// What `name` is set to, read as this program's only settings.
fn setting(name: &str) -> Result<String, Error> {
    std::env::vars()
        .find_map(|(key, value)| (key == name).then_some(value))
        .ok_or_else(|| Error::other(format!("{name} is unset")))
}

async fn serve(port: u16, mode: &str) -> Result<(), Error> {
    macro_rules! serve {
        ($app:expr) => {
            HttpServer::new(move || $app)
                .keep_alive(Duration::from_secs(75))
                .disable_signals()
                .bind(("127.0.0.1", port))?
                .run()
                .await
        };
    }
    match mode {
        "fixed" => serve!(App::new().default_service(web::to(fixed))),
        "redis" => {
            let client = Client::open(setting("REDIS_URL")?).map_err(Error::other)?;
            let redis = client
                .get_multiplexed_async_connection()
                .await
                .map_err(Error::other)?;
            serve!(
                App::new()
                    .app_data(web::Data::new(redis.clone()))
                    .default_service(web::to(from_redis))
            )
        }
        "postgres" => {
            let config = setting("DATABASE_URL")?.parse().map_err(Error::other)?;
            let recycling = ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            };
            let connections = setting("CONNECTIONS")?.parse().map_err(Error::other)?;
            let pool = Pool::builder(Manager::from_config(config, NoTls, recycling))
                .max_size(connections)
                .build()
                .map_err(Error::other)?;
            // Connections live on this runtime, as the service's do.
            let mut open = Vec::new();
            for _ in 0..connections {
                open.push(pool.get().await.map_err(Error::other)?);
            }
            drop(open);
            serve!(
                App::new()
                    .app_data(web::Data::new(pool.clone()))
                    .default_service(web::to(from_postgres))
            )
        }
        other => Err(Error::other(format!(
            "{other} is not one of fixed, redis, postgres"
        ))),
    }
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, mode] = arguments.as_slice() else {
        return Err(Error::other("usage: bare PORT fixed|redis|postgres"));
    };
    let port = port.parse().map_err(Error::other)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(port, mode))
}
