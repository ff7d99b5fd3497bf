//! How often pauses in mid-speech are taken for the end, and how long the end takes to be noticed: the table of docs/BENCHMARKS.md.
//!
//! Speech is Debian's pocketsphinx-testdata (people) and espeak-ng, and every WAV of 16 kHz in the folder `VOXGATE_SPEECH`. Into each
//! recording a pause is put between two words; the truth is the last sound of the recording.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test is what a panic is for")]
#![allow(clippy::cast_possible_truncation, reason = "made-up numbers are in range")]

use std::path::Path;
use std::process::Command;

use super::*;
use crate::audio::smart_turn::SmartTurn;
use crate::audio::testing::{Dice, human, packets, silero_file, smart_turn_file};
use crate::audio::wav;
use crate::domain::Span;

/// Milliseconds of silence that are put in.
const PAUSES: [usize; 6] = [300, 500, 700, 900, 1_200, 1_500];
/// The model's answer counts so long after the likely end, samples: 45 ms of work, and the wait for a thread.
const THINKS: u64 = 60 * 16;

/// Said in two breaths; a comma asks the synthesizer for the tone of something unfinished.
const BREATHS: [(&str, &str); 8] = [
    ("When I come home in the evening,", "please turn on the light in the hall."),
    ("If it rains tomorrow,", "wake me up at half past six."),
    ("I would like to know,", "how far it is to the station."),
    ("Remind me to call,", "my sister about the birthday party."),
    ("The recipe needs flour, sugar,", "butter and three eggs."),
    ("Set a timer for,", "um, twenty five minutes."),
    ("What is the weather like,", "in Berlin on the weekend?"),
    ("Tell me a story about,", "a dog that can fly."),
];

/// A recording with a pause in it.
struct Case {
    who: &'static str,
    pause: usize,
    pcm: Vec<i16>,
    /// One past the last sound.
    end: u64,
}

/// A pause as the ear hears it.
struct Pause {
    to: u64,
    goes_on: Option<u64>,
    complete: f32,
}

#[derive(Clone, Copy)]
struct Rule {
    name: &'static str,
    silence: u64,
    /// Probability from which it is complete, and the silence then; below which it is not, and the silence then.
    model: Option<((f32, u64), (f32, u64))>,
}

impl Rule {
    fn silence(&self, pause: &Pause) -> u64 {
        let ms = match self.model {
            Some(((from, short), _)) if pause.complete >= from => short.max(224 + THINKS / 16),
            Some((_, (below, long))) if pause.complete < below => long,
            _ => self.silence,
        };
        // decided at the end of a frame
        (ms * 16).next_multiple_of(u64::from(FRAME_SAMPLES))
    }

    /// The delay in milliseconds, or that it was cut off.
    fn ends(&self, pauses: &[Pause], end: u64) -> Option<f64> {
        for pause in pauses {
            let at = pause.to + self.silence(pause);
            match pause.goes_on {
                Some(goes_on) if goes_on <= at => {}
                Some(_) => return None,
                None => return Some((at as f64 - end as f64) / 16.0),
            }
        }
        unreachable!("the last pause never goes on")
    }
}

const RULES: [Rule; 13] = {
    const fn silence(name: &'static str, silence: u64) -> Rule {
        Rule { name, silence, model: None }
    }
    const fn model(name: &'static str, complete: (f32, u64), incomplete: (f32, u64)) -> Rule {
        Rule { name, silence: 480, model: Some((complete, incomplete)) }
    }
    [
        silence("silence 320 ms", 320),
        silence("silence 480 ms", 480),
        silence("silence 700 ms", 700),
        silence("silence 1000 ms", 1_000),
        silence("silence 1200 ms", 1_200),
        silence("silence 1500 ms", 1_500),
        model("model: >= 0.5 320 ms, < 0.5 1200 ms", (0.5, 320), (0.5, 1_200)),
        model("model: >= 0.95 320 ms, < 0.5 1200 ms", (0.95, 320), (0.5, 1_200)),
        model("model: < 0.5 1200 ms", (2.0, 480), (0.5, 1_200)),
        model("model: < 0.9 1200 ms", (2.0, 480), (0.9, 1_200)),
        model("model: >= 0.98 320 ms, < 0.95 1200 ms", (0.98, 320), (0.95, 1_200)),
        model("model: < 0.95 1200 ms", (2.0, 480), (0.95, 1_200)),
        model("model: < 0.97 1600 ms", (2.0, 480), (0.97, 1_600)),
    ]
};

