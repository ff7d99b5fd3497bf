//! One exchange of a simulated device: it speaks, the gateway answers, and what a device would notice is noted.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::board::{Board, BoardError, Heard};
use super::strict::{Mode, State};
use crate::sim::script::{FRAME_MS, Script};

/// How long it waits for the next piece of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a device with DTX sends a frame of silence, which is no more than its first byte.
const DTX_EVERY: Duration = Duration::from_millis(400);

/// What happens to datagrams on their way.
#[derive(Debug)]
pub struct Weather {
    /// Share that is lost, 0.0 to 1.0.
    loss: f64,
    random: StdRng,
}

impl Weather {
    /// Loses a share of what is sent; the same `seed` loses the same.
    pub fn new(loss: f64, seed: u64) -> Self {
        Self { loss: loss.clamp(0.0, 1.0), random: StdRng::seed_from_u64(seed) }
    }

    fn arrives(&mut self) -> bool {
        self.loss <= 0.0 || !self.random.random_bool(self.loss)
    }
}

/// What an exchange looked like from the device.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Exchange {
    /// What the gateway understood.
    pub transcript: String,
    /// What it said, sentence by sentence.
    pub sentences: Vec<String>,
    /// The face that it showed.
    pub emotion: Option<String>,
    /// From the end of speech to the first frame of the answer, ms.
    pub first_audio_ms: Option<f64>,
    /// Frames of the answer that were played.
    pub frames: u32,
    /// The worst lateness of a frame against its slot, ms.
    pub late_ms: f64,
    /// The answer.
    #[serde(skip)]
    pub speech: Vec<Bytes>,
}

impl Exchange {
    /// There was an answer.
    pub fn answered(&self) -> bool {
        self.frames > 0
    }
}

/// Listens, speaks a script in real time, and takes in the answer up to its end.
pub async fn exchange(
    board: &mut Board,
    script: &Script,
    mode: Mode,
    weather: &mut Weather,
) -> Result<Exchange, BoardError> {
    board.listen(mode).await?;
    let quiet = quiet(script);
    let mut answer = Answer::default();
    let start = Instant::now();
    let (mut sent, mut due, mut spoken) = (0, start, None);
    loop {
        let speaking = sent < script.frames.len();
        // a microphone that is on goes on: silence, as DTX sends it
        let sending = speaking || (mode != Mode::Manual && board.strict.state() == State::Listening);
        tokio::select! {
            biased;
            heard = board.next(PATIENCE, "answer") => {
                if answer.take(heard?, spoken) {
                    return Ok(answer.exchange);
                }
            }
            () = sleep_until(due), if sending => {
                if speaking {
                    let frame = script.frame(sent);
                    board.microphone(&frame.payload, weather.arrives()).await?;
                    sent += 1;
                    due += Duration::from_millis(u64::from(FRAME_MS));
                    if sent == script.frames.len() {
                        spoken = Some(Instant::now());
                        if mode == Mode::Manual {
                            board.stop_listening().await?;
                        }
                    }
                } else {
                    board.microphone(&quiet, weather.arrives()).await?;
                    due += DTX_EVERY;
                }
            }
        }
    }
}

/// One frame of the same length, without anything in it.
fn quiet(script: &Script) -> Bytes {
    let first = script.frames.first().and_then(|frame| frame.first()).copied().unwrap_or(0);
    Bytes::copy_from_slice(&[first & 0xFC])
}

/// The answer as it comes in.
#[derive(Default)]
struct Answer {
    exchange: Exchange,
    first: Option<Instant>,
}

impl Answer {
    /// Takes what was heard; `true` when the answer is over.
    fn take(&mut self, heard: Heard, spoken: Option<Instant>) -> bool {
        match heard {
            Heard::Frame(packet) => self.frame(packet, spoken),
            Heard::Noise => {}
            Heard::Text(text) => match (text["type"].as_str(), text["state"].as_str()) {
                (Some("stt"), _) => {
                    text["text"].as_str().unwrap_or_default().clone_into(&mut self.exchange.transcript);
                    // nothing was understood: no answer follows
                    return self.exchange.transcript.is_empty();
                }
                (Some("llm"), _) => self.exchange.emotion = text["emotion"].as_str().map(str::to_owned),
                (Some("tts"), Some("sentence_start")) => {
                    self.exchange.sentences.push(text["text"].as_str().unwrap_or_default().to_owned());
                }
                (Some("tts"), Some("stop")) | (Some("goodbye"), _) => return true,
                _ => {}
            },
        }
        false
    }

    fn frame(&mut self, packet: Bytes, spoken: Option<Instant>) {
        let now = Instant::now();
        let first = *self.first.get_or_insert(now);
        self.exchange.first_audio_ms.get_or_insert_with(|| {
            spoken.map_or(0.0, |spoken| now.saturating_duration_since(spoken).as_secs_f64() * 1e3)
        });
        // the first five are sent at once, to be held by the device
        let slot = first + Duration::from_millis(60) * self.exchange.frames.saturating_sub(4);
        let late = now.saturating_duration_since(slot).as_secs_f64() * 1e3;
        self.exchange.late_ms = self.exchange.late_ms.max(late);
        self.exchange.frames += 1;
        self.exchange.speech.push(packet);
    }
}
