//! Dockerfile instructions applied to an image's configuration: those that Docker takes on
//! commit and import, read as its parser reads them.

use model::{Error, HealthCheck, ImageConfig, Result, Signal};

use crate::words;

/// Applies what the `changes` parameters say: pieces of a Dockerfile, usually one line each, which Docker
/// reads as one (moby `BuildFromConfig`).
///
/// # Errors
/// What is no instruction of an import or is malformed; changes that say nothing (400).
pub fn apply(config: &mut ImageConfig, changes: &[String]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let joined = changes.join("\n");
    let joined = joined.replace("\\\r\n", "").replace("\\\n", "");
    let lines = joined.lines().map(str::trim);
    let mut lines = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    if lines.peek().is_none() {
        return Err(Error::invalid("file with no instructions"));
    }
    lines.try_for_each(|line| apply_line(config, line))
}

/// Whether `change` has an instruction of that name, in upper case.
pub(crate) fn names(change: &str, instruction: &str) -> bool {
    change.lines().any(|line| {
        let first = line.split_whitespace().next();
        first.is_some_and(|word| word.eq_ignore_ascii_case(instruction))
    })
}

fn apply_line(config: &mut ImageConfig, line: &str) -> Result<()> {
    let (instruction, rest) = line
        .split_once(char::is_whitespace)
        .map_or((line, ""), |(instruction, rest)| (instruction, rest.trim()));
    let name = instruction.to_ascii_uppercase();
    match name.as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "USER" => config.user = one(config, &name, rest)?,
        "WORKDIR" => config.working_dir = absolute(&config.working_dir, &one(config, &name, rest)?),
        "STOPSIGNAL" => {
            let signal = one(config, &name, rest)?;
            signal.parse::<Signal>()?;
            config.stop_signal = signal;
        }
        "ENV" => {
            for (key, value) in pairs(config, &name, rest)? {
                set_env(&mut config.env, &key, &value);
            }
        }
        "LABEL" => config.labels.extend(pairs(config, &name, rest)?),
        "EXPOSE" => {
            for spec in many(config, &name, &words::split(rest))? {
                for port in ports(&spec)? {
                    add(&mut config.exposed_ports, port);
                }
            }
        }
        "VOLUME" => {
            let listed = words::json_list(rest).unwrap_or_else(|| words::split(rest));
            for path in many(config, &name, &listed)? {
                add(&mut config.volumes, path);
            }
        }
        "HEALTHCHECK" => config.health_check = Some(health_check(rest)?),
        "ONBUILD" => config.on_build.push(trigger(rest)?),
        _ => {
            return Err(Error::invalid(format!(
                "{instruction} is not a valid change command"
            )));
        }
    }
    Ok(())
}

