//! What Edge's read-aloud is asked, as the browser asks it, and what its messages are made of.
//!
//! Found out by others who keep clients of it (edge-tts, msedge-tts); the service has no documentation.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::super::http::Headers;
use crate::domain::Wall;

/// Stands for the browser in every client of the service: no secret, and no key of anybody's account.
const CLIENT: &str = "6A5AA1D4EAFF4E9FB37E23D68491D6F4";
/// The version of the browser that is spoken for.
const VERSION: &str = "143.0.3650.75";
const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 \
                       Safari/537.36 Edg/143.0.0.0";
/// The part of the browser that reads aloud.
const ORIGIN: &str = "chrome-extension://jdiccldimpdaibmpdkjnbmckianbfold";
/// MP3 at 24 kHz: what the browser itself asks for. Of the other formats that Azure has, WebM alone is not refused.
const FORMAT: &str = "audio-24khz-48kbitrate-mono-mp3";
/// The longest message that the service takes, in bytes, with room for what surrounds the text.
const LONGEST: usize = 60_000;
/// Seconds from 1601, where Windows begins to count, to 1970.
const WINDOWS: u64 = 11_644_473_600;
/// A token is good for so many seconds.
const TOKEN: u64 = 300;

pub(super) fn headers() -> Headers {
    Headers::new()
        .with("user-agent", BROWSER)
        .with("origin", ORIGIN)
        .with("accept-language", "en-US,en;q=0.9")
        .with("pragma", "no-cache")
        .with("cache-control", "no-cache")
}

/// What stands in the address.
pub(super) fn query(now: Wall) -> [(&'static str, String); 4] {
    [
        ("TrustedClientToken", CLIENT.to_owned()),
        ("ConnectionId", id()),
        ("Sec-MS-GEC", token(now)),
        ("Sec-MS-GEC-Version", format!("1-{VERSION}")),
    ]
}

/// The time, in steps of five minutes and in Windows' units of 100 ns, with the client's word, as its SHA-256.
fn token(now: Wall) -> String {
    let seconds = now.0 / 1_000 + WINDOWS;
    let ticks = (seconds - seconds % TOKEN) * 10_000_000;
    let digest = Sha256::digest(format!("{ticks}{CLIENT}").as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|half| char::from(b"0123456789ABCDEF"[usize::from(half)])));
        text
    })
}

fn id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Time as a browser writes it.
fn date(now: Wall) -> String {
    let time = i64::try_from(now.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    time.strftime("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)").to_string()
}

/// The message that says in which form sound is wanted.
pub(super) fn form(now: Wall) -> String {
    let options = serde_json::json!({ "context": { "synthesis": { "audio": {
        "metadataoptions": { "sentenceBoundaryEnabled": "false", "wordBoundaryEnabled": "false" },
        "outputFormat": FORMAT,
    } } } });
    let date = date(now);
    format!(
        "X-Timestamp:{date}\r\nContent-Type:application/json; charset=utf-8\r\nPath:speech.config\r\n\r\n{options}\r\n"
    )
}

/// The message with what is to be said; what is wrong with it, otherwise.
pub(super) fn speech(voice: &str, text: &str, now: Wall) -> Result<String, String> {
    let (language, name) = long_name(voice).ok_or_else(|| format!("{voice:?} is no name of a voice"))?;
    let text = escaped(text);
    if text.len() > LONGEST {
        return Err(format!("{} bytes are more than the service reads at once", text.len()));
    }
    // the Z after the time is the browser's
    let (id, date) = (id(), date(now));
    Ok(format!(
        "X-RequestId:{id}\r\nContent-Type:application/ssml+xml\r\nX-Timestamp:{date}Z\r\nPath:ssml\r\n\r\n\
         <speak version='1.0' xmlns='http://www.w3.org/2001/10/synthesis' xml:lang='{language}'><voice name='{name}'>\
         <prosody pitch='+0Hz' rate='+0%' volume='+0%'>{text}</prosody></voice></speak>"
    ))
}

/// A voice's name, such as `en-GB-SoniaNeural` or `zh-CN-liaoning-XiaobeiNeural`.
pub fn is_voice(voice: &str) -> bool {
    long_name(voice).is_some()
}

/// The language of a voice, and its name as the browser writes it. It stands in what is sent, so nothing else may.
fn long_name(voice: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = voice.split('-').collect();
    let plain = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if voice.len() > 64 || !(3..=4).contains(&parts.len()) || !parts.iter().all(plain) {
        return None;
    }
    let (name, place) = parts.split_last()?;
    let language = format!("{}-{}", place[0], place[1]);
    Some((language, format!("Microsoft Server Speech Text to Speech Voice ({}, {name})", place.join("-"))))
}

/// Text as XML has it; what XML forbids is a space.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&apos;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(c),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// What a text message is about.
pub(super) fn path(message: &str) -> Option<&str> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().find_map(|line| line.strip_prefix("Path:")).map(str::trim)
}