fn rms_of(pcm: &[i16]) -> f32 {
    super::super::level::rms(pcm)
}

/// Where the recording is nearly silent between two words: at most three places, not near its ends.
fn gaps(pcm: &[i16]) -> Vec<usize> {
    let levels: Vec<f32> = pcm.chunks(160).map(rms_of).collect();
    let loudest = levels.iter().copied().fold(0.0, f32::max);
    let quiet = |at: usize| levels[at..at + 4].iter().all(|level| *level < loudest * 0.06);
    let found: Vec<usize> = (60..levels.len().saturating_sub(60)).filter(|at| quiet(*at)).collect();
    let mut places: Vec<usize> = Vec::new();
    for at in found {
        if places.last().is_none_or(|last| at > last + 60) {
            places.push(at);
        }
    }
    let step = places.len().div_ceil(3).max(1);
    places.into_iter().step_by(step).map(|at| (at + 2) * 160).collect()
}

/// One past the last sound.
fn sound_end(pcm: &[i16]) -> usize {
    let levels: Vec<f32> = pcm.chunks(160).map(rms_of).collect();
    let loudest = levels.iter().copied().fold(0.0, f32::max);
    (levels.iter().rposition(|level| *level > loudest * 0.04).unwrap_or(0) + 1) * 160
}

/// The sound of a room: what the recording sounds like where nobody speaks.
fn room(pcm: &[i16], ms: usize, dice: &mut Dice) -> Vec<i16> {
    let quietest = pcm.chunks(480).map(rms_of).fold(f32::MAX, f32::min).min(60.0);
    (0..ms * 16).map(|_| ((dice.roll() % 2_001) as f32 / 1_000.0 - 1.0) * quietest * 1.7).map(|s| s as i16).collect()
}

fn case(who: &'static str, (before, after): (&[i16], &[i16]), pause: usize, dice: &mut Dice) -> Case {
    let mut pcm = room(before, 600, dice);
    pcm.extend(before);
    pcm.extend(room(before, pause, dice));
    let end = pcm.len() + sound_end(after);
    pcm.extend(after);
    pcm.extend(room(before, 3_500, dice));
    Case { who, pause, pcm, end: end as u64 }
}

fn raw(path: &str) -> Option<Vec<i16>> {
    let bytes = std::fs::read(path).ok()?;
    Some(bytes.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect())
}

fn spoken(text: &str, voice: &str, folder: &Path) -> Option<Vec<i16>> {
    let path = folder.join("said.wav");
    let done = Command::new("espeak-ng").args(["-v", voice, "-s", "150", "-w"]).arg(&path).arg(text).status().ok()?;
    let pcm = wav::read(&path).ok().filter(|_| done.success())?;
    Some(pcm[..sound_end(&pcm)].to_vec())
}

