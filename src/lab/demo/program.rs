//! A program that the demo starts on a host: it is ready with its first line, and ends with this process.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;

use super::error::DemoError;
use super::options::ProgramCommand;
use crate::failure::KernelCall;

/// A program that runs. Dropped, it is killed.
pub(super) struct DemoProgram {
    child: Child,
    name: &'static str,
    ready: Option<oneshot::Receiver<()>>,
    /// The end of what it has written on standard error.
    said: Arc<Mutex<String>>,
}

/// How long a program may take until its first line.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of its standard error is kept, in bytes.
const MOST_SAID: usize = 2000;

impl DemoProgram {
    /// Starts a program on the host of this runtime, and waits until it has written a line on standard output.
    ///
    /// - **Errors**: it cannot be started, or has ended before its first line.
    pub(super) async fn start(
        command: &ProgramCommand,
        name: &'static str,
        host: &Runtime,
    ) -> Result<Self, DemoError> {
        let ProgramCommand { program, arguments } = command.clone();
        let shown = program.display().to_string();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // An interrupt from the terminal ends the demo, which ends its programs.
        command.process_group(0);
        // On the host's thread: a process begins in the namespace of the thread that starts it.
        let child = host.spawn(async move { command.spawn() }).await?;
        let mut child = child.map_err(|error| KernelCall("execve").failed(shown, error))?;
        let (first, ready) = oneshot::channel();
        let said = Arc::<Mutex<String>>::default();
        if let Some(output) = child.stdout.take() {
            read_in_background(move || read_first_line(output, first))?;
        }
        if let Some(errors) = child.stderr.take() {
            let said = Arc::clone(&said);
            read_in_background(move || keep_end(errors, &said))?;
        }
        let mut started = Self { child, name, ready: Some(ready), said };
        started.until_ready().await?;
        Ok(started)
    }

    /// The number of its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by SIGKILL, and waits for its end.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// - **Errors**: it has ended.
    pub(super) fn check(&mut self) -> Result<(), DemoError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.failed()),
        }
    }

    async fn until_ready(&mut self) -> Result<(), DemoError> {
        let Some(ready) = self.ready.take() else { return Ok(()) };
        match tokio::time::timeout(PATIENCE, ready).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(self.failed()),
        }
    }

    fn failed(&mut self) -> DemoError {
        let ended = self.child.try_wait().ok().flatten();
        let how = ended.map_or_else(
            || format!("is not ready after {} s", PATIENCE.as_secs()),
            |status| format!("has ended: {status}"),
        );
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned();
        DemoError::Program { name: self.name, how, said }
    }
}

impl Drop for DemoProgram {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_in_background(read: impl FnOnce() + Send + 'static) -> Result<(), DemoError> {
    let thread = std::thread::Builder::new().name("output of a program".into()).spawn(read);
    thread.map(drop).map_err(|error| KernelCall("clone").failed("thread", error).into())
}

/// Reports the first line, and reads on: a program that writes to a closed pipe would fail.
fn read_first_line(output: impl Read, first: oneshot::Sender<()>) {
    let mut reader = BufReader::new(output);
    let mut line = String::new();
    if reader.read_line(&mut line).is_ok_and(|read| read > 0) {
        // The caller may have given up.
        let _ = first.send(());
    }
    let _ = std::io::copy(&mut reader, &mut std::io::sink());
}

fn keep_end(errors: impl Read, said: &Mutex<String>) {
    let mut reader = BufReader::new(errors);
    let mut line = Vec::new();
    while reader.by_ref().take(MOST_SAID as u64).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push_str(&String::from_utf8_lossy(&line));
        let surplus = said.len().saturating_sub(MOST_SAID);
        let cut = (surplus..=said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(0);
        said.drain(..cut);
        line.clear();
    }
}
