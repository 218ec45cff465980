//! What a steady load takes, and what that costs at list prices.

use super::model::{Load, Steady};
use super::parameters::Parameters;

const GIB: f64 = 1_073_741_824.0;
const HOUR: f64 = 3600.0;
const MONTH: f64 = 730.0 * HOUR;

/// What there has to be.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// CPU of all instances, in vCPU.
    pub cpu: f64,
    /// Requests in flight.
    pub in_flight: f64,
    /// How many instances Cloud Run would choose.
    pub instances: f64,
    /// Connections for reads that are taken at one time in one instance.
    pub reading: f64,
    pub postgres_vcpus: f64,
    pub redis_shards: f64,
}

/// Dollars for a million redirects.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Cloud Run with request-based billing, its price of requests included.
    pub by_request: f64,
    /// Cloud Run with instance-based billing.
    pub by_instance: f64,
    pub postgres: f64,
    pub redis: f64,
    pub transfer: f64,
}

/// Seconds of CPU for a visit, on average.
fn cpu_seconds(parameters: &Parameters, steady: &Steady) -> f64 {
    let micros = steady.memory * parameters.cpu_memory_us
        + steady.redis * parameters.cpu_redis_us
        + steady.postgres * parameters.cpu_postgres_us;
    micros * parameters.cpu_factor / 1e6
}

/// How long a visit is in flight at an instance, on average.
fn visit_seconds(parameters: &Parameters, steady: &Steady) -> f64 {
    let redis = parameters.round_trip_ms / 1e3;
    let postgres = redis + parameters.read_seconds();
    cpu_seconds(parameters, steady) + steady.redis * redis + steady.postgres * postgres
}

pub fn need(parameters: &Parameters, steady: &Steady, load: &Load) -> Need {
    let cpu = load.rate * cpu_seconds(parameters, steady);
    let in_flight = load.rate * visit_seconds(parameters, steady);
    let by_cpu = cpu / (parameters.vcpus * parameters.utilization);
    let by_flight = in_flight / (parameters.concurrency * parameters.utilization);
    let redis_gib = steady.redis_held * parameters.redis_entry_bytes / GIB;
    let changes_reads = load.instances * parameters.changes_reads();
    let postgres_reads = steady.postgres_reads + changes_reads * parameters.changes_cost;
    let commands = steady.redis_reads + steady.postgres_reads;
    Need {
        cpu,
        in_flight,
        instances: by_cpu.max(by_flight).ceil().max(1.0),
        reading: (steady.postgres_reads + changes_reads) * parameters.read_seconds() / load.instances,
        postgres_vcpus: (postgres_reads / parameters.postgres_reads / parameters.fill)
            .ceil()
            .max(1.0),
        redis_shards: (commands / parameters.redis_operations)
            .max(redis_gib / parameters.redis_shard_gib)
            .max(1e-9)
            / parameters.fill,
    }
}

pub fn cost(parameters: &Parameters, need: &Need, load: &Load) -> Cost {
    // Whatever is paid by time is shared by the redirects of that time.
    let for_million = |dollars_a_second: f64| dollars_a_second / load.rate * 1e6;
    let run = |vcpu: f64, gib: f64| {
        for_million(load.instances * (parameters.vcpus * vcpu + parameters.memory_gib * gib))
    };
    let postgres_hour =
        need.postgres_vcpus * (parameters.price_postgres_vcpu + 8.0 * parameters.price_postgres_gib);
    let storage = parameters.links * parameters.link_bytes / GIB * parameters.price_storage;
    Cost {
        by_request: run(parameters.price_vcpu, parameters.price_gib) + parameters.price_requests,
        by_instance: run(parameters.price_vcpu_always, parameters.price_gib_always),
        postgres: for_million(postgres_hour / HOUR + storage / MONTH),
        redis: for_million(need.redis_shards.ceil() * parameters.price_redis_shard / HOUR),
        transfer: 1e6 * parameters.response_bytes / GIB * parameters.price_transfer,
    }
}

/// What the autoscaler sees of a visit: seconds of CPU, and seconds in flight.
pub fn seen(parameters: &Parameters, steady: &Steady) -> (f64, f64) {
    (cpu_seconds(parameters, steady), visit_seconds(parameters, steady))
}
