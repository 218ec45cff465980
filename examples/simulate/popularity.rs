//! How often which link is visited: Zipf's law, as shares to reckon with and as links to draw.

/// The most ranks that are reckoned with one by one.
const EXACT: f64 = 1000.0;

/// Links of like popularity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// The first rank.
    pub first: f64,
    /// How many links.
    pub links: f64,
    /// The share of all visits that each of them gets, on average.
    pub share: f64,
}

/// Popularity by rank: the first `EXACT` alone, then bins whose ends are `growth` apart.
pub fn bins(links: f64, exponent: f64, growth: f64) -> Vec<Bin> {
    let mut bins = Vec::new();
    let mut first = 1.0;
    while first <= links {
        let count = if first <= EXACT {
            1.0
        } else {
            (first * (growth - 1.0)).floor().max(1.0).min(links - first + 1.0)
        };
        let weight = if count == 1.0 {
            f64::powf(first, -exponent)
        } else {
            // The midpoint rule over each rank: good to 1 in a million beyond the first thousand.
            integral(first + count - 0.5, exponent) - integral(first - 0.5, exponent)
        };
        bins.push(Bin {
            first,
            links: count,
            share: weight / count,
        });
        first += count;
    }
    let total: f64 = bins.iter().map(|bin| bin.share * bin.links).sum();
    for bin in &mut bins {
        bin.share /= total;
    }
    bins
}

/// The integral of `x^-exponent` from 1 on.
fn integral(x: f64, exponent: f64) -> f64 {
    let log = x.ln();
    log * growth_of((1.0 - exponent) * log)
}

/// `(e^t - 1) / t`, and its limit at 0.
fn growth_of(t: f64) -> f64 {
    if t.abs() > 1e-8 {
        t.exp_m1() / t
    } else {
        1.0 + t / 2.0
    }
}

/// The inverse of `integral`.
fn inverse(area: f64, exponent: f64) -> f64 {
    let t = (area * (1.0 - exponent)).max(-1.0);
    let log = if t.abs() > 1e-8 {
        t.ln_1p() / t
    } else {
        1.0 - t / 2.0
    };
    (log * area).exp()
}

/// Draws ranks, by rejection-inversion (Hörmann and Derflinger, 1996): as quick for a thousand million links as for ten.
#[derive(Debug, Clone, Copy)]
pub struct Zipf {
    links: f64,
    exponent: f64,
    low: f64,
    high: f64,
    sure: f64,
}

impl Zipf {
    pub fn new(links: f64, exponent: f64) -> Self {
        let weight = |x: f64| f64::powf(x, -exponent);
        Self {
            links,
            exponent,
            low: integral(1.5, exponent) - 1.0,
            high: integral(links + 0.5, exponent),
            sure: 2.0 - inverse(integral(2.5, exponent) - weight(2.0), exponent),
        }
    }

    /// A rank, from 1 on.
    pub fn draw(&self, chance: &mut fastrand::Rng) -> u64 {
        loop {
            let area = self.high + chance.f64() * (self.low - self.high);
            let x = inverse(area, self.exponent);
            let rank = x.round().clamp(1.0, self.links);
            if rank - x <= self.sure
                || area >= integral(rank + 0.5, self.exponent) - f64::powf(rank, -self.exponent)
            {
                return rank as u64;
            }
        }
    }
}
