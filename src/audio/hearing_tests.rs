//! What an ear makes of real speech, silence, noise, loss and garbage.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test is what a panic is for")]
#![allow(clippy::cast_possible_truncation, reason = "made-up numbers are in range")]

use bytes::Bytes;

use super::*;
use crate::audio::testing::{Dice, hum, human, noise, packet, packets, silero_file};
use crate::audio::vad;
use crate::domain::{Codec, Span};

fn ear(mode: ListenMode) -> Hearing {
    ear_with(&Settings::default(), mode)
}

fn ear_with(settings: &Settings, mode: ListenMode) -> Hearing {
    Hearing::new(settings, &VadModel::load(None, &settings.vad), mode).unwrap()
}

fn silence(ms: usize) -> Vec<i16> {
    vec![0; ms * 16]
}

/// A short name for each event, pauses apart.
fn names(heard: &[Heard]) -> Vec<&'static str> {
    all_names(heard).into_iter().filter(|name| !["likely", "goes on"].contains(name)).collect()
}

/// A short name for each event.
fn all_names(heard: &[Heard]) -> Vec<&'static str> {
    heard
        .iter()
        .map(|event| match event {
            Heard::LikelyEnd(_) => "likely",
            Heard::GoesOn => "goes on",
            Heard::SpeechStarted => "started",
            Heard::BargeIn => "barge-in",
            Heard::EndOfTurn(_) => "end",
            Heard::TooLong(_) => "too long",
            Heard::NoSpeech => "no speech",
        })
        .collect()
}

fn utterances(heard: Vec<Heard>) -> Vec<Utterance> {
    let utterance = |event| match event {
        Heard::EndOfTurn(utterance) | Heard::TooLong(utterance) => Some(utterance),
        _ => None,
    };
    heard.into_iter().filter_map(utterance).collect()
}

/// A spoken clip with a second of silence before and behind.
fn spoken(clip: &[i16]) -> Vec<i16> {
    [silence(1_000), clip.to_vec(), silence(1_000)].concat()
}

#[test]
fn a_spoken_command_is_one_turn_and_sounds_like_what_was_said() {
    let Some(clips) = human() else { return };
    let clip = clips.last().unwrap();
    for model in [None, silero_file()] {
        let settings = Settings::default();
        let model = VadModel::load(model.as_deref(), &settings.vad);
        let mut hearing = Hearing::new(&settings, &model, ListenMode::Auto).unwrap();
        let heard = hearing.push(packets(1, &spoken(clip)));
        assert_eq!(names(&heard), ["started", "end"], "{}", model.name());
        let utterance = utterances(heard).remove(0);
        let pcm = utterance.decode().unwrap();
        assert_eq!(pcm.len() as u128, utterance.duration().as_micros() * 16 / 1_000);
        assert_eq!(utterance.ending, Ending::Silence);
        let delay = utterance.endpoint_delay.as_millis();
        assert!((480..544).contains(&delay), "{delay}");
        assert!(utterance.voiced_ms > 800, "{}", utterance.voiced_ms);
        // What is kept, found again in what was said: the same sound, to the codec's accuracy.
        let begin = 16_000 + clip.len() - pcm.len().min(clip.len());
        let said = spoken(clip);
        let best =
            (0..said.len() - pcm.len()).step_by(8).map(|at| snr_db_near(&said[at..], &pcm)).fold(f64::MIN, f64::max);
        assert!(best > 5.0, "{best} dB, expected near {begin}");
    }
}

fn snr_db_near(said: &[i16], pcm: &[i16]) -> f64 {
    // One sample in eight is enough to find the place.
    let (mut signal, mut error) = (1e-9, 1e-9);
    for (a, b) in said.iter().zip(pcm).step_by(8) {
        signal += f64::from(*a).powi(2);
        error += (f64::from(*a) - f64::from(*b)).powi(2);
    }
    10.0 * f64::log10(signal / error)
}

#[test]
fn every_sentence_of_the_recordings_is_heard_and_ends() {
    let Some(clips) = human() else { return };
    let Some(file) = silero_file() else { return };
    let settings = Settings::default();
    let model = VadModel::load(Some(&file), &settings.vad);
    assert_eq!(model.name(), "silero", "{:?}", model.fallback());
    for clip in &clips {
        let mut hearing = Hearing::new(&settings, &model, ListenMode::Auto).unwrap();
        let heard = utterances(hearing.push(packets(1, &spoken(clip))));
        let total: u128 = heard.iter().map(|utterance| utterance.duration().as_millis()).sum();
        assert!(!heard.is_empty() && total > clip.len() as u128 / 16 * 6 / 10, "{total} ms of {}", clip.len() / 16);
        assert!(!hearing.speaking());
    }
}

