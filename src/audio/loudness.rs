//! How loud a word was that came as packets.

use super::level;
use super::opus::Decoder;

/// The level of the louder half of some Opus packets, dB relative to full scale; none when none can be decoded. So the
/// silence around a word makes no difference. About 30 us a packet.
pub fn loudness<'a>(packets: impl IntoIterator<Item = &'a [u8]>) -> Option<f32> {
    let mut decoder = Decoder::new().ok()?;
    let mut levels = Vec::new();
    let mut samples = Vec::new();
    for packet in packets {
        samples.clear();
        if decoder.decode(packet, &mut samples).is_ok() {
            levels.push(level::rms(&samples));
        }
    }
    levels.sort_by(|a, b| b.total_cmp(a));
    let louder = levels.get(..levels.len().div_ceil(2)).filter(|louder| !louder.is_empty())?;
    #[allow(clippy::cast_precision_loss, reason = "a word has few packets")]
    let mean = (louder.iter().map(|rms| rms * rms).sum::<f32>() / louder.len() as f32).sqrt();
    Some(level::dbfs(mean))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::super::testing::{hum, packets};
    use super::*;

    fn of(pcm: &[i16]) -> Option<f32> {
        let packets = packets(1, pcm);
        loudness(packets.iter().map(|packet| &packet.payload[..]))
    }

    #[test]
    fn a_word_is_as_loud_with_silence_around_it_as_without() {
        let (near, far) = (hum(9_600, 6_000.0), hum(9_600, 600.0));
        let within = [vec![0; 4_800], near.clone(), vec![0; 4_800]].concat();
        assert!((of(&near).unwrap() - of(&within).unwrap()).abs() < 3.0);
        assert!(of(&within).unwrap() > of(&far).unwrap() + 15.0);
    }

    #[test]
    fn garbage_and_nothing_have_no_level() {
        assert_eq!(loudness([]), None);
        assert_eq!(loudness([&[][..]]), None);
    }
}
