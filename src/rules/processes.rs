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
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect();
    let column = titles
        .iter()
        .position(|t| t == "PID")
        .ok_or_else(|| Error::system("Couldn't find PID field in ps output"))?;
    let mut is_ours = false;
    let processes = lines
        .filter_map(|line| {
            let row = fields(line, titles.len());
            match row.get(column)?.as_str() {
                // A thread, of the process above it.
                "-" => {}
                pid => is_ours = pid.parse().is_ok_and(|pid| pids.contains(&pid)),
            }
            is_ours.then_some(row)
        })
        .collect();
    Ok((titles, processes))
}

/// Whether these are arguments of `ps` by which the column PID is one (moby `validatePSArgs`).
///
/// # Errors
/// Another column that is to be titled so, in moby's words.
pub fn check_ps_args(args: &str) -> Result<()> {
    // What comes first has nothing in front of it, and is no column.
    let words: Vec<&str> = args.split_ascii_whitespace().collect();
    let follows_blank = args.starts_with(|c: char| c.is_ascii_whitespace());
    for (at, word) in words.iter().enumerate() {
        let Some((column, title)) = word.rsplit_once('=') else {
            continue;
        };
        // Blanks may stand between the two.
        let title = match title {
            "" => words.get(at + 1).copied().unwrap_or_default(),
            title => title,
        };
        if (at > 0 || follows_blank) && title.starts_with("PID") && column != "pid" {
            return Err(Error::invalid(format!(
                "specifying \"{column}={title}\" is not allowed"
            )));
        }
    }
    Ok(())
}

/// Splits a row into `columns` fields; the last one keeps its blanks, being the command line.
fn fields(line: &str, columns: usize) -> Vec<String> {
    let is_blank = |c: char| c.is_ascii_whitespace();
    let mut rest = line.trim_start_matches(is_blank);
    let mut row = Vec::with_capacity(columns);
    while row.len() + 1 < columns && !rest.is_empty() {
        // Not of Unicode's blanks: a name may have one of those (moby `fieldsASCII`).
        let end = rest.find(is_blank).unwrap_or(rest.len());
        row.push(rest[..end].to_owned());
        rest = rest[end..].trim_start_matches(is_blank);
    }
    if !rest.is_empty() {
        row.push(rest.trim_end_matches(is_blank).to_owned());
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
    fn threads_are_those_of_the_process_above_them() {
        let output = "PID LWP CMD\n12 - a\n- 12 -\n13 - b\n- 13 -\n- 14 -\n";
        let (_, processes) = select_processes(output, &BTreeSet::from([13])).unwrap();
        assert_eq!(
            processes,
            [["13", "-", "b"], ["-", "13", "-"], ["-", "14", "-"]]
        );
    }

    #[test]
    fn a_blank_of_unicode_splits_no_name() {
        let output = "CMD PID\na\u{2003}13 12\n";
        let (_, processes) = select_processes(output, &BTreeSet::from([12])).unwrap();
        assert_eq!(processes, [["a\u{2003}13", "12"]]);
    }

    #[test]
    fn no_other_column_is_titled_pid() {
        for good in [
            "",
            "-ef",
            "-o pid",
            "-o pid=PID",
            "-o pid=PID,cmd",
            "-o cmd=X",
            "-o pid=x",
        ] {
            assert!(check_ps_args(good).is_ok(), "{good}");
        }
        for (bad, says) in [
            ("-o ppid=PID", "specifying \"ppid=PID\" is not allowed"),
            ("-o ppid= PID", "specifying \"ppid=PID\" is not allowed"),
            ("-e -o ppid=PIDX", "specifying \"ppid=PIDX\" is not allowed"),
        ] {
            assert_eq!(check_ps_args(bad).unwrap_err().message(), says);
        }
    }

    #[test]
    fn output_without_pids_is_refused() {
        let e = select_processes("CMD\nsleep\n", &BTreeSet::new()).unwrap_err();
        assert_eq!(e.message(), "Couldn't find PID field in ps output");
    }
}