/// The sound of a binary message: two bytes say how long its head is. A message about something else has none.
pub(super) fn sound(message: &Bytes) -> Result<Bytes, &'static str> {
    let length = message.first_chunk::<2>().map(|length| usize::from(u16::from_be_bytes(*length)) + 2);
    let length = length.filter(|length| *length <= message.len()).ok_or("a piece of sound is shorter than its head")?;
    let head = String::from_utf8_lossy(&message[2..length]);
    Ok(if path(&head) == Some("audio") { message.slice(length..) } else { Bytes::new() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_the_same_for_five_minutes() {
        // reckoned with Python's hashlib from the same description
        let noon = Wall(1_795_348_800_000);
        assert_eq!(token(noon), "CE83EF8DC1E7DC4A1A9963E4981BC1057679076CE1D71DAEACDE0AFC8667F4A1");
        assert_eq!(token(Wall(noon.0 + 299_999)), token(noon));
        assert_ne!(token(Wall(noon.0 + 300_000)), token(noon));
    }

    #[test]
    fn time_is_written_as_a_browser_does() {
        assert_eq!(date(Wall(1_795_348_800_000)), "Sun Nov 22 2026 12:00:00 GMT+0000 (Coordinated Universal Time)");
        assert_eq!(date(Wall(u64::MAX)), "Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)");
    }

    #[test]
    fn a_voice_is_named_as_the_browser_does_and_holds_nothing_else() {
        let name =
            |voice| long_name(voice).map(|(language, name)| (language, name.rsplit_once('(').unwrap().1.to_owned()));
        assert_eq!(name("en-GB-SoniaNeural"), Some(("en-GB".into(), "en-GB, SoniaNeural)".into())));
        let far = Some(("zh-CN".into(), "zh-CN-liaoning, XiaobeiNeural)".into()));
        assert_eq!(name("zh-CN-liaoning-XiaobeiNeural"), far);
        for bad in ["", "Sonia", "en-GB", "en--Sonia", "en-GB-Sonia'/><x", "en-GB-a-b-c", "en-GB-Söniä"] {
            assert!(!is_voice(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_said_cannot_leave_its_place() {
        let message = speech("en-GB-SoniaNeural", "a < b & \"c\" </prosody>\u{0}\u{b} 好", Wall(0)).unwrap();
        let said = message.split("volume='+0%'>").nth(1).unwrap();
        assert_eq!(said, "a &lt; b &amp; &quot;c&quot; &lt;/prosody&gt;   好</prosody></voice></speak>");
        assert!(speech("en-GB-SoniaNeural", &"&".repeat(20_000), Wall(0)).is_err(), "longer than a message may be");
    }

    #[test]
    fn sound_follows_a_head_whose_length_is_told() {
        let piece = |head: &str, sound: &[u8]| {
            let length = u16::try_from(head.len()).unwrap().to_be_bytes();
            Bytes::from([&length, head.as_bytes(), sound].concat())
        };
        let head = "X-RequestId:1\r\nContent-Type:audio/mpeg\r\nX-StreamId:2\r\nPath:audio\r\n";
        assert_eq!(sound(&piece(head, b"mp3")), Ok(Bytes::from_static(b"mp3")));
        assert_eq!(sound(&piece("Path:other\r\n", b"x")), Ok(Bytes::new()));
        for bad in [&b""[..], b"\0", b"\0\x09Path", b"\xff\xffPath:audio"] {
            assert!(sound(&Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn messages_are_read_whatever_they_are(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in ".*") {
            let _ = sound(&bytes.into());
            let _ = path(&text);
            prop_assert!(!escaped(&text).contains(['<', '>', '\'', '"', '\0']));
        }
    }
}
