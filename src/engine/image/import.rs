//! Importing a root file system as an image of one layer.

use model::{Error, ImageConfig, Result};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::SyncIoBridge;

use crate::image::ImportImage;
use crate::job::{STEPS_MAX, Steps};
use crate::{Engine, Job, Progress};

impl Engine {
    /// Makes an image of one layer from a tar; ends with a status line, its id.
    ///
    /// # Errors
    /// A change that is no Dockerfile instruction an import takes (400). A bad tar is the job's
    /// first or a later step.
    pub async fn import_image(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        request: ImportImage,
    ) -> Result<Job> {
        let mut config = ImageConfig {
            architecture: model::platform::host_architecture().to_owned(),
            os: "linux".to_owned(),
            ..ImageConfig::default()
        };
        for change in &request.changes {
            apply_change(&mut config, change)?;
        }
        let (sender, steps) = mpsc::channel(STEPS_MAX);
        let engine = self.clone();
        tokio::spawn(async move {
            let steps = Steps::new(sender, false);
            if let Err(e) = engine.import(tar, config, request, &steps).await {
                steps.fail(e).await;
            }
        });
        Ok(Job { steps })
    }

    async fn import(
        &self,
        tar: impl AsyncRead + Send + Unpin + 'static,
        config: ImageConfig,
        request: ImportImage,
        steps: &Steps,
    ) -> Result<()> {
        let store = self.inner.images.store.clone();
        let (comment, created) = (request.message, (self.inner.host.now)());
        let mut image = crate::blocking(move || {
            let mut tar = SyncIoBridge::new(tar);
            store.import(&mut tar, config, &comment, created)
        })
        .await?;
        image.references.extend(request.reference);
        let (id, _) = self.keep(image).await?;
        steps.send(Progress::Status(id.to_string())).await;
        Ok(())
    }
}

/// Applies one Dockerfile instruction to an image's configuration. The instructions are those
/// that Docker takes on commit and import.
fn apply_change(config: &mut ImageConfig, change: &str) -> Result<()> {
    let (instruction, rest) = change
        .trim()
        .split_once(char::is_whitespace)
        .unwrap_or_else(|| (change.trim(), ""));
    let rest = rest.trim();
    match instruction.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "USER" => config.user = rest.to_owned(),
        "WORKDIR" => config.working_dir = rest.to_owned(),
        "STOPSIGNAL" => config.stop_signal = rest.to_owned(),
        "ENV" => config
            .env
            .push(pair(instruction, rest).map(|(k, v)| format!("{k}={v}"))?),
        "LABEL" => {
            let (key, value) = pair(instruction, rest)?;
            config.labels.insert(key.to_owned(), value.to_owned());
        }
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                let port = if port.contains('/') {
                    port.to_owned()
                } else {
                    format!("{port}/tcp")
                };
                config.exposed_ports.push(port);
            }
        }
        "VOLUME" => config
            .volumes
            .extend(rest.split_whitespace().map(str::to_owned)),
        _ => {
            return Err(Error::invalid(format!(
                "{instruction} is not a valid change command"
            )));
        }
    }
    Ok(())
}

/// The exec form (a JSON array of strings), or the shell form.
fn command(text: &str) -> Vec<String> {
    exec_form(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

/// Reads `["a", "b"]`; `None` when the text is anything else, which makes it the shell form.
fn exec_form(text: &str) -> Option<Vec<String>> {
    let mut rest = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (word, after) = quoted(rest)?;
        words.push(word);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(more) if !more.trim().is_empty() => rest = more.trim_start(),
            Some(_) => return None,
            None if rest.is_empty() => {}
            None => return None,
        }
    }
    Some(words)
}

/// One JSON string with the escapes people use in a Dockerfile; the rest after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let body = text.strip_prefix('"')?;
    let mut word = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((word, &body[at + 1..])),
            '\\' => word.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                c @ ('"' | '\\' | '/') => c,
                _ => return None,
            }),
            c => word.push(c),
        }
    }
    None
}

/// `key=value` with optional quotes around the value, or `key value`.
fn pair<'a>(instruction: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    let split = text
        .split_once('=')
        .or_else(|| text.split_once(char::is_whitespace));
    let (key, value) = split
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| Error::invalid(format!("{instruction} must have two arguments")))?;
    let bare = value
        .strip_prefix('"')
        .and_then(|v| v.strip_suffix('"'))
        .unwrap_or(value);
    Ok((key, bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> ImageConfig {
        let mut config = ImageConfig::default();
        for change in changes {
            apply_change(&mut config, change).unwrap();
        }
        config
    }

    #[test]
    fn exec_and_shell_forms_are_told_apart() {
        let exec = changed(&[r#"CMD ["sh", "-c", "echo \"hi\""]"#]);
        assert_eq!(exec.cmd.unwrap(), ["sh", "-c", "echo \"hi\""]);
        let shell = changed(&["cmd echo hi"]);
        assert_eq!(shell.cmd.unwrap(), ["/bin/sh", "-c", "echo hi"]);
        let broken = changed(&[r#"CMD ["sh", ]"#]);
        assert_eq!(broken.cmd.unwrap()[0], "/bin/sh");
    }

    #[test]
    fn environment_labels_and_ports_are_collected() {
        let c = changed(&[
            "ENV A=1",
            "ENV B two",
            "LABEL x=\"y z\"",
            "EXPOSE 80 53/udp",
            "VOLUME /data",
        ]);
        assert_eq!(c.env, ["A=1", "B=two"]);
        assert_eq!(c.labels["x"], "y z");
        assert_eq!(c.exposed_ports, ["80/tcp", "53/udp"]);
        assert_eq!(c.volumes, ["/data"]);
    }

    #[test]
    fn other_instructions_are_refused() {
        let mut config = ImageConfig::default();
        assert!(apply_change(&mut config, "RUN rm -rf /").is_err());
        assert!(apply_change(&mut config, "ENV").is_err());
    }
}
