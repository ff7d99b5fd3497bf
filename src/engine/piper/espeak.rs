//! Phonemes from the program espeak-ng, which is run and never linked.
//!
//! It reads lines and answers each at once, so that one process serves a voice for as long as it lives: 1 ms a clause
//! instead of some 20 ms for a start. A line of phonemes of our own behind each clause says where its answer ends.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::engine::EngineError;

/// Phonemes that no text has, as they are written and as they come back, in every language of the program.
const FENCE: &str = "[[ttkkpp]]";
const FENCE_READ: &str = "ttkkpp";
/// An answer takes a millisecond; a busy machine may take its time.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines of an answer that wait to be taken.
const WAITING: usize = 64;

/// The program, with one of its voices.
pub struct Espeak {
    program: String,
    voice: String,
    idle: Mutex<Vec<Reader>>,
}

impl Espeak {
    /// Starts it and looks whether it knows the voice.
    pub fn start(program: &str, voice: &str) -> Result<Self, EngineError> {
        let espeak = Self { program: program.to_owned(), voice: voice.to_owned(), idle: Mutex::default() };
        let mut reader = espeak.reader()?;
        let unknown = |_| {
            let what =
                format!("{program} does not read with the voice {voice:?} (espeak-ng --voices lists what it has)");
            EngineError::Load(what)
        };
        // what 1.51 of Debian 12 makes of Chinese characters: "(en)nɪ5θɹˈiː5…"
        let probe = if voice.starts_with("cmn") { "你好" } else { "1" };
        let read = reader.read(probe).map_err(unknown)?;
        if voice.starts_with("cmn") && read.contains("(en)") {
            let what = format!("this {program} reads Chinese characters as English letters, as version 1.51 does");
            return Err(EngineError::Load(format!("{what}: install espeak-ng 1.52 or newer")));
        }
        espeak.put_back(reader);
        Ok(espeak)
    }

    /// The phonemes of one line. Blocks.
    pub fn read(&self, line: &str) -> Result<String, EngineError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let before = idle.and_then(|mut reader| reader.read(line).ok().map(|read| (reader, read)));
        let (reader, read) = if let Some(done) = before {
            done
        } else {
            // None waited, or the one that did was killed meanwhile: a new one gets the line.
            let mut reader = self.reader()?;
            let read = reader.read(line).map_err(|why| EngineError::Failed(format!("{}: {why}", self.program)))?;
            (reader, read)
        };
        self.put_back(reader);
        Ok(without_switches(&read))
    }

    fn reader(&self) -> Result<Reader, EngineError> {
        Reader::start(&self.program, &self.voice).map_err(|error| {
            let program = &self.program;
            EngineError::Load(if error.kind() == std::io::ErrorKind::NotFound {
                format!("the program {program} is not installed, and this voice reads with it: install the package espeak-ng")
            } else {
                format!("{program} cannot be run: {error}")
            })
        })
    }

    fn put_back(&self, reader: Reader) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
    }
}

/// One process of it. Ends when it is dropped.
struct Reader {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    listener: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(program: &str, voice: &str) -> std::io::Result<Self> {
        let mut child = Command::new(program)
            .args(["-q", "--ipa", "-b", "1", "-v", voice])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (out, lines) = crossbeam_channel::bounded(WAITING);
        // From here on the process ends with the reader, whatever else fails.
        let mut reader = Self { child, input, lines, listener: None };
        let listen = move || {
            let Some(output) = output else { return };
            for line in lines_of(output) {
                if out.send(line).is_err() {
                    return;
                }
            }
        };
        reader.listener = Some(std::thread::Builder::new().name("espeak-ng".into()).spawn(listen)?);
        Ok(reader)
    }

    /// The phonemes of a line; the error says in words what happened.
    fn read(&mut self, line: &str) -> Result<String, String> {
        let input = self.input.as_mut().ok_or("it has no input")?;
        let lines = format!("{line}\n{FENCE}\n");
        input.write_all(lines.as_bytes()).and_then(|()| input.flush()).map_err(|e| e.to_string())?;
        let mut phonemes = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.trim() == FENCE_READ => return Ok(phonemes),
                Ok(line) => {
                    let gap = if phonemes.is_empty() || line.is_empty() { "" } else { " " };
                    phonemes.push_str(gap);
                    phonemes.push_str(line.trim());
                }
                Err(RecvTimeoutError::Timeout) => return Err(format!("no answer within {} s", PATIENCE.as_secs())),
                Err(RecvTimeoutError::Disconnected) => return Err("it ended".into()),
            }
        }
    }
}

/// Lines as they come; what is no UTF-8 is replaced.
fn lines_of(output: ChildStdout) -> impl Iterator<Item = String> {
    let bytes = BufReader::new(output).split(b'\n').map_while(Result::ok);
    bytes.map(|line| String::from_utf8_lossy(&line).into_owned())
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to end.
        let _gone = self.child.kill();
        let _ended = self.child.wait();
        // The listener may wait for room: without a receiver it goes on, and finds the output closed.
        let (_, nobody) = crossbeam_channel::bounded(0);
        drop(std::mem::replace(&mut self.lines, nobody));
        if let Some(listener) = self.listener.take() {
            let _done = listener.join();
        }
    }
}

/// Without the notes on words of another language: `(en)wˈɜːd(de)`.
fn without_switches(phonemes: &str) -> String {
    let mut kept = String::with_capacity(phonemes.len());
    let mut within = false;
    for c in phonemes.chars() {
        match c {
            '(' => within = true,
            ')' => within = false,
            _ if within => {}
            c => kept.push(c),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that answers as espeak-ng does, by a script.
    fn program(dir: &tempfile::TempDir, script: &str) -> String {
        let path = dir.path().join("reads");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    const ECHO: &str = "while read -r line; do case \"$line\" in '[[ttkkpp]]') echo ttkkpp;; \
                        die) exit 1;; *) echo \"(en)$line(de)\"; echo more;; esac; done";

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = Espeak::start("/nowhere/espeak-ng", "en-us").err().unwrap().to_string();
        assert!(error.contains("install the package espeak-ng"), "{error}");
    }

    #[test]
    fn a_voice_that_the_program_does_not_know_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Espeak::start(&program(&dir, "exit 1"), "xx").err().unwrap().to_string();
        assert!(error.contains("\"xx\"") && error.contains("--voices"), "{error}");
    }

    #[test]
    fn a_program_that_reads_chinese_as_english_is_refused_for_chinese_alone() {
        let dir = tempfile::tempdir().unwrap();
        let program = program(&dir, ECHO);
        let error = Espeak::start(&program, "cmn").err().unwrap().to_string();
        assert!(error.contains("1.52"), "{error}");
        assert!(Espeak::start(&program, "de").is_ok());
    }

    #[test]
    fn an_answer_of_several_lines_is_one_and_a_process_that_was_lost_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let espeak = Espeak::start(&program(&dir, ECHO), "de").unwrap();
        assert_eq!(espeak.read("hallo").unwrap(), "hallo more");
        assert!(matches!(espeak.read("die"), Err(EngineError::Failed(_))));
        assert_eq!(espeak.read("welt").unwrap(), "welt more");
        assert_eq!(espeak.idle.lock().unwrap().len(), 1);
    }
}
