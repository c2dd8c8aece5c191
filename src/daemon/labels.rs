//! `labels`: what the operator calls this daemon. Clients see them in `info`.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// The labels, each once.
///
/// # Errors
/// One that is not `KEY=VALUE`; one key with two values (moby `GetConflictFreeLabels`).
pub(crate) fn checked(labels: Vec<String>) -> Result<Vec<String>> {
    let mut values = BTreeMap::new();
    let mut kept = Vec::new();
    for label in labels {
        let Some((key, value)) = label.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            bail!("labels: {label:?} is not KEY=VALUE");
        };
        match values.insert(key.to_owned(), value.to_owned()) {
            None => kept.push(label),
            Some(before) if before != value => {
                bail!("labels: conflict labels for {key}={value} and {key}={before}");
            }
            Some(_) => {}
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|&label| label.to_owned()).collect()
    }

    #[test]
    fn labels_have_a_key_and_one_value() {
        let good = checked(list(&["a=1", "b=", "a=1"]));
        assert_eq!(good.unwrap(), list(&["a=1", "b="]));
        for bad in [&["a"] as &[&str], &["=1"], &["a=1", "a=2"]] {
            assert!(checked(list(bad)).is_err(), "{bad:?}");
        }
    }
}
