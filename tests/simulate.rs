//! The simulator of `scripts/simulate`, compared with computations by hand and with a replay of every visit.

#[path = "../examples/simulate/main.rs"]
#[expect(dead_code, reason = "the rest is for the program")]
mod simulate;

use simulate::fleet::{Scaling, Scenario, play};
use simulate::model::{Load, answered, at_instance, in_redis, steady, without_redis};
use simulate::parameters::Parameters;
use simulate::popularity::{Zipf, bins};
use simulate::replay::{Beyond, Redis, Replay, Shared, Tally};
use simulate::room::Room;
use simulate::{Asked, proof, report};

/// A load of `small` parameters, replayed until it is settled and then for 100 seconds.
fn replayed(small: &Parameters, load: &Load, seed: u64) -> Tally {
    let redis = Beyond::Whole(Redis::new(load.redis_entries as usize));
    let mut replay = Replay::new(small, load.instances as usize, redis, seed);
    replay.run(load.rate, 250.0);
    replay.run(load.rate, 100.0)
}

#[track_caller]
fn is_near(what: &str, expected: f64, found: f64, within: f64) {
    assert!(
        (expected - found).abs() <= within,
        "{what}: expected {expected:.4}, found {found:.4}, which is more than {within} off"
    );
}

#[test]
fn ranks_are_drawn_as_often_as_their_law_says() {
    for exponent in [0.8, 1.0, 1.2] {
        let law = bins(1e6, exponent, 1.01);
        let (zipf, mut chance) = (Zipf::new(1e6, exponent), fastrand::Rng::with_seed(7));
        let draws = 400_000;

        let drawn: Vec<u64> = (0..draws).map(|_| zipf.draw(&mut chance)).collect();

        for rank in [1, 2, 10] {
            let share = drawn.iter().filter(|drawn| **drawn == rank).count() as f64 / f64::from(draws);
            is_near("a rank", law[rank as usize - 1].share, share, 0.002);
        }
        let expected: f64 = law
            .iter()
            .filter(|bin| bin.first > 10_000.0)
            .map(|bin| bin.links * bin.share)
            .sum();
        let tail = drawn.iter().filter(|drawn| **drawn > 10_000).count() as f64 / f64::from(draws);
        is_near("the tail", expected, tail, 0.005);
    }
}

#[test]
fn the_shares_of_all_links_are_one() {
    for (links, growth) in [(5.0, 1.01), (1_234.0, 1.05), (1e9, 1.01), (1e9, 1.05)] {
        let law = bins(links, 1.0, growth);

        is_near("links", links, law.iter().map(|bin| bin.links).sum(), 0.5);
        is_near(
            "shares",
            1.0,
            law.iter().map(|bin| bin.links * bin.share).sum(),
            1e-9,
        );
    }
}

#[test]
fn the_sums_of_a_thousand_million_links_are_those_of_the_harmonic_series() {
    let law = bins(1e9, 1.0, 1.01);

    // The sum of 1/r up to n is ln n + 0.5772156649 + 1/2n.
    let harmonic = 1e9_f64.ln() + 0.577_215_664_9;
    is_near("the first link", 1.0 / harmonic, law[0].share, 1e-6);
}

/// One link that Redis always has: it is served for 285 seconds less the last one, looked up again by a visit of that second,
/// and else by the first one later.
#[test]
fn one_link_at_one_instance_is_as_computed_by_hand() {
    let trusted = Parameters {
        links: 1.0,
        redis_seconds: 1e12,
        ..Parameters::default()
    };
    for (parameters, quiet) in [(trusted.clone(), 284.0), (trusted.unconfirmed(), 4.0)] {
        for visits in [0.001_f64, 0.3, 1.0, 4.0] {
            let mut replay = Replay::new(&parameters, 1, Beyond::Whole(Redis::new(1)), 3);

            let tally = replay.run(visits, 50_000.0 / visits);

            let by_hand = 1.0 - (-visits).exp() / (1.0 + quiet * visits);
            let model = without_redis(&parameters, visits, f64::INFINITY);
            is_near("the model", by_hand, 1.0 - model.waiting, 1e-9);
            is_near("the replay", by_hand, tally.share(tally.memory), 0.01);
            let look_ups = visits / (1.0 + quiet * visits);
            is_near("look-ups", look_ups, model.look_ups, 1e-9);
        }
    }
}

/// All instances lose a link with its end in Redis, and each that is visited before the next end looks it up once.
#[test]
fn one_link_at_many_instances_is_looked_up_once_in_the_time_of_redis() {
    let parameters = Parameters {
        links: 1.0,
        memory_seconds: 3600.0,
        refresh_seconds: 0.0,
        ..Parameters::default()
    };
    for visits in [0.001_f64, 0.01, 0.2] {
        let found = at_instance(&parameters, visits, 1e4, f64::INFINITY);

        let by_hand = -(-visits * 285.0).exp_m1() / 285.0;
        is_near("look-ups", 1.0, found.look_ups / by_hand, 0.02);
        is_near("waiting", 1.0, found.waiting * visits / by_hand, 0.02);
    }
}

