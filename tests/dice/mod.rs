//! Random choices that can be made again.
//!
//! A test prints the seed that it uses; `HIVELOG_SEED=<number>` makes the next run use that one.

/// A stream of numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of this run: given by the environment, else fresh; printed in any case.
    pub fn announced(test: &str) -> (u64, Self) {
        let seed = std::env::var("HIVELOG_SEED").ok().map_or_else(fresh, |text| {
            text.parse().unwrap_or_else(|_| panic!("HIVELOG_SEED is not a number: {text}"))
        });
        println!("{test}: HIVELOG_SEED={seed}");
        (seed, Self(seed))
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `below` - 1.
    pub const fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// A number from `from` to `to`, both included.
    pub const fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True in so many of a hundred cases.
    pub const fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Another stream that this one gives birth to.
    pub const fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

fn fresh() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |time| u64::from(time.subsec_nanos()) ^ time.as_secs());
    nanos ^ (u64::from(std::process::id()) << 32)
}
