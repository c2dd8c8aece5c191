//! Made-up names for containers nobody named: an adjective and a thing of the harbour.

use model::ContainerName;

const ADJECTIVES: &[&str] = &[
    "able", "amber", "ample", "azure", "balmy", "bold", "brave", "breezy", "bright", "brisk",
    "broad", "calm", "candid", "cheery", "clear", "clever", "coastal", "cosy", "crisp", "daring",
    "deep", "eager", "early", "earnest", "easy", "fair", "fast", "fine", "firm", "fleet", "fond",
    "free", "fresh", "gentle", "glad", "golden", "grand", "handy", "hardy", "hearty", "honest",
    "jolly", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mild",
    "misty", "neat", "nimble", "noble", "northern", "patient", "plucky", "polite", "proud",
    "quick", "quiet", "rapid", "ready", "robust", "rosy", "salty", "sandy", "serene", "sharp",
    "silent", "silver", "sleek", "smart", "smooth", "snug", "solid", "southern", "spry", "stable",
    "starry", "steady", "still", "stout", "sturdy", "sunny", "sure", "swift", "tidal", "tidy",
    "tranquil", "trim", "trusty", "upright", "vivid", "warm", "western", "windy", "wise", "witty",
];

const THINGS: &[&str] = &[
    "albatross",
    "anchor",
    "anchorage",
    "barge",
    "bay",
    "beacon",
    "berth",
    "bollard",
    "bow",
    "breaker",
    "breeze",
    "bridge",
    "buoy",
    "cabin",
    "cable",
    "canal",
    "cape",
    "capstan",
    "cargo",
    "catamaran",
    "channel",
    "chart",
    "cleat",
    "clipper",
    "coast",
    "compass",
    "coral",
    "cove",
    "crane",
    "crew",
    "current",
    "cutter",
    "davit",
    "deck",
    "delta",
    "dinghy",
    "dock",
    "dolphin",
    "ebb",
    "estuary",
    "fathom",
    "fender",
    "ferry",
    "fjord",
    "flag",
    "fleet",
    "float",
    "galley",
    "gannet",
    "gull",
    "halyard",
    "harbour",
    "hatch",
    "haven",
    "heron",
    "hull",
    "inlet",
    "island",
    "jetty",
    "keel",
    "ketch",
    "knot",
    "lagoon",
    "landing",
    "lantern",
    "lock",
    "lugger",
    "mast",
    "mooring",
    "oar",
    "pelican",
    "pennant",
    "pier",
    "pilot",
    "port",
    "prow",
    "quay",
    "reef",
    "rigging",
    "rudder",
    "sail",
    "schooner",
    "sextant",
    "shoal",
    "shore",
    "skiff",
    "sloop",
    "sounding",
    "spar",
    "starboard",
    "stern",
    "strait",
    "swell",
    "tack",
    "tern",
    "tide",
    "tiller",
    "trawler",
    "tug",
    "voyage",
    "wake",
    "wharf",
    "yawl",
];

/// A name from random bytes; `attempt` above zero adds a number, for when the plain one is taken.
pub fn made_up_name(random: [u8; 32], attempt: u32) -> ContainerName {
    let pick = |words: &[&'static str], at: usize| -> &'static str {
        let index = u16::from_le_bytes([random[at], random[at + 1]]);
        words[usize::from(index) % words.len()]
    };
    let (adjective, thing) = (pick(ADJECTIVES, 0), pick(THINGS, 2));
    let text = match attempt {
        0 => format!("{adjective}_{thing}"),
        _ => format!(
            "{adjective}_{thing}{}",
            u16::from_le_bytes([random[4], random[5]])
        ),
    };
    text.parse()
        .expect("the word lists hold lower-case letters only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_makes_a_valid_name() {
        for i in 0..=255u8 {
            for j in 0..=1u8 {
                let mut random = [0; 32];
                random[..6].copy_from_slice(&[i, j, i, j, 1, 2]);
                assert!(made_up_name(random, 0).as_str().contains('_'));
                assert!(made_up_name(random, 1).as_str().ends_with("513"));
            }
        }
    }
}