#[test]
fn what_the_changes_do_not_confirm_is_asked_of_redis_every_five_seconds() {
    let parameters = Parameters::default();
    for visits in [0.3, 1.0, 4.0] {
        let trusted = at_instance(&parameters, visits, 100.0, f64::INFINITY);
        let unconfirmed = at_instance(&parameters.unconfirmed(), visits, 100.0, f64::INFINITY);

        let look_ups = visits / (1.0 + 4.0 * visits);
        is_near("look-ups", 1.0, unconfirmed.look_ups / look_ups, 0.06);
        assert!(trusted.look_ups < unconfirmed.look_ups / 10.0, "{trusted:?}");
    }
}

#[test]
fn a_cache_bound_by_time_or_by_room_alone_is_as_reckoned_by_hand() {
    let endless = f64::INFINITY;

    is_near("time alone", 2.0 * 30.0, answered(2.0, 30.0, endless), 1e-9);
    is_near("room alone", 3.0_f64.exp() - 1.0, answered(2.0, 1e12, 1.5), 1e-6);
    let neither = answered(2.0, 30.0, 1.5);
    assert!(neither < answered(2.0, 30.0, endless) && neither < answered(2.0, 1e12, 1.5));
    let parameters = Parameters::default();
    is_near("Redis", 285.0 / 286.0, in_redis(&parameters, 1.0, endless), 1e-9);
}

#[test]
fn the_model_agrees_with_a_replay_of_every_visit() {
    let small = proof::small(&Parameters::default());
    let law = bins(small.links, small.exponent, 1.01);
    let unconfirmed = small.unconfirmed();
    // With room for all, with too little memory, and with too little Redis; then while the changes cannot be read.
    for (of, instances, entries, room) in [
        (&small, 1.0, 4e3, 2e4),
        (&small, 4.0, 500.0, 2e4),
        (&small, 4.0, 4e3, 4e3),
        (&small, 8.0, 4e3, 1e3),
        (&unconfirmed, 1.0, 4e3, 2e4),
        (&unconfirmed, 8.0, 4e3, 1e3),
    ] {
        let small = Parameters {
            memory_entries: entries,
            ..of.clone()
        };
        let load = Load {
            rate: 1_000.0,
            instances,
            redis_entries: room,
        };

        let model = steady(&small, &law, &load);
        let tally = replayed(&small, &load, 11);

        is_near("memory", model.memory, tally.share(tally.memory), 0.03);
        is_near("Redis", model.redis, tally.share(tally.redis), 0.03);
        is_near("Postgres", model.postgres, tally.share(tally.postgres), 0.03);
        let reads = tally.redis_reads as f64 / 100.0;
        is_near("Redis reads", 1.0, reads / model.redis_reads, 0.15);
    }
}

#[test]
fn an_instance_of_the_real_size_agrees_with_the_model() {
    let parameters = Parameters::default();
    let law = bins(parameters.links, parameters.exponent, 1.01);
    let load = Load {
        rate: 1e6,
        instances: 1e3,
        redis_entries: f64::INFINITY,
    };
    let others = proof::others(&law, load.rate - 1e3);
    let mut replay = Replay::new(&parameters, 1, Beyond::Shared(Shared::new(others)), 5);
    replay.run(1e3, 600.0);

    let tally = replay.run(1e3, 120.0);

    let model = steady(&parameters, &law, &load);
    is_near("memory", model.memory, tally.share(tally.memory), 0.02);
    is_near("Redis", model.redis, tally.share(tally.redis), 0.02);
    let reads = tally.redis_reads as f64 / 120.0 * 1e3;
    is_near("Redis reads", 1.0, reads / model.redis_reads, 0.04);
}

#[test]
fn a_cold_instance_asks_for_a_link_once_however_many_come_for_it() {
    let one = Parameters {
        links: 1.0,
        postgres_ms: 200.0,
        ..Parameters::default()
    };
    let mut replay = Replay::new(&one, 8, Beyond::Whole(Redis::new(10)), 1);

    let tally = replay.run(10_000.0, 0.2);

    assert_eq!(tally.postgres_reads, 8, "one for each instance");
    assert!(
        tally.postgres > 1_500,
        "the others wait for its answer: {tally:?}"
    );
    assert_eq!(tally.memory + tally.redis, 0);
}

#[test]
fn a_steady_load_stays_what_the_model_says_second_after_second() {
    let parameters = Parameters {
        links: 1e6,
        ..Parameters::default()
    };
    let law = bins(parameters.links, parameters.exponent, 1.05);
    let rate = 50_000.0;
    let scenario = Scenario {
        name: "steady",
        pool_size: None,
        scaling: Scaling::PerInstance(1e3),
        load: Box::new(move |_| rate),
        seconds: 700,
        warm: false,
        emptied: None,
        cut: 0..0,
    };

    let seconds = play(&parameters, &law, &scenario);

    let load = Load {
        rate,
        instances: 50.0,
        redis_entries: f64::INFINITY,
    };
    let settled = steady(&parameters, &law, &load);
    let end = seconds.last().unwrap();
    is_near("instances", 50.0, end.instances, 0.0);
    is_near("memory", settled.memory, end.memory, 0.005);
    is_near("Redis", 1.0, end.redis_reads / settled.redis_reads, 0.01);
    is_near("Postgres", 1.0, end.asked / settled.postgres_reads, 0.1);
    let first = &seconds[0];
    assert!(
        first.asked > 3.0 * end.asked,
        "nothing is known at first: {first:?}"
    );
}

