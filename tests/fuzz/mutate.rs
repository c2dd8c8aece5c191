//! Inputs made of seeds, the same ones each time.

/// xorshift64: no more than that is needed, and everybody has the same numbers.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        usize::try_from(self.next() % end).expect("it is below a usize")
    }
}

/// Numbers and words that mean something to a parser.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"/",
    b"..",
    b"../",
    b".wh.",
    b".wh..wh..opq",
    b"=",
    b" ",
    b":",
    b"@",
    b"-1",
    b"0",
    b"4294967295",
    b"9223372036854775808",
    b"18446744073709551616",
    b"\xff\xff\xff\xff",
    b"\x80\0\0\0",
    b"null",
    b"[]",
    b"{}",
    b"\"",
    b"sha256:",
    b"\xc3\xa9",
];

/// One input: a seed with some changes.
pub(crate) fn of(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    /// Longer ones take too long for what they show.
    const BYTES_MAX: usize = 64 << 10;
    let seed = &seeds[random.below(seeds.len())];
    let mut input = seed[..seed.len().min(BYTES_MAX)].to_vec();
    for _ in 0..=random.below(4) {
        change(&mut input, seeds, random);
    }
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let to = at + random.below(input.len() - at + 1).min(600);
    match random.below(9) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.next().to_le_bytes()[0],
        2 => {
            let word = WORDS[random.below(WORDS.len())];
            input.splice(at..at, word.iter().copied());
        }
        3 => {
            let word = WORDS[random.below(WORDS.len())];
            let end = input.len().min(at + word.len());
            input.splice(at..end, word.iter().copied());
        }
        4 => {
            input.drain(at..to);
        }
        5 => {
            let again = input[at..to].to_vec();
            input.splice(at..at, again);
        }
        6 => input.truncate(at),
        // Whole blocks, so that an archive stays one.
        7 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() / 512 + 1) * 512;
            let end = other.len().min(from + 512 * (1 + random.below(4)));
            let at = at / 512 * 512;
            input.splice(at..at, other[from..end].iter().copied());
        }
        _ => {
            let blocks = input.len() / 512;
            if blocks > 1 {
                let (one, two) = (random.below(blocks) * 512, random.below(blocks) * 512);
                for n in 0..512 {
                    input.swap(one + n, two + n);
                }
            }
        }
    }
}