#[test]
fn silence_noise_and_hum_are_no_turn() {
    let Some(file) = silero_file() else { return };
    let settings = Settings::default();
    let model = VadModel::load(Some(&file), &settings.vad);
    for (what, pcm) in [("silence", silence(10_000)), ("noise", noise(160_000, 800.0)), ("hum", hum(160_000, 3_000.0))]
    {
        let mut hearing = Hearing::new(&settings, &model, ListenMode::Auto).unwrap();
        assert_eq!(names(&hearing.push(packets(1, &pcm))), [""; 0], "{what}");
        assert!(hearing.finish().is_none(), "{what}");
    }
}

#[test]
fn a_silent_stream_asks_the_model_next_to_never() {
    let mut hearing = ear(ListenMode::Auto);
    hearing.push(packets(1, &silence(30_000)));
    assert!(hearing.vad.asked() < 5, "{}", hearing.vad.asked());
    let mut hearing = ear(ListenMode::Auto);
    hearing.push(packets(1, &noise(480_000, 200.0)));
    let first = hearing.vad.asked();
    hearing.push(packets(501, &noise(480_000, 200.0)));
    assert!(hearing.vad.asked() - first < 20, "{} then {}", first, hearing.vad.asked());
}

/// A clip, a pause of so many milliseconds, the clip again.
fn with_pause(clip: &[i16], pause: usize) -> Vec<i16> {
    [silence(1_000), clip.to_vec(), silence(pause), clip.to_vec()].concat()
}

fn likely(heard: &[Heard]) -> Vec<&Utterance> {
    let told = heard.iter().filter_map(|event| match event {
        Heard::LikelyEnd(utterance) => Some(utterance),
        _ => None,
    });
    told.collect()
}

#[test]
fn the_likely_end_holds_to_the_sample_what_the_turn_holds_when_it_ends_there() {
    let Some(clips) = human() else { return };
    let mut hearing = ear(ListenMode::Auto);
    let heard = hearing.push(packets(1, &spoken(&clips[5])));
    let last = *likely(&heard).last().unwrap();
    let Some(Heard::EndOfTurn(end)) = heard.last() else { unreachable!("{:?}", all_names(&heard)) };
    assert!(last.same_speech(end));
    assert_eq!(last.decode().unwrap(), end.decode().unwrap());
    let delay = last.endpoint_delay.as_millis();
    assert!((160..224).contains(&delay), "{delay}");
}

#[test]
fn speech_that_goes_on_after_a_pause_is_told_and_is_other_speech() {
    let Some(clips) = human() else { return };
    // the recording begins and ends in silence
    let mut settings = Settings::default();
    settings.endpoint.silence = Span::ms(1_500);
    for mode in [ListenMode::Auto, ListenMode::Manual] {
        let mut hearing = ear_with(&settings, mode);
        let mut heard = hearing.push(packets(1, &with_pause(&clips[5], 350)));
        // what may be speech at the end of the recording has an end of its own
        heard.extend(hearing.push(packets(2_000, &silence(2_000))));
        let names = all_names(&heard);
        assert!(names.windows(2).any(|pair| pair == ["likely", "goes on"]), "{mode:?} {names:?}");
        let ended = heard.iter().position(|heard| matches!(heard, Heard::EndOfTurn(_)));
        let end = match ended.map(|at| heard.remove(at)) {
            Some(Heard::EndOfTurn(end)) => end,
            _ => hearing.finish().unwrap(),
        };
        let likely = likely(&heard);
        assert!(likely.last().unwrap().same_speech(&end), "{mode:?}");
        let before = &likely[..likely.len() - 1];
        assert!(!before.is_empty() && before.iter().all(|part| !part.same_speech(&end)), "{mode:?}");
    }
}

#[test]
fn the_button_that_is_let_go_right_after_a_word_takes_no_earlier_half_for_the_whole() {
    let Some(clips) = human() else { return };
    let mut hearing = ear(ListenMode::Manual);
    // a pause, and then so little more that it is no whole frame yet
    let more = &clips[5][clips[5].len() / 2..][..400];
    let heard = hearing.push(packets(1, &[clips[5].clone(), silence(350), more.to_vec()].concat()));
    let end = hearing.finish().unwrap();
    assert!(likely(&heard).iter().all(|part| part.mark.to <= end.mark.to));
    let first = likely(&heard)[0];
    assert!(!first.same_speech(&Utterance { mark: Mark { to: end.mark.to + 1, ..end.mark.clone() }, ..end.clone() }));
}

