//! Plays conmon or an OCI runtime, whichever its file is named, and misbehaves when the control
//! file beside it says so. Without a line for this call it becomes the real program, so a test
//! bends one call of a real container's life and leaves the rest true.
//!
//! The control file has one line per rule; the first that fits counts:
//!
//! ```text
//! PROGRAM CALL ACTION [ARGUMENT]
//!
//! runc    create   fail no space left on device    complain on stderr, exit 1
//! runc    state    print {"status": "odd"}         say this, exit 0
//! runc    create   silent                          exit 1 without a word
//! runc    create   die                             die of SIGKILL
//! runc    create   no-pid-file                     exit 0 without having made anything
//! runc    kill     hang                            never end
//! runc    start    hang-after                      do it, write `done` to `calls`, never end
//! runc    create   hold                            wait for the test, then do it
//! runc    create   hold-after                      do it, wait for the test, then end as it did
//! runc    checkpoint dump                          write a page, kill the container
//! runc    restore  anew                            run the bundle, as if it had been restored
//! conmon  create   hold                            wait for the test, then become conmon
//! conmon  create   usage invalid option            complain on stderr, exit 1, before all else
//! conmon  create   eof                             end after the start byte, without a message
//! conmon  create   say {"data": -1}                send this on the sync pipe, then end
//! conmon  create   hang                            never read the start byte
//! conmon  create   hang-started                    read the start byte, then never answer
//! ```
//!
//! CALL is the runtime's subcommand, or `create` and `exec` for conmon; `*` is any. Every call is
//! appended to the file `calls`, and `held PROGRAM CALL` when one waits. What is held waits at the
//! FIFO `go` beside it, until the test opens that for writing; so a test goes from call to call.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let me = std::env::current_exe().expect("/proc is mounted");
    let dir = me.parent().expect("a file is in a directory").to_owned();
    let name = me.file_name().expect("a file has a name");
    let name = name.to_string_lossy().into_owned();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let call = call_of(&name, &args);
    journal(&dir, &name, &args);
    let control = fs::read_to_string(dir.join("control")).unwrap_or_default();
    match action_for(&control, &name, &call) {
        None => become_real(&name, &args),
        Some((action, _)) if action == "hold" => {
            wait_for_test(&dir, &name, &call);
            become_real(&name, &args)
        }
        Some((action, _)) if action == "hold-after" => {
            let done = real_command(&name, &args).status();
            wait_for_test(&dir, &name, &call);
            let code = done.ok().and_then(|status| status.code());
            ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
        }
        Some((action, _)) if action == "dump" => dump(&name, &args),
        Some((action, _)) if action == "anew" => run_anew(&name, &args),
        Some((action, argument)) if name == "conmon" => conmon(&action, &argument),
        Some((action, _)) if action == "hang-after" => {
            let _ = real_command(&name, &args).status();
            append(&dir, "done\n");
            hang()
        }
        Some((action, argument)) => runtime(&action, &argument),
    }
}

/// One write, so that calls made at once do not mix.
fn journal(dir: &Path, name: &str, args: &[String]) {
    append(dir, &format!("{name} {}\n", args.join(" ")));
}

/// A FIFO that is opened for reading waits for a writer.
fn wait_for_test(dir: &Path, name: &str, call: &str) {
    append(dir, &format!("held {name} {call}\n"));
    fs::File::open(dir.join("go")).expect("the test made a FIFO");
}

fn append(dir: &Path, line: &str) {
    fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("calls"))
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the journal takes a line");
}

/// The runtime's subcommand: the first word that is one. conmon's mode.
fn call_of(name: &str, args: &[String]) -> String {
    const SUBCOMMANDS: [&str; 14] = [
        "create",
        "start",
        "kill",
        "delete",
        "state",
        "pause",
        "resume",
        "exec",
        "update",
        "list",
        "features",
        "ps",
        "checkpoint",
        "restore",
    ];
    if name == "conmon" {
        let exec = args.iter().any(|a| a == "-e" || a == "--exec");
        return if exec { "exec" } else { "create" }.to_owned();
    }
    args.iter()
        .find(|a| SUBCOMMANDS.contains(&a.as_str()))
        .cloned()
        .unwrap_or_default()
}