/// The ports that a word of `EXPOSE` means: `80`, `53/udp`, `8000-8010`. What it says of the host is
/// passed over (docker/go-connections `ParsePortSpec`).
fn ports(spec: &str) -> Result<Vec<String>> {
    let (range, protocol) = spec.split_once('/').unwrap_or((spec, "tcp"));
    let range = range.rsplit(':').next().unwrap_or_default();
    if range.is_empty() {
        return Err(Error::invalid(format!("no port specified: {spec}<empty>")));
    }
    let bad_port = || Error::invalid(format!("invalid containerPort: {range}"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| text.parse::<u16>().map_err(|_| bad_port());
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        return Err(bad_port());
    }
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(Error::invalid(format!("invalid proto: {protocol}")));
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

/// What a build on the image is to do first.
fn trigger(text: &str) -> Result<String> {
    let instruction = split_word(text).0.to_ascii_uppercase();
    match instruction.as_str() {
        "" => Err(Error::invalid("ONBUILD requires at least one argument")),
        "ONBUILD" => Err(Error::invalid(
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        )),
        "MAINTAINER" | "FROM" => Err(Error::invalid(format!(
            "{instruction} isn't allowed as an ONBUILD trigger"
        ))),
        _ => Ok(text.to_owned()),
    }
}

/// The exec form (a JSON array of strings), or the shell form.
fn command(text: &str) -> Vec<String> {
    words::json_list(text)
        .unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

/// The one argument of an instruction: the rest of its line.
fn one(config: &ImageConfig, name: &str, text: &str) -> Result<String> {
    if text.is_empty() {
        return Err(Error::invalid(format!(
            "{name} requires exactly one argument"
        )));
    }
    words::resolve(text, &config.env)
}

fn many(config: &ImageConfig, name: &str, words: &[String]) -> Result<Vec<String>> {
    if words.is_empty() {
        return Err(Error::invalid(format!(
            "{name} requires at least one argument"
        )));
    }
    let resolved = words.iter().map(|w| words::resolve(w, &config.env));
    let resolved = resolved.collect::<Result<Vec<_>>>()?;
    if resolved.iter().any(String::is_empty) {
        return Err(Error::invalid(format!(
            "{name} specified can not be an empty string"
        )));
    }
    Ok(resolved)
}

/// `key=value key=value`, or the old form `key the whole rest`.
fn pairs(config: &ImageConfig, name: &str, text: &str) -> Result<Vec<(String, String)>> {
    let words = words::split(text);
    let Some(first) = words.first() else {
        return Err(Error::invalid(format!(
            "{name} requires at least one argument"
        )));
    };
    let mut found = Vec::new();
    if first.contains('=') {
        for word in &words {
            found.push(word.split_once('=').ok_or_else(|| {
                Error::invalid(format!(
                    "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
                ))
            })?);
        }
    } else {
        let pair = text.split_once(char::is_whitespace);
        let (key, value) =
            pair.ok_or_else(|| Error::invalid(format!("{name} must have two arguments")))?;
        found.push((key, value.trim_start()));
    }
    let resolve = |text: &str| words::resolve(text, &config.env);
    found
        .into_iter()
        .map(|(key, value)| match resolve(key)? {
            key if key.is_empty() => Err(Error::invalid(format!("{name} names can not be blank"))),
            key => Ok((key, resolve(value)?)),
        })
        .collect()
}

/// `NONE`, or options and `CMD` with a command in one of its two forms.
fn health_check(text: &str) -> Result<HealthCheck> {
    let mut check = HealthCheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, behind) = split_word(option);
        health_option(&mut check, option)?;
        rest = behind;
    }
    let (kind, command) = split_word(rest);
    check.test = match kind.to_ascii_uppercase().as_str() {
        "" => return Err(Error::invalid("HEALTHCHECK requires at least one argument")),
        "NONE" if command.is_empty() => vec!["NONE".to_owned()],
        "NONE" => return Err(Error::invalid("HEALTHCHECK NONE takes no arguments")),
        "CMD" if command.is_empty() => {
            return Err(Error::invalid("Missing command after HEALTHCHECK CMD"));
        }
        "CMD" => match words::json_list(command) {
            Some(list) => [vec!["CMD".to_owned()], list].concat(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        _ => {
            let words = format!("Unknown type {kind:?} in HEALTHCHECK (try CMD)");
            return Err(Error::invalid(words));
        }
    };
    check.check()?;
    Ok(check)
}

fn health_option(check: &mut HealthCheck, option: &str) -> Result<()> {
    let invalid = || Error::invalid(format!("invalid HEALTHCHECK option: --{option}"));
    let (name, value) = option.split_once('=').ok_or_else(invalid)?;
    let nanos = || {
        let duration = model::moment::duration(value).ok_or_else(invalid)?;
        i64::try_from(duration.as_nanos()).map_err(|_| invalid())
    };
    match name {
        "interval" => check.interval_ns = nanos()?,
        "timeout" => check.timeout_ns = nanos()?,
        "start-period" => check.start_period_ns = nanos()?,
        "start-interval" => check.start_interval_ns = nanos()?,
        "retries" => check.retries = value.parse().map_err(|_| invalid())?,
        _ => return Err(invalid()),
    }
    Ok(())
}

/// The first word and what is behind it.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// A variable that is there keeps its place.
fn set_env(env: &mut Vec<String>, key: &str, value: &str) {
    let is_it = |e: &&mut String| e.split('=').next() == Some(key);
    let set = format!("{key}={value}");
    match env.iter_mut().find(is_it) {
        Some(there) => *there = set,
        None => env.push(set),
    }
}

fn add(list: &mut Vec<String>, entry: String) {
    if !list.contains(&entry) {
        list.push(entry);
    }
}

/// A relative directory is beneath the one that was set before.
fn absolute(before: &str, dir: &str) -> String {
    if dir.starts_with('/') {
        return dir.to_owned();
    }
    format!(
        "/{}",
        [before.trim_matches('/'), dir].join("/").trim_matches('/')
    )
}

#[cfg(test)]
mod tests {
    use model::Kind;

    use super::*;

    fn changed(changes: &[&str]) -> ImageConfig {
        let mut config = ImageConfig::default();
        let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
        apply(&mut config, &changes).unwrap();
        config
    }

    #[test]
    fn exec_and_shell_forms_are_told_apart() {
        let exec = changed(&[r#"CMD ["sh", "-c", "echo \"hi\""]"#]);
        assert_eq!(exec.cmd.unwrap(), ["sh", "-c", "echo \"hi\""]);
        let shell = changed(&["cmd echo hi $A"]);
        assert_eq!(shell.cmd.unwrap(), ["/bin/sh", "-c", "echo hi $A"]);
        let broken = changed(&[r#"CMD ["sh", ]"#]);
        assert_eq!(broken.cmd.unwrap()[0], "/bin/sh");
    }

    #[test]
    fn every_variable_and_label_of_a_line_is_set_and_the_last_one_wins() {
        let c = changed(&[
            r#"ENV A=1 B="two words" C='$A'"#,
            "ENV D the whole rest",
            "ENV A=3 E=$A",
            "# a comment\nENV F=\\\n6\nLABEL x=\"y z\" 'k l'=m",
            "LABEL old form",
        ]);
        let wanted = [
            "A=3",
            "B=two words",
            "C=$A",
            "D=the whole rest",
            "E=1",
            "F=6",
        ];
        assert_eq!(c.env, wanted);
        assert_eq!(c.labels["x"], "y z");
        assert_eq!(c.labels["k l"], "m");
        assert_eq!(c.labels["old"], "form");
    }

    #[test]
    fn the_other_instructions_are_collected() {
        let c = changed(&[
            "EXPOSE 80 53/UDP 80",
            "EXPOSE 8000-8002 1:2:90/sctp",
            "ONBUILD RUN make",
            "onbuild COPY a b",
            "VOLUME /data /more",
            r#"VOLUME ["/a b", "/data"]"#,
            "STOPSIGNAL SIGINT",
            "WORKDIR /srv",
            "WORKDIR www",
            "USER \"me:us\"",
        ]);
        let range = ["8000/tcp", "8001/tcp", "8002/tcp"];
        assert_eq!(c.exposed_ports[..2], ["80/tcp", "53/udp"]);
        assert_eq!(c.exposed_ports[2..5], range);
        assert_eq!(c.exposed_ports[5..], ["90/sctp"]);
        assert_eq!(c.on_build, ["RUN make", "COPY a b"]);
        assert_eq!(c.volumes, ["/data", "/more", "/a b"]);
        assert_eq!(
            (c.stop_signal.as_str(), c.user.as_str()),
            ("SIGINT", "me:us")
        );
        assert_eq!(c.working_dir, "/srv/www");
        assert_eq!(changed(&["WORKDIR x"]).working_dir, "/x");
    }

    #[test]
    fn health_checks_in_both_forms_and_off() {
        let check = |line: &str| changed(&[line]).health_check.unwrap();
        let shell =
            check("HEALTHCHECK --interval=1m30s --retries=5 CMD curl -f http://x || exit 1");
        assert_eq!(shell.test, ["CMD-SHELL", "curl -f http://x || exit 1"]);
        assert_eq!((shell.interval_ns, shell.retries), (90_000_000_000, 5));
        let exec = check("healthcheck --start-period=5s cmd [\"probe\", \"-v\"]");
        assert_eq!(exec.test, ["CMD", "probe", "-v"]);
        assert_eq!(exec.start_period_ns, 5_000_000_000);
        assert_eq!(check("HEALTHCHECK NONE").test, ["NONE"]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for bad in [
            "",
            "# nothing",
            "EXPOSE x",
            "EXPOSE 70000",
            "EXPOSE 9-8",
            "EXPOSE 80/xyz",
            "EXPOSE /tcp",
            "ONBUILD",
            "ONBUILD ONBUILD RUN x",
            "ONBUILD FROM x",
            "RUN rm -rf /",
            "SHELL [\"x\"]",
            "ENV",
            "ENV A",
            "ENV =x",
            "ENV A=1 B",
            "ENV A='1",
            "VOLUME",
            "VOLUME [\"\"]",
            "USER",
            "STOPSIGNAL SIGNOTHING",
            "HEALTHCHECK",
            "HEALTHCHECK true",
            "HEALTHCHECK CMD",
            "HEALTHCHECK NONE x",
            "HEALTHCHECK --interval=soon CMD true",
            "HEALTHCHECK --interval=1ns CMD true",
            "HEALTHCHECK --color=red CMD true",
        ] {
            let e = apply(&mut ImageConfig::default(), &[bad.to_owned()]).unwrap_err();
            assert_eq!(e.kind(), Kind::InvalidParameter, "{bad}");
        }
    }
}