#[test]
fn what_was_said_before_a_reset_is_other_speech_though_its_positions_are_the_same() {
    let Some(clips) = human() else { return };
    let mut hearing = ear(ListenMode::Manual);
    let sent = [clips[5].clone(), silence(400)].concat();
    let first = hearing.push(packets(1, &sent));
    hearing.reset(ListenMode::Manual);
    let second = hearing.push(packets(1_001, &sent));
    let (first, second) = (likely(&first), likely(&second));
    assert!(!first[0].same_speech(second[0]) && first[0].same_speech(first[0]));
}

#[test]
fn manual_mode_keeps_every_sample_and_knows_silence_from_speech() {
    let mut hearing = ear(ListenMode::Manual);
    assert!(hearing.finish().is_none());
    assert!(hearing.push(packets(1, &silence(3_000))).is_empty());
    let utterance = hearing.finish().unwrap();
    assert_eq!((utterance.voiced_ms, utterance.duration().as_millis()), (0, 3_000));
    assert_eq!((utterance.ending, utterance.decode().unwrap().len()), (Ending::Device, 48_000));

    let Some(clips) = human() else { return };
    hearing.reset(ListenMode::Manual);
    assert!(names(&hearing.push(packets(51, &clips[5]))).is_empty());
    let utterance = hearing.finish().unwrap();
    assert!(utterance.voiced_ms > 800, "{}", utterance.voiced_ms);
    assert_eq!(utterance.decode().unwrap().len(), clips[5].len().next_multiple_of(960));
    assert!(hearing.finish().is_none(), "nothing is handed out twice");
}

#[test]
fn the_packet_flagged_as_the_last_ends_the_utterance() {
    let mut sent = packets(1, &silence(600));
    sent.last_mut().unwrap().last = true;
    let mut hearing = ear(ListenMode::Manual);
    let heard = hearing.push(sent);
    assert_eq!(names(&heard), ["end"]);
    assert_eq!(utterances(heard)[0].duration().as_millis(), 600);
}

#[test]
fn realtime_speech_interrupts_once_and_the_turn_still_ends() {
    let Some(clips) = human() else { return };
    let mut hearing = ear(ListenMode::Realtime);
    let heard = hearing.push(packets(1, &spoken(&clips[5])));
    assert_eq!(names(&heard), ["started", "barge-in", "end"]);
}

#[test]
fn two_turns_on_one_open_microphone_are_two_utterances() {
    let Some(clips) = human() else { return };
    let mut hearing = ear(ListenMode::Auto);
    let twice = [spoken(&clips[5]), spoken(&clips[5])].concat();
    let both = utterances(hearing.push(packets(1, &twice)));
    let lengths: Vec<u128> = both.iter().map(|utterance| utterance.duration().as_millis()).collect();
    assert_eq!(lengths.len(), 2);
    assert!(lengths[0].abs_diff(lengths[1]) < 200, "{lengths:?}");
}

#[test]
fn ten_minutes_of_speech_are_cut_into_bounded_pieces() {
    let Some(clips) = human() else { return };
    // Speech without a pause long enough: the loudest second of a sentence again and again.
    let second =
        clips[0].chunks(16_000).max_by_key(|s| s.iter().map(|x| u64::from(x.unsigned_abs())).sum::<u64>()).unwrap();
    let minute: Vec<i16> = second.iter().copied().cycle().take(960_000).collect();
    let minute = packets(1, &minute);
    let settings = Settings::default();
    for (mode, expected) in [(ListenMode::Auto, 9..=10), (ListenMode::Manual, 1..=1)] {
        let mut hearing = ear_with(&settings, mode);
        let mut cut = Vec::new();
        for n in 0..10 {
            let sent =
                minute.iter().cloned().map(|packet| AudioPacket { seq: packet.seq + n * 1_000, ..packet }).collect();
            cut.extend(utterances(hearing.push(sent)));
            assert!(hearing.kept_bytes < 300_000);
        }
        assert!(expected.contains(&cut.len()), "{mode:?}: {}", cut.len());
        for utterance in &cut {
            assert_eq!(utterance.ending, Ending::TooLong);
            assert!((59_500..60_500).contains(&utterance.duration().as_millis()), "{:?}", utterance.duration());
            assert!(utterance.bytes() < 300_000, "{}", utterance.bytes());
        }
    }
}