fn action_for(control: &str, name: &str, call: &str) -> Option<(String, String)> {
    control.lines().find_map(|line| {
        let mut words = line.trim().splitn(4, ' ');
        let program = words.next()?;
        let pattern = words.next()?;
        let action = words.next()?.to_owned();
        let argument = words.next().unwrap_or_default().to_owned();
        let fits = program == name && (pattern == "*" || pattern == call);
        fits.then_some((action, argument))
    })
}

fn become_real(name: &str, args: &[String]) -> ExitCode {
    let mut real = real_command(name, args);
    let error = real.exec();
    eprintln!("moored-fake: {}: {error}", real.get_program().display());
    ExitCode::from(1)
}

fn real_command(name: &str, args: &[String]) -> Command {
    let real = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
        .map(|dir| PathBuf::from(dir).join(name))
        .into_iter()
        .find(|path| path.is_file());
    let Some(real) = real else {
        eprintln!("moored-fake: no real {name} on this host: install the package {name}");
        std::process::exit(1);
    };
    let mut command = Command::new(real);
    command.args(args);
    command
}

/// What stands behind an option.
fn option<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let at = args.iter().position(|arg| arg == name)?;
    args.get(at + 1).map(String::as_str)
}

/// The words before the subcommand, and the container.
fn around<'a>(args: &'a [String], call: &str) -> (&'a [String], &'a String) {
    let at = args.iter().position(|arg| arg == call);
    let before = &args[..at.expect("it is the call")];
    (before, args.last().expect("a container is named"))
}

/// Plays a dump with CRIU.
fn dump(name: &str, args: &[String]) -> ExitCode {
    let images = option(args, "--image-path").expect("the images have a place");
    let images = Path::new(images);
    fs::write(images.join("pages-1.img"), "a page").expect("the place is there");
    fs::write(images.join("dump.log"), "Dumping finished successfully\n").expect("it is there");
    if args.iter().any(|arg| arg == "--leave-running") {
        return ExitCode::SUCCESS;
    }
    let (before, container) = around(args, "checkpoint");
    let mut kill = before.to_vec();
    kill.extend(["kill".to_owned(), container.clone(), "KILL".to_owned()]);
    become_real(name, &kill)
}

/// Plays a restore: the first process begins anew.
fn run_anew(name: &str, args: &[String]) -> ExitCode {
    let (before, container) = around(args, "restore");
    let mut run = before.to_vec();
    run.extend(["run".to_owned(), "--detach".to_owned()]);
    for name in ["--bundle", "--pid-file"] {
        let value = option(args, name).expect("conmon says where");
        run.extend([name.to_owned(), value.to_owned()]);
    }
    run.push(container.clone());
    become_real(name, &run)
}

fn runtime(action: &str, argument: &str) -> ExitCode {
    match action {
        "fail" => {
            eprintln!("{argument}");
            ExitCode::from(1)
        }
        "print" => {
            println!("{argument}");
            ExitCode::SUCCESS
        }
        "silent" => ExitCode::from(1),
        "die" => die(),
        "no-pid-file" => ExitCode::SUCCESS,
        "hang" => hang(),
        other => unknown(other),
    }
}

fn conmon(action: &str, argument: &str) -> ExitCode {
    match action {
        "usage" => {
            eprintln!("[conmon:e]: {argument}");
            return ExitCode::from(1);
        }
        "hang" => hang(),
        _ => {}
    }
    wait_for_start();
    match action {
        "eof" => ExitCode::SUCCESS,
        "say" => {
            let line = format!("{argument}\n");
            let sync = descriptor("_OCI_SYNCPIPE");
            fs::File::from(sync)
                .write_all(line.as_bytes())
                .expect("the sync pipe takes a message");
            ExitCode::SUCCESS
        }
        "hang-started" => hang(),
        other => unknown(other),
    }
}

/// One byte, or the end, on the start pipe.
fn wait_for_start() {
    let mut byte = [0];
    let _ = fs::File::from(descriptor("_OCI_STARTPIPE")).read(&mut byte);
}

/// A descriptor the daemon named in the environment, as conmon takes it.
fn descriptor(variable: &str) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    let number = std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("the daemon sets {variable}"));
    // SAFETY: the number names a descriptor that was passed to this process for this purpose;
    // each variable is taken once and nothing else here uses it.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(number) }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

fn die() -> ! {
    let me = rustix::process::getpid();
    let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    hang()
}

fn unknown(action: &str) -> ExitCode {
    eprintln!("moored-fake: no such action: {action}");
    ExitCode::from(99)
}
