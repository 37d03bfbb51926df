//! Taking figures in turn: A B C, A B C, so that a drifting machine drifts for all of them.

use std::time::{Duration, Instant};

/// Something that is measured again and again.
pub struct Case<'a> {
    run: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Case<'a> {
    pub fn new(run: impl FnMut() -> f64 + 'a) -> Self {
        Self { run: Box::new(run) }
    }
}

/// The figures of one case, one for each round.
#[derive(Clone, Debug, Default)]
pub struct Figures(pub Vec<f64>);

impl Figures {
    pub fn median(&self) -> f64 {
        middle(self.0.clone())
    }

    pub fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn most(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    /// The median of the quotients of each round: what the machine did to both falls out.
    pub fn over(&self, base: &Self) -> f64 {
        middle(self.0.iter().zip(&base.0).map(|(figure, base)| figure / base).collect())
    }
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => figures[length / 2],
        length => f64::midpoint(figures[length / 2 - 1], figures[length / 2]),
    }
}

/// Runs the cases in turn, after one round that does not count: it warms caches and grows the WAL,
/// which is overwritten in place from then on.
pub fn in_turn(rounds: usize, cases: &mut [Case<'_>]) -> Vec<Figures> {
    let mut figures = vec![Figures::default(); cases.len()];
    for round in 0..=rounds {
        for (case, figures) in cases.iter_mut().zip(&mut figures) {
            let figure = (case.run)();
            if round > 0 {
                figures.0.push(figure);
            }
        }
    }
    figures
}

/// How many a second: repeats `work`, which tells how many it did, for this long.
pub fn rate(time: Duration, mut work: impl FnMut() -> usize) -> f64 {
    let begin = Instant::now();
    let mut done = 0;
    loop {
        done += work();
        let passed = begin.elapsed();
        if passed >= time {
            return done as f64 / passed.as_secs_f64();
        }
    }
}