#[test]
fn holes_are_filled_in_time_and_counted() {
    let Some(clips) = human() else { return };
    let sent = packets(1, &clips[5]);
    let total = sent.len();
    let lost = |seq: u32| seq % 6 == 3;
    let missing = sent.iter().filter(|packet| lost(packet.seq)).count();
    let mut hearing = ear(ListenMode::Manual);
    hearing.push(sent.into_iter().filter(|packet| !lost(packet.seq)).collect());
    let utterance = hearing.finish().unwrap();
    let stats = utterance.stats;
    assert_eq!((stats.lost as usize, stats.packets as usize), (missing, total - missing));
    assert_eq!(utterance.decode().unwrap().len(), total * 960);
}

#[test]
fn a_hole_of_a_minute_is_bridged_by_half_a_second() {
    let mut hearing = ear(ListenMode::Manual);
    let mut sent = packets(1, &silence(600));
    sent.push(packet(900, sent[3].payload.clone()));
    hearing.push(sent);
    let utterance = hearing.finish().unwrap();
    assert_eq!((utterance.stats.lost, utterance.duration().as_millis()), (889, 600 + 500 + 60));
}

#[test]
fn pcm_is_taken_as_it_is_and_half_a_sample_is_not() {
    let pcm = noise(960, 1_000.0);
    let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let whole = AudioPacket { codec: Codec::PcmS16le, ..packet(1, bytes.clone()) };
    let half = AudioPacket { codec: Codec::PcmS16le, ..packet(2, bytes[1..].to_vec()) };
    let huge = AudioPacket { codec: Codec::PcmS16le, ..packet(3, vec![0; 3_842]) };
    let mut hearing = ear(ListenMode::Manual);
    hearing.push(vec![whole, half, huge]);
    let utterance = hearing.finish().unwrap();
    assert_eq!(utterance.stats.undecodable, 2);
    assert_eq!(utterance.decode().unwrap()[..960], pcm);
}

#[test]
fn twenty_thousand_packets_of_garbage_harm_nobody() {
    let mut dice = Dice(2026);
    let settings = Settings::default();
    for mode in [ListenMode::Auto, ListenMode::Manual] {
        let mut hearing = ear_with(&settings, mode);
        for n in 0..10_000u32 {
            let length = dice.roll() % 200;
            let payload: Vec<u8> = (0..length).map(|_| dice.roll() as u8).collect();
            let codec = if dice.roll().is_multiple_of(8) { Codec::PcmS16le } else { Codec::Opus };
            let seq = if dice.roll().is_multiple_of(16) { dice.roll() as u32 } else { n };
            let heard = hearing.push(vec![AudioPacket { codec, ..packet(seq, payload) }]);
            assert!(hearing.kept_bytes <= settings.endpoint.max_bytes.len() + 4_096);
            for utterance in utterances(heard) {
                assert!(utterance.decode().unwrap().len() as u64 <= utterance.keep);
            }
        }
        hearing.finish();
        hearing.reset(ListenMode::Manual);
        hearing.push(packets(30_001, &silence(300)));
        hearing.push(packets(30_006, &silence(300)));
        assert!(hearing.finish().is_some(), "it hears again");
    }
}

#[test]
fn what_passes_unheard_is_neither_kept_nor_counted_as_lost() {
    let mut hearing = ear(ListenMode::Manual);
    hearing.push(packets(1, &silence(600)));
    hearing.skip(packets(11, &noise(96_000, 2_000.0)));
    hearing.push(packets(111, &silence(600)));
    let utterance = hearing.finish().unwrap();
    assert_eq!((utterance.stats.lost, utterance.duration().as_millis()), (0, 600));
}

#[test]
fn the_socket_s_buffer_is_not_held() {
    let buffer = Bytes::from(vec![0u8; 1 << 20]);
    let mut hearing = ear(ListenMode::Manual);
    hearing.push(vec![packet(1, buffer.slice(..60))]);
    assert!(buffer.try_into_mut().is_ok(), "somebody still holds the buffer");
}

#[test]
fn a_quiet_stream_keeps_little_more_than_the_pre_roll() {
    let mut hearing = ear(ListenMode::Auto);
    hearing.push(packets(1, &noise(160_000, 300.0)));
    let kept = hearing.kept.iter().map(|piece| piece.samples).sum::<u32>() / 16;
    assert!((300..600).contains(&kept), "{kept} ms");
    assert!(hearing.kept.len() < 10 && hearing.kept_bytes < 4_096, "{}", hearing.kept_bytes);
}

