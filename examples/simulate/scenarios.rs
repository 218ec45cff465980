//! What is played second by second.

use super::fleet::{Scaling, Scenario};
use super::parameters::Parameters;

/// Seconds of the way up, of the stay, and of the way down.
const PART: usize = 600;

/// From a thousandth of the load to all of it, and back.
fn there_and_back(rate: f64) -> impl Fn(usize) -> f64 {
    move |second| {
        let high = match second {
            up if up < PART => up as f64 / PART as f64,
            stay if stay < 2 * PART => 1.0,
            down => (1.0 - (down - 2 * PART) as f64 / PART as f64).max(0.0),
        };
        rate * (0.001 + 0.999 * high)
    }
}

/// The scenarios of the table.
pub fn scenarios(parameters: &Parameters) -> Vec<Scenario> {
    let rate = parameters.rate;
    let all = move |_| rate;
    let of_thousand = Scaling::PerInstance(1e3);
    vec![
        Scenario {
            name: "up in 10 minutes, stay for 10, down in 10; as Cloud Run scales",
            pool_size: None,
            scaling: Scaling::Automatic,
            load: Box::new(there_and_back(rate)),
            seconds: 4 * PART,
            warm: true,
            emptied: None,
            cut: 0..0,
        },
        Scenario {
            name: "the same with `DATABASE_POOL_SIZE=8`",
            pool_size: Some(8.0),
            scaling: Scaling::Automatic,
            load: Box::new(there_and_back(rate)),
            seconds: 4 * PART,
            warm: true,
            emptied: None,
            cut: 0..0,
        },
        Scenario {
            name: "up, stay and down, an instance for each 1,000 redirects a second",
            pool_size: None,
            scaling: of_thousand,
            load: Box::new(there_and_back(rate)),
            seconds: 4 * PART,
            warm: true,
            emptied: None,
            cut: 0..0,
        },
        Scenario {
            name: "from a tenth of the load to all of it in one second; as Cloud Run scales",
            pool_size: None,
            scaling: Scaling::Automatic,
            load: Box::new(move |second| if second < 60 { rate / 10.0 } else { rate }),
            seconds: PART,
            warm: true,
            emptied: None,
            cut: 0..0,
        },
        Scenario {
            name: "the same, an instance for each 1,000",
            pool_size: None,
            scaling: of_thousand,
            load: Box::new(move |second| if second < 60 { rate / 10.0 } else { rate }),
            seconds: PART,
            warm: true,
            emptied: None,
            cut: 0..0,
        },
        Scenario {
            name: "all of the load, an instance for each 1,000; Redis comes back empty",
            pool_size: None,
            scaling: of_thousand,
            load: Box::new(all),
            seconds: 2 * PART,
            warm: true,
            emptied: Some(60),
            cut: 0..0,
        },
        Scenario {
            name: "all of the load, an instance for each 1,000; Postgres answers nothing for a minute",
            pool_size: None,
            scaling: of_thousand,
            load: Box::new(all),
            seconds: 2 * PART,
            warm: true,
            emptied: None,
            cut: 60..120,
        },
        Scenario {
            name: "all of the load at once, nothing knows anything: 1,000 cold instances, an empty Redis",
            pool_size: None,
            scaling: of_thousand,
            load: Box::new(all),
            seconds: 2 * PART,
            warm: false,
            emptied: None,
            cut: 0..0,
        },
    ]
}