fn cases() -> Vec<Case> {
    let mut dice = Dice(6);
    let mut cases = Vec::new();
    let mut people = human().expect("apt-get install pocketsphinx-testdata");
    let data = "/usr/share/pocketsphinx/test/data";
    people.extend((1..=5).filter_map(|n| wav::read(Path::new(&format!("{data}/cards/00{n}.wav"))).ok()));
    people.extend(["numbers", "something"].iter().filter_map(|name| raw(&format!("{data}/{name}.raw"))));
    let folder = std::env::var_os("VOXGATE_SPEECH");
    let files = folder.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let more: Vec<Vec<i16>> = files.filter_map(|file| wav::read(&file.unwrap().path()).ok()).collect();
    for (who, clips) in [("people", people), ("other voice", more)] {
        for clip in &clips {
            for pause in PAUSES {
                for gap in gaps(clip) {
                    cases.push(case(who, (&clip[..gap], &clip[gap..]), pause, &mut dice));
                }
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for (n, (first, second)) in BREATHS.into_iter().enumerate() {
        let voice = ["en-us", "en-gb", "en-us+f3"][n % 3];
        let (Some(a), Some(b)) = (spoken(first, voice, folder.path()), spoken(second, voice, folder.path())) else {
            println!("skipped: no espeak-ng");
            break;
        };
        cases.extend(PAUSES.map(|pause| case("espeak, two breaths", (&a, &b), pause, &mut dice)));
    }
    cases
}

/// All pauses that the ear hears, with what the model says of each.
fn hear(case: &Case, vad: &VadModel, model: &SmartTurn) -> Option<Vec<Pause>> {
    let mut settings = Settings::default();
    settings.endpoint.silence = Span::secs(3);
    let mut ear = Hearing::new(&settings, vad, ListenMode::Auto).unwrap();
    let mut pauses: Vec<Pause> = Vec::new();
    for packet in packets(1, &case.pcm) {
        for heard in ear.push(vec![packet]) {
            match heard {
                Heard::LikelyEnd(said) => {
                    let complete = model.complete(&said.decode().unwrap()).unwrap();
                    pauses.push(Pause { to: said.mark.to, goes_on: None, complete });
                }
                Heard::GoesOn => pauses.last_mut()?.goes_on = Some(ear.endpointer.position() - 480),
                _ => {}
            }
        }
    }
    pauses.last().is_some_and(|last| last.goes_on.is_none()).then_some(pauses)
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn table(title: &str, heard: &[(&Case, &Vec<Pause>)]) {
    println!("\n{title}: {} recordings with a pause\n", heard.len());
    println!("| rule | cut off | of pauses <= 900 ms | delay p50 | p90 |\n|---|---|---|---|---|");
    for rule in RULES {
        let ends: Vec<_> = heard.iter().map(|(case, pauses)| (case.pause, rule.ends(pauses, case.end))).collect();
        let share = |most: usize| {
            let of: Vec<_> = ends.iter().filter(|(pause, _)| *pause <= most).collect();
            100.0 * of.iter().filter(|(_, end)| end.is_none()).count() as f64 / of.len().max(1) as f64
        };
        let mut delays: Vec<f64> = ends.iter().filter_map(|(_, end)| *end).collect();
        delays.sort_by(f64::total_cmp);
        if delays.is_empty() {
            println!("| {} | 100 % | {:.1} % | - | - |", rule.name, share(900));
            continue;
        }
        let (p50, p90) = (quantile(&delays, 0.5), quantile(&delays, 0.9));
        println!("| {} | {:.1} % | {:.1} % | {p50:.0} ms | {p90:.0} ms |", rule.name, share(9_999), share(900));
    }
}

#[test]
#[ignore = "prints the table of docs/BENCHMARKS.md; takes minutes"]
fn how_often_a_pause_is_taken_for_the_end() {
    let silero = silero_file().expect("silero");
    let vad = VadModel::load(Some(&silero), &Settings::default().vad);
    let model = SmartTurn::load(&smart_turn_file().expect("smart turn")).unwrap();
    let cases = cases();
    let heard: Vec<_> = cases.iter().filter_map(|case| Some((case, hear(case, &vad, &model)?))).collect();
    println!("{} of {} recordings heard to their end", heard.len(), cases.len());
    for who in ["people", "other voice", "espeak, two breaths"] {
        let of: Vec<_> = heard.iter().filter(|(case, _)| case.who == who).map(|(case, p)| (*case, p)).collect();
        if !of.is_empty() {
            table(who, &of);
            for (name, last) in [("at the end", true), ("in mid-speech", false)] {
                let mut said: Vec<f64> = of
                    .iter()
                    .flat_map(|(_, pauses)| pauses.iter())
                    .filter(|pause| pause.goes_on.is_none() == last)
                    .map(|pause| f64::from(pause.complete))
                    .collect();
                said.sort_by(f64::total_cmp);
                if !said.is_empty() {
                    let shares = [0.1, 0.25, 0.5, 0.75, 0.9].map(|share| format!("{:.3}", quantile(&said, share)));
                    println!("model {name}, quantiles 10 to 90: {}", shares.join(" "));
                }
            }
        }
    }
    table("all", &heard.iter().map(|(case, pauses)| (*case, pauses)).collect::<Vec<_>>());
}
