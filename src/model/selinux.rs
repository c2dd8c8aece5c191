//! SELinux labels of containers: `user:role:type:level`.

use serde::{Deserialize, Serialize};

/// What a request says about them (`--security-opt label=`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SelinuxWish {
    /// No label of its own for the process.
    pub disable: bool,
    /// Parts in place of the policy's.
    pub user: Option<String>,
    /// See `user`.
    pub role: Option<String>,
    /// Of the process.
    pub kind: Option<String>,
    /// `s0:c1,c2`, in place of one that no other container has.
    pub level: Option<String>,
    /// The type of its files.
    pub file_kind: Option<String>,
}

/// The labels of a container, fixed when it is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelinuxLabels {
    /// Of its processes; empty is that of whoever starts them.
    pub process: String,
    /// Of its files.
    pub mount: String,
}

/// The parts of a label. A level may have colons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelinuxLabel {
    /// `system_u`.
    pub user: String,
    /// `system_r`.
    pub role: String,
    /// `container_t`.
    pub kind: String,
    /// `s0:c1,c2`; `None` where the policy has no levels.
    pub level: Option<String>,
}

impl SelinuxLabel {
    /// `None` for what is no label.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':').map(str::to_owned);
        Some(Self {
            user: parts.next().filter(|part| !part.is_empty())?,
            role: parts.next()?,
            kind: parts.next()?,
            level: parts.next(),
        })
    }
}

impl std::fmt::Display for SelinuxLabel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.user, self.role, self.kind)?;
        match &self.level {
            Some(level) => write!(f, ":{level}"),
            None => Ok(()),
        }
    }
}
