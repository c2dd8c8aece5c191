//! Which room may see which: the arrows of the drawing in the README.

/// One that is not in its neighbour's line cannot be imported there.
pub(crate) const DOORS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("rules", &["model"]),
    ("sys", &["model"]),
    ("socket", &["model"]),
    ("failpoint", &[]),
    ("state", &["failpoint", "model"]),
    ("images", &["model", "sys"]),
    ("spec", &["model", "sys"]),
    ("units", &["model", "sys"]),
    ("runtime", &["failpoint", "model", "sys", "units"]),
    ("checkpoints", &["model", "runtime", "sys"]),
    ("survey", &["model", "runtime", "spec", "sys"]),
    ("streams", &["failpoint", "model", "sys"]),
    ("network", &["model"]),
    ("volumes", &["model", "sys"]),
    ("confine", &["model", "rules", "sys"]),
    (
        "bundles",
        &["images", "model", "network", "spec", "sys", "volumes"],
    ),
    (
        "catalog",
        &["failpoint", "images", "model", "rules", "state", "sys"],
    ),
    (
        "execs",
        &[
            "confine",
            "failpoint",
            "model",
            "runtime",
            "spec",
            "state",
            "streams",
            "sys",
        ],
    ),
    (
        "engine",
        &[
            "bundles",
            "catalog",
            "checkpoints",
            "confine",
            "execs",
            "failpoint",
            "images",
            "model",
            "rules",
            "runtime",
            "spec",
            "state",
            "streams",
            "survey",
            "sys",
            "volumes",
        ],
    ),
    ("wire", &["engine", "model"]),
    ("translate", &["engine", "model", "wire"]),
    ("api", &["engine", "model", "socket", "translate", "wire"]),
];

/// What the program itself wires.
pub(crate) const PROGRAM_DOORS: &[&str] = &["api", "engine", "failpoint", "model", "socket", "sys"];
