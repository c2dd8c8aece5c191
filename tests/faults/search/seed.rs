//! Random choices that can be made again: all of them come from one number.

/// xorshift64*: small, and the same everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// From `MOORED_SEED`, or from the clock; the number is printed.
    pub(crate) fn seeded() -> Self {
        Self(seed())
    }

    /// A generator of its own for somebody else.
    pub(crate) fn another(&mut self) -> Self {
        Self(self.next() | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of some.
    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        let len = u64::try_from(all.len()).expect("few");
        let at = usize::try_from(self.below(len)).expect("few");
        all[at]
    }
}

fn seed() -> u64 {
    let given = std::env::var("MOORED_SEED").ok();
    let seed = given.map_or_else(
        || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            u64::from(now.expect("after 1970").subsec_nanos()) | 1
        },
        |text| text.parse().expect("MOORED_SEED is a number"),
    );
    eprintln!("MOORED_SEED={seed}");
    seed
}