#[test]
fn nobody_speaking_is_reported() {
    let mut settings = Settings::default();
    settings.endpoint.no_speech = Span::secs(5);
    let mut hearing = ear_with(&settings, ListenMode::Auto);
    assert_eq!(names(&hearing.push(packets(1, &silence(6_000)))), ["no speech"]);
}

#[test]
fn without_the_file_the_small_model_says_why_it_is_used() {
    let model = VadModel::load(Some("/nowhere/silero.onnx".as_ref()), &vad::Settings::default());
    assert_eq!(model.name(), "earshot");
    assert!(model.fallback().unwrap().contains("/nowhere/silero.onnx"));
}

#[test]
fn the_gate_costs_no_word_in_a_noisy_room() {
    let (Some(clips), Some(file)) = (human(), silero_file()) else { return };
    let speech_rms = f64::from(crate::audio::level::rms(&clips.concat()));
    for snr_db in [25.0, 15.0, 8.0] {
        let noise = noise(40 * 16_000, speech_rms * 10f64.powf(-snr_db / 20.0));
        let room = [clips.concat(), silence(1_500)].concat();
        let room: Vec<i16> = [silence(1_500), room].concat();
        let room: Vec<i16> = room.iter().zip(noise.iter().cycle()).map(|(a, b)| a.saturating_add(*b)).collect();
        let sent = packets(1, &room);
        let mut spoken = Vec::new();
        let mut asked = Vec::new();
        for gate in [false, true] {
            let settings = Settings { vad: vad::Settings { gate, ..vad::Settings::default() }, ..Settings::default() };
            let model = VadModel::load(Some(&file), &settings.vad);
            let mut hearing = Hearing::new(&settings, &model, ListenMode::Auto).unwrap();
            let heard = utterances(hearing.push(sent.clone()));
            spoken.push(heard.iter().map(|utterance| i64::from(utterance.voiced_ms)).sum::<i64>());
            asked.push(hearing.vad.asked());
        }
        println!("{snr_db} dB: {} ms of speech without the gate, {} with it; asked {asked:?}", spoken[0], spoken[1]);
        assert!(spoken[0] > 10_000, "{spoken:?}");
        assert!((spoken[0] - spoken[1]).abs() < spoken[0] / 50, "{snr_db} dB: {spoken:?}");
    }
}

/// A spoken command without what fades out behind it, and silence.
fn command_and(silence_ms: usize) -> Option<Vec<i16>> {
    let clip = human()?.pop()?;
    let end = clip.iter().rposition(|sample| sample.unsigned_abs() > 3_000)?;
    Some([silence(500), clip[..end].to_vec(), silence(silence_ms)].concat())
}

#[test]
fn silence_that_a_device_leaves_out_ends_the_turn_as_if_it_had_been_sent() {
    let Some(command) = command_and(240) else { return };
    let mut hearing = ear(ListenMode::Auto);
    assert_eq!(names(&hearing.push(packets(1, &command))), ["started"]);
    assert_eq!(names(&hearing.quiet(Duration::from_millis(120))), [""; 0]);
    let heard = hearing.quiet(Duration::from_millis(240));
    assert_eq!(names(&heard), ["end"]);
    let utterance = utterances(heard).remove(0);
    assert_eq!(utterance.decode().unwrap().len() as u128, utterance.duration().as_micros() * 16 / 1_000);
}

#[test]
fn packets_that_are_late_in_the_middle_of_a_word_are_no_silence_and_one_that_says_nothing_is() {
    let Some(command) = command_and(0) else { return };
    let mut hearing = ear(ListenMode::Auto);
    let mut sent = packets(1, &command);
    // the last may be half empty
    sent.pop();
    let next = sent.len() as u32 + 1;
    assert_eq!(names(&hearing.push(sent)), ["started"]);
    assert_eq!(names(&hearing.quiet(Duration::from_secs(2))), [""; 0]);
    // what encoders with DTX send every 400 ms
    let toc = packets(1, &silence(60))[0].payload[0] & 0xFC;
    hearing.push(vec![packet(next, vec![toc])]);
    assert_eq!(names(&hearing.quiet(Duration::from_secs(2))), ["end"]);
    assert_eq!(names(&ear(ListenMode::Auto).quiet(Duration::from_secs(2))), [""; 0], "nothing was heard before");
}