#[test]
fn instances_come_with_the_load_and_go_after_it() {
    let parameters = Parameters {
        idle_seconds: 60.0,
        ..Parameters::default()
    };
    let law = bins(1e6, 1.0, 1.05);
    let scenario = Scenario {
        name: "a step",
        pool_size: None,
        scaling: Scaling::Automatic,
        load: Box::new(|second| if (100..400).contains(&second) { 1e6 } else { 1e3 }),
        seconds: 700,
        warm: true,
        emptied: None,
        cut: 0..0,
    };

    let seconds = play(&parameters, &law, &scenario);

    assert_eq!(seconds[99].instances, 1.0);
    assert_eq!(seconds[102].instances, 1.0, "they take their time to start");
    assert!(seconds[399].instances > 10.0);
    assert_eq!(seconds[699].instances, 1.0);
}

#[test]
fn without_the_changes_redis_is_asked_again_until_they_are_read() {
    let parameters = Parameters::default();
    let law = bins(1e6, 1.0, 1.05);
    let scenario = Scenario {
        name: "a cut",
        pool_size: None,
        scaling: Scaling::PerInstance(1e3),
        load: Box::new(|_| 1e5),
        seconds: 200,
        warm: true,
        emptied: None,
        cut: 100..160,
    };

    let seconds = play(&parameters, &law, &scenario);

    assert!(seconds[101].redis_reads > 2.0 * seconds[99].redis_reads);
    assert!(seconds[150].redis_reads > 1.5 * seconds[99].redis_reads);
    assert!(seconds[165].redis_reads < 1.2 * seconds[99].redis_reads);
    assert!(seconds[150].stale > 0.0, "Redis has links past their freshness");
    assert!(seconds[99].stale == 0.0 && seconds[199].stale == 0.0);
}

#[test]
fn a_memory_keeps_what_is_visited_often_and_all_if_there_is_room() {
    let law = bins(1e6, 1.0, 1.01);
    let few = Room::new(1e4, &law);

    let until_out = |rank: usize| few.until_out(law[rank].share);

    let last = law.len() - 1;
    assert!(until_out(last - 300) > 2.0 * until_out(last - 150) && until_out(last - 150) > until_out(last));
    assert!(Room::new(1e6, &law).until_out(law[0].share).is_infinite());
    let held: f64 = law
        .iter()
        .map(|bin| {
            let hits = bin.share * few.until_out(bin.share);
            bin.links * (1.0 - 1.0 / (1.0 + hits))
        })
        .sum();
    is_near("entries", 1.0, held / 1e4, 0.01);
}

#[test]
fn more_visits_at_one_instance_are_known_better() {
    let parameters = Parameters::default();
    let mut before = 1.0;
    for visits in [0.01, 0.1, 1.0, 10.0] {
        let waiting = at_instance(&parameters, visits, 100.0, f64::INFINITY).waiting;
        assert!(waiting < before);
        before = waiting;
    }
}

#[test]
fn a_seed_gives_one_result() {
    let small = proof::small(&Parameters::default());
    let load = Load {
        rate: 2_000.0,
        instances: 4.0,
        redis_entries: 5e3,
    };

    let first = replayed(&small, &load, 42);

    assert_eq!(first, replayed(&small, &load, 42));
    assert_ne!(first, replayed(&small, &load, 43));
}

#[test]
fn a_parameter_that_makes_no_sense_is_refused_by_its_name() {
    for (argument, named) in [
        ("speed=3", "speed"),
        ("links", "links"),
        ("links=-1", "-1"),
        ("rate=0", "rate"),
        ("rate=fast", "fast"),
    ] {
        let arguments = ["--set", argument].map(str::to_owned);

        let fault = Asked::read(arguments.into_iter()).unwrap_err();

        assert!(fault.contains(named), "{fault}");
    }
}

#[test]
fn the_document_has_the_tables_of_this_program() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SCALE.md")).unwrap();
    let parameters = Parameters::default();
    let law = bins(parameters.links, parameters.exponent, report::FINE);
    let cases = report::cases(&parameters, &law);

    let tables = [
        parameters.table(),
        report::layers(&parameters, &cases),
        report::fitting(&parameters),
        report::changes(&parameters),
        report::connections(&parameters, &cases),
        report::click_load(&parameters, &law, &cases),
        report::costs(&parameters, &cases),
    ];

    for line in tables.iter().flat_map(|table| table.lines()) {
        assert!(
            document.contains(line),
            "scripts/simulate prints another line: {line}"
        );
    }
}
