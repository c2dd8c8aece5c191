//! What `ps` printed, cut down to some processes (moby `daemon/top_unix.go`).

use std::collections::BTreeSet;

use model::{Error, Result};

/// The titles of `ps` output, and its rows whose PID is one of `pids`.
///
/// # Errors
/// moby's words for output without that column.
pub fn select_processes(
    output: &str,
    pids: &BTreeSet<u32>,
) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let column = titles
        .iter()
        .position(|t| t == "PID")
        .ok_or_else(|| Error::system("Couldn't find PID field in ps output"))?;
    let processes = lines
        .filter_map(|line| {
            let row = fields(line, titles.len());
            let pid: u32 = row.get(column)?.parse().ok()?;
            pids.contains(&pid).then_some(row)
        })
        .collect();
    Ok((titles, processes))
}

/// Splits a row into `columns` fields; the last one keeps its blanks, being the command line.
fn fields(line: &str, columns: usize) -> Vec<String> {
    let mut rest = line.trim_start();
    let mut row = Vec::with_capacity(columns);
    while row.len() + 1 < columns && !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        row.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    if !rest.is_empty() {
        row.push(rest.trim_end().to_owned());
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_pid_and_the_command_keeps_its_blanks() {
        let output = "UID  PID  PPID CMD\nroot 12 1 sleep  60\nroot 13 1 sh -c x\n";
        let (titles, processes) = select_processes(output, &BTreeSet::from([12])).unwrap();
        assert_eq!(titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(processes, [["root", "12", "1", "sleep  60"]]);
    }

    #[test]
    fn output_without_pids_is_refused() {
        let e = select_processes("CMD\nsleep\n", &BTreeSet::new()).unwrap_err();
        assert_eq!(e.message(), "Couldn't find PID field in ps output");
    }
}
